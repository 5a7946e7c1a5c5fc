//! Short texts that others write, ids, times, hashes, API keys and signature lines, are read or refused; what is
//! read prints in one form, which reads as the same.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use annals::apikey::ApiKey;
use annals::merkle::NodeHash;
use annals::note::{Signature, check_key_name};
use annals::{Digest, EventId, Json, Seq, SessionId, StepId, Timestamp};

fn prints_as_itself<T: FromStr + Display + PartialEq + Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string().parse::<T>().ok(), Some(value));
    }
}

pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    prints_as_itself::<Seq>(text);
    prints_as_itself::<Timestamp>(text);
    prints_as_itself::<EventId>(text);
    prints_as_itself::<Digest>(text);
    prints_as_itself::<NodeHash>(text);
    prints_as_itself::<SessionId>(text);
    prints_as_itself::<StepId>(text);
    if let Ok(key) = text.parse::<ApiKey>() {
        assert_eq!(*key.reveal(), text);
    }
    if let Ok(json) = text.parse::<Json>() {
        assert!(json.as_str().parse::<Json>().is_ok());
    }
    if let Ok(signatures) = Signature::parse_lines(text) {
        let printed: String = signatures.iter().map(|signature| format!("{signature}\n")).collect();
        assert!(text.is_empty() || printed == text || printed == format!("{text}\n"));
    }
    let _ = check_key_name(text);
}
