//! API keys: what makes one good, who hears of it and how soon, and what the log says of them.

#![allow(clippy::string_slice, reason = "a test that cannot go on fails")]

use crate::support;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{new_path, note, sqlite, verify, verify_whole};
use annals::apikey::{ApiKey, ApiKeyStatus, Denied, Keys, Uses};
use annals::apikey::{ApiKeyError, ApiKeyRequest};
use annals::query::EventFilter;
use annals::verify::Check;
use annals::{ApiKeyScope, AuditLog, Content, Durability, EventId, Projections, Reader, Timestamp};
use proptest::prelude::*;

const PATIENCE: Duration = Duration::from_secs(600);

fn request(name: &str, scopes: &[ApiKeyScope]) -> ApiKeyRequest {
    ApiKeyRequest {
        name: name.to_owned(),
        scopes: scopes.to_vec(),
        expires_at: None,
        actor: "ops".to_owned(),
        reason: None,
    }
}

fn create(log: &AuditLog, name: &str) -> ApiKey {
    log.create_api_key(&request(name, &[ApiKeyScope::Emit])).unwrap().0
}

fn now() -> Timestamp {
    Timestamp::now()
}

/// A key with the id of another, and a secret of its own.
fn with_other_secret(key: &ApiKey) -> String {
    let other = ApiKey::generate().unwrap().reveal();
    format!("{}{}", &key.reveal()[..40], &other[40..])
}

/// Waits until a key is refused.
#[track_caller]
fn wait_until_refused(keys: &Keys, key: &ApiKey) {
    let began = Instant::now();
    while keys.check(&key.reveal(), now()).is_ok() {
        assert!(began.elapsed() < PATIENCE, "it is never refused");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(matches!(keys.check(&key.reveal(), now()), Err(Denied::Revoked { .. })));
}

#[test]
fn a_key_is_good_for_its_scopes_and_for_no_other() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let scopes = [ApiKeyScope::Read, ApiKeyScope::Verify, ApiKeyScope::Read];
    let (key, appended) = log.create_api_key(&request("audit", &scopes)).unwrap();
    assert_eq!(key.id(), appended.event_id);

    let keys = Keys::open(&path).unwrap();
    let allowed = keys.check(&key.reveal(), now()).unwrap();
    assert_eq!((allowed.id, allowed.name.as_str()), (key.id(), "audit"));
    assert_eq!(allowed.scopes, scopes[..2]);
    for scope in ApiKeyScope::ALL {
        assert_eq!(allowed.may(*scope), scopes.contains(scope), "{scope}");
    }
    log.close().unwrap();
    verify_whole(&path);
}

#[test]
fn what_is_wrong_with_a_key_is_told_to_who_knows_its_secret_alone() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let expires_at = Timestamp::from_micros(now().micros() + 3_600_000_000);
    let (expiring, _) = log
        .create_api_key(&ApiKeyRequest {
            expires_at: Some(expires_at),
            ..request("short", &[ApiKeyScope::Emit])
        })
        .unwrap();
    let revoked = create(&log, "revoked");
    log.revoke_api_key(revoked.id(), "ops", Some("it leaked")).unwrap();
    let keys = Keys::open(&path).unwrap();
    let check = |key: &str, at| keys.check(key, at);

    assert_eq!(check("annals_", now()), Err(Denied::Malformed));
    assert_eq!(check("", now()), Err(Denied::Malformed));
    let unknown = ApiKey::generate().unwrap();
    assert_eq!(check(&unknown.reveal(), now()), Err(Denied::Unknown));

    let before = Timestamp::from_micros(expires_at.micros() - 1);
    assert!(check(&expiring.reveal(), before).is_ok());
    assert_eq!(check(&expiring.reveal(), expires_at), Err(Denied::Expired { at: expires_at }));
    assert!(matches!(check(&revoked.reveal(), now()), Err(Denied::Revoked { .. })));
    for key in [&expiring, &revoked] {
        assert_eq!(check(&with_other_secret(key), expires_at), Err(Denied::WrongSecret));
    }
}

#[test]
fn keys_that_could_not_be_used_are_not_made() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let head = log.committed();
    for name in ["", "  ", "a\nb", "\u{9b}31m", &"é".repeat(101)] {
        let refused = log.create_api_key(&request(name, &[ApiKeyScope::Emit]));
        assert!(matches!(refused, Err(ApiKeyError::Name)), "{name:?}: {refused:?}");
    }
    assert!(matches!(log.create_api_key(&request("none", &[])), Err(ApiKeyError::NoScope)));
    for at in [now(), Timestamp::from_micros(0), Timestamp::from_micros(i64::MAX)] {
        let asked = ApiKeyRequest { expires_at: Some(at), ..request("past", &[ApiKeyScope::Emit]) };
        assert!(matches!(log.create_api_key(&asked), Err(ApiKeyError::ExpiresAt(_))), "{at}");
    }
    log.flush().unwrap();
    assert_eq!(log.committed(), head);
    assert!(log.create_api_key(&request(&"é".repeat(100), &[ApiKeyScope::Emit])).is_ok());
}

#[test]
fn a_living_key_has_its_name_for_itself() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let first = create(&log, "pipeline");
    let refused = log.create_api_key(&request("pipeline", &[ApiKeyScope::Read])).unwrap_err();
    let said = refused.to_string();
    assert!(said.contains(&first.id().to_string()) && said.contains("another name"), "{said}");
    log.revoke_api_key(first.id(), "ops", None).unwrap();
    let second = create(&log, "pipeline");
    assert!(Keys::open(&path).unwrap().check(&second.reveal(), now()).is_ok());
}

#[test]
fn of_keys_with_one_name_that_several_create_at_once_one_is_made() {
    let (_folder, path) = new_path();
    AuditLog::open(&path).unwrap().close().unwrap();
    let made: usize = std::thread::scope(|scope| {
        let creators: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let log = AuditLog::builder(&path).projections(Projections::Off).open().unwrap();
                    usize::from(log.create_api_key(&request("pipeline", &[ApiKeyScope::Emit])).is_ok())
                })
            })
            .collect();
        creators.into_iter().map(|creator| creator.join().unwrap()).sum()
    });
    assert_eq!(made, 1);
    assert_eq!(Reader::open(&path).unwrap().api_keys().unwrap().len(), 1);
}

#[test]
fn a_key_is_revoked_once_and_only_if_there_is_one() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let key = create(&log, "pipeline");
    let unknown = EventId::generate();
    match log.revoke_api_key(unknown, "ops", None) {
        Err(ApiKeyError::Unknown(id)) => assert_eq!(id, unknown),
        revoked => panic!("{revoked:?}"),
    }
    log.revoke_api_key(key.id(), "ann", Some("it leaked")).unwrap();
    let again = log.revoke_api_key(key.id(), "bob", None).unwrap_err();
    assert!(matches!(again, ApiKeyError::AlreadyRevoked { id, .. } if id == key.id()));
    assert!(again.to_string().contains("by ann"), "{again}");

    let records = Reader::open(&path).unwrap().api_keys().unwrap();
    let revoked = records[0].revoked.as_ref().unwrap();
    assert_eq!((revoked.by.as_str(), revoked.reason.as_deref()), ("ann", Some("it leaked")));
    assert_eq!(records[0].status(now()), ApiKeyStatus::Revoked);
}

#[test]
fn a_new_key_is_good_at_once_and_a_revoked_one_is_refused_within_a_second_wherever_that_was_done() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let keys = Keys::open(&path).unwrap();
    for number in 0..20 {
        let key = create(&log, &format!("pipeline {number}"));
        // Shown before by somebody who guessed: that it was unknown then is not remembered.
        assert!(keys.check(&key.reveal(), now()).is_ok());
    }
    // As another process would.
    let other = AuditLog::open(&path).unwrap();
    let key = create(&other, "pipeline");
    assert!(keys.check(&key.reveal(), now()).is_ok());
    other.revoke_api_key(key.id(), "ops", None).unwrap();
    wait_until_refused(&keys, &key);
    other.close().unwrap();
}

#[test]
fn what_is_known_from_memory_is_not_believed_for_long() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let (key, other) = (create(&log, "pipeline"), create(&log, "other"));
    let keys = Keys::open(&path).unwrap();
    keys.check(&key.reveal(), now()).unwrap();
    log.revoke_api_key(other.id(), "ops", None).unwrap();
    let opened = Instant::now();
    // Until it must be asked again, the file is not.
    while let Some(allowed) = keys.recall(&key.reveal(), now()) {
        assert_eq!(allowed.id, key.id());
        assert!(opened.elapsed() < PATIENCE);
    }
    assert_eq!(keys.recall_good(key.id(), now()), None);
    assert!(keys.is_good(key.id(), now()) && !keys.is_good(other.id(), now()));
    assert!(!keys.is_good(EventId::generate(), now()));
    // What is not good is never said from memory.
    for wrong in [with_other_secret(&key), other.reveal().to_string(), "nonsense".to_owned()] {
        assert_eq!(keys.recall(&wrong, now()), None);
    }
}

#[test]
fn keys_that_were_closed_let_nobody_in_and_leave_the_log_in_one_file() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let keys = Keys::open(&path).unwrap();
    let key = create(&log, "pipeline");
    keys.check(&key.reveal(), now()).unwrap();
    keys.close();
    log.close().unwrap();
    assert!(!support::beside(&path, "-wal").exists());
    let end = Instant::now() + PATIENCE;
    while keys.check(&key.reveal(), now()).is_ok() {
        assert!(Instant::now() < end);
    }
    assert!(matches!(keys.check(&key.reveal(), now()), Err(Denied::Unreadable { .. })));
}

#[test]
fn keys_do_not_wait_for_read_tables() {
    let (_folder, path) = new_path();
    // Nobody fills them.
    let log = AuditLog::builder(&path).projections(Projections::Off).open().unwrap();
    let keys = Keys::open(&path).unwrap();
    let key = create(&log, "pipeline");
    assert!(keys.check(&key.reveal(), now()).is_ok());
    log.revoke_api_key(key.id(), "ops", None).unwrap();
    wait_until_refused(&keys, &key);
    log.close().unwrap();

    // They cannot be filled.
    sqlite(&path)
        .execute_batch(
            "CREATE TRIGGER refuse BEFORE INSERT ON api_keys BEGIN SELECT RAISE(ABORT, 'not this one'); END",
        )
        .unwrap();
    let log = AuditLog::open(&path).unwrap();
    log.wait_caught_up_within(log.committed(), PATIENCE).unwrap_err();
    let other = create(&log, "other");
    assert!(keys.check(&other.reveal(), now()).is_ok());
    log.revoke_api_key(other.id(), "ops", None).unwrap();
    wait_until_refused(&keys, &other);
    let names = Reader::open(&path).unwrap().api_keys().unwrap();
    assert_eq!(names.iter().filter(|key| key.revoked.is_some()).count(), 2);
    log.close().unwrap_err();

    // They say something else.
    sqlite(&path).execute_batch("DROP TRIGGER refuse; DELETE FROM api_keys").unwrap();
    assert!(matches!(keys.check(&key.reveal(), now()), Err(Denied::Revoked { .. })));
}

#[test]
fn keys_that_cannot_be_read_let_nobody_in() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let keys = Keys::open(&path).unwrap();
    let key = create(&log, "pipeline");
    assert!(keys.check(&key.reveal(), now()).is_ok());
    log.append(note("not about keys")).unwrap().wait().unwrap();
    sqlite(&path).execute_batch("INSERT INTO api_key_events VALUES (3)").unwrap();
    let end = Instant::now() + PATIENCE;
    let denied = loop {
        match keys.check(&key.reveal(), now()) {
            Ok(_) => assert!(Instant::now() < end),
            Err(denied) => break denied,
        }
    };
    match denied {
        Denied::Unreadable { reason } => assert!(reason.contains("event 3"), "{reason}"),
        denied => panic!("{denied:?}"),
    }
    assert!(keys.any_ever().unwrap());
    assert!(Keys::open(&path).is_err());
}

#[test]
fn keys_are_needed_from_when_there_was_one() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let keys = Keys::open(&path).unwrap();
    assert!(!keys.any_ever().unwrap());
    let key = create(&log, "pipeline");
    let end = Instant::now() + PATIENCE;
    while !keys.any_ever().unwrap() {
        assert!(Instant::now() < end);
    }
    log.revoke_api_key(key.id(), "ops", None).unwrap();
    wait_until_refused(&keys, &key);
    assert!(keys.any_ever().unwrap());
    assert!(Keys::open(&path).unwrap().any_ever().unwrap());
}

#[test]
fn a_log_of_an_earlier_schema_has_no_keys_until_it_is_opened_for_appending() {
    let (_folder, path) = new_path();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/format-1.db");
    std::fs::copy(golden, &path).unwrap();
    let keys = Keys::open(&path).unwrap();
    assert!(!keys.any_ever().unwrap());
    assert!(Reader::open(&path).unwrap().api_keys().unwrap().is_empty());
    let log = AuditLog::open(&path).unwrap();
    let key = create(&log, "pipeline");
    assert!(keys.check(&key.reveal(), now()).is_ok());
}

#[test]
fn a_file_of_the_second_schema_is_verified_as_it_is_and_gets_its_tables_when_it_is_appended_to() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    log.append(note("before there were keys")).unwrap().wait().unwrap();
    log.close().unwrap();
    let schema = |path: &Path| -> Vec<String> {
        let connection = sqlite(path);
        let mut statement = connection.prepare("SELECT sql FROM sqlite_schema ORDER BY name").unwrap();
        let found = statement.query_map([], |row| row.get::<_, Option<String>>(0)).unwrap();
        found.map(|sql| sql.unwrap().unwrap_or_default()).collect()
    };
    let fresh = schema(&path);
    sqlite(&path)
        .execute_batch(
            "DROP TABLE generation; DROP TABLE api_key_events; DROP TABLE api_key_uses; DROP TABLE api_keys;
             DELETE FROM projections WHERE name = 'keys'; PRAGMA user_version = 2",
        )
        .unwrap();
    assert_eq!(verify_whole(&path).foreign_objects, [""; 0]);
    assert!(!Keys::open(&path).unwrap().any_ever().unwrap());

    let log = AuditLog::open(&path).unwrap();
    create(&log, "pipeline");
    log.close().unwrap();
    assert_eq!(schema(&path), fresh);
    assert!(verify_whole(&path).completeness.complete);
}

#[test]
fn what_is_submitted_with_a_key_carries_its_id() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let admin = create(&log, "admin");
    let as_admin = log.with_principal(Some(admin.id()));
    let (made, _) = as_admin.create_api_key(&request("made", &[ApiKeyScope::Emit])).unwrap();
    as_admin.revoke_api_key(made.id(), "admin", None).unwrap();
    log.close().unwrap();
    let reader = Reader::open(&path).unwrap();
    let events = reader.last_events(&EventFilter::default(), 3).unwrap();
    let principals: Vec<_> = events.iter().map(|event| event.principal).collect();
    assert_eq!(principals, [None, Some(admin.id()), Some(admin.id())]);
    for event in &events {
        assert_eq!(event.to_json().contains("\"principal\""), event.principal.is_some());
    }
}

#[test]
fn nobody_but_the_log_itself_records_events_about_keys() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    create(&log, "pipeline");
    let event = Reader::open(&path).unwrap().last_events(&EventFilter::default(), 1).unwrap().remove(0);
    let Content::Event(created) = event.content else { panic!("{event:?}") };
    let refused = log.append(annals::Draft::new(created)).unwrap_err();
    assert!(refused.to_string().contains("apikey.created"), "{refused}");
    let line = r#"{"type":"apikey.revoked","key":"019f0000-0000-7000-8000-000000000001","actor":"me"}"#;
    assert!(annals::parse_draft(line).is_err());
}

#[test]
fn the_last_use_is_kept_now_and_then_and_at_the_end() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let keys = Keys::open(&path).unwrap();
    let (used, unused) = (create(&log, "used"), create(&log, "unused"));
    let last = |key: &ApiKey| {
        let records = Reader::open(&path).unwrap().api_keys().unwrap();
        records.into_iter().find(|record| record.id == key.id()).unwrap().last_used_at
    };
    let at = Timestamp::from_micros;
    assert!(keys.check(&used.reveal(), at(10_000_000)).is_ok());
    assert_eq!(last(&used), None);
    keys.keep_uses(&log, Uses::Due).unwrap();
    assert_eq!((last(&used), last(&unused)), (Some(at(10_000_000)), None));
    // Not again so soon.
    assert!(keys.check(&used.reveal(), at(20_000_000)).is_ok());
    keys.keep_uses(&log, Uses::Due).unwrap();
    assert_eq!(last(&used), Some(at(10_000_000)));
    keys.keep_uses(&log, Uses::All).unwrap();
    assert_eq!(last(&used), Some(at(20_000_000)));
    // Another server knows of an earlier use.
    let other = Keys::open(&path).unwrap();
    assert!(other.check(&used.reveal(), at(15_000_000)).is_ok());
    other.keep_uses(&log, Uses::All).unwrap();
    assert_eq!(last(&used), Some(at(20_000_000)));
    // A clock that was ahead once does not say for good when the key was used.
    let ahead = Keys::open(&path).unwrap();
    assert!(ahead.check(&used.reveal(), at(8_000_000_000_000_000)).is_ok());
    ahead.keep_uses(&log, Uses::All).unwrap();
    assert!(keys.check(&used.reveal(), at(30_000_000)).is_ok());
    keys.keep_uses(&log, Uses::All).unwrap();
    assert_eq!(last(&used), Some(at(30_000_000)));
    // A key that is refused is not used.
    assert!(other.check(&with_other_secret(&unused), now()).is_err());
    other.keep_uses(&log, Uses::All).unwrap();
    assert_eq!(last(&unused), None);
    log.close().unwrap();

    // It is no evidence.
    sqlite(&path).execute_batch("DELETE FROM api_key_uses").unwrap();
    let report = verify_whole(&path);
    assert_eq!(report.foreign_objects, [""; 0]);
}

#[test]
fn the_list_that_servers_go_by_is_guarded_and_held_against_the_log() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let key = create(&log, "pipeline");
    log.append(note("between")).unwrap().wait().unwrap();
    log.revoke_api_key(key.id(), "ops", None).unwrap();
    log.close().unwrap();
    for change in ["DELETE FROM api_key_events", "UPDATE api_key_events SET seq = 9 WHERE seq = 4"] {
        let error = sqlite(&path).execute_batch(change).unwrap_err().to_string();
        assert!(error.contains("append-only"), "{change}: {error}");
    }
    let found_after = |change: &str| {
        let connection = sqlite(&path);
        let triggers: Vec<String> = connection
            .prepare("SELECT sql FROM sqlite_schema WHERE name LIKE 'api_key_events_%' AND type = 'trigger'")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        connection
            .execute_batch("DROP TRIGGER api_key_events_stay; DROP TRIGGER api_key_events_never_change")
            .unwrap();
        connection.execute_batch(change).unwrap();
        connection.execute_batch(&triggers.join(";")).unwrap();
        let failures = verify(&path).failures;
        failures
            .into_iter()
            .map(|failure| (failure.check, failure.seq.map(|seq| u64::try_from(seq.get()).unwrap())))
            .collect::<Vec<_>>()
    };
    assert_eq!(found_after("SELECT 1"), []);
    assert_eq!(found_after("DELETE FROM api_key_events WHERE seq = 4"), [(Check::ApiKeys, Some(4))]);
    assert_eq!(found_after("INSERT INTO api_key_events VALUES (4), (3)"), [(Check::ApiKeys, Some(3))]);
}

#[test]
fn every_column_of_the_read_table_is_held_against_the_log() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let expires_at = Some(Timestamp::from_micros(now().micros() + 3_600_000_000));
    let (key, _) = log
        .create_api_key(&ApiKeyRequest { expires_at, ..request("pipeline", &[ApiKeyScope::Emit]) })
        .unwrap();
    log.revoke_api_key(key.id(), "ops", None).unwrap();
    create(&log, "other");
    log.close().unwrap();
    verify_whole(&path);
    let columns: Vec<(String, String)> = sqlite(&path)
        .prepare("SELECT name, type FROM pragma_table_info('api_keys')")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(columns.len(), 13);
    for (column, kind) in columns {
        let changed = if kind == "INTEGER" { "9" } else { "'changed'" };
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("audit.db");
        std::fs::copy(&path, &copy).unwrap();
        sqlite(&copy)
            .execute_batch(&format!("UPDATE api_keys SET {column} = {changed} WHERE first_seq = 2"))
            .unwrap();
        let failures = verify(&copy).failures;
        assert_eq!(failures.first().map(|failure| failure.check), Some(Check::ReadTable), "{column}");
    }
}

/// What happens to keys.
#[derive(Clone, Debug)]
enum Op {
    Create { name: u8, scopes: Vec<ApiKeyScope>, expires: bool, reason: bool },
    Revoke(prop::sample::Index),
    Note,
    CatchUp,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (any::<u8>(), prop::sample::subsequence(ApiKeyScope::ALL, 1..=4), any::<bool>(), any::<bool>())
            .prop_map(|(name, scopes, expires, reason)| Op::Create { name, scopes, expires, reason }),
        any::<prop::sample::Index>().prop_map(Op::Revoke),
        Just(Op::Note),
        Just(Op::CatchUp),
    ]
}

/// The read table, in the order of creation, each row as one text.
fn table(path: &Path) -> Vec<String> {
    sqlite(path)
        .prepare(
            "SELECT id || '|' || name || '|' || scopes || '|' || coalesce(expires_at, '-') || '|' || created_at || '|'
                 || created_by || '|' || coalesce(reason, '-') || '|' || coalesce(revoked_at, '-') || '|'
                 || coalesce(revoked_by, '-') || '|' || coalesce(revoked_reason, '-') || '|' || first_seq || '|' || last_seq
             FROM api_keys ORDER BY first_seq",
        )
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}

/// What the log says of its keys, in the same form.
fn told(path: &Path) -> Vec<String> {
    let mut keys = Reader::open(path).unwrap().api_keys().unwrap();
    keys.reverse();
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    keys.into_iter()
        .map(|key| {
            let revoked = key.revoked.as_ref();
            [
                key.id.to_string(),
                key.name.clone(),
                serde_json::to_string(&key.scopes).unwrap(),
                or_dash(key.expires_at.map(Timestamp::to_sql)),
                key.created_at.to_sql(),
                key.created_by.clone(),
                or_dash(key.reason.clone()),
                or_dash(revoked.map(|revoked| revoked.at.to_sql())),
                or_dash(revoked.map(|revoked| revoked.by.clone())),
                or_dash(revoked.and_then(|revoked| revoked.reason.clone())),
                key.seq.to_string(),
                revoked.map_or(key.seq, |revoked| revoked.seq).to_string(),
            ]
            .join("|")
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if support::is_heavy() { 200 } else { 12 },
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn the_read_table_and_the_servers_list_and_a_reference_say_the_same(ops in prop::collection::vec(op(), 1..30)) {
        let (_folder, path) = new_path();
        let log = AuditLog::builder(&path).durability(Durability::Normal).open().unwrap();
        let keys = Keys::open(&path).unwrap();
        // Each key, with its scopes and whether it is revoked.
        let mut expected: Vec<(ApiKey, Vec<ApiKeyScope>, bool)> = Vec::new();
        let mut named: Vec<String> = Vec::new();
        let expires_at = Timestamp::from_micros(now().micros() + 3_600_000_000);
        for op in ops {
            match op {
                Op::Create { name, scopes, expires, reason } => {
                    let asked = ApiKeyRequest {
                        expires_at: expires.then_some(expires_at),
                        reason: reason.then(|| "a reason".to_owned()),
                        ..request(&format!("key {name}"), &scopes)
                    };
                    // A name is free when every key that had it is revoked.
                    let is_taken = named.iter().zip(&expected).any(|(named, (_, _, is_revoked))| {
                        *named == asked.name && !is_revoked
                    });
                    match log.create_api_key(&asked) {
                        Ok((key, _)) => {
                            prop_assert!(!is_taken);
                            named.push(asked.name);
                            expected.push((key, scopes, false));
                        }
                        Err(error) => prop_assert!(is_taken, "{}", error),
                    }
                }
                Op::Revoke(_) if expected.is_empty() => {}
                Op::Revoke(which) => {
                    let place = which.index(expected.len());
                    let (key, _, is_revoked) = &mut expected[place];
                    let revoked = log.revoke_api_key(key.id(), "ops", Some("done"));
                    prop_assert_eq!(revoked.is_ok(), !*is_revoked);
                    *is_revoked = true;
                }
                Op::Note => drop(log.append(note("between")).unwrap()),
                Op::CatchUp => log.wait_caught_up_within(log.committed(), PATIENCE).unwrap(),
            }
        }
        log.wait_caught_up_within(log.flush().unwrap(), PATIENCE).unwrap();
        prop_assert_eq!(table(&path), told(&path));
        // Somebody shows what is not known: that brings the keys up to date.
        prop_assert_eq!(keys.check(&ApiKey::generate().unwrap().reveal(), now()), Err(Denied::Unknown));
        for (key, scopes, is_revoked) in &expected {
            match keys.check(&key.reveal(), now()) {
                Ok(allowed) => prop_assert!(!is_revoked && allowed.scopes == *scopes),
                Err(Denied::Revoked { .. }) => prop_assert!(*is_revoked),
                Err(denied) => prop_assert!(false, "{denied}"),
            }
        }
        log.rebuild("keys").unwrap();
        log.close().unwrap();
        prop_assert_eq!(table(&path), told(&path));
        verify_whole(&path);
    }
}
