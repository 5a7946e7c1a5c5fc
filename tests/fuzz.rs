//! What reads the bytes of others, fed with the inputs in tools/fuzz/corpus and with changes of them. The targets are
//! those of tools/fuzz, which a fuzzer that is led by coverage runs too.

#![cfg(all(feature = "http", feature = "map", feature = "server"))]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

#[path = "../tools/fuzz/bodies/checkpoints.rs"]
mod checkpoints;
#[path = "../tools/fuzz/bodies/draft.rs"]
mod draft;
#[path = "../tools/fuzz/bodies/entry.rs"]
mod entry;
#[path = "../tools/fuzz/bodies/import.rs"]
mod import;
#[path = "../tools/fuzz/bodies/map.rs"]
mod map;
#[path = "../tools/fuzz/bodies/note.rs"]
mod note;
#[path = "../tools/fuzz/bodies/otel.rs"]
mod otel;
#[path = "../tools/fuzz/bodies/otlp.rs"]
mod otlp;
#[path = "../tools/fuzz/bodies/payload.rs"]
mod payload;
#[path = "../tools/fuzz/bodies/policy.rs"]
mod policy;
#[path = "../tools/fuzz/bodies/proof.rs"]
mod proof;
#[path = "../tools/fuzz/bodies/texts.rs"]
mod texts;
#[path = "../tools/fuzz/bodies/token.rs"]
mod token;

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng};

/// Executions of each target, and with ANNALS_TEST_HEAVY set.
const EXECUTIONS: u32 = 2_000;
const EXECUTIONS_HEAVY: u32 = 100_000;

/// Longest input.
const BYTES_MAX: usize = 16 << 10;

/// Pieces that parsers take in a way of their own.
const PIECES: [&[u8]; 16] = [
    b"\n",
    b"\n\n",
    b"\r\n",
    b"\0",
    b"\xff",
    b"\xfb\x00\x00",
    b"\xfd\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\xef\xbb\xbf",
    "\u{2014} ".as_bytes(),
    b"\"",
    b"[[[[[[[[",
    b"{\"a\":",
    b"\\ud800",
    b"1e999",
    b"+",
    b"=",
];

fn inputs(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/fuzz/corpus").join(target);
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    // Of the same inputs the same changes are made in every run.
    paths.sort();
    paths.into_iter().map(|path| fs::read(path).unwrap()).collect()
}

/// A change of an input: bits, bytes, pieces of this and of another, and numbers.
fn change(input: &mut Vec<u8>, other: &[u8], rng: &mut TestRng) {
    let at = rng.random_range(0..=input.len());
    let end = rng.random_range(at..=input.len());
    match rng.random_range(0..9) {
        0 if !input.is_empty() => {
            let at = at.min(input.len() - 1);
            input[at] ^= 1 << rng.random_range(0..8_u8);
        }
        1 if !input.is_empty() => {
            let at = at.min(input.len() - 1);
            input[at] = rng.random();
        }
        2 => drop(input.splice(at..at, PIECES[rng.random_range(0..PIECES.len())].iter().copied())),
        3 => drop(input.drain(at..end.min(at + 64))),
        4 => {
            let piece: Vec<u8> = input[at..end.min(at + 256)].to_vec();
            input.splice(at..at, piece);
        }
        5 => input.truncate(at),
        6 => {
            let from = rng.random_range(0..=other.len());
            let to = rng.random_range(from..=other.len());
            input.splice(at..end, other[from..to].iter().copied());
        }
        7 => {
            let number = [0, 1, 127, 255, 65_535, u64::MAX, 1 << 63][rng.random_range(0..7)];
            let text = number.to_string();
            let bytes = if rng.random() { text.as_bytes().to_vec() } else { number.to_le_bytes().to_vec() };
            input.splice(at..end.min(at + bytes.len()), bytes);
        }
        _ => drop(input.splice(at..end, std::iter::repeat_n(rng.random::<u8>(), (end - at).min(64)))),
    }
    input.truncate(BYTES_MAX);
}

fn run(target: &str, body: fn(&[u8])) {
    let inputs = inputs(target);
    inputs.iter().for_each(|input| body(input));
    body(b"");
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[9; 32]);
    let heavy = std::env::var_os("ANNALS_TEST_HEAVY").is_some();
    for _ in 0..if heavy { EXECUTIONS_HEAVY } else { EXECUTIONS } {
        let mut input = inputs[rng.random_range(0..inputs.len())].clone();
        let other = &inputs[rng.random_range(0..inputs.len())];
        for _ in 0..rng.random_range(1..6) {
            change(&mut input, other, &mut rng);
        }
        let told = input.clone();
        if std::panic::catch_unwind(move || body(&input)).is_err() {
            let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{target}"));
            fs::write(&file, told).unwrap();
            panic!("the target {target} panics on {}", file.display());
        }
    }
}

macro_rules! targets {
    ($($target:ident: $test:ident;)*) => { $(
        #[test]
        fn $test() {
            run(stringify!($target), $target::run);
        }
    )* };
}

targets! {
    checkpoints: no_checkpoint_file_makes_its_reader_panic;
    draft: no_event_in_json_makes_its_reader_panic;
    entry: an_entry_that_is_taken_has_no_other_bytes;
    import: no_file_of_another_program_makes_its_importer_panic;
    map: no_map_and_no_record_makes_its_mapper_panic;
    note: notes_keys_and_certificates_print_as_they_were_read;
    otel: what_a_span_or_log_record_means_can_be_recorded;
    otlp: what_is_read_of_a_request_of_otlp_can_be_recorded;
    payload: no_payload_of_any_kind_makes_its_reader_panic;
    policy: no_policy_makes_its_reader_or_judge_panic;
    proof: a_proof_prints_as_it_was_read_and_is_judged_without_a_panic;
    texts: short_texts_print_in_one_form;
    token: no_token_or_certificate_makes_its_judge_panic;
}

#[test]
fn every_target_of_the_fuzzer_runs_here() {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/fuzz");
    let names = |folder: &str| -> Vec<String> {
        let files = fs::read_dir(tools.join(folder)).unwrap().map(|file| file.unwrap().path());
        let mut names: Vec<String> =
            files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    let bodies = names("bodies");
    assert_eq!(bodies, names("fuzz_targets"));
    assert_eq!(bodies, names("corpus"));
    let here = include_str!("fuzz.rs");
    for body in bodies {
        assert!(here.contains(&format!("bodies/{body}.rs\"")), "{body}");
    }
}
