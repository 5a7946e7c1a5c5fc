//! What checkpoints that were kept elsewhere show of a log: that it was cut off, set back, written
//! anew or replaced, and by whose key that is known.

use crate::support;
use crate::support::forge;
use std::path::Path;

use crate::support::forge::{
    ORIGIN, append, as_a_newer_version, certificate, checkpoint, key, key_changed, log_of, make, rewrite,
    root, rotate, sign, store_tiles, tamper,
};
use crate::support::verify_whole;
use annals::merkle::NodeHash;
use annals::note::{CheckpointFile, Cosigner, Policy, SignedCheckpoint, SigningKey, VerifierKey};
use annals::verify::{self, Check, Options, Report, Scope};
use annals::{KeyRole, Kind};

fn vkey(key: &SigningKey) -> VerifierKey {
    key.verifier().clone()
}

fn options(keys: &[&SigningKey], checkpoints: Vec<SignedCheckpoint>) -> Options {
    let options = keys.iter().fold(Options::new(), |options, key| options.key(vkey(key)));
    options.scope(Scope::LogOnly).checkpoints("kept", CheckpointFile { checkpoints })
}

fn judge(path: &Path, options: Options) -> Report {
    verify::verify(path, options, &mut |_, _| {}).unwrap()
}

fn found(report: &Report) -> Vec<(Check, Option<u64>)> {
    report
        .anchored
        .failures
        .iter()
        .map(|failure| (failure.check, failure.seq.map(|seq| u64::try_from(seq.get()).unwrap())))
        .collect()
}

/// That the log is sound in itself, and this alone is wrong by what was given.
#[track_caller]
fn assert_found(report: &Report, check: Check) {
    assert!(report.self_consistent, "{:?}", report.failures);
    assert_eq!(found(report), [(check, None)], "{:?}", report.anchored.failures);
    assert_eq!(report.anchored.anchored_to, None);
    assert!(!report.is_good());
}

/// That nothing is wrong, and for want of a key nothing is said of what was given.
#[track_caller]
fn assert_not_checked(report: &Report, names: &str) {
    assert_eq!(report.outcome, annals::verify::Outcome::NotAllChecked, "{:?}", report.anchored);
    assert_eq!(report.anchored.anchored_to, None);
    let why = &report.anchored.not_checked[0].why;
    assert!(why.contains(names), "{why}");
}

fn id(key: &SigningKey) -> String {
    key.verifier().id().to_string()
}

#[test]
fn a_checkpoint_that_fits_vouches_for_what_it_covers_and_not_for_the_rest() {
    let (_folder, path) = log_of(700);
    for size in [1, 2, 255, 256, 257, 512, 699, 700] {
        let report = judge(&path, options(&[&key(1)], vec![checkpoint(&path, size, &[&key(1)])]));
        assert!(report.is_good(), "{:?}", report.anchored.failures);
        assert_eq!(report.anchored.anchored_to, Some(size));
        assert_eq!(report.anchored.events_since, Some(700 - size));
        assert_eq!(report.anchored.keys[0].vkey, vkey(&key(1)).to_string());
        assert!(report.anchored.micros_since.unwrap() >= 0);
        assert!(report.anchored.anchored_recorded_at.is_some());
    }
}

#[test]
fn a_checkpoint_of_nothing_vouches_for_nothing() {
    let (_folder, path) = log_of(3);
    let report = judge(&path, options(&[&key(1)], vec![checkpoint(&path, 0, &[&key(1)])]));
    assert!(report.is_good());
    assert_eq!(report.anchored.anchored_to, None);
}

#[test]
fn the_largest_of_thousands_of_checkpoints_counts() {
    let (_folder, path) = log_of(600);
    let kept = (1..=599).map(|size| checkpoint_of(&leaf_roots(&path), size)).collect();
    let report = judge(&path, options(&[&key(1)], kept));
    assert!(report.is_good());
    assert_eq!((report.anchored.anchored_to, report.anchored.checkpoints_fitting), (Some(599), 599));
}

/// The root at every size.
fn leaf_roots(path: &Path) -> Vec<NodeHash> {
    use std::sync::Mutex;
    static KNOWN: Mutex<Vec<(std::path::PathBuf, Vec<NodeHash>)>> = Mutex::new(Vec::new());
    let mut known = KNOWN.lock().unwrap();
    if let Some((_, roots)) = known.iter().find(|(of, _)| of == path) {
        return roots.clone();
    }
    let mut range = annals::merkle::CompactRange::new();
    let mut roots = vec![range.root()];
    for leaf in forge::leaves(path) {
        range.append(leaf);
        roots.push(range.root());
    }
    known.push((path.to_owned(), roots.clone()));
    roots
}

fn checkpoint_of(roots: &[NodeHash], size: u64) -> SignedCheckpoint {
    sign(size, roots[usize::try_from(size).unwrap()], &[&key(1)])
}

#[test]
fn a_log_that_was_cut_off_has_too_few_events() {
    let (_folder, path) = log_of(20);
    let kept = checkpoint(&path, 20, &[&key(1)]);
    tamper(&path, |connection| connection.execute_batch("DELETE FROM log WHERE seq > 15").unwrap());
    assert_found(&judge(&path, options(&[&key(1)], vec![kept])), Check::CheckpointSize);
}

#[test]
fn an_older_copy_in_the_place_of_the_log_has_too_few_events() {
    let (folder, path) = log_of(20);
    let older = folder.path().join("older");
    std::fs::copy(&path, &older).unwrap();
    make(&path, 25, "event");
    let kept = checkpoint(&path, 25, &[&key(1)]);
    std::fs::copy(&older, &path).unwrap();
    assert_found(&judge(&path, options(&[&key(1)], vec![kept])), Check::CheckpointSize);
}

#[test]
fn a_log_that_was_written_anew_has_another_root() {
    let (_folder, path) = log_of(300);
    let kept = checkpoint(&path, 290, &[&key(1)]);
    let before = checkpoint(&path, 6, &[&key(1)]);
    rewrite(&path, 7);
    assert_found(&judge(&path, options(&[&key(1)], vec![kept.clone()])), Check::CheckpointRoot);
    let report = judge(&path, options(&[&key(1)], vec![kept, before]));
    assert_eq!(found(&report), [(Check::CheckpointRoot, None)]);
    assert_eq!(report.anchored.anchored_to, Some(6), "what comes before the forgery is vouched for");
}

#[test]
fn a_fresh_log_in_the_place_of_the_old_one_has_another_root_or_too_few_events() {
    let (_folder, path) = log_of(20);
    let kept = checkpoint(&path, 20, &[&key(1)]);
    let (_other_folder, other) = log_of(20);
    assert_found(&judge(&other, options(&[&key(1)], vec![kept.clone()])), Check::CheckpointRoot);
    let (_other_folder, other) = log_of(19);
    assert_found(&judge(&other, options(&[&key(1)], vec![kept])), Check::CheckpointSize);
}

#[test]
fn a_checkpoint_of_another_log_is_none_of_this_one() {
    let (_folder, path) = log_of(5);
    let other = SigningKey::from_seed("example.org/other", &[9; 32]).unwrap();
    let text = format!("example.org/other\n5\n{}\n", root(&path, 5));
    let mut kept = SignedCheckpoint::unsigned(text.parse().unwrap());
    kept.sign(&other);
    assert_found(&judge(&path, options(&[&other], vec![kept])), Check::CheckpointOrigin);
}

#[test]
fn a_checkpoint_counts_only_with_a_good_signature_of_a_trusted_key() {
    let (_folder, path) = log_of(5);
    let kept = checkpoint(&path, 5, &[&key(1)]);
    assert_not_checked(&judge(&path, options(&[&key(2)], vec![kept.clone()])), &id(&key(1)));
    let nobody: [&SigningKey; 0] = [];
    assert_not_checked(&judge(&path, options(&nobody, vec![kept.clone()])), "no key was given");

    // Another size with the same signature: of a checkpoint that nobody signed nothing more is asked.
    let forged = kept.to_string().replace("\n5\n", "\n9\n").parse().unwrap();
    assert_found(&judge(&path, options(&[&key(1)], vec![forged])), Check::CheckpointSignature);

    // A good signature does not make up for a bad one.
    let mut both = checkpoint(&path, 5, &[&key(1)]);
    let bad = checkpoint(&path, 4, &[&key(2)]);
    both.add_signatures(bad.signatures().to_vec());
    assert!(
        judge(&path, options(&[&key(1)], vec![both.clone()])).is_good(),
        "of an unknown key it counts for nothing"
    );
    assert_found(&judge(&path, options(&[&key(1), &key(2)], vec![both])), Check::CheckpointSignature);
}

#[test]
fn a_key_that_is_not_named_after_the_log_does_not_sign_for_it() {
    let (_folder, path) = log_of(5);
    let other = SigningKey::from_seed("example.org/other", &[9; 32]).unwrap();
    let kept = checkpoint(&path, 5, &[&other]);
    assert_not_checked(&judge(&path, options(&[&other], vec![kept])), "which is not a key of its log");
    // Nor is anything said of a log with keys of another one alone.
    assert_not_checked(&judge(&path, options(&[&other], Vec::new())), "none of the given keys");
    assert!(judge(&path, options(&[&other, &key(1)], Vec::new())).is_good());
}

#[test]
fn two_roots_for_one_size_are_a_split_view_that_names_both() {
    let (_folder, path) = log_of(9);
    let (one, other) = (checkpoint(&path, 9, &[&key(1)]), sign(9, root(&path, 8), &[&key(1)]));
    let report = judge(&path, options(&[&key(1)], vec![one, other]));
    assert_eq!(found(&report), [(Check::CheckpointRoot, None), (Check::SplitView, None)]);
    let view = &report.anchored.split_views[0];
    assert_eq!(
        (view.size, view.checkpoints.each_ref().map(String::as_str)),
        (9, ["kept, checkpoint 1", "kept, checkpoint 2"])
    );
    // Also beyond the end of the log, where neither can be held against it.
    let report = judge(
        &path,
        options(&[&key(1)], vec![sign(99, root(&path, 1), &[&key(1)]), sign(99, root(&path, 2), &[&key(1)])]),
    );
    assert_eq!(report.anchored.split_views.len(), 1);
}

#[test]
fn behind_damage_nothing_is_said_of_a_checkpoint_and_before_it_all_is() {
    let (_folder, path) = log_of(30);
    let kept = [10, 20, 30].map(|size| checkpoint(&path, size, &[&key(1)]));
    tamper(&path, |connection| {
        connection.execute_batch("UPDATE log SET hash = zeroblob(32) WHERE seq = 15").unwrap()
    });
    let report = judge(&path, options(&[&key(1)], kept.to_vec()));
    assert_eq!(report.failures[0].check, Check::Link);
    assert_eq!(found(&report), []);
    assert_eq!((report.anchored.anchored_to, report.anchored.checkpoints_not_judged), (Some(10), 2));
}

#[test]
fn behind_an_event_whose_payload_was_taken_away_nothing_is_said_either() {
    let (_folder, path) = log_of(10);
    let change = rotate(&path, KeyRole::Stable, &key(1), &key(2));
    make(&path, 20, "later");
    let kept = [10, 20].map(|size| checkpoint(&path, size, &[&key(1), &key(2)]));
    tamper(&path, |connection| {
        connection
            .execute("UPDATE log SET payload = NULL WHERE seq = ?1", [i64::try_from(change).unwrap()])
            .unwrap();
    });
    let report = judge(&path, options(&[&key(1)], kept.to_vec()));
    assert_eq!(
        (report.failures[0].check, report.failures[0].seq.map(|seq| u64::try_from(seq.get()).unwrap())),
        (Check::Redaction, Some(change))
    );
    assert_eq!((report.anchored.anchored_to, report.anchored.checkpoints_not_judged), (Some(10), 1));
}

#[test]
fn a_log_that_does_not_say_its_name_is_told_from_others_by_its_root() {
    let (_folder, path) = log_of(20);
    let kept = checkpoint(&path, 20, &[&key(1)]);
    forge::as_a_newer_version(&path);
    assert_found(&judge(&path, options(&[&key(1)], vec![kept])), Check::CheckpointRoot);
    let of_this = checkpoint(&path, 20, &[&key(1)]);
    assert_eq!(judge(&path, options(&[&key(1)], vec![of_this])).anchored.anchored_to, Some(20));
}

fn policy(witness: &Cosigner) -> Policy {
    format!("log {}\nwitness w {}\nquorum w\n", key(1).verifier(), witness.verifier()).parse().unwrap()
}

#[test]
fn a_policy_asks_for_the_cosignatures_of_its_witnesses() {
    let (_folder, path) = log_of(9);
    let witness = Cosigner::from_seed("example.net/witness", &[3; 32]).unwrap();
    let mut cosigned = checkpoint(&path, 4, &[&key(1)]);
    let signature = witness.cosign(&cosigned, 1_795_176_000);
    cosigned.add_signatures([signature.clone()]);
    let plain = checkpoint(&path, 9, &[&key(1)]);

    let nobody: [&SigningKey; 0] = [];
    let report =
        judge(&path, options(&nobody, vec![cosigned.clone(), plain.clone()]).policy(policy(&witness)));
    assert!(report.is_good(), "{:?}", report.anchored.failures);
    assert_eq!(report.anchored.anchored_to, Some(4), "the larger one lacks the witness");
    assert_eq!(
        (report.anchored.witnesses[0].name.as_str(), report.anchored.witnesses[0].cosigned_at),
        ("w", 1_795_176_000)
    );

    let report = judge(&path, options(&nobody, vec![plain.clone()]).policy(policy(&witness)));
    assert_found(&report, Check::CheckpointSignature);
    let mut forged = plain;
    forged.add_signatures([signature]);
    let report = judge(&path, options(&nobody, vec![forged]).policy(policy(&witness)));
    assert_found(&report, Check::CheckpointSignature);
}

/// Puts a checkpoint into the file.
fn keep(path: &Path, kept: &SignedCheckpoint) {
    let size = i64::try_from(kept.size()).unwrap();
    let sql = "INSERT OR REPLACE INTO checkpoints (size, note, made_at) VALUES (?1, ?2, 0)";
    support::sqlite(path).execute(sql, (size, kept.to_string())).unwrap();
}

#[test]
fn a_policy_is_asked_of_the_checkpoints_that_the_file_keeps_where_none_was_given() {
    let (_folder, path) = log_of(9);
    let witness = Cosigner::from_seed("example.net/witness", &[3; 32]).unwrap();
    let nobody: [&SigningKey; 0] = [];
    let asked = || judge(&path, options(&nobody, Vec::new()).policy(policy(&witness)));
    assert_found(&asked(), Check::CheckpointSignature);
    keep(&path, &checkpoint(&path, 9, &[&key(1)]));
    assert_found(&asked(), Check::CheckpointSignature);

    let mut cosigned = checkpoint(&path, 4, &[&key(1)]);
    let signature = witness.cosign(&cosigned, 1_795_176_000);
    cosigned.add_signatures([signature.clone()]);
    keep(&path, &cosigned);
    let report = asked();
    assert!(report.is_good(), "{:?}", report.anchored.failures);
    assert_eq!((report.anchored.anchored_to, report.anchored.signed_to), (None, Some(9)));

    // Once one was given, those that the file keeps are not asked.
    let plain = checkpoint(&path, 9, &[&key(1)]);
    let report = judge(&path, options(&nobody, vec![plain]).policy(policy(&witness)));
    assert_found(&report, Check::CheckpointSignature);

    // A bad cosignature does not count, whoever signed besides.
    let mut forged = checkpoint(&path, 4, &[&key(1)]);
    let of_another = witness.cosign(&checkpoint(&path, 5, &[&key(1)]), 1_795_176_000);
    forged.add_signatures([of_another]);
    keep(&path, &forged);
    assert_found(&asked(), Check::CheckpointSignature);
}

#[test]
fn a_policy_that_stored_checkpoints_did_not_get_as_far_as_is_not_named_beside_the_reason() {
    let (_folder, path) = log_of(9);
    let witness = Cosigner::from_seed("example.net/witness", &[3; 32]).unwrap();
    let nobody: [&SigningKey; 0] = [];
    let asked = || judge(&path, options(&nobody, Vec::new()).policy(policy(&witness)));
    let kept = [4, 9].map(|size| checkpoint(&path, size, &[&key(1)]));
    forge::rewrite(&path, 3);
    kept.iter().for_each(|kept| keep(&path, kept));
    assert_eq!(found(&asked()), [(Check::CheckpointRoot, None), (Check::CheckpointRoot, None)]);
    // One that fits got as far, and lacks the cosignature.
    keep(&path, &checkpoint(&path, 2, &[&key(1)]));
    let all =
        [Check::CheckpointSignature, Check::CheckpointRoot, Check::CheckpointRoot].map(|check| (check, None));
    assert_eq!(found(&asked()), all);
}

#[test]
fn a_policy_that_a_stored_checkpoint_does_not_meet_is_named_also_before_a_bad_event() {
    let (_folder, path) = log_of(9);
    let witness = Cosigner::from_seed("example.net/witness", &[3; 32]).unwrap();
    let nobody: [&SigningKey; 0] = [];
    let asked = || judge(&path, options(&nobody, Vec::new()).policy(policy(&witness)));
    keep(&path, &checkpoint(&path, 9, &[&key(1)]));
    let before = checkpoint(&path, 4, &[&key(1)]);
    tamper(&path, |connection| {
        connection.execute_batch("UPDATE log SET hash = zeroblob(32) WHERE seq = 7").unwrap();
    });
    let report = asked();
    assert_eq!(report.failures[0].check, Check::Link);
    assert_eq!(found(&report), [], "the bad event says why");
    keep(&path, &before);
    assert_eq!(found(&asked()), [(Check::CheckpointSignature, None)]);
}

#[test]
fn a_policy_that_no_key_can_be_held_against_is_not_checked() {
    let (_folder, path) = log_of(9);
    keep(&path, &checkpoint(&path, 9, &[&key(1)]));
    let of_nobody: Policy = "quorum none\n".parse().unwrap();
    let nobody: [&SigningKey; 0] = [];
    let report = judge(&path, options(&nobody, Vec::new()).policy(of_nobody.clone()));
    assert_not_checked(&report, "no key was given");
    let other = SigningKey::from_seed("example.org/other", &[1; 32]).unwrap();
    let report = judge(&path, options(&[&other], Vec::new()).policy(of_nobody.clone()));
    assert_not_checked(&report, "none of the given keys is a key of this log");
    let report = judge(&path, options(&[&key(1)], Vec::new()).policy(of_nobody));
    assert!(report.is_good(), "{:?}", report.anchored.failures);
}

#[test]
fn a_policy_that_only_a_retired_key_was_given_for_is_not_met() {
    let (_folder, path) = rotated_twice();
    let by_the_first = checkpoint(&path, 10, &[&key(1)]);
    let present = checkpoint(&path, 30, &[&key(3)]);
    let of_nobody: Policy = "quorum none\n".parse().unwrap();
    keep(&path, &present);
    let given = || options(&[&key(3)], vec![by_the_first.clone()]);
    let report = judge(&path, given());
    assert_eq!(report.anchored.by_predecessors.len(), 1, "{:?}", report.anchored);
    assert_found(&judge(&path, given().policy(of_nobody)), Check::CheckpointSignature);
}

#[test]
fn checkpoints_that_the_file_keeps_in_no_ordinary_table_say_nothing() {
    for make in [
        "DROP TABLE checkpoints; CREATE VIRTUAL TABLE checkpoints USING fts5(size, note, made_at)",
        "PRAGMA user_version = 1",
    ] {
        let (_folder, path) = log_of(9);
        support::sqlite(&path).execute_batch(make).unwrap();
        keep(&path, &sign(5, root(&path, 1), &[&key(1)]));
        let report = judge(&path, options(&[&key(1)], Vec::new()));
        assert_eq!((found(&report), report.anchored.signed_to), (Vec::new(), None), "{make}");
    }
}

#[test]
fn checkpoints_in_the_file_that_cannot_be_read_are_damage_and_say_nothing() {
    let (_folder, path) = log_of(9);
    keep(&path, &checkpoint(&path, 9, &[&key(1)]));
    support::sqlite(&path).execute_batch("ALTER TABLE checkpoints RENAME COLUMN note TO text").unwrap();
    let report = judge(&path, options(&[&key(1)], Vec::new()));
    assert_eq!((found(&report), report.anchored.signed_to), (vec![(Check::Damage, None)], None));
}

#[test]
fn a_key_that_several_certify_is_trusted_from_the_smallest_of_their_sizes() {
    let (_folder, path) = log_of(20);
    for (previous, size) in [(1, 15), (5, 10)] {
        let certified = certificate(&path, KeyRole::Stable, &key(previous), &key(2), size);
        let event = key_changed(KeyRole::Stable, Some(&key(previous)), &key(2), Some(certified));
        append(&path, Kind::KeyChanged, &event);
    }
    let kept = checkpoint(&path, 12, &[&key(2)]);
    let report = judge(&path, options(&[&key(1), &key(5)], vec![kept]));
    assert!(report.anchored.failures.is_empty(), "{:?}", report.anchored.failures);
    assert_eq!(report.anchored.anchored_to, Some(12));
}

#[test]
fn a_key_hands_trust_on_to_the_next_and_is_retired() {
    let (_folder, path) = log_of(10);
    let event = rotate(&path, KeyRole::Stable, &key(1), &key(2));
    assert_eq!(event, 11);
    make(&path, 20, "later");
    let by = |number, size| checkpoint(&path, size, &[&key(number)]);
    let report = judge(&path, options(&[&key(1)], vec![by(1, 10), by(1, 11), by(2, 11), by(2, 20)]));
    assert!(report.is_good(), "{:?}", report.anchored.failures);
    assert_eq!(report.anchored.anchored_to, Some(20));
    let change = &report.anchored.key_changes[0];
    assert!(change.is_certified);
    assert_eq!((change.seq.get(), change.vkey.as_str()), (11, vkey(&key(2)).to_string().as_str()));

    assert_found(&judge(&path, options(&[&key(1)], vec![by(1, 12)])), Check::CheckpointSignature);
    assert_found(&judge(&path, options(&[&key(1)], vec![by(2, 9)])), Check::CheckpointSignature);
    // Given itself, a key is trusted for everything.
    assert!(judge(&path, options(&[&key(2)], vec![by(2, 9)])).is_good());
}

#[test]
fn trust_goes_on_over_several_changes_and_a_retired_key_hands_on_nothing() {
    let (_folder, path) = log_of(3);
    rotate(&path, KeyRole::Stable, &key(1), &key(2));
    rotate(&path, KeyRole::Stable, &key(2), &key(3));
    let size = rotate(&path, KeyRole::Stable, &key(1), &key(4));
    let report = judge(&path, options(&[&key(1)], vec![checkpoint(&path, size, &[&key(3)])]));
    assert!(report.is_good(), "{:?}", report.anchored.failures);
    let trusted: Vec<bool> = report.anchored.key_changes.iter().map(|change| change.is_certified).collect();
    assert_eq!(trusted, [true, true, false]);
    let report = judge(&path, options(&[&key(1)], vec![checkpoint(&path, size, &[&key(4)])]));
    assert_not_checked(&report, &id(&key(4)));
}

#[test]
fn a_key_that_comes_back_is_trusted_for_what_it_signs_then() {
    let (_folder, path) = log_of(3);
    rotate(&path, KeyRole::Stable, &key(1), &key(2));
    make(&path, 10, "by the second key");
    let back = rotate(&path, KeyRole::Stable, &key(2), &key(1));
    let by_first = |size| options(&[&key(1)], vec![checkpoint(&path, size, &[&key(1)])]);
    assert!(judge(&path, by_first(4)).is_good());
    assert_found(&judge(&path, by_first(7)), Check::CheckpointSignature);
    assert!(judge(&path, by_first(back)).is_good());
}

#[test]
fn a_new_key_for_a_lost_one_is_not_trusted_and_that_is_said() {
    let (_folder, path) = log_of(3);
    append(&path, Kind::KeyChanged, &key_changed(KeyRole::Stable, Some(&key(1)), &key(2), None));
    let report = judge(&path, options(&[&key(1)], vec![checkpoint(&path, 4, &[&key(1)])]));
    assert!(report.is_good(), "{:?}", report.anchored.failures);
    let change = &report.anchored.key_changes[0];
    assert!(!change.is_certified && change.certified.contains("was lost"), "{}", change.certified);
    let report = judge(&path, options(&[&key(1)], vec![checkpoint(&path, 4, &[&key(2)])]));
    assert_not_checked(
        &report,
        &format!("event 4 (lost) names that key; if the operator of the log confirms {ORIGIN}"),
    );
    let report = judge(&path, options(&[&key(2)], [1, 2].map(|by| checkpoint(&path, 4, &[&key(by)])).into()));
    assert_eq!((report.anchored.failures.len(), report.anchored.anchored_to), (0, Some(4)));
    assert!(report.anchored.not_checked[0].why.contains(&vkey(&key(1)).to_string()), "{:?}", report.anchored);
}

/// A log whose key changed twice: by event 11 from the first to the second, by event 22 to the third.
fn rotated_twice() -> (tempfile::TempDir, std::path::PathBuf) {
    let (folder, path) = log_of(10);
    assert_eq!(rotate(&path, KeyRole::Stable, &key(1), &key(2)), 11);
    make(&path, 21, "by the second key");
    assert_eq!(rotate(&path, KeyRole::Stable, &key(2), &key(3)), 22);
    make(&path, 30, "by the third key");
    (folder, path)
}

#[test]
fn checkpoints_by_the_keys_before_fit_for_who_trusts_the_present_one_and_extend_nothing() {
    let (_folder, path) = rotated_twice();
    let by = |number, size| checkpoint(&path, size, &[&key(number)]);
    for (before, given) in
        [(by(1, 7), by(3, 30)), (by(1, 11), by(3, 22)), (by(2, 22), by(3, 23)), (by(2, 10), by(3, 30))]
    {
        let size = given.size();
        let report = judge(&path, options(&[&key(3)], vec![before.clone(), given]));
        assert!(report.is_good(), "{:?}", report.anchored);
        assert_eq!(report.anchored.anchored_to, Some(size));
        assert_eq!(report.anchored.by_predecessors[0].size, before.size());
        assert!(report.anchored.key_changes.iter().all(|change| change.leads_back));
    }
    // What a retired key signs after it was retired, or before it was there, is by a thief.
    for (number, size) in [(1, 12), (2, 23), (2, 9)] {
        let report = judge(&path, options(&[&key(3)], vec![by(number, size), by(3, 30)]));
        assert_eq!(found(&report), [(Check::CheckpointSignature, None)], "{number} {size}");
    }
}

#[test]
fn what_the_file_keeps_leads_back_as_well_and_anchors_nothing() {
    let (_folder, path) = rotated_twice();
    let before = || vec![checkpoint(&path, 7, &[&key(1)])];
    assert_not_checked(&judge(&path, options(&[&key(3)], before())), &id(&key(1)));
    let keep = "INSERT INTO checkpoints (size, note, made_at) VALUES (25, ?1, 0)";
    support::sqlite(&path).execute(keep, [checkpoint(&path, 25, &[&key(3)]).to_string()]).unwrap();
    let report = judge(&path, options(&[&key(3)], before()));
    assert!(report.is_good(), "{:?}", report.anchored);
    assert_eq!((report.anchored.anchored_to, report.anchored.signed_to), (None, Some(25)));
    assert_eq!(report.anchored.by_predecessors.len(), 1);
}

#[test]
fn a_thief_of_an_old_key_reaches_nothing_with_a_log_of_their_own() {
    let (_folder, path) = rotated_twice();
    let kept = checkpoint(&path, 30, &[&key(3)]);
    let (_forged_folder, forged) = log_of(10);
    rotate(&forged, KeyRole::Stable, &key(1), &key(3));
    make(&forged, 40, "by the thief");
    let signed = checkpoint(&forged, 10, &[&key(1)]);
    assert_not_checked(&judge(&forged, options(&[&key(3)], vec![signed.clone()])), &id(&key(1)));
    let report = judge(&forged, options(&[&key(3)], vec![signed.clone(), kept]));
    assert_eq!(found(&report), [(Check::CheckpointRoot, None)]);
    // Who compares it with the log that was signed for hears of both readings.
    let report = judge(&path, options(&[&key(3)], vec![signed, checkpoint(&path, 30, &[&key(3)])]));
    assert_eq!(found(&report), [(Check::CheckpointRoot, None)]);
    let said = &report.anchored.failures[0].detail;
    assert!(said.contains("was rewritten") && said.contains("the retired key signed"), "{said}");
}

#[test]
fn an_event_that_a_stranger_adds_does_not_lead_back_to_the_stranger() {
    let (_folder, path) = rotated_twice();
    rotate(&path, KeyRole::Stable, &key(9), &key(3));
    make(&path, 40, "later");
    let given = vec![checkpoint(&path, 5, &[&key(9)]), checkpoint(&path, 40, &[&key(3)])];
    let report = judge(&path, options(&[&key(3)], given));
    assert_eq!(report.outcome, annals::verify::Outcome::NotAllChecked, "{:?}", report.anchored);
}

#[test]
fn a_compromised_key_is_retired_and_what_it_signed_elsewhere_is_told_as_such() {
    let (_folder, path) = log_of(10);
    let change = key_changed(
        KeyRole::Stable,
        Some(&key(1)),
        &key(2),
        Some(certificate(&path, KeyRole::Stable, &key(1), &key(2), 10)),
    );
    let change = annals::KeyChanged { cause: annals::KeyChangeCause::Compromised, ..change };
    append(&path, Kind::KeyChanged, &change);
    make(&path, 20, "later");
    let by = |number, size| checkpoint(&path, size, &[&key(number)]);
    assert_not_checked(&judge(&path, options(&[&key(1)], vec![by(2, 20)])), "compromised");
    assert_found(&judge(&path, options(&[&key(1)], vec![by(1, 20)])), Check::CheckpointSignature);
    let report = judge(&path, options(&[&key(2)], vec![by(1, 8), by(2, 20)]));
    assert!(report.is_good(), "{:?}", report.anchored);
    let forged = sign(8, root(&path, 7), &[&key(1)]);
    let report = judge(&path, options(&[&key(2)], vec![forged, by(2, 20)]));
    assert_eq!(found(&report), [(Check::CheckpointRoot, None)]);
    assert!(report.anchored.failures[0].detail.contains("the log says was compromised"));
}

#[test]
fn epoch_keys_go_back_in_their_own_role() {
    let (_folder, path) = log_of(5);
    rotate(&path, KeyRole::Epoch, &key(11), &key(12));
    make(&path, 10, "next epoch");
    let both = |epoch, size| checkpoint(&path, size, &[&key(1), &key(epoch)]);
    let given = |checkpoints| options(&[&key(1)], checkpoints).epoch_key(vkey(&key(12)));
    let report = judge(&path, given(vec![both(11, 5), both(12, 10)]));
    assert!(report.is_good(), "{:?}", report.anchored);
    assert_eq!((report.anchored.anchored_to, report.anchored.by_predecessors.len()), (Some(10), 1));
    // The present epoch is over for what the old key signs, and the stable key does not make up for it.
    let report = judge(&path, given(vec![both(11, 10), both(12, 10)]));
    assert_eq!(found(&report), [(Check::CheckpointSignature, None)]);
}

#[test]
fn a_key_that_was_given_is_said_to_be_one() {
    let (_folder, path) = rotated_twice();
    let report = judge(&path, options(&[&key(3)], Vec::new()));
    let given: Vec<bool> = report.anchored.key_changes.iter().map(|change| change.is_given).collect();
    assert_eq!(given, [false, true]);
}

/// What a change of keys is judged as that says something else than its certificate.
fn wrong_change(forge: impl FnOnce(&Path) -> annals::KeyChanged) -> Report {
    let (_folder, path) = log_of(300);
    let event = forge(&path);
    append(&path, Kind::KeyChanged, &event);
    judge(&path, options(&[&key(1)], Vec::new()))
}

#[test]
fn a_certificate_of_a_trusted_key_that_does_not_fit_fails_where_it_stands() {
    let good = |path: &Path, size| certificate(path, KeyRole::Stable, &key(1), &key(2), size);
    let change = |certificate| key_changed(KeyRole::Stable, Some(&key(1)), &key(2), Some(certificate));
    // The root of an earlier size is not one that the walk was asked for.
    let fits = wrong_change(|path| change(good(path, 270)));
    assert!(fits.is_good() && fits.anchored.key_changes[0].is_certified, "{:?}", fits.anchored);

    let other_key =
        wrong_change(|path| key_changed(KeyRole::Stable, Some(&key(1)), &key(3), Some(good(path, 300))));
    let other_role = wrong_change(|path| {
        let certificate = certificate(path, KeyRole::Epoch, &key(1), &key(2), 300);
        change(certificate)
    });
    let other_log = wrong_change(|path| {
        let (_folder, other) = log_of(300);
        let _ = path;
        change(good(&other, 300))
    });
    let bad_signature = wrong_change(|path| {
        let text = good(path, 300);
        let forged = text.replace(&vkey(&key(2)).to_string(), &vkey(&key(3)).to_string());
        key_changed(KeyRole::Stable, Some(&key(1)), &key(3), Some(forged))
    });
    for (what, report) in
        [("key", other_key), ("role", other_role), ("log", other_log), ("signature", bad_signature)]
    {
        assert_eq!(found(&report), [(Check::KeyChange, Some(301))], "{what}: {:?}", report.anchored);
        assert!(!report.anchored.key_changes[0].is_certified);
        assert!(report.self_consistent);
    }
}

#[test]
fn nobody_can_tell_who_certified_where_two_known_keys_have_one_name_and_id() {
    // Their ids are the same four bytes.
    let [one, other] = [28_867_u32, 52_570].map(|number| {
        let mut seed = [0; 32];
        seed[28..].copy_from_slice(&number.to_be_bytes());
        SigningKey::from_seed(ORIGIN, &seed).unwrap()
    });
    assert!(vkey(&one).id() == vkey(&other).id() && vkey(&one) != vkey(&other));
    let (_folder, path) = log_of(3);
    rotate(&path, KeyRole::Stable, &one, &key(2));
    let alone = judge(&path, options(&[&one], Vec::new()));
    assert!(alone.is_good() && alone.anchored.key_changes[0].is_certified, "{:?}", alone.anchored);
    let both = judge(&path, options(&[&one, &other], Vec::new()));
    assert_eq!(found(&both), [(Check::KeyChange, Some(4))], "{:?}", both.anchored);
    assert!(!both.anchored.key_changes[0].is_certified);
}

#[test]
fn a_change_that_the_key_before_did_not_certify_hands_nothing_on_and_is_no_failure() {
    for previous in [Some(key(5)), None] {
        let report = wrong_change(|path| {
            let certificate = certificate(path, KeyRole::Stable, &key(1), &key(2), 300);
            key_changed(KeyRole::Stable, previous.as_ref(), &key(2), Some(certificate))
        });
        assert!(report.is_good() && !report.anchored.key_changes[0].is_certified, "{:?}", report.anchored);
    }
    let by_nobody = wrong_change(|path| {
        let certificate = certificate(path, KeyRole::Stable, &key(5), &key(2), 300);
        key_changed(KeyRole::Stable, Some(&key(1)), &key(2), Some(certificate))
    });
    assert!(by_nobody.is_good() && !by_nobody.anchored.key_changes[0].is_certified);
}

#[test]
fn without_a_key_that_was_given_nothing_is_handed_on_and_nothing_fails() {
    let (_folder, path) = log_of(3);
    rotate(&path, KeyRole::Stable, &key(1), &key(2));
    let report = judge(&path, options(&[&key(9)], Vec::new()));
    assert!(report.is_good());
    assert!(!report.anchored.key_changes[0].is_certified);
    let report = judge(&path, Scope::Everything.into());
    assert_eq!(report.anchored.key_changes.len(), 1);
}

#[test]
fn a_key_that_no_log_signs_with_is_a_wrong_one_also_where_the_log_does_not_say_what_it_is_called() {
    let (_folder, path) = log_of(3);
    as_a_newer_version(&path);
    let cosigner = Cosigner::from_seed("witness.example/w", &[7; 32]).unwrap();
    let options = Options::new().scope(Scope::LogOnly).key(cosigner.verifier().clone());
    assert_not_checked(&judge(&path, options), "none of the given keys is a key of any log");
}

#[test]
fn who_was_given_an_epoch_key_takes_no_checkpoint_without_one() {
    let (_folder, path) = log_of(5);
    rotate(&path, KeyRole::Epoch, &key(11), &key(12));
    make(&path, 10, "next epoch");
    let both = |epoch, size| vec![checkpoint(&path, size, &[&key(1), &key(epoch)])];
    let given = |checkpoints| options(&[&key(1)], checkpoints).epoch_key(vkey(&key(11)));
    assert!(judge(&path, given(both(11, 5))).is_good());
    assert!(judge(&path, given(both(12, 10))).is_good());
    // The thief has the stable key and the present epoch's.
    assert_found(&judge(&path, given(both(12, 4))), Check::CheckpointSignature);
    assert_found(&judge(&path, given(both(11, 10))), Check::CheckpointSignature);
    assert_found(&judge(&path, given(vec![checkpoint(&path, 4, &[&key(1)])])), Check::CheckpointSignature);
    // A key that was given in the wrong role hands nothing on, and the report says what to do.
    let unnamed = judge(&path, options(&[&key(1), &key(11)], Vec::new()));
    assert!(unnamed.is_good());
    assert!(unnamed.anchored.key_changes[0].certified.contains("--epoch-key"));
}

#[test]
fn tiles_and_checkpoints_that_the_file_keeps_follow_from_the_log() {
    let (_folder, path) = log_of(600);
    let connection = support::sqlite(&path);
    let keep = |size: i64, note: &str| {
        let sql = "INSERT OR REPLACE INTO checkpoints (size, note, made_at) VALUES (?1, ?2, 0)";
        connection.execute(sql, (size, note)).unwrap();
    };
    let checks =
        || -> Vec<Check> { support::verify(&path).failures.iter().map(|failure| failure.check).collect() };
    store_tiles(&path);
    let kept = checkpoint(&path, 590, &[&key(1)]).to_string();
    keep(590, &kept);
    verify_whole(&path);
    for wrong in [
        "UPDATE tiles SET hashes = zeroblob(8192) WHERE level = 0 AND tile = 1",
        "UPDATE tiles SET hashes = zeroblob(32) WHERE level = 1",
        "DELETE FROM tiles WHERE level = 0 AND tile = 0",
    ] {
        connection.execute_batch(wrong).unwrap();
        assert_eq!(checks(), [Check::Tiles], "{wrong}");
        store_tiles(&path);
    }
    connection.execute_batch("DELETE FROM tiles").unwrap();
    assert_eq!(checks(), [], "tiles may lag behind the log");

    for (size, wrong) in [
        (590, sign(590, root(&path, 1), &[&key(1)]).to_string()),
        (590, checkpoint(&path, 1, &[&key(1)]).to_string()),
        (601, sign(601, root(&path, 1), &[&key(1)]).to_string()),
        (3, "no checkpoint".to_owned()),
    ] {
        keep(size, &wrong);
        assert_eq!(checks(), [Check::Checkpoints], "{wrong}");
        connection.execute("DELETE FROM checkpoints", []).unwrap();
        keep(590, &kept);
    }
}

#[test]
fn checkpoints_that_the_file_keeps_say_how_far_it_was_signed_and_anchor_nothing() {
    let (_folder, path) = log_of(20);
    let connection = support::sqlite(&path);
    let keep = |size: i64, note: &str| {
        let sql = "INSERT OR REPLACE INTO checkpoints (size, note, made_at) VALUES (?1, ?2, 0)";
        connection.execute(sql, (size, note)).unwrap();
    };
    keep(5, &checkpoint(&path, 5, &[&key(1)]).to_string());
    keep(10, &checkpoint(&path, 10, &[&key(1)]).to_string());
    keep(15, &sign(15, root(&path, 1), &[&key(9)]).to_string());
    let report = judge(&path, options(&[&key(1)], Vec::new()));
    assert!(report.is_good(), "by nobody whom this verification trusts: {:?}", report.anchored.failures);
    assert_eq!((report.anchored.anchored_to, report.anchored.signed_to), (None, Some(10)));
    keep(12, &sign(12, root(&path, 1), &[&key(1)]).to_string());
    assert_found(&judge(&path, options(&[&key(1)], Vec::new())), Check::CheckpointRoot);
}

#[test]
fn the_name_of_the_log_is_the_first_line_of_its_checkpoints() {
    let (_folder, path) = log_of(1);
    assert_eq!(verify_whole(&path).log.origin.as_deref(), Some(ORIGIN));
}

#[test]
fn trust_is_not_handed_on_to_a_key_that_cannot_sign_for_the_log() {
    let witness = Cosigner::from_seed(ORIGIN, &[7; 32]).unwrap();
    let report = wrong_change(|path| {
        let text = certificate(path, KeyRole::Stable, &key(1), &key(2), 300);
        let body = text.split("\n\n").next().unwrap();
        let body = body.replace(&vkey(&key(2)).to_string(), &witness.verifier().to_string()) + "\n";
        let mut note = annals::note::SignedNote::unsigned(body).unwrap();
        note.sign(&key(1));
        let event = key_changed(KeyRole::Stable, Some(&key(1)), &key(2), Some(note.to_string()));
        annals::KeyChanged { vkey: witness.verifier().to_string(), ..event }
    });
    assert_eq!(found(&report), [(Check::KeyChange, Some(301))], "{:?}", report.anchored);
    assert!(!report.anchored.key_changes[0].is_certified);
}

#[test]
fn a_cosignature_under_the_name_of_the_log_is_no_signature_of_the_log() {
    let (_folder, path) = log_of(5);
    let witness = Cosigner::from_seed(ORIGIN, &[7; 32]).unwrap();
    let mut kept = checkpoint(&path, 5, &[]);
    kept.add_signatures([witness.cosign(&kept, 1)]);
    let given = Options::new().scope(Scope::LogOnly).key(witness.verifier().clone());
    let report = judge(&path, given.checkpoints("kept", CheckpointFile { checkpoints: vec![kept] }));
    assert_not_checked(&report, "counts only as that of a witness");
}

#[test]
fn a_key_of_another_log_is_not_taken_for_tampering() {
    let (_folder, path) = log_of(5);
    let other = SigningKey::from_seed("example.org/other", &[1; 32]).unwrap();
    let report = judge(&path, options(&[&other], vec![checkpoint(&path, 5, &[&key(1)])]));
    assert_not_checked(&report, "of another log was given");
    assert!(report.anchored.not_checked[0].why.contains("example.org/other"));
}

#[test]
fn a_stored_checkpoint_that_is_too_long_for_one_is_not_read_and_the_others_are_judged() {
    let (_folder, path) = log_of(20);
    let connection = support::sqlite(&path);
    let keep = |size: i64, note: &str| {
        let sql = "INSERT INTO checkpoints (size, note, made_at) VALUES (?1, ?2, 0)";
        connection.execute(sql, (size, note)).unwrap();
    };
    for size in [5, 10, 15] {
        keep(i64::try_from(size).unwrap(), &checkpoint(&path, size, &[&key(1)]).to_string());
    }
    let long = checkpoint(&path, 18, &[&key(1)]).to_string();
    keep(18, &(long + &"x".repeat(annals::limits::NOTE_BYTES_MAX)));
    // Under another size than its own it says what it says.
    keep(3, &checkpoint(&path, 16, &[&key(1)]).to_string());
    let report = judge(&path, options(&[&key(1)], Vec::new()));
    assert_eq!(report.anchored.signed_to, Some(16));
    assert!(report.is_good(), "{:?}", report.anchored.failures);
    let whole = support::verify(&path);
    assert_eq!(whole.failures.len(), 1, "{:?}", whole.failures);
    assert_eq!(whole.failures[0].check, Check::Checkpoints);
}
