//! No policy makes the parser, or the judging of a checkpoint by it, panic.

#![no_main]

use annals::note::{Policy, SignedCheckpoint};
use libfuzzer_sys::fuzz_target;

const CHECKPOINT: &str = include_str!("../../../tests/golden/proofs/checkpoint-5");

fuzz_target!(|bytes: &[u8]| {
    let Ok(policy) = Policy::parse(bytes) else { return };
    let checkpoint: SignedCheckpoint = CHECKPOINT.parse().expect("the golden checkpoint is one");
    let _ = policy.evaluate(&checkpoint).to_string();
});
