//! The reason for which nothing was found in a request in JSON that is not empty, such as a misspelled name.
//! OTLP has receivers ignore unknown fields, so such a request is no error.

use serde_json::value::RawValue;

use super::reading::Signal;
use crate::event::Fields;
use crate::text::beginning;

/// Unknown names that the reason gives, and the characters of each.
const NAMES_MAX: usize = 5;
const NAME_CHARS_MAX: usize = 80;

/// The names of the members of one level of a request.
struct Level {
    /// Fields that have the level below. OTLP's own name stands first.
    lists: &'static [&'static str],
    others: &'static [&'static str],
}

/// The levels of a request: the body, its groups, their scopes.
fn levels(signal: Signal) -> [Level; 3] {
    const RESOURCE: &[&str] = &["resource", "schemaUrl", "schema_url"];
    const SCOPE: &[&str] =
        &["scope", "instrumentationLibrary", "instrumentation_library", "schemaUrl", "schema_url"];
    let [groups, scopes, items]: [&[&str]; 3] = match signal {
        Signal::Traces => [
            &["resourceSpans", "resource_spans"],
            &["scopeSpans", "scope_spans", "instrumentationLibrarySpans", "instrumentation_library_spans"],
            &["spans"],
        ],
        Signal::Logs => [
            &["resourceLogs", "resource_logs"],
            &["scopeLogs", "scope_logs", "instrumentationLibraryLogs", "instrumentation_library_logs"],
            &["logRecords", "log_records", "logs"],
        ],
        Signal::Metrics => [
            &["resourceMetrics", "resource_metrics"],
            &[
                "scopeMetrics",
                "scope_metrics",
                "instrumentationLibraryMetrics",
                "instrumentation_library_metrics",
            ],
            &["metrics"],
        ],
    };
    [
        Level { lists: groups, others: &[] },
        Level { lists: scopes, others: RESOURCE },
        Level { lists: items, others: SCOPE },
    ]
}

/// The reason for which a request has no item. None if it has no member with an unknown name.
pub(super) fn nothing_found(body: &str, signal: Signal) -> Option<String> {
    let mut objects: Vec<Fields<'_>> = vec![serde_json::from_str(body).ok()?];
    for Level { lists, others } in levels(signal) {
        let mut unknown: Vec<&str> = Vec::new();
        let mut below: Vec<&RawValue> = Vec::new();
        for (name, value) in objects.iter().flat_map(|object| &object.0) {
            if lists.contains(&name.as_str()) {
                below.push(value);
            } else if !others.contains(&name.as_str()) && !unknown.contains(&name.as_str()) {
                unknown.push(name);
                if unknown.len() == NAMES_MAX {
                    break;
                }
            }
        }
        if !unknown.is_empty() {
            let unknown: Vec<String> = unknown
                .into_iter()
                .map(|name| format!("`{}`", beginning(name, NAME_CHARS_MAX).unwrap_or(name)))
                .collect();
            return Some(format!(
                "no {} was found: there is {} where `{}` is expected",
                signal.item(),
                unknown.join(", "),
                lists.first().copied().unwrap_or_default(),
            ));
        }
        // `null` is an empty list.
        let lists = below.into_iter().filter_map(|list| serde_json::from_str(list.get()).ok()?);
        objects = lists.flat_map(|list: Vec<Fields<'_>>| list).collect();
    }
    None
}
