//! `docs/events.md` held to the code: its examples are read, its fields and columns are all there.

use crate::support::OWN_TABLES;
use std::collections::{BTreeMap, BTreeSet};

use annals::{AuditLog, Kind, parse_draft};

const PAGE: &str = include_str!("../../docs/events.md");
const VECTORS: &str = include_str!("../golden/vectors.json");

/// What every event has.
const ENVELOPE: [&str; 5] = ["type", "id", "session", "at", "attributes"];

/// The section of each type that people record.
fn sections() -> BTreeMap<&'static str, &'static str> {
    let types = PAGE.split_once("\n## Types").unwrap().1.split_once("\n## ").unwrap().0;
    types.split("\n### `").skip(1).map(|section| section.split_once('`').unwrap()).collect()
}

#[test]
fn it_has_a_section_for_each_type_that_people_record_and_names_the_others() {
    let recorded: BTreeSet<_> =
        Kind::ALL.iter().filter(|kind| !kind.is_reserved()).map(|kind| kind.name()).collect();
    assert_eq!(sections().into_keys().collect::<BTreeSet<_>>(), recorded);
    for kind in Kind::ALL.iter().filter(|kind| kind.is_reserved()) {
        assert!(PAGE.contains(&format!("| `{}` |", kind.name())), "{}", kind.name());
    }
}

#[test]
fn its_examples_are_read_and_have_no_field_that_their_type_does_not_know() {
    for (name, section) in sections() {
        let example = section.split_once("```json\n").unwrap().1.split_once("\n```").unwrap().0;
        let draft = parse_draft(example).unwrap_or_else(|error| panic!("{example}: {error}"));
        assert_eq!(draft.event.kind().name(), name);
        let keys: BTreeMap<String, serde::de::IgnoredAny> = serde_json::from_str(example).unwrap();
        for key in keys.keys().filter(|key| !ENVELOPE.contains(&key.as_str())) {
            assert!(section.contains(&format!("| `{key}`")), "{name}: {key}");
        }
        let says_required = section.contains("A session is required.");
        assert_eq!(says_required, draft.event.kind().needs_session(), "{name}");
    }
}

#[test]
fn it_lists_the_fields_of_each_type() {
    let vectors: serde_json::Value = serde_json::from_str(VECTORS).unwrap();
    let mut fields: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for vector in vectors["events"].as_array().unwrap() {
        let name = vector["name"].as_str().unwrap().split(',').next().unwrap();
        let keys: BTreeMap<String, serde::de::IgnoredAny> =
            serde_json::from_str(vector["json"].as_str().unwrap()).unwrap();
        fields.entry(name.to_owned()).or_default().extend(keys.into_keys());
    }
    for (name, section) in sections() {
        let mut listed: BTreeSet<String> = section
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
            .map(str::to_owned)
            .collect();
        listed.extend(ENVELOPE.map(str::to_owned));
        assert_eq!(listed, fields[name], "{name}");
    }
}

#[test]
fn it_lists_the_columns_of_the_read_tables() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    AuditLog::open(&path).unwrap().close().unwrap();
    let connection = rusqlite::Connection::open(&path).unwrap();
    let names = |sql: &str| -> Vec<String> {
        let mut statement = connection.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    let tables = names(
        "SELECT name FROM sqlite_schema
         WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite%' AND name NOT IN ('search', 'search_data', 'search_idx',
           'search_docsize', 'search_config') ORDER BY name",
    );
    for table in tables.iter().filter(|table| !OWN_TABLES.contains(&table.as_str())) {
        let columns = names(&format!("SELECT name FROM pragma_table_xinfo('{table}')"));
        let columns: Vec<_> = columns.iter().map(|column| format!("`{column}`")).collect();
        let line = format!("**{table}**: {}.", columns.join(", "));
        assert!(PAGE.lines().any(|shown| shown == line), "{line}");
    }
}
