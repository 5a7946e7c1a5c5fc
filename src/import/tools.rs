//! The tools that a model was offered, in the forms in which APIs declare them.

use serde::Deserialize;

use crate::{ConsideredOption, DecisionMade, Json};

/// Bytes of options in one decision, as JSON. Every call of a tool repeats the list that the file has once, so without a
/// bound, many tools and many calls make a log that is thousands of times larger than the file. Some dozens of tools
/// with their descriptions have less.
const OPTIONS_BYTES_MAX: usize = 32 << 10;

/// The tools that a model was offered, as far as each decision repeats them.
#[derive(Clone, Debug, Default)]
pub(super) struct Offered {
    options: Vec<ConsideredOption>,
    /// Tools beyond the bound.
    left_out: usize,
}

impl Offered {
    /// Makes the tools the options of a decision.
    pub(super) fn put(&self, decision: &mut DecisionMade) {
        decision.options_considered.clone_from(&self.options);
        if self.left_out > 0 {
            let left_out = Json::written(self.left_out.to_string());
            decision.attributes.insert("options_left_out".to_owned(), left_out);
        }
    }
}

/// Reads a list of tools. Those in another form are no options; the list itself stays in the attributes.
pub(super) fn offered(list: &Json) -> Offered {
    let tools: Vec<Json> = serde_json::from_str(list.as_str()).unwrap_or_default();
    let mut offered = Offered::default();
    let mut bytes = 0_usize;
    for option in tools.iter().filter_map(option) {
        let with_option = bytes.saturating_add(size(&option));
        if with_option > OPTIONS_BYTES_MAX {
            offered.left_out += 1;
        } else {
            bytes = with_option;
            offered.options.push(option);
        }
    }
    offered
}

/// Bytes of an option as JSON. One that cannot be written fits nowhere.
fn size(option: &ConsideredOption) -> usize {
    serde_json::to_string(option).map_or(usize::MAX, |json| json.len())
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
        let options = offered(&list.parse().unwrap()).options;
        let names: Vec<&str> = options.iter().map(|option| option.option.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(options[0].attributes["description"].as_str(), "\"Does a.\"");
        assert!(offered(&"{}".parse().unwrap()).options.is_empty());
    }

    #[test]
    fn tools_beyond_the_bound_are_counted_and_smaller_ones_after_them_stay() {
        let tool =
            |name: &str, bytes: usize| serde_json::json!({"name": name, "description": "x".repeat(bytes)});
        let list =
            [tool("a", 100), tool("b", OPTIONS_BYTES_MAX), tool("c", 100), tool("d", OPTIONS_BYTES_MAX)];
        let mut decision = DecisionMade::default();
        offered(&Json::of(&list).unwrap()).put(&mut decision);
        let names: Vec<&str> =
            decision.options_considered.iter().map(|option| option.option.as_str()).collect();
        assert_eq!(names, ["a", "c"]);
        assert_eq!(decision.attributes["options_left_out"].as_str(), "2");
    }
}
