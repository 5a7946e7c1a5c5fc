//! The attribute names of spans and log records that Annals has columns for: one table for all conventions.
//! `docs/opentelemetry.md` has the same tables, and a test compares the two.
//!
//! Conventions: OpenTelemetry's for generative AI, the present ones
//! (<https://github.com/open-telemetry/semantic-conventions-genai>) and the former ones
//! (<https://github.com/open-telemetry/semantic-conventions/tree/v1.36.0/docs/gen-ai>); OpenInference
//! (<https://github.com/Arize-ai/openinference/tree/main/spec>); Traceloop's OpenLLMetry
//! (<https://github.com/traceloop/openllmetry>); the Vercel AI SDK
//! (<https://ai-sdk.dev/docs/ai-sdk-core/telemetry>); Langfuse's SDKs
//! (<https://langfuse.com/integrations/native/opentelemetry>); MLflow
//! (<https://github.com/mlflow/mlflow/blob/master/mlflow/tracing/constant.py>); LangSmith
//! (<https://docs.langchain.com/langsmith/trace-with-opentelemetry>); Logfire; Google's ADK; and the additions of
//! other frameworks.

mod attributes;
mod kinds;
mod happenings;

#[cfg(feature = "server")]
pub(crate) use attributes::conversation;
pub(super) use attributes::{Family, Field, family, field};
pub(crate) use happenings::outcome;
pub(super) use happenings::{Happening, happening};
pub(super) use kinds::{KINDS, Work, kind};

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fmt::Write as _;

    use super::attributes::{ATTRIBUTES, FAMILIES, SCOPED};
    use super::happenings::{EVENTS, OUTCOMES};
    use super::*;

    /// The tables in the form of the documentation.
    fn tables() -> Vec<String> {
        let code =
            |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let mut attributes = String::from("| goes to | attributes, best first |\n| --- | --- |\n");
        for row in ATTRIBUTES {
            writeln!(attributes, "| {} | {} |", row.goes_to, code(row.names)).unwrap();
        }
        let mut families = String::from("| goes to | attributes whose names begin with |\n| --- | --- |\n");
        for row in FAMILIES {
            writeln!(families, "| {} | {} |", row.goes_to, code(row.prefixes)).unwrap();
        }
        let mut kinds =
            String::from("| attribute | value | step `kind` | also gives |\n| --- | --- | --- | --- |\n");
        for (attribute, words) in KINDS {
            for word in *words {
                writeln!(
                    kinds,
                    "| `{attribute}` | `{}` | {} | {} |",
                    word.word,
                    word.kind,
                    word.work.gives()
                )
                .unwrap();
            }
        }
        let mut events = String::from("| name | goes to |\n| --- | --- |\n");
        for (name, _, goes_to) in EVENTS {
            writeln!(events, "| `{name}` | {goes_to} |").unwrap();
        }
        let mut outcomes = String::from("| finding's `outcome` | label |\n| --- | --- |\n");
        for (outcome, words) in OUTCOMES {
            writeln!(outcomes, "| {outcome} | {} |", words.join(", ")).unwrap();
        }
        let mut scoped = String::from("| scope | goes to | attributes, best first |\n| --- | --- | --- |\n");
        for (scope, rows) in SCOPED {
            for row in *rows {
                writeln!(scoped, "| `{scope}` | {} | {} |", row.goes_to, code(row.names)).unwrap();
            }
        }
        vec![attributes, scoped, families, kinds, events, outcomes]
    }

    #[test]
    fn the_documentation_has_the_same_tables() {
        let page = include_str!("../../../docs/opentelemetry.md");
        let tables = tables();
        let are_there = tables.iter().all(|table| page.contains(table));
        assert!(are_there, "docs/opentelemetry.md must have these tables:\n\n{}", tables.join("\n"));
    }

    #[test]
    fn a_name_stands_for_one_thing() {
        let mut seen = HashSet::new();
        // A name in two rows would have two meanings, of which `field` keeps the last.
        let names = ATTRIBUTES.iter().flat_map(|row| row.names);
        for name in names.chain(KINDS.iter().map(|(name, _)| name)) {
            assert!(seen.insert(name), "{name} stands twice");
            assert_eq!(family(name), None, "{name}");
        }
        let mut seen = HashSet::new();
        for word in OUTCOMES.iter().flat_map(|(_, words)| *words) {
            assert!(seen.insert(word), "{word} stands twice");
        }
    }
}
