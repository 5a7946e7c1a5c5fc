//! JSONPath (RFC 9535) from a record, or from an item of it.

use jsonpath_rust::parser::model::{JpQuery, Segment, Selector};
use jsonpath_rust::parser::parse_json_path;
use jsonpath_rust::query::js_path_process;

use super::value::Node;

/// Longest path, in bytes. Paths that people write have some dozens.
pub(super) const PATH_BYTES_MAX: usize = 1_024;

/// The value at which a path begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Root {
    /// `$`: the record.
    Record,
    /// `@`: the item, in an event that has `each`.
    Item,
}

/// A path of a map.
#[derive(Clone, Debug)]
pub(super) struct Path {
    text: String,
    root: Root,
    query: JpQuery,
    /// The same path if it consists of names and positions alone, so that it leads to one value at most.
    steps: Option<Vec<Step>>,
}

#[derive(Clone, Debug)]
enum Step {
    Name(String),
    Index(i64),
}

impl Path {
    /// Parses a path. The error is a reason.
    pub(super) fn parse(text: &str) -> Result<Path, String> {
        if text.len() > PATH_BYTES_MAX {
            return Err(format!("the path has {} bytes, more than {PATH_BYTES_MAX}", text.len()));
        }
        let (root, rest) = match (text.strip_prefix('$'), text.strip_prefix('@')) {
            (Some(rest), _) => (Root::Record, rest),
            (_, Some(rest)) => (Root::Item, rest),
            _ => {
                return Err(format!(
                    "`{text}` is not a path, which begins with `$` or `@`; a constant is written {{ value = … }}"
                ));
            }
        };
        // To the parser, an item is a root as well.
        let query = parse_json_path(&format!("${rest}"))
            .map_err(|error| format!("`{text}` is not a JSONPath (RFC 9535): {}", first_line(&error)))?;
        let steps = query.segments.iter().map(step).collect();
        Ok(Path { text: text.to_owned(), root, query, steps })
    }

    /// The path as the map has it.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn root(&self) -> Root {
        self.root
    }

    /// The values to which the path leads from `root`, in order.
    pub(super) fn find<'n, 't>(&self, root: &'n Node<'t>) -> Vec<&'n Node<'t>> {
        let Some(steps) = &self.steps else {
            // The engine fails only if a path ends in a value that is not part of the record, which none can.
            return js_path_process(&self.query, root)
                .map(|found| found.into_iter().map(|found| found.val).collect())
                .unwrap_or_default();
        };
        let end = steps.iter().try_fold(root, |node, step| match step {
            Step::Name(name) => node.member(name),
            Step::Index(index) => node.item(*index),
        });
        end.into_iter().collect()
    }
}

fn step(segment: &Segment) -> Option<Step> {
    match segment {
        Segment::Selector(Selector::Name(name)) => Some(Step::Name(name.clone())),
        Segment::Selector(Selector::Index(index)) => Some(Step::Index(*index)),
        _ => None,
    }
}

/// The reason in an error of the parser, which draws the place under the path on several lines.
fn first_line(error: &impl ToString) -> String {
    let text = error.to_string();
    let reason = text.lines().rev().find_map(|line| line.trim().strip_prefix("= "));
    reason.or_else(|| text.lines().next()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, record: &str) -> Vec<String> {
        let node = Node::of_record(record).unwrap();
        Path::parse(path).unwrap().find(&node).iter().map(|node| node.raw().to_owned()).collect()
    }

    #[test]
    fn paths_of_rfc_9535_lead_to_values() {
        let record = r#"{"a": {"b c": [10, 2.50, {"k": "x"}]}, "n": null}"#;
        for (path, values) in [
            ("$.a['b c'][1]", &["2.50"][..]),
            ("$.a[\"b c\"][-1].k", &["\"x\""]),
            ("$.n", &["null"]),
            ("$.none.at.all", &[]),
            ("$.a['b c'][0:2]", &["10", "2.50"]),
            ("$..k", &["\"x\""]),
            ("$.a['b c'][?@.k == 'x'].k", &["\"x\""]),
            ("$.a['b c'][?@ == 2.5]", &["2.50"]),
            ("@.a['b c'][0]", &["10"]),
        ] {
            assert_eq!(found(path, record), values, "{path}");
        }
        assert_eq!(found("$", "{}"), ["{}"]);
    }

    #[test]
    fn a_text_that_is_no_path_is_refused_with_a_reason() {
        for (path, reason) in [
            ("a.b", "`a.b` is not a path, which begins with `$` or `@`"),
            ("", "`` is not a path"),
            ("$.a[", "`$.a[` is not a JSONPath (RFC 9535): expected "),
            ("$a", "`$a` is not a JSONPath (RFC 9535): expected "),
        ] {
            let error = Path::parse(path).unwrap_err();
            assert!(error.starts_with(reason), "{error}");
        }
        assert!(Path::parse(&format!("$.{}", "a".repeat(PATH_BYTES_MAX))).is_err());
    }
}
