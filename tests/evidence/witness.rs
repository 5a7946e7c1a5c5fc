//! Witnesses as another party: what they cosign, what they refuse, and what goes wrong on the way.

#![cfg(feature = "http")]

use std::time::Duration;

use crate::support::witness::{Broken, Mode, TestWitness, broken_server};
use annals::evidence::http::{HttpClient, HttpError, Roots, Timeouts};
use annals::evidence::witness::{Cosignature, Witness, WitnessAnchor, WitnessError, WitnessState};
use annals::evidence::{Anchor as _, AnchorAnswer, AnchorError};
use annals::merkle::NodeHash;
use annals::note::{
    Algorithm, Checkpoint, NoteError, SignatureError, SignedCheckpoint, SigningKey, VerifierKey,
};
use ml_dsa::{KeyExport as _, Keypair as _, MlDsa44};
use tempfile::TempDir;
use tlog_tiles::tlog::{Error, Hash, HashReader, prove_tree, stored_hash_index, stored_hashes, tree_hash};

const ORIGIN: &str = "example.com/log";
const NAME: &str = "witness.example/w1";

/// A log by another implementation of its tree, so that nothing here judges itself.
#[derive(Clone, Default)]
struct Log {
    leaves: u64,
    hashes: Vec<Hash>,
}

impl HashReader for Log {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
        Ok(indexes.iter().map(|index| self.hashes[usize::try_from(*index).unwrap()]).collect())
    }
}

impl Log {
    fn of(size: u64) -> Log {
        let mut log = Log::default();
        log.grow(size, "leaf");
        log
    }

    fn grow(&mut self, size: u64, leaf: &str) {
        while self.leaves < size {
            assert_eq!(stored_hash_index(0, self.leaves), self.hashes.len() as u64);
            let new = stored_hashes(self.leaves, format!("{leaf} {}", self.leaves).as_bytes(), self).unwrap();
            self.hashes.extend(new);
            self.leaves += 1;
        }
    }

    fn checkpoint(&self) -> SignedCheckpoint {
        self.checkpoint_by(&key())
    }

    fn checkpoint_by(&self, key: &SigningKey) -> SignedCheckpoint {
        let root = NodeHash::from_bytes(tree_hash(self.leaves, self).unwrap().0);
        let checkpoint = Checkpoint::new(key.name(), self.leaves, root).unwrap();
        let mut signed = SignedCheckpoint::unsigned(checkpoint);
        signed.sign(key);
        signed
    }
}

fn key() -> SigningKey {
    SigningKey::from_seed(ORIGIN, &[1; 32]).unwrap()
}

struct Scene {
    folder: TempDir,
    witness: TestWitness,
    state: WitnessState,
}

impl Scene {
    fn new() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let witness = TestWitness::start(folder.path(), NAME, vec![key().verifier().clone()]);
        Scene { folder, witness, state: WitnessState::default() }
    }

    fn client(&self) -> Witness {
        client(&self.witness.url(), vec![self.witness.key()])
    }

    fn send(&mut self, log: &Log) -> Result<Vec<Cosignature>, WitnessError> {
        send(&self.client(), &mut self.state, log, &log.checkpoint())
    }

    fn refused(&mut self, log: &Log) -> WitnessError {
        self.send(log).unwrap_err()
    }

    /// What is answered to a checkpoint of 5 events if the witness answers so.
    fn answered(mode: Mode) -> WitnessError {
        let mut scene = Scene::new();
        scene.witness.answer(mode);
        scene.refused(&Log::of(5))
    }
}

/// Only a hang takes as long.
const PATIENT: Duration = Duration::from_secs(600);

/// For answers that never come.
const IMPATIENT: Duration = Duration::from_secs(2);

fn http(patience: Duration) -> HttpClient {
    HttpClient::new(Timeouts { connect: patience, whole: patience }, Roots::Web).unwrap()
}

fn client(url: &str, keys: Vec<VerifierKey>) -> Witness {
    Witness::new(url, keys, http(PATIENT)).unwrap()
}

fn send(
    witness: &Witness,
    state: &mut WitnessState,
    log: &Log,
    checkpoint: &SignedCheckpoint,
) -> Result<Vec<Cosignature>, WitnessError> {
    witness.add_checkpoint(state, checkpoint, &mut |old, new| {
        let proof = prove_tree(new, old, log).map_err(AnchorError::new)?;
        Ok(proof.into_iter().map(|hash| NodeHash::from_bytes(hash.0)).collect())
    })
}

#[test]
fn a_first_checkpoint_is_cosigned() {
    let mut scene = Scene::new();
    let log = Log::of(7);
    let cosignatures = scene.send(&log).unwrap();
    assert_eq!(cosignatures.len(), 1);
    assert!(cosignatures[0].time > 1_700_000_000);
    assert_eq!((scene.state.old_size, scene.witness.size_of(ORIGIN)), (7, 7));

    let mut checkpoint = log.checkpoint();
    checkpoint.add_signatures(cosignatures.into_iter().map(|cosignature| cosignature.signature));
    let keys = [key().verifier().clone(), scene.witness.key()];
    assert_eq!(checkpoint.to_string().parse::<SignedCheckpoint>().unwrap().verify(&keys).unwrap().len(), 2);
    assert_eq!(scene.witness.requests(), [format!("old 0\n\n{}", log.checkpoint())]);
}

#[test]
fn a_log_that_grows_is_cosigned_at_every_size() {
    let mut scene = Scene::new();
    let mut log = Log::default();
    for size in [0, 1, 2, 3, 4, 7, 8, 9, 64, 65, 100, 255, 256, 257, 300] {
        log.grow(size, "leaf");
        scene.send(&log).unwrap();
        assert_eq!(scene.witness.size_of(ORIGIN), size);
    }
    assert_eq!(scene.witness.requests().len(), 15, "one request each");
}

#[test]
fn the_same_checkpoint_is_cosigned_again() {
    let mut scene = Scene::new();
    scene.send(&Log::of(7)).unwrap();
    scene.send(&Log::of(7)).unwrap();
    assert!(scene.witness.requests()[1].starts_with("old 7\n\n"));
}

#[test]
fn who_does_not_know_what_was_cosigned_is_told() {
    let mut scene = Scene::new();
    scene.send(&Log::of(7)).unwrap();
    // Forgotten, remembered too small, and too large.
    for (place, old_size) in [0, 3, 1_000].into_iter().enumerate() {
        scene.state = WitnessState { old_size };
        let size = 20 + place as u64;
        scene.send(&Log::of(size)).unwrap();
        assert_eq!(scene.state.old_size, size);
        assert_eq!(scene.witness.requests().len(), 3 + 2 * place);
    }
}

#[test]
fn a_witness_that_was_started_again_knows_what_it_cosigned() {
    let mut scene = Scene::new();
    scene.send(&Log::of(7)).unwrap();
    let logs = vec![key().verifier().clone()];
    scene.witness = TestWitness::start(scene.folder.path(), NAME, logs);
    scene.send(&Log::of(9)).unwrap();
    assert!(matches!(scene.refused(&Log::of(8)), WitnessError::Ahead { witnessed: 9, ours: 8, .. }));
}

#[test]
fn a_log_that_was_set_back_is_found_out() {
    let mut scene = Scene::new();
    scene.send(&Log::of(20)).unwrap();
    for old_size in [0, 10, 15, 20] {
        scene.state = WitnessState { old_size };
        let error = scene.refused(&Log::of(15));
        assert!(matches!(error, WitnessError::Ahead { witnessed: 20, ours: 15, .. }), "{error}");
        assert!(error.is_other_history());
        assert_eq!(scene.state.old_size, 20);
    }
    assert_eq!(scene.witness.size_of(ORIGIN), 20);
}

#[test]
fn a_log_that_was_written_anew_is_found_out() {
    let mut scene = Scene::new();
    scene.send(&Log::of(20)).unwrap();
    let mut other = Log::of(19);
    other.grow(20, "other");
    let error = scene.refused(&other);
    assert!(matches!(error, WitnessError::Fork { size: 20, .. }) && error.is_other_history(), "{error}");

    other.grow(30, "other");
    let error = scene.refused(&other);
    assert!(matches!(error, WitnessError::NotContinued { witnessed: 20, ours: 30, .. }), "{error}");
    assert!(error.is_other_history());
    // The log itself is still cosigned.
    scene.send(&Log::of(25)).unwrap();
}

#[test]
fn a_conflict_at_the_same_size_is_another_tree_also_if_the_size_is_named() {
    let error = Scene::answered(Mode::Fixed(409, "text/x.tlog.size", b"5\n".to_vec()));
    // The first request has the size 0, and the second has 5.
    assert!(matches!(error, WitnessError::Fork { size: 5, .. }), "{error}");
}

#[test]
fn an_unknown_log_and_an_unknown_key_are_told_apart() {
    let mut scene = Scene::new();
    let log = Log::of(5);
    let other = SigningKey::from_seed("example.com/unknown", &[1; 32]).unwrap();
    let error = send(&scene.client(), &mut scene.state, &log, &log.checkpoint_by(&other)).unwrap_err();
    assert!(
        matches!(&error, WitnessError::OriginUnknown { origin, .. } if origin == "example.com/unknown"),
        "{error}"
    );
    let new = SigningKey::from_seed(ORIGIN, &[2; 32]).unwrap();
    let error = send(&scene.client(), &mut scene.state, &log, &log.checkpoint_by(&new)).unwrap_err();
    assert!(matches!(error, WitnessError::KeyUnknown { .. }), "{error}");
    assert!(!error.is_other_history());
    // Signed by both, as after a change of keys, it is known by the old one.
    let mut both = log.checkpoint_by(&new);
    both.sign(&key());
    send(&scene.client(), &mut scene.state, &log, &both).unwrap();
}

#[test]
fn refusals_and_failures_say_what_they_are() {
    let malformed = Scene::answered(Mode::Fixed(400, "text/plain", b"no\x07 \xff sense".to_vec()));
    assert!(matches!(&malformed, WitnessError::Malformed { answer, .. } if answer == "no  \u{fffd} sense"));
    for status in [301, 307, 418, 429, 500, 503] {
        let error = Scene::answered(Mode::Fixed(status, "text/plain", b"later".to_vec()));
        assert!(
            matches!(&error, WitnessError::Status { status: found, answer, .. }
            if *found == status && answer == "later"),
            "{error}"
        );
    }
    let long = Scene::answered(Mode::Fixed(500, "text/html", vec![b'x'; 5_000]));
    assert!(long.to_string().len() < 500, "{long}");
}

#[test]
fn lines_of_unknown_keys_are_passed_over() {
    let mut scene = Scene::new();
    scene.witness.answer(Mode::AmongOthers);
    let cosignatures = scene.send(&Log::of(5)).unwrap();
    assert_eq!(cosignatures.len(), 1);
    assert_eq!(cosignatures[0].signature.id(), scene.witness.key().id());
}

#[test]
fn an_answer_without_a_good_cosignature_is_none() {
    let bad = Scene::answered(Mode::WrongSignature);
    assert!(matches!(&bad, WitnessError::Cosignature { source: SignatureError::Bad { .. }, .. }), "{bad}");

    let mut scene = Scene::new();
    let other = VerifierKey::new(NAME, Algorithm::CosignatureV1, key().verifier().public_bytes()).unwrap();
    let log = Log::of(5);
    let unknown = send(&client(&scene.witness.url(), vec![other]), &mut scene.state, &log, &log.checkpoint())
        .unwrap_err();
    assert!(
        matches!(unknown, WitnessError::Cosignature { source: SignatureError::NoneKnown, .. }),
        "{unknown}"
    );
    assert_eq!(scene.state.old_size, 0, "what it keeps is asked again");
    // That it was kept there is no harm.
    scene.send(&log).unwrap();

    let empty = Scene::answered(Mode::Fixed(200, "text/plain", Vec::new()));
    assert!(matches!(empty, WitnessError::Cosignature { source: SignatureError::NoneKnown, .. }), "{empty}");
}

#[test]
fn the_logs_own_signature_is_no_cosignature() {
    let log = Log::of(5);
    let line = format!("{}\n", log.checkpoint().signatures()[0]);
    let mut scene = Scene::new();
    scene.witness.answer(Mode::Fixed(200, "text/plain", line.into_bytes()));
    let witness = client(&scene.witness.url(), vec![key().verifier().clone()]);
    let error = send(&witness, &mut scene.state, &log, &log.checkpoint()).unwrap_err();
    assert!(matches!(error, WitnessError::Cosignature { source: SignatureError::NoneKnown, .. }), "{error}");
}

#[test]
fn garbage_is_no_answer() {
    let html = Scene::answered(Mode::Fixed(200, "text/html", b"<html>Welcome!</html>".to_vec()));
    assert!(matches!(html, WitnessError::Lines { source: NoteError::LastLine, .. }), "{html}");
    let html = Scene::answered(Mode::Fixed(200, "text/html", b"<html>Welcome!</html>\n".to_vec()));
    assert!(matches!(html, WitnessError::Lines { source: NoteError::SignatureLine { .. }, .. }), "{html}");
    let bytes = Scene::answered(Mode::Fixed(200, "text/plain", vec![0xff; 100]));
    assert!(matches!(bytes, WitnessError::Answer { .. }), "{bytes}");
    for (kind, body) in [
        ("text/x.tlog.size", "five\n"),
        ("text/x.tlog.size", "3"),
        ("text/x.tlog.size", "03\n"),
        ("text/x.tlog.size", ""),
        ("text/plain", "3\n"),
    ] {
        let error = Scene::answered(Mode::Fixed(409, kind, body.as_bytes().to_vec()));
        assert!(matches!(error, WitnessError::Answer { .. }), "{kind} {body:?}: {error}");
    }
}

#[test]
fn a_witness_that_takes_no_proof_is_not_asked_for_ever() {
    let mut scene = Scene::new();
    scene.witness.answer(Mode::Fixed(409, "text/x.tlog.size", b"3\n".to_vec()));
    let error = scene.refused(&Log::of(5));
    assert!(matches!(error, WitnessError::Unsettled { witnessed: 3, .. }), "{error}");
    assert_eq!(scene.witness.requests().len(), 2);
}

#[test]
fn an_answer_longer_than_any_is_not_read_to_its_end() {
    let error = Scene::answered(Mode::Fixed(200, "text/plain", vec![b'x'; 3 << 20]));
    assert!(matches!(error, WitnessError::Http(HttpError::TooLong { .. })), "{error}");
}

#[test]
fn a_late_witness_is_given_up_and_asked_again_later() {
    let mut scene = Scene::new();
    scene.witness.answer(Mode::Held);
    let impatient = Witness::new(&scene.witness.url(), vec![scene.witness.key()], http(IMPATIENT)).unwrap();
    let log = Log::of(5);
    let error = send(&impatient, &mut scene.state, &log, &log.checkpoint()).unwrap_err();
    assert!(matches!(error, WitnessError::Http(HttpError::Late { .. })), "{error}");
    // It kept the checkpoint before it was too late, and says so to whoever asks next.
    scene.witness.answer(Mode::Honest);
    scene.send(&Log::of(6)).unwrap();
}

#[test]
fn a_witness_that_says_nothing_or_breaks_off_is_given_up() {
    let of = |broken, patience| {
        let url = format!("http://{}", broken_server(broken));
        let log = Log::of(5);
        let witness = Witness::new(&url, vec![key().verifier().clone()], http(patience)).unwrap();
        send(&witness, &mut WitnessState::default(), &log, &log.checkpoint()).unwrap_err()
    };
    let silent = of(Broken::Silent, IMPATIENT);
    assert!(matches!(silent, WitnessError::Http(HttpError::Late { .. })), "{silent}");
    for said in [
        "",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n\u{2014} witness.example/w1 AAAA",
        "SSH-2.0-OpenSSH_9.9\r\n",
    ] {
        let broke_off = of(Broken::Says(said.as_bytes().to_vec()), PATIENT);
        assert!(
            matches!(broke_off, WitnessError::Http(HttpError::Transport { .. })),
            "{said:?}: {broke_off}"
        );
    }
}

#[test]
fn a_witness_that_is_not_there_cannot_be_reached() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let log = Log::of(5);
    let witness = client(&format!("http://{address}"), vec![key().verifier().clone()]);
    let error = send(&witness, &mut WitnessState::default(), &log, &log.checkpoint()).unwrap_err();
    assert!(matches!(error, WitnessError::Http(HttpError::Transport { .. })), "{error}");
}

#[test]
fn an_address_is_one_of_a_web_server() {
    for url in [
        "",
        "witness.example",
        "ftp://witness.example",
        "https://",
        "https:///",
        "http://a b",
        "http://\u{e9}",
    ] {
        let error = Witness::new(url, vec![key().verifier().clone()], http(PATIENT)).unwrap_err();
        assert!(matches!(error, WitnessError::Http(HttpError::Url { .. })), "{url}: {error}");
    }
    let slashes = client("https://witness.example/w1//", vec![key().verifier().clone()]);
    assert_eq!(slashes.url(), "https://witness.example/w1");
    let no_keys = Witness::new("https://witness.example", Vec::new(), http(PATIENT)).unwrap_err();
    assert!(matches!(no_keys, WitnessError::NoKeys { .. }));
}

#[test]
fn what_keeps_a_proof_from_being_made_is_told() {
    let mut scene = Scene::new();
    scene.send(&Log::of(5)).unwrap();
    let checkpoint = Log::of(6).checkpoint();
    let error = scene
        .client()
        .add_checkpoint(&mut scene.state, &checkpoint, &mut |_, _| Err(AnchorError::new("no disk")));
    assert!(error.unwrap_err().to_string().contains("no disk"));
    let many = scene.client().add_checkpoint(&mut scene.state, &checkpoint, &mut |_, _| {
        Ok(vec![NodeHash::from_bytes([0; 32]); 64])
    });
    assert!(matches!(many.unwrap_err(), WitnessError::Proof { from: 5, .. }));
    let wrong = scene.client().add_checkpoint(&mut scene.state, &checkpoint, &mut |_, _| {
        Ok(vec![NodeHash::from_bytes([0; 32]); 3])
    });
    assert!(matches!(wrong.unwrap_err(), WitnessError::NotContinued { .. }));
}

#[test]
fn a_witness_may_cosign_with_ml_dsa_44() {
    let log = Log::of(5);
    let checkpoint = log.checkpoint();
    let key = ml_dsa::SigningKey::<MlDsa44>::from_seed(&[3; 32].into());
    let verifier = VerifierKey::new(NAME, Algorithm::MlDsa44, &key.verifying_key().to_bytes()).unwrap();
    let time = 1_800_000_000_u64.to_be_bytes();
    let short = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let message = [
        b"subtree/v1\n\0".as_slice(),
        &short(NAME),
        &time,
        &short(ORIGIN),
        &[0; 8],
        &5_u64.to_be_bytes(),
        &tree_hash(5, &log).unwrap().0,
    ]
    .concat();
    let signature = key.expanded_key().sign_deterministic(&message, &[]).unwrap().encode();
    // A signature line is made of what stands in a note, so a note is made for it.
    let bytes = [verifier.id().bytes().as_slice(), &time, &signature].concat();
    let line = format!("\u{2014} {NAME} {}\n", base64(&bytes));

    let mut scene = Scene::new();
    scene.witness.answer(Mode::Fixed(200, "text/plain", line.into_bytes()));
    let witness = client(&scene.witness.url(), vec![scene.witness.key(), verifier.clone()]);
    let cosignatures = send(&witness, &mut scene.state, &log, &checkpoint).unwrap();
    assert_eq!(cosignatures.len(), 1);
    assert_eq!((cosignatures[0].time, cosignatures[0].signature.id()), (1_800_000_000, verifier.id()));
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[test]
fn an_anchor_asks_once_what_was_cosigned_and_then_remembers_it() {
    let mut scene = Scene::new();
    scene.send(&Log::of(5)).unwrap();
    let mut anchor = WitnessAnchor::new(scene.client());
    assert_eq!(anchor.name(), format!("witness {}", scene.witness.url()));
    for size in [6, 7, 7, 9] {
        let log = Log::of(size);
        let mut prove = |old, new| {
            let proof = prove_tree(new, old, &log).map_err(AnchorError::new)?;
            Ok(proof.into_iter().map(|hash| NodeHash::from_bytes(hash.0)).collect())
        };
        let AnchorAnswer::Cosigned(signatures) = anchor.submit(&log.checkpoint(), &mut prove).unwrap() else {
            panic!("a witness cosigns")
        };
        let mut checkpoint = log.checkpoint();
        checkpoint.add_signatures(signatures);
        assert!(checkpoint.verify(&[scene.witness.key()]).is_ok());
    }
    // One for the 5, two for the 6, one for each of the others.
    assert_eq!(scene.witness.requests().len(), 6);
    let error = anchor.submit(&Log::of(3).checkpoint(), &mut |_, _| Ok(Vec::new())).unwrap_err();
    assert!(
        error.to_string().contains("has cosigned 9 events of this log, but the log has only 3"),
        "{error}"
    );
}
