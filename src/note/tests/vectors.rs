//! Edge cases of signatures, published by other projects.

use serde_json::Value;

use super::super::verifying::verify_ed25519;
use super::super::verifying::verify_ml_dsa_44;
use super::super::{Algorithm, KeyError, Policy, PolicyFault, VerifierKey};
use super::ORIGIN;
use published::published_json;

#[path = "../../../tests/support/published.rs"]
mod published;

fn bytes(value: &Value) -> Vec<u8> {
    let hex = value.as_str().unwrap().as_bytes().chunks(2);
    hex.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// Returns whether a signature holds under a key of these bytes, if they are a key.
fn holds(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    VerifierKey::new(ORIGIN, Algorithm::Ed25519, key).is_ok_and(|key| {
        let key = ed25519_dalek::VerifyingKey::from_bytes(key.public_bytes().try_into().unwrap()).unwrap();
        verify_ed25519(&key, message, signature).is_ok()
    })
}

#[test]
fn of_the_edge_cases_of_cctv_those_hold_that_are_strict() {
    let Some(vectors) = published_json("ed25519-cctv/ed25519vectors.json") else { return };
    let vectors = vectors.as_array().unwrap();
    assert_eq!(vectors.len(), 914);
    let mut held = 0;
    for vector in vectors {
        let flags: Vec<&str> =
            vector["flags"].as_array().into_iter().flatten().flat_map(Value::as_str).collect();
        let has = |wanted: &[&str]| wanted.iter().any(|flag| flags.contains(flag));
        let (key, message) = (bytes(&vector["key"]), vector["msg"].as_str().unwrap());
        // A key of small order, or not in its canonical form, is refused before any signature is looked at.
        let is_key = !has(&["low_order_A", "non_canonical_A"]);
        let is_good = is_key && !has(&["low_order_R", "non_canonical_R", "low_order_residue"]);
        assert_eq!(holds(&key, message.as_bytes(), &bytes(&vector["sig"])), is_good, "{vector}");
        for algorithm in [Algorithm::Ed25519, Algorithm::CosignatureV1] {
            let read = VerifierKey::new(ORIGIN, algorithm, &key);
            assert_eq!(read.map(|_| ()), if is_key { Ok(()) } else { Err(KeyError::Point) }, "{vector}");
        }
        held += u32::from(is_good);
    }
    assert!(held > 0);
}

#[test]
fn the_ed25519_vectors_of_wycheproof_are_judged_as_they_say() {
    let Some(vectors) = published_json("wycheproof/ed25519_test.json") else { return };
    for group in vectors["testGroups"].as_array().unwrap() {
        let key = bytes(&group["publicKey"]["pk"]);
        for test in group["tests"].as_array().unwrap() {
            let is_good = test["result"] == "valid";
            assert_eq!(holds(&key, &bytes(&test["msg"]), &bytes(&test["sig"])), is_good, "{test}");
        }
    }
}

#[test]
fn the_ml_dsa_44_vectors_of_wycheproof_are_judged_as_they_say() {
    let Some(vectors) = published_json("wycheproof/mldsa_44_verify_test.json") else { return };
    for group in vectors["testGroups"].as_array().unwrap() {
        let key = bytes(&group["publicKey"]);
        for test in group["tests"].as_array().unwrap() {
            let read = verify_ml_dsa_44(&key, &bytes(&test["msg"]), &bytes(&test["sig"]));
            // Notes are signed without a context, so a signature with one does not hold.
            let has_context = test["ctx"].as_str().is_some_and(|context| !context.is_empty());
            assert_eq!(read.is_ok(), test["result"] == "valid" && !has_context, "{}", test["tcId"]);
        }
    }
}

/// The vkeys are those of a log and of a witness with which anybody can sign.
#[test]
fn a_key_by_which_anybody_can_sign_is_refused_wherever_keys_are_read() {
    use sha2::{Digest as _, Sha256};

    let vkey = |name: &str, algorithm: u8| {
        let material = [&[algorithm], [0; 32].as_slice()].concat();
        let id = Sha256::digest([name.as_bytes(), b"\n", &material].concat());
        let id: String = id.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        format!("{name}+{id}+{}", super::super::text::base64_encode(material))
    };
    let (log, witness) = (vkey(ORIGIN, 1), vkey("witness.example/w", 4));
    for key in [&log, &witness] {
        assert_eq!(key.parse::<VerifierKey>(), Err(KeyError::Point));
    }
    for policy in [format!("log {log}\nquorum none\n"), format!("witness w {witness}\nquorum w\n")] {
        assert_eq!(policy.parse::<Policy>().unwrap_err().fault, PolicyFault::Key(KeyError::Point));
    }
    let root = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let certificate = format!("annals key change\n{ORIGIN}\nstable\n{log}\n1\n{root}\n");
    assert!(certificate.parse::<super::super::KeyChange>().is_err());
}
