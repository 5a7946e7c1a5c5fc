//! The tools that a model was offered, in the forms in which APIs declare them.

use serde::Deserialize;

use crate::{ConsideredOption, Json};

/// Reads a list of tools. Those in another form are no options; the list itself stays in the attributes.
pub(super) fn offered(list: &Json) -> Vec<ConsideredOption> {
    let tools: Vec<Json> = serde_json::from_str(list.as_str()).unwrap_or_default();
    tools.iter().filter_map(option).collect()
}

/// A declaration: `{"name", "description"}`, also within `function`, or the name alone.
fn option(tool: &Json) -> Option<ConsideredOption> {
    #[derive(Deserialize)]
    struct Outer {
        function: Option<Inner>,
        name: Option<String>,
        description: Option<String>,
    }
    #[derive(Deserialize)]
    struct Inner {
        name: String,
        description: Option<String>,
    }

    if let Ok(name) = serde_json::from_str::<String>(tool.as_str()) {
        return Some(name.into());
    }
    let outer: Outer = serde_json::from_str(tool.as_str()).ok()?;
    let (name, description) = match outer.function {
        Some(function) => (function.name, function.description),
        None => (outer.name?, outer.description),
    };
    let mut option = ConsideredOption::from(name);
    let description = description.filter(|text| !text.is_empty());
    option.attributes.extend(description.map(|text| ("description".to_owned(), Json::text(&text))));
    Some(option)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_read_in_every_form() {
        let list = r#"[{"type": "function", "function": {"name": "a", "description": "Does a.", "parameters": {}}},
            {"name": "b", "input_schema": {}}, "c", {"type": "web_search"}, 3]"#;
        let options = offered(&list.parse().unwrap());
        let names: Vec<&str> = options.iter().map(|option| option.option.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(options[0].attributes["description"].as_str(), "\"Does a.\"");
        assert!(offered(&"{}".parse().unwrap()).is_empty());
    }
}
