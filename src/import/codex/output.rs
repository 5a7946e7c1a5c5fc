//! The output of a tool: its text, and whether it failed.

use serde::Deserialize;

use crate::Json;
use crate::import::fields::text_of;

/// Outputs of tools that a person did not allow.
const REJECTED: [&str; 2] = ["exec command rejected by user", "patch rejected by user"];

/// Most lines that stand before the output of a command.
const HEADER_LINES_MAX: usize = 12;

/// The known facts about an output.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Output {
    pub(super) text: Option<String>,
    pub(super) error: Option<String>,
    pub(super) is_rejected: bool,
}

/// The fields of outputs that say how a tool ended.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Known {
    content: Option<String>,
    success: Option<bool>,
    exit_code: Option<i64>,
    metadata: Option<Metadata>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    exit_code: Option<i64>,
}

#[derive(Deserialize)]
struct Part {
    text: Option<String>,
}

impl Output {
    /// Reads an output: a text, a list of parts, or an object.
    pub(super) fn of(json: &Json) -> Output {
        let parts: Option<Vec<Part>> = serde_json::from_str(json.as_str()).ok();
        let whole = text_of(json);
        // A text may be an object written as JSON.
        let known: Known = serde_json::from_str(&whole).unwrap_or_default();
        let text = match parts {
            Some(parts) => {
                let texts: Vec<String> = parts.into_iter().filter_map(|part| part.text).collect();
                (!texts.is_empty()).then(|| texts.join("\n"))
            }
            None => Some(known.content.unwrap_or(whole)),
        };
        let shown = text.as_deref().unwrap_or_default();
        let exit_code =
            known.exit_code.or(known.metadata.and_then(|metadata| metadata.exit_code)).or(exit_code(shown));
        let is_rejected = REJECTED.iter().any(|rejected| shown.starts_with(rejected));
        let error = match (exit_code, known.success) {
            (Some(code), _) if code != 0 => Some(format!("exit code {code}")),
            (_, Some(false)) => Some(shown.to_owned()),
            _ if is_rejected => Some(shown.to_owned()),
            _ => None,
        };
        Output { text, error, is_rejected }
    }
}

/// The exit code in the lines that Codex writes before the output of a command.
fn exit_code(text: &str) -> Option<i64> {
    text.lines()
        .take(HEADER_LINES_MAX)
        .take_while(|line| *line != "Output:")
        .find_map(|line| line.strip_prefix("Process exited with code ").or(line.strip_prefix("Exit code: ")))
        .and_then(|code| code.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(json: &str) -> Option<String> {
        Output::of(&json.parse().unwrap()).error
    }

    #[test]
    fn a_failure_is_known_by_its_exit_code_wherever_that_stands() {
        for failed in [
            r#""{\"output\":\"x\",\"metadata\":{\"exit_code\":1,\"duration_seconds\":0.1}}""#,
            r#"{"output":"x","metadata":{"exit_code":1}}"#,
            r#"{"exit_code":1}"#,
            r#""Chunk ID: 1\nWall time: 0.1 seconds\nProcess exited with code 1\nOutput:\nx""#,
            r#""Exit code: 1\nWall time: 4.2 seconds\nOutput:\nx""#,
            r#"[{"type":"input_text","text":"Exit code: 1\nOutput:\nx"}]"#,
        ] {
            assert_eq!(error(failed).as_deref(), Some("exit code 1"), "{failed}");
        }
        for good in [
            r#""{\"output\":\"x\",\"metadata\":{\"exit_code\":0}}""#,
            r#""Exit code: 0\nOutput:\nExit code: 1""#,
            r#""Output:\nProcess exited with code 1""#,
            r#""Plan updated""#,
            r#"[{"type":"input_image","image_url":"data:"}]"#,
            r#"{"content":"done","success":true}"#,
        ] {
            assert_eq!(error(good), None, "{good}");
        }
    }

    #[test]
    fn an_object_has_its_content_as_text_and_says_whether_it_worked() {
        let output = Output::of(&r#"{"content":"no such file","success":false}"#.parse().unwrap());
        assert_eq!(
            (output.text.as_deref(), output.error.as_deref()),
            (Some("no such file"), Some("no such file"))
        );
    }

    #[test]
    fn a_rejection_is_told_apart() {
        assert!(Output::of(&Json::text("exec command rejected by user")).is_rejected);
        assert!(!Output::of(&Json::text("rejected")).is_rejected);
    }
}
