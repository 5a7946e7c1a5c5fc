//! What stands beside the log in the file and is written with it: the schema, and the lists of redacted
//! and skipped events, and of those about API keys.

use std::collections::BTreeSet;

use rusqlite::Connection;

use super::report::{Check, Failure};
use super::walk::Walk;
use crate::event::Seq;
use crate::evidence::has_table;
use crate::log::schema::{self, Object};
use crate::projection::tables::{Cursor, PROJECTIONS, Stage, cursor};

/// Holds the schema against what Annals makes, and names what is not ours.
pub(super) fn check_schema(
    connection: &Connection,
    failures: &mut Vec<Failure>,
) -> rusqlite::Result<Vec<String>> {
    let mut expected: BTreeSet<Object> =
        schema::expected_objects(schema::version_of(connection)?)?.into_iter().collect();
    for projection in &PROJECTIONS {
        for stage in [Stage::Live, Stage::Building] {
            match cursor(connection, projection.name, stage) {
                Ok(Some(Cursor { version, generation, .. })) if version == projection.version => {
                    expected.extend(projection.objects(stage, generation)?);
                }
                // Tables of another version are not known here; a table that is gone is named below.
                Ok(_) | Err(_) => {}
            }
        }
    }
    let found = schema::objects(connection)?;
    for object in &expected {
        // A trigger may have the name of a table.
        let same_name = found.iter().find(|other| other.kind == object.kind && other.name == object.name);
        let what = match same_name {
            Some(other) if other == object => continue,
            Some(_) => "was altered",
            None => "is missing",
        };
        let is_evidence = object.kind == "table" && matches!(object.name.as_str(), "log" | "redactions");
        failures.push(Failure {
            check: if same_name.is_none() && is_evidence { Check::Damage } else { Check::Schema },
            seq: None,
            detail: format!("the {} `{}` {what}", object.kind, object.name),
            affected: "what it holds or guards".to_owned(),
        });
    }
    failures.extend(foreign_cursors(connection)?);
    let ours: BTreeSet<(&str, &str)> =
        expected.iter().map(|object| (object.kind.as_str(), object.name.as_str())).collect();
    Ok(found
        .into_iter()
        .filter(|object| !ours.contains(&(object.kind.as_str(), object.name.as_str())))
        .map(|object| format!("{} {}", object.kind, object.name))
        .collect())
}

/// Holds the table that the trigger reads against the licences.
pub(super) fn check_redactions(
    connection: &Connection,
    walk: &Walk,
    failures: &mut Vec<Failure>,
) -> rusqlite::Result<()> {
    if walk.failure.is_some() {
        return Ok(());
    }
    let table: BTreeSet<u64> = connection
        .prepare("SELECT seq FROM redactions")?
        .query_map([], |row| row.get(0).map(Seq::from_sql).map(Seq::get))?
        .collect::<rusqlite::Result<_>>()?;
    let licensed = walk.redactions.iter().flat_map(|redaction| redaction.seqs.iter().copied()).collect();
    if let Some(seq) = table.symmetric_difference(&licensed).next() {
        failures.push(Failure {
            check: Check::Redaction,
            seq: Some(Seq::new(*seq)),
            detail: if table.contains(seq) {
                format!("the table `redactions` names event {seq}, and no redaction of it is recorded")
            } else {
                format!("the table `redactions` does not name event {seq}, and a redaction of it is recorded")
            },
            affected: "the guard against changes of the log".to_owned(),
        });
    }
    Ok(())
}

/// Rows of `projections` that no Annals writes: they would have the check of tables passed over.
fn foreign_cursors(connection: &Connection) -> rusqlite::Result<Vec<Failure>> {
    // A table that is not there has been named already.
    let Ok(mut statement) = connection.prepare("SELECT name, stage, version, generation FROM projections")
    else {
        return Ok(Vec::new());
    };
    let mut rows = statement.query([])?;
    let mut failures = Vec::new();
    while let Some(row) = rows.next()? {
        let (name, stage): (String, String) = (row.get(0)?, row.get(1)?);
        let (version, generation): (i64, i64) = (row.get(2)?, row.get(3)?);
        let is_known = PROJECTIONS.iter().any(|projection| projection.name == name);
        // Negative numbers cannot be read as a cursor, which has been said.
        if is_known && version != 0 && generation != 0 {
            continue;
        }
        failures.push(Failure {
            check: Check::Schema,
            seq: None,
            detail: format!(
                "`projections` has a row for `{name}` ({stage}) with version {version} and generation {generation}, which no Annals writes"
            ),
            affected: "the check of the read tables".to_owned(),
        });
    }
    Ok(failures)
}

/// Holds the list of skipped events against the events that record the skips.
pub(super) fn check_skips(
    connection: &Connection,
    walk: &Walk,
    failures: &mut Vec<Failure>,
) -> rusqlite::Result<()> {
    if walk.failure.is_some() {
        return Ok(());
    }
    let table: BTreeSet<(String, i64, u64)> = connection
        .prepare("SELECT projection, version, seq FROM projection_skips")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2).map(Seq::from_sql)?.get())))?
        .collect::<rusqlite::Result<_>>()?;
    let recorded = walk
        .skips
        .iter()
        .map(|(projection, version, seq)| (projection.clone(), i64::from(*version), *seq))
        .collect();
    if let Some((projection, _, seq)) = table.symmetric_difference(&recorded).next() {
        failures.push(Failure {
            check: Check::Skips,
            seq: Some(Seq::new(*seq)),
            detail: format!("`projection_skips` and the log differ about `{projection}` and event {seq}"),
            affected: format!("the read tables of `{projection}`"),
        });
    }
    Ok(())
}

/// Holds the list of the events about API keys, by which a server decides, against the log. A file of an
/// earlier schema has none.
pub(super) fn check_api_keys(
    connection: &Connection,
    walk: &Walk,
    failures: &mut Vec<Failure>,
) -> rusqlite::Result<()> {
    if walk.failure.is_some() {
        return Ok(());
    }
    let table: BTreeSet<u64> = if has_table(connection, "api_key_events")? {
        connection
            .prepare("SELECT seq FROM api_key_events")?
            .query_map([], |row| row.get(0).map(Seq::from_sql).map(Seq::get))?
            .collect::<rusqlite::Result<_>>()?
    } else {
        BTreeSet::new()
    };
    if let Some(seq) = table.symmetric_difference(&walk.api_keys).next() {
        failures.push(Failure {
            check: Check::ApiKeys,
            seq: Some(Seq::new(*seq)),
            detail: if table.contains(seq) {
                format!("the table `api_key_events` names event {seq}, which is not about an API key")
            } else {
                format!("the table `api_key_events` does not name event {seq}, which is about an API key")
            },
            affected: "which keys a server accepts".to_owned(),
        });
    }
    Ok(())
}
