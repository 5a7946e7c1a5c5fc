//! Read tables follow the log exactly once, stop where they must, and are made anew unseen.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::{beside, json, new_path, note, sqlite, verify, verify_whole};
use annals::chain;
use annals::entry::Entry;
use annals::verify::Outcome;
use annals::{
    AuditLog, CatchUpError, CloseError, Digest, Draft, EventId, Kind, ProjectionError, Projections,
    RedactionRequest, Seq, SkipRequest, Timestamp,
};
use rusqlite::params;

/// How long anything here may take at most: a test that hangs says so.
const PATIENCE: Duration = Duration::from_secs(600);

/// Every projection.
const PROJECTIONS: [&str; 4] = ["sessions", "activity", "search", "keys"];

fn append(log: &AuditLog, draft: Draft) -> Seq {
    log.append(draft).unwrap().wait().unwrap().seq
}

fn count(path: &Path, table: &str) -> u32 {
    sqlite(path).query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

/// Waits until something holds.
#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A read table that refuses one note.
const REFUSE: &str = "CREATE TRIGGER refuse BEFORE INSERT ON notes WHEN NEW.message = 'refused'
     BEGIN SELECT RAISE(ABORT, 'not this one'); END";

/// Appends three notes of which the second is refused, and returns its place.
fn with_refused_note(log: &AuditLog, path: &Path) -> Seq {
    sqlite(path).execute_batch(REFUSE).unwrap();
    append(log, note("before"));
    let refused = append(log, note("refused"));
    append(log, note("after"));
    refused
}

#[track_caller]
fn assert_stopped(result: Result<(), CatchUpError>, at: Seq, why: &str) {
    match result {
        Err(CatchUpError::Stopped { position, reason, .. }) => {
            assert_eq!(position.next(), at);
            assert!(reason.contains(&format!("event {at} ")) && reason.contains(why), "{reason}");
        }
        result => panic!("{result:?}"),
    }
}

#[test]
fn a_projection_that_cannot_apply_an_event_stops_alone_and_says_why() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let refused = with_refused_note(&log, &path);
    assert_stopped(log.wait_caught_up_within(log.committed(), PATIENCE), refused, "not this one");
    let rows: Vec<(String, u64, Option<u64>)> = sqlite(&path)
        .prepare("SELECT name, position, stopped_at FROM projections ORDER BY name")
        .unwrap()
        .query_map([], |row| {
            Ok((
                row.get(0)?,
                row.get::<_, i64>(1)?.try_into().unwrap(),
                row.get::<_, Option<i64>>(2)?.map(|seq| seq.try_into().unwrap()),
            ))
        })
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let head = log.committed().get();
    assert_eq!(
        rows,
        [
            ("activity".to_owned(), refused.get() - 1, Some(refused.get())),
            ("keys".to_owned(), head, None),
            ("search".to_owned(), head, None),
            ("sessions".to_owned(), head, None),
        ]
    );
    // What came before it in the same batch is there.
    assert_eq!(count(&path, "notes"), 1);
    assert!(matches!(
        log.close(),
        Err(CloseError::CatchUp(CatchUpError::Stopped { projection: "activity", .. }))
    ));
    let report = verify_whole(&path);
    assert_eq!(report.completeness.projections_behind, ["activity"]);
    assert!(report.tables[1].stopped.as_deref().unwrap().contains("not this one"));
}

#[test]
fn a_stopped_projection_stays_stopped_until_it_is_told_to_try_again() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let refused = with_refused_note(&log, &path);
    assert!(log.wait_caught_up_within(log.committed(), PATIENCE).is_err());
    log.retry("activity").unwrap();
    assert_stopped(log.wait_caught_up_within(log.committed(), PATIENCE), refused, "not this one");
    drop(log);
    let log = AuditLog::open(&path).unwrap();
    sqlite(&path).execute_batch("DROP TRIGGER refuse").unwrap();
    assert_stopped(log.wait_caught_up_within(log.committed(), PATIENCE), refused, "not this one");
    log.retry("activity").unwrap();
    eventually("it goes on", || count(&path, "notes") == 3);
    log.wait_caught_up_within(log.committed(), PATIENCE).unwrap();
    assert!(matches!(log.retry("activity"), Err(ProjectionError::NotStopped { name: "activity" })));
    assert!(matches!(
        log.skip(SkipRequest { projection: "activity".into(), actor: "a".into(), reason: "r".into() }),
        Err(ProjectionError::NotStopped { name: "activity" })
    ));
    assert!(matches!(log.retry("nothing"), Err(ProjectionError::Unknown { .. })));
    log.close().unwrap();
    verify_whole(&path);
}

#[test]
fn a_skip_is_an_event_and_a_rebuild_honours_it() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let refused = with_refused_note(&log, &path);
    assert!(log.wait_caught_up_within(log.committed(), PATIENCE).is_err());
    let skipped = log
        .skip(SkipRequest { projection: "activity".into(), actor: "ann".into(), reason: "a bad row".into() })
        .unwrap();
    eventually("it goes on", || log.wait_caught_up_within(skipped.seq, PATIENCE).is_ok());
    let messages = |path: &Path| -> Vec<String> {
        sqlite(path)
            .prepare("SELECT message FROM notes ORDER BY seq")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap()
    };
    assert_eq!(messages(&path), ["before", "after"]);
    sqlite(&path).execute_batch("DROP TRIGGER refuse").unwrap();
    log.rebuild("activity").unwrap();
    log.close().unwrap();
    assert_eq!(messages(&path), ["before", "after"]);
    assert_eq!(generation(&path, "activity"), 2);
    let report = verify_whole(&path);
    assert_eq!(report.completeness.skips, 1);
    assert!(!report.completeness.complete);
    // The others did not skip it.
    let (kind, subject): (String, Option<String>) = sqlite(&path)
        .query_row(
            "SELECT kind, subject_id FROM timeline WHERE seq = ?1",
            [skipped.seq.get().cast_signed()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
    assert_eq!((kind.as_str(), subject.as_deref()), ("projection.skipped", Some("activity")));
    assert_eq!(count(&path, &format!("search_documents WHERE seq = {refused}")), 1);
}

#[test]
fn a_redaction_cannot_be_skipped() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let secret = append(&log, note("secret"));
    log.wait_caught_up_within(secret, PATIENCE).unwrap();
    sqlite(&path)
        .execute_batch("CREATE TRIGGER keep BEFORE DELETE ON notes BEGIN SELECT RAISE(ABORT, 'kept'); END")
        .unwrap();
    let redaction = log
        .redact(RedactionRequest {
            seqs: vec![secret],
            actor: "a".into(),
            reason: "r".into(),
            ..Default::default()
        })
        .unwrap()
        .seq;
    assert_stopped(log.wait_caught_up_within(redaction, PATIENCE), redaction, "kept");
    match log.skip(SkipRequest { projection: "activity".into(), actor: "a".into(), reason: "r".into() }) {
        Err(ProjectionError::NotSkippable { seq, .. }) => assert_eq!(seq, redaction),
        result => panic!("{result:?}"),
    }
    // The rows of a rebuild never had it.
    sqlite(&path).execute_batch("DROP TRIGGER keep").unwrap();
    log.rebuild("activity").unwrap();
    log.close().unwrap();
    assert_eq!(count(&path, "notes"), 0);
    verify_whole(&path);
}

#[test]
fn a_table_that_is_gone_stops_its_projection_and_a_rebuild_makes_it_again() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    append(&log, note("one"));
    log.wait_caught_up_within(log.committed(), PATIENCE).unwrap();
    sqlite(&path).execute_batch("DROP TABLE notes").unwrap();
    let two = append(&log, note("two"));
    assert_stopped(log.wait_caught_up_within(two, PATIENCE), two, "no such table");
    log.rebuild("activity").unwrap();
    log.close().unwrap();
    assert_eq!(count(&path, "notes"), 2);
    verify_whole(&path);
}

#[test]
fn a_damaged_index_stops_its_projection_and_a_rebuild_makes_it_again() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    append(&log, note("one"));
    log.wait_caught_up_within(log.committed(), PATIENCE).unwrap();
    sqlite(&path).execute_batch("UPDATE search_data SET block = zeroblob(20)").unwrap();
    let two = append(&log, note("two"));
    assert_stopped(log.wait_caught_up_within(two, PATIENCE), two, "");
    log.rebuild("search").unwrap();
    log.close().unwrap();
    assert_eq!(count(&path, "search WHERE search MATCH 'two'"), 1);
    verify_whole(&path);
}

fn generation(path: &Path, projection: &str) -> u32 {
    sqlite(path)
        .query_row(
            "SELECT generation FROM projections WHERE name = ?1 AND stage = 'live'",
            [projection],
            |row| row.get(0),
        )
        .unwrap()
}

#[test]
fn readers_never_see_half_a_table_while_it_is_rebuilt_and_appended_to() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let event = |n: u32| {
        json(&format!(
            r#"{{"type":"step.started","session":"s{}","step":"{n}","input":"some words to find"}}"#,
            n % 7
        ))
    };
    for n in 0..3_000 {
        drop(log.append(event(n)).unwrap());
    }
    log.wait_caught_up_within(log.flush().unwrap(), PATIENCE).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let reader = {
        let (path, done) = (path.clone(), done.clone());
        std::thread::Builder::new()
            .spawn(move || {
                let connection = sqlite(&path);
                let look = || -> [u32; 4] {
                    connection
                        .query_row(
                            "SELECT (SELECT count(*) FROM steps), (SELECT count(*) FROM timeline),
                                    (SELECT count(*) FROM search_documents),
                                    (SELECT count(*) FROM search WHERE search MATCH 'words')",
                            [],
                            |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?]),
                        )
                        .unwrap()
                };
                let (mut before, mut looks) = (look(), 0);
                while !done.load(Ordering::Relaxed) {
                    let now = look();
                    assert!(before.iter().zip(now).all(|(before, now)| *before <= now), "{before:?} {now:?}");
                    before = now;
                    looks += 1;
                }
                looks
            })
            .unwrap()
    };
    for round in 2..=4 {
        for projection in PROJECTIONS {
            log.rebuild(projection).unwrap();
        }
        for n in 0..200 {
            drop(log.append(event(10_000 * round + n)).unwrap());
        }
        log.wait_caught_up_within(log.flush().unwrap(), PATIENCE).unwrap();
        eventually("the rebuilt tables are live", || {
            PROJECTIONS.iter().all(|projection| generation(&path, projection) == round)
        });
    }
    done.store(true, Ordering::Relaxed);
    let looks: u32 = reader.join().unwrap();
    assert!(looks > 0);
    log.close().unwrap();
    assert_eq!(count(&path, "steps"), 3_600);
    verify_whole(&path);
}

#[test]
fn what_users_made_on_read_tables_survives_a_rebuild() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    append(&log, note("one"));
    append(&log, json(r#"{"type":"session.started","session":"s"}"#));
    log.wait_caught_up_within(log.committed(), PATIENCE).unwrap();
    sqlite(&path)
        .execute_batch(
            "CREATE TABLE heard (message TEXT);
             CREATE VIEW loud AS SELECT upper(notes.message) AS message FROM notes JOIN sessions;
             CREATE INDEX mine ON notes (level, message);
             CREATE TRIGGER hear AFTER INSERT ON Notes BEGIN INSERT INTO heard VALUES (NEW.message); END;",
        )
        .unwrap();
    for _ in 0..2 {
        log.rebuild("activity").unwrap();
        log.rebuild("sessions").unwrap();
        append(&log, note("more"));
        // Who waits for the tables waits for the live ones: a rebuild before this one's end would take its place.
        eventually("the rebuilds end", || count(&path, "projections WHERE stage = 'building'") == 0);
    }
    let head = append(&log, note("two"));
    log.wait_caught_up_within(head, PATIENCE).unwrap();
    log.close().unwrap();
    assert_eq!(generation(&path, "activity"), 3);
    assert_eq!(count(&path, "loud WHERE message = 'TWO'"), 1);
    assert_eq!(count(&path, "heard WHERE message = 'two'"), 1);
    assert_eq!(count(&path, "pragma_index_list('notes') WHERE name = 'mine'"), 1);
    let report = verify_whole(&path);
    assert_eq!(report.foreign_objects, ["trigger hear", "table heard", "view loud", "index mine"]);
}

#[test]
fn a_rebuild_that_was_interrupted_goes_on_when_the_log_is_opened_again() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    for n in 0..10 {
        append(&log, note(format!("note {n}")));
    }
    log.close().unwrap();
    let log = AuditLog::builder(&path).projections(Projections::Off).open().unwrap();
    log.rebuild("activity").unwrap();
    log.close().unwrap();
    assert_eq!(count(&path, "projections WHERE stage = 'building'"), 1);
    assert_eq!((count(&path, "notes"), count(&path, "building_notes")), (10, 0));
    verify_whole(&path);
    AuditLog::open(&path).unwrap().close().unwrap();
    assert_eq!(count(&path, "projections WHERE stage = 'building'"), 0);
    assert_eq!((count(&path, "notes"), generation(&path, "activity")), (10, 2));
    verify_whole(&path);
}

#[test]
fn a_rebuild_that_cannot_go_on_leaves_the_live_tables_at_work() {
    let (_folder, path) = new_path();
    let log = AuditLog::builder(&path).projections(Projections::Off).open().unwrap();
    append(&log, note("refused"));
    log.rebuild("activity").unwrap();
    sqlite(&path).execute_batch(&REFUSE.replace("ON notes", "ON building_notes")).unwrap();
    log.close().unwrap();
    let log = AuditLog::open(&path).unwrap();
    eventually("the rebuild stops", || {
        count(&path, "projections WHERE stage = 'building' AND stopped_at = 2") == 1
    });
    let head = append(&log, note("more"));
    log.wait_caught_up_within(head, PATIENCE).unwrap();
    match log.wait_caught_up_within(head.next(), Duration::ZERO) {
        Err(CatchUpError::TimedOut { .. }) => {}
        result => panic!("{result:?}"),
    }
    sqlite(&path).execute_batch("DROP TRIGGER refuse").unwrap();
    log.retry("activity").unwrap();
    log.close().unwrap();
    assert_eq!((count(&path, "notes"), generation(&path, "activity")), (2, 2));
    verify_whole(&path);
}

#[test]
fn tables_of_an_older_version_are_rebuilt() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    append(&log, note("one"));
    log.close().unwrap();
    sqlite(&path).execute_batch("UPDATE projections SET version = 0; DELETE FROM notes").unwrap();
    AuditLog::open(&path).unwrap().close().unwrap();
    assert_eq!(count(&path, "projections WHERE version > 0 AND generation = 2 AND stage = 'live'"), 4);
    assert_eq!(count(&path, "notes"), 1);
    verify_whole(&path);
}

#[test]
fn who_waits_for_tables_of_an_older_version_hears_that_their_rebuild_stopped() {
    let (_folder, path) = new_path();
    let log = AuditLog::builder(&path).projections(Projections::Off).open().unwrap();
    append(&log, note("refused"));
    log.rebuild("activity").unwrap();
    sqlite(&path)
        .execute_batch(&format!(
            "{}; UPDATE projections SET version = 0 WHERE name = 'activity' AND stage = 'live'",
            REFUSE.replace("ON notes", "ON building_notes")
        ))
        .unwrap();
    log.close().unwrap();
    let log = AuditLog::open(&path).unwrap();
    match log.wait_caught_up_within(log.committed(), PATIENCE) {
        Err(CatchUpError::Stopped { projection: "activity", reason, .. }) => {
            assert!(reason.contains("rebuild stopped") && reason.contains("not this one"), "{reason}");
        }
        result => panic!("{result:?}"),
    }
}

#[test]
fn tables_of_a_newer_version_are_left_alone_and_the_reason_is_clear() {
    let (_folder, path) = new_path();
    AuditLog::open(&path).unwrap().close().unwrap();
    sqlite(&path).execute_batch("UPDATE projections SET version = 99 WHERE name = 'activity'").unwrap();
    let log = AuditLog::open(&path).unwrap();
    let one = append(&log, note("one"));
    match log.wait_caught_up_within(one, PATIENCE) {
        Err(CatchUpError::Stopped { projection: "activity", reason, .. }) => {
            assert!(reason.contains("version 99") && reason.contains("use the newer"), "{reason}");
        }
        result => panic!("{result:?}"),
    }
    assert_eq!((count(&path, "notes"), count(&path, "timeline")), (0, 2));
    drop(log);
    let report = verify(&path);
    assert_eq!(report.outcome, Outcome::NotAllChecked, "{:?}", report.failures);
    assert!(report.tables[1].not_checked.as_deref().unwrap().contains("version 99"));
}

#[test]
fn two_processes_fold_every_event_exactly_once() {
    let (_folder, path) = new_path();
    let logs = [AuditLog::open(&path).unwrap(), AuditLog::builder(&path).batch_events(3).open().unwrap()];
    std::thread::scope(|scope| {
        for (place, log) in logs.iter().enumerate() {
            scope.spawn(move || {
                for n in 0..300 {
                    // The same steps from both: what one ends the other may have started.
                    let step = n % 50;
                    drop(log.append(json(&format!(
                        r#"{{"type":"step.started","session":"s","step":"{step}","kind":"llm","module":"{place}"}}"#
                    ))));
                    drop(log.append(json(&format!(
                        r#"{{"type":"step.ended","session":"s","step":"{step}","status":"ok","tokens_input":{n},"cost_usd":0.1}}"#
                    ))));
                }
                log.flush().unwrap();
            });
        }
    });
    for log in logs {
        // Each process hears of what the other one folded.
        log.wait_caught_up_within(Seq::new(1_201), PATIENCE).unwrap();
        log.close().unwrap();
    }
    let (events, steps): (u32, u32) = sqlite(&path)
        .query_row("SELECT event_count, step_count FROM sessions", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert_eq!((events, steps, count(&path, "timeline")), (1_200, 50, 1_201));
    verify_whole(&path);
}

#[test]
fn rows_that_somebody_else_changed_are_read_again() {
    let (_folder, path) = new_path();
    let logs = [AuditLog::open(&path).unwrap(), AuditLog::open(&path).unwrap()];
    for n in 0..120 {
        let log = &logs[n % 2];
        let (kind, step) = if n % 4 < 2 { ("step.started", n % 4) } else { ("step.ended", n % 4 - 2) };
        let status = if kind == "step.ended" { r#","status":"ok","tokens_output":7"# } else { "" };
        let step = format!("{}-{step}", n / 4);
        let seq = append(
            log,
            json(&format!(r#"{{"type":"{kind}","session":"s","step":"{step}","kind":"llm"{status}}}"#)),
        );
        log.wait_caught_up_within(seq, PATIENCE).unwrap();
    }
    let (events, steps, tokens): (u32, u32, u32) = sqlite(&path)
        .query_row("SELECT event_count, step_count, tokens_output FROM sessions", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .unwrap();
    assert_eq!((events, steps, tokens), (120, 60, 60 * 7));
    drop(logs);
    verify_whole(&path);
}

#[test]
fn tables_that_are_far_behind_are_filled_as_those_that_follow() {
    const EVENTS: u64 = 9_000;
    let (_folder, path) = new_path();
    let log = AuditLog::builder(&path).projections(Projections::Off).open().unwrap();
    let fill = |from: u64| {
        for n in from..from + EVENTS {
            // Sessions that run side by side, steps that are long under way, and some that never end.
            let (session, step) = (n % 7, n / 50);
            let event = match n % 3 {
                0 => format!(r#""step.started","step":"{step}","module":"m{}","input":"in {n}""#, n % 5),
                1 => format!(r#""step.ended","step":"{step}","status":"ok","output":"out {n}""#),
                _ => format!(r#""decision.made","decision":"{step}","chosen_option":"{n}""#),
            };
            drop(log.append(json(&format!(r#"{{"session":"s{session}","type":{event}}}"#))));
        }
        log.flush().unwrap();
    };
    fill(0);
    log.redact(RedactionRequest {
        seqs: vec![Seq::new(4_000), Seq::new(8_000)],
        actor: "me".into(),
        reason: "a request".into(),
        ..Default::default()
    })
    .unwrap();
    fill(EVENTS);
    log.close().unwrap();
    let log = AuditLog::open(&path).unwrap();
    log.wait_caught_up_within(log.committed(), PATIENCE).unwrap();
    log.close().unwrap();
    assert_eq!(u64::from(count(&path, "timeline")), 2 * EVENTS + 2);
    verify_whole(&path);
}

#[test]
fn who_waits_hears_when_waiting_is_in_vain() {
    let (_folder, path) = new_path();
    let off = AuditLog::builder(&path).projections(Projections::Off).open().unwrap();
    assert_eq!(off.wait_caught_up(Seq::FIRST), Err(CatchUpError::Off));
    off.close().unwrap();
    let log = AuditLog::open(&path).unwrap();
    log.wait_caught_up(Seq::FIRST).unwrap();
    assert!(matches!(
        log.wait_caught_up_within(Seq::new(2), Duration::from_millis(1)),
        Err(CatchUpError::TimedOut { position: Seq::FIRST, .. })
    ));
    let clone = log.clone();
    log.close().unwrap();
    assert!(matches!(clone.wait_caught_up(Seq::new(2)), Err(CatchUpError::Gone(_))));
    clone.wait_caught_up(Seq::FIRST).unwrap();
}

#[test]
fn tables_that_are_ahead_of_a_cut_off_log_stop_and_a_rebuild_mends_them() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    for n in 0..4 {
        append(&log, note(format!("note {n}")));
    }
    log.close().unwrap();
    let connection = sqlite(&path);
    let trigger: String = connection
        .query_row("SELECT sql FROM sqlite_schema WHERE name = 'log_rows_stay'", [], |row| row.get(0))
        .unwrap();
    connection
        .execute_batch(&format!("DROP TRIGGER log_rows_stay; DELETE FROM log WHERE seq > 3; {trigger}"))
        .unwrap();
    drop(connection);
    let log = AuditLog::open(&path).unwrap();
    // What takes the place of the lost events is not taken for them.
    for n in 0..4 {
        append(&log, note(format!("other {n}")));
    }
    assert_stopped(log.wait_caught_up_within(log.committed(), PATIENCE), Seq::new(4), "cut off");
    for projection in PROJECTIONS {
        log.rebuild(projection).unwrap();
    }
    log.close().unwrap();
    assert_eq!(count(&path, "notes WHERE message LIKE 'other%'"), 4);
    verify_whole(&path);
}

#[test]
fn what_was_put_in_the_place_of_a_log_is_not_folded_into_its_tables() {
    let (folder, path) = new_path();
    let (_folder, other) = new_path();
    let fill = |path: &Path, events: u64, says: &str| {
        let log = AuditLog::builder(path).projections(Projections::Off).open().unwrap();
        for n in 0..events {
            drop(log.append(note(format!("{says} {n}"))));
        }
        log.flush().unwrap();
        log
    };
    fill(&other, 2_000, "foreign").close().unwrap();
    let log = AuditLog::open(&path).unwrap();
    let secret = append(&log, note("secret"));
    log.wait_caught_up_within(secret, PATIENCE).unwrap();
    let moved = folder.path().join("moved.db");
    for ending in ["", "-wal", "-shm"] {
        std::fs::rename(beside(&path, ending), beside(&moved, ending)).unwrap();
    }
    std::fs::rename(&other, &path).unwrap();
    // What is erased ends the folding ahead: it begins anew with the events after it.
    let appends = AuditLog::builder(&moved).projections(Projections::Off).open().unwrap();
    appends
        .redact(RedactionRequest {
            seqs: vec![secret],
            actor: "me".into(),
            reason: "a request".into(),
            ..Default::default()
        })
        .unwrap();
    appends.close().unwrap();
    fill(&moved, 1_200, "own").close().unwrap();
    // A handle writes to the log at its path, or to none.
    drop(log);
    assert_eq!(count(&path, "notes"), 0);
    let log = AuditLog::open(&moved).unwrap();
    log.wait_caught_up_within(log.committed(), PATIENCE).unwrap();
    assert_eq!(count(&moved, "notes"), 1_200);
    assert_eq!(count(&moved, "notes WHERE message LIKE 'own%'"), 1_200);
    log.close().unwrap();
    verify_whole(&moved);
}

/// Appends an event as another version of Annals would.
fn append_foreign(path: &Path, kind: u16, kind_version: u8, session: Option<&str>) -> Seq {
    let connection = sqlite(path);
    let (head, hash): (i64, Vec<u8>) = connection
        .query_row("SELECT seq, hash FROM log ORDER BY seq DESC LIMIT 1", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    let cell = b"0123456789abcdefsomething new";
    let seq = u64::try_from(head).unwrap() + 1;
    let entry = Entry {
        format: 1,
        seq,
        event_id: EventId::generate(),
        kind,
        kind_version,
        session: session.map(|session| session.try_into().unwrap()),
        occurred_at: None,
        recorded_at: Timestamp::now(),
        principal: None,
        encoding: 0,
        payload_digest: chain::payload_digest(cell),
    };
    let mut bytes = Vec::new();
    entry.encode(&mut bytes).unwrap();
    let link = chain::link(&Digest::from_bytes(hash.try_into().unwrap()), &bytes);
    connection
        .execute(
            "INSERT INTO log VALUES (?1, ?2, ?3, ?4, ?5)",
            params![head + 1, entry.event_id.bytes(), bytes, cell, link.bytes()],
        )
        .unwrap();
    Seq::new(seq)
}

#[test]
fn an_event_of_an_unknown_kind_stands_in_the_timeline_and_counts() {
    let (_folder, path) = new_path();
    AuditLog::open(&path).unwrap().close().unwrap();
    let seq = append_foreign(&path, 30_000, 1, Some("s"));
    let log = AuditLog::open(&path).unwrap();
    log.wait_caught_up_within(seq, PATIENCE).unwrap();
    append(&log, note("after"));
    log.close().unwrap();
    let (kind, session, events): (String, String, u32) = sqlite(&path)
        .query_row(
            "SELECT kind, session_id, event_count FROM timeline JOIN sessions ON sessions.id = session_id",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .unwrap();
    assert_eq!((kind.as_str(), session.as_str(), events), ("kind-30000", "s", 1));
    verify_whole(&path);
}

#[test]
fn an_event_of_a_newer_version_stops_the_projections_with_a_clear_reason() {
    let (_folder, path) = new_path();
    AuditLog::open(&path).unwrap().close().unwrap();
    let seq = append_foreign(&path, Kind::NoteLogged.code(), 2, None);
    let log = AuditLog::open(&path).unwrap();
    let head = append(&log, note("after"));
    assert_stopped(log.wait_caught_up_within(head, PATIENCE), seq, "newer than this version of Annals knows");
    assert!(log.close().is_err());
    let report = verify_whole(&path);
    assert!(!report.completeness.complete);
    assert_eq!(report.tables.iter().filter(|tables| tables.stopped.is_some()).count(), PROJECTIONS.len());
}

/// Everything that a program can read of the read tables and the search, as text.
fn everything(path: &Path) -> String {
    let connection = sqlite(path);
    let mut text = String::new();
    let mut dump = |table: &str| {
        let mut statement = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for column in 0..columns {
                text.push_str(&format!("{:?}\n", row.get_ref(column).unwrap()));
                if let Ok(cell) = row.get_ref(column).unwrap().as_bytes() {
                    text.push_str(&String::from_utf8_lossy(cell));
                }
            }
        }
    };
    let tables: Vec<String> = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    tables.iter().for_each(|table| dump(table));
    text
}

/// Whether a file, or one beside it, has these bytes anywhere.
fn bytes_have(path: &Path, what: &str) -> bool {
    ["", "-wal", "-shm"].iter().any(|ending| {
        std::fs::read(beside(path, ending)).is_ok_and(|bytes| {
            bytes.windows(what.len()).any(|window| window.eq_ignore_ascii_case(what.as_bytes()))
        })
    })
}

/// The word that nobody may find.
const SECRET: &str = "Xylosecretophone";

/// Events of every kind, each with the secret in every field that can hold it.
fn secret_events() -> Vec<Draft> {
    // Longer than a page, so that it flows over, and long enough to be moved about.
    let long = format!("{SECRET} ").repeat(1_200);
    let mut drafts = Vec::new();
    for n in 0..3 {
        let s = format!(r#""session":"s{n}""#);
        drafts.extend([
            format!(r#"{{"type":"session.started",{s},"profile":"{SECRET}","input":"{long}","input_hash":"{SECRET}","conversation":"{SECRET}","parent_session":"{SECRET}","agent":"{SECRET}","agent_version":"{SECRET}","model":"{SECRET}","source":"{SECRET}","tenant":"{SECRET}","labels":{{"{SECRET}":"{SECRET}"}},"x{SECRET}":1}}"#),
            format!(r#"{{"type":"step.started",{s},"step":"{SECRET}","parent_step":"{SECRET}","module":"{SECRET}","model":"{SECRET}","input":"{long}","input_summary":"{SECRET}","x":"{SECRET}"}}"#),
            format!(r#"{{"type":"session.updated",{s},"message":"{SECRET}","x":"{SECRET}"}}"#),
            format!(r#"{{"type":"step.ended",{s},"step":"{SECRET}","status":"error","output":"{long}","output_summary":"{SECRET}","error":"{SECRET}","tokens_input":5,"x":"{SECRET}"}}"#),
            format!(r#"{{"type":"decision.made",{s},"decision":"{SECRET}","step":"{SECRET}","decision_type":"{SECRET}","options_considered":[{{"option":"{SECRET}","x":"{SECRET}"}}],"chosen_options":["{SECRET}"],"rationale":"{long}","actor":"{SECRET}"}}"#),
            format!(r#"{{"type":"finding.raised",{s},"finding":"{SECRET}","step":"{SECRET}","category":"{SECRET}","pattern_type":"{SECRET}","title":"{SECRET}","description":"{long}","plain_english":"{SECRET}","suggestion":"{SECRET}","legal_source":"{SECRET}","evidence":{{"e":"{SECRET}"}},"scope":"{SECRET}","rule_version":"{SECRET}"}}"#),
            format!(r#"{{"type":"finding.updated",{s},"finding":"{SECRET}","status":"applied","actor":"{SECRET}","reason":"{SECRET}","correction":{{"original":"{SECRET}","corrected":"{long}","strategy":"{SECRET}"}}}}"#),
            format!(r#"{{"type":"review.recorded",{s},"review":"{SECRET}","actor":"{SECRET}","subject_kind":"finding","subject_id":"{SECRET}","verdict":"approved","reason":"{SECRET}"}}"#),
            format!(r#"{{"type":"artifact.attached",{s},"artifact":"{}","step":"{SECRET}","label":"{SECRET}","media_type":"{SECRET}"}}"#, "ab".repeat(32)),
            format!(r#"{{"type":"metric.recorded",{s},"name":"{SECRET}","value":1,"unit":"{SECRET}","labels":{{"{SECRET}":"{SECRET}"}}}}"#),
            format!(r#"{{"type":"note.logged","step":"{SECRET}","level":"{SECRET}","message":"{long}","data":{{"{SECRET}":"{SECRET}"}}}}"#),
            format!(r#"{{"type":"action.recorded","actor":{{"id":"{SECRET}","kind":"{SECRET}"}},"action":"{SECRET}","entity_type":"{SECRET}","entity_id":"{SECRET}","reason":"{SECRET}","changes":{{"before":"{SECRET}","after":["{SECRET}"]}},"context":{{"ip":"{SECRET}","user_agent":"{SECRET}","request_id":"{SECRET}"}},"tenant":"{SECRET}"}}"#),
            format!(r#"{{"type":"custom",{s},"name":"{SECRET}","data":"{SECRET}"}}"#),
            format!(r#"{{"type":"session.ended",{s},"status":"failed","summary":"{long}","error":"{SECRET}","scores":{{"{SECRET}":1}}}}"#),
        ].iter().map(|text| json(text)));
    }
    drafts
}

#[test]
fn what_is_redacted_is_gone_from_every_table_the_index_and_the_bytes_of_the_file() {
    let (_folder, path) = new_path();
    let log = AuditLog::builder(&path).batch_events(4).open().unwrap();
    let mut secrets = Vec::new();
    // Among other events, in batches of their own: rows are rewritten and the index is merged.
    for draft in secret_events() {
        append(&log, json(r#"{"type":"step.started","session":"s0","step":"plain","input":"some words"}"#));
        let secret = append(&log, draft);
        if secrets.len() % 5 == 0 {
            log.wait_caught_up_within(secret, PATIENCE).unwrap();
        }
        secrets.push(secret);
        append(&log, note(format!("note after {secret} with enough words to grow the index ").repeat(30)));
    }
    log.wait_caught_up_within(log.committed(), PATIENCE).unwrap();
    // Old tables leave free pages behind.
    for projection in PROJECTIONS {
        log.rebuild(projection).unwrap();
    }
    eventually("the tables are rebuilt", || {
        count(&path, "projections WHERE generation = 2 AND stage = 'live'") == 4
    });
    assert!(everything(&path).contains(SECRET) && bytes_have(&path, SECRET));
    assert!(count(&path, &format!("search WHERE search MATCH '{SECRET}'")) > 0);

    let (first, rest) = secrets.split_at(secrets.len() / 2);
    log.redact(RedactionRequest {
        seqs: first.to_vec(),
        actor: "ann".into(),
        reason: "asked for".into(),
        authority: Some("law".into()),
    })
    .unwrap();
    let last = log
        .redact(RedactionRequest {
            seqs: rest.to_vec(),
            actor: "ann".into(),
            reason: "asked for".into(),
            ..Default::default()
        })
        .unwrap()
        .seq;
    log.wait_caught_up_within(last, PATIENCE).unwrap();
    assert!(!everything(&path).to_lowercase().contains(&SECRET.to_lowercase()));
    assert_eq!(count(&path, &format!("search WHERE search MATCH '{SECRET}'")), 0);
    log.close().unwrap();
    assert!(!bytes_have(&path, SECRET));

    let counts: [u32; 5] = sqlite(&path)
        .query_row(
            "SELECT event_count, redacted_count, step_count, decision_count, error_count FROM sessions WHERE id = 's0'",
            [],
            |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?]),
        )
        .unwrap();
    // Of the three sessions' events two each have no session.
    assert_eq!(counts, [12 + 42, 12, 1, 0, 0]);
    assert_eq!(count(&path, "timeline WHERE redacted = 1"), 42);
    assert_eq!(count(&path, "timeline WHERE redacted = 1 AND subject_id IS NOT NULL"), 0);
    assert_eq!(count(&path, "sessions WHERE id = 's1' AND status = 'erased' AND input IS NULL"), 1);
    verify_whole(&path);

    // Nor does a rebuild, or a second redaction, bring anything back.
    let log = AuditLog::open(&path).unwrap();
    let before = everything(&path).len();
    log.rebuild("sessions").unwrap();
    log.rebuild("search").unwrap();
    log.redact(RedactionRequest {
        seqs: first.to_vec(),
        actor: "bob".into(),
        reason: "again".into(),
        ..Default::default()
    })
    .unwrap();
    log.close().unwrap();
    assert!(!bytes_have(&path, SECRET));
    assert!(everything(&path).len() > before / 2);
    let report = verify_whole(&path);
    assert_eq!(report.redactions.len(), 3);
}

#[test]
fn a_redaction_takes_back_only_what_the_event_said() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    append(&log, json(r#"{"type":"step.started","session":"s","step":"1","kind":"llm","module":"m"}"#));
    append(
        &log,
        json(
            r#"{"type":"step.ended","session":"s","step":"1","status":"ok","tokens_input":5,"cost_usd":0.5}"#,
        ),
    );
    let second = append(
        &log,
        json(
            r#"{"type":"step.ended","session":"s","step":"1","status":"error","output":"o","tokens_input":7}"#,
        ),
    );
    log.wait_caught_up_within(second, PATIENCE).unwrap();
    let row = |path: &Path| -> (String, Option<String>, i64, i64, f64, i64) {
        sqlite(path)
            .query_row(
                "SELECT steps.status, output, steps.tokens_input, sessions.tokens_input, sessions.cost_usd, error_count
                 FROM steps JOIN sessions ON sessions.id = session_id",
                [],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?)),
            )
            .unwrap()
    };
    assert_eq!(row(&path), ("error".into(), Some("o".into()), 7, 7, 0.5, 1));
    log.redact(RedactionRequest {
        seqs: vec![second],
        actor: "a".into(),
        reason: "r".into(),
        ..Default::default()
    })
    .unwrap();
    log.close().unwrap();
    assert_eq!(row(&path), ("ok".into(), None, 5, 5, 0.5, 0));
    verify_whole(&path);
}

#[test]
fn an_erasure_that_is_not_folded_yet_is_no_failure_and_not_good_either() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let secret = append(&log, note("secret"));
    log.close().unwrap();
    let log = AuditLog::builder(&path).projections(Projections::Off).open().unwrap();
    log.redact(RedactionRequest {
        seqs: vec![secret],
        actor: "a".into(),
        reason: "r".into(),
        ..Default::default()
    })
    .unwrap();
    log.close().unwrap();
    let report = verify(&path);
    assert_eq!(report.outcome, Outcome::NotAllChecked, "{:?}", report.failures);
    let unchecked: Vec<&str> = report.not_checked.iter().map(|part| part.what.as_str()).collect();
    let tables = ["sessions", "activity", "search"].map(|name| format!("the read tables of `{name}`"));
    assert_eq!(unchecked, tables, "none of the keys was erased");
    assert_eq!(report.completeness.projections_behind.len(), PROJECTIONS.len());
    AuditLog::open(&path).unwrap().close().unwrap();
    assert_eq!(count(&path, "notes"), 0);
    assert!(verify_whole(&path).completeness.complete);
}

#[test]
fn a_time_that_no_calendar_has_comes_back_as_it_went() {
    let (_folder, path) = new_path();
    let log = AuditLog::builder(&path).clock(|| Timestamp::from_micros(i64::MAX)).open().unwrap();
    for _ in 0..3 {
        let seq = append(&log, json(r#"{"type":"session.updated","session":"s","progress":0.5}"#));
        // In a batch of its own: the session's row is read again.
        log.wait_caught_up_within(seq, PATIENCE).unwrap();
    }
    log.close().unwrap();
    assert_eq!(count(&path, "sessions WHERE event_count = 3"), 1);
    verify_whole(&path);
}

#[test]
fn processes_that_are_soon_over_leave_few_segments_of_the_index() {
    let (_folder, path) = new_path();
    for number in 0..60 {
        let log = AuditLog::open(&path).unwrap();
        log.append(note(format!("words of process {number}"))).unwrap().wait().unwrap();
        log.close().unwrap();
    }
    // Each has written one.
    let segments: i64 = sqlite(&path)
        .query_row("SELECT count(DISTINCT segid) FROM search_idx", [], |row| row.get(0))
        .unwrap();
    assert!(segments < 40, "{segments}");
    verify_whole(&path);
}
