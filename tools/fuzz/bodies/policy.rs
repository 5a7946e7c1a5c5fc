//! No policy makes the parser, or the judging of a checkpoint by it, panic.

use annals::note::{Policy, SignedCheckpoint};

const CHECKPOINT: &str = include_str!("../../../tests/golden/proofs/checkpoint-5");

pub(crate) fn run(bytes: &[u8]) {
    let Ok(policy) = Policy::parse(bytes) else { return };
    let checkpoint: SignedCheckpoint = CHECKPOINT.parse().expect("the golden checkpoint is one");
    let _ = policy.evaluate(&checkpoint).to_string();
}
