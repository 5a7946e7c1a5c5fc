//! Checks of what stands beside the log in the file and is written with it: the schema, and the lists of
//! redacted events, of skipped events, and of events about API keys.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use rusqlite::{Connection, Row};

use super::report::{Check, Failure, RowSeq, shortened};
use super::walk::Walk;
use crate::event::Seq;
use crate::limits::LISTED_MAX;
use crate::log::rows::{integer_column, shown_column};
use crate::log::schema::{self, Object};
use crate::projection::tables::{self, Cursor, PROJECTIONS, Stage, cursor};

/// Compares the schema with what Annals makes, and returns the names of objects that Annals did not make.
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
                // The tables of another version are not known here. A missing table is reported below.
                Ok(_) | Err(_) => {}
            }
        }
    }
    let found = schema::objects(connection)?;
    for object in &expected {
        // The kind counts too: a trigger may have the name of a table.
        let same_name = found.iter().find(|other| other.kind == object.kind && other.name == object.name);
        let what = match same_name {
            Some(other) if other == object => continue,
            Some(_) => "was altered",
            None => "is missing",
        };
        let is_required = object.kind == "table" && matches!(object.name.as_str(), "log" | "redactions");
        // A missing table without which nothing can be judged is damage, and `required` reports it.
        if same_name.is_none() && is_required {
            continue;
        }
        failures.push(Failure {
            check: Check::Schema,
            seq: None,
            detail: format!("the {} `{}` {what}", object.kind, object.name),
            affected: "what this object contains or protects".to_owned(),
        });
    }
    failures.extend(foreign_cursors(connection)?);
    let mut ours: BTreeSet<(&str, &str)> =
        expected.iter().map(|object| (object.kind.as_str(), object.name.as_str())).collect();
    ours.insert(("table", tables::LEFT_OUT));
    Ok(found
        .into_iter()
        .filter(|object| !ours.contains(&(object.kind.as_str(), object.name.as_str())))
        .map(|object| shortened(format!("{} {}", object.kind, object.name)))
        .collect())
}

/// An item that only one of two lists has.
struct Difference<T> {
    item: T,
    /// True if the table has it and the log does not.
    in_table: bool,
}

/// The smallest difference between the rows of a query, in their order, and a set. The table can have any
/// number of rows, so none of them is kept.
fn first_difference<T: Ord + Clone>(
    connection: &Connection,
    sql: &str,
    expected: &BTreeSet<T>,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Option<Difference<T>>> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    for wanted in expected {
        let missing = || Some(Difference { item: wanted.clone(), in_table: false });
        let Some(row) = rows.next()? else { return Ok(missing()) };
        let found = read(row)?;
        // Both sides ascend, so the smaller item of an unequal pair is missing on the other side.
        match found.cmp(wanted) {
            Ordering::Less => return Ok(Some(Difference { item: found, in_table: true })),
            Ordering::Equal => {}
            Ordering::Greater => return Ok(missing()),
        }
    }
    let more = rows.next()?.map(&read).transpose()?;
    Ok(more.map(|item| Difference { item, in_table: true }))
}

/// Compares the table `redactions`, which the trigger reads, with the licences in the log.
pub(super) fn check_redactions(
    connection: &Connection,
    walk: &Walk,
    failures: &mut Vec<Failure>,
) -> rusqlite::Result<()> {
    // After a bad row the walk collects no more licences, so the list to compare with is not complete.
    if walk.failure.is_some() {
        return Ok(());
    }
    // A value that is no integer cannot be compared with a seq, so it fails first, and without a seq.
    let others = "SELECT count(*) FROM redactions NOT INDEXED WHERE typeof(seq) <> 'integer'";
    if connection.query_row(others, [], |row| row.get::<_, i64>(0))? > 0 {
        failures.push(Failure {
            check: Check::Redaction,
            seq: None,
            detail: "the table `redactions` has a value that is not a sequence number".to_owned(),
            affected: "the protection of the log against changes".to_owned(),
        });
        return Ok(());
    }
    let licensed = walk.redactions.iter().flat_map(|redaction| &redaction.seqs);
    let licensed: BTreeSet<i64> = licensed.map(|seq| Seq::new(*seq).to_sql()).collect();
    let sql = "SELECT DISTINCT seq FROM redactions NOT INDEXED ORDER BY seq";
    let different = first_difference(connection, sql, &licensed, |row| row.get(0))?;
    if let Some(Difference { item: seq, in_table }) = different {
        failures.push(Failure {
            check: Check::Redaction,
            seq: Some(RowSeq::of_row(seq)),
            detail: if in_table {
                format!("the table `redactions` names event {seq}, but no event records its redaction")
            } else {
                format!(
                    "the table `redactions` does not name event {seq}, but an event records its redaction"
                )
            },
            affected: "the protection of the log against changes".to_owned(),
        });
    }
    Ok(())
}

/// Rows of `projections` that no version of Annals writes. With such a row, the check of the read tables
/// would skip its tables.
fn foreign_cursors(connection: &Connection) -> rusqlite::Result<Vec<Failure>> {
    // A missing table is among the failures already.
    let sql = format!(
        "SELECT {}, {}, {}, {} FROM projections",
        shown_column("name"),
        shown_column("stage"),
        integer_column("version"),
        integer_column("generation")
    );
    let Ok(mut statement) = connection.prepare(&sql) else { return Ok(Vec::new()) };
    let mut rows = statement.query([])?;
    let (mut failures, mut more) = (Vec::new(), 0_u64);
    while let Some(row) = rows.next()? {
        let (name, stage): (String, String) = (row.get(0)?, row.get(1)?);
        let (version, generation): (i64, i64) = (row.get(2)?, row.get(3)?);
        let is_known = PROJECTIONS.iter().any(|projection| projection.name == name);
        // A row with negative numbers cannot be read as a cursor, and is reported where cursors are read.
        if is_known && version != 0 && generation != 0 {
            continue;
        }
        // The file decides how many there are. Memory must not depend on that, so the rest is only counted.
        if failures.len() == LISTED_MAX {
            more += 1;
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
    if more > 0 {
        failures.push(Failure {
            check: Check::Schema,
            seq: None,
            detail: format!("`projections` has {more} more such rows"),
            affected: "the check of the read tables".to_owned(),
        });
    }
    Ok(failures)
}

/// Compares the list of skipped events with the events that record the skips.
pub(super) fn check_skips(
    connection: &Connection,
    walk: &Walk,
    failures: &mut Vec<Failure>,
) -> rusqlite::Result<()> {
    if walk.failure.is_some() {
        return Ok(());
    }
    let recorded: BTreeSet<(Option<String>, i64, i64)> = walk
        .skips
        .iter()
        .map(|(projection, version, seq)| (projection.clone(), i64::from(*version), Seq::new(*seq).to_sql()))
        .collect();
    // Another text stands for a name that is too long. In `recorded` None stands for it, so the two always
    // differ.
    let sql = format!(
        "SELECT {}, {}, {} FROM projection_skips ORDER BY projection, version, seq",
        shown_column("projection"),
        integer_column("version"),
        integer_column("seq")
    );
    let different = first_difference(connection, &sql, &recorded, |row| {
        Ok((Some(row.get(0)?), row.get(1)?, row.get(2)?))
    })?;
    if let Some(Difference { item: (projection, _, seq), .. }) = different {
        let projection = projection.unwrap_or_else(|| "a name that is too long".to_owned());
        failures.push(Failure {
            check: Check::Skips,
            seq: Some(RowSeq::of_row(seq)),
            detail: format!(
                "the table `projection_skips` and the log differ about `{projection}` and event {seq}"
            ),
            affected: format!("the read tables of `{projection}`"),
        });
    }
    Ok(())
}

/// Compares the list of events about API keys, from which a server learns which keys to accept, with the log.
/// A file with an earlier schema has no such list.
pub(super) fn check_api_keys(
    connection: &Connection,
    walk: &Walk,
    failures: &mut Vec<Failure>,
) -> rusqlite::Result<()> {
    if walk.failure.is_some() {
        return Ok(());
    }
    let recorded: BTreeSet<i64> = walk.api_keys.iter().map(|seq| Seq::new(*seq).to_sql()).collect();
    let different = if schema::has_table(connection, "api_key_events")? {
        let sql = "SELECT seq FROM api_key_events ORDER BY seq";
        first_difference(connection, sql, &recorded, |row| row.get(0))?
    } else {
        recorded.first().map(|seq| Difference { item: *seq, in_table: false })
    };
    if let Some(Difference { item: seq, in_table }) = different {
        failures.push(Failure {
            check: Check::ApiKeys,
            seq: Some(RowSeq::of_row(seq)),
            detail: if in_table {
                format!("the table `api_key_events` names event {seq}, which is not about an API key")
            } else {
                format!("the table `api_key_events` does not name event {seq}, which is about an API key")
            },
            affected: "the API keys that a server accepts".to_owned(),
        });
    }
    Ok(())
}
