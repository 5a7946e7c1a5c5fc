use super::super::{Algorithm, KeyChange, KeyChangeError, KeyError, NameError, SigningKey, VerifierKey};
use super::{ORIGIN, key, witness};
use crate::event::KeyRole;

use crate::merkle::NodeHash;
#[test]
fn a_key_is_printed_as_it_was_read() {
    let signing = key(ORIGIN, 1);
    let vkey = signing.verifier().to_string();
    assert_eq!(vkey.parse::<VerifierKey>().unwrap().to_string(), vkey);
    let skey = signing.to_skey();
    let again = SigningKey::from_skey(&skey).unwrap();
    assert_eq!(*again.to_skey(), *skey);
    assert_eq!(again.verifier(), signing.verifier());
}

#[test]
fn new_keys_differ() {
    let (one, other) = (SigningKey::generate(ORIGIN).unwrap(), SigningKey::generate(ORIGIN).unwrap());
    assert_ne!(one.verifier(), other.verifier());
    assert_eq!(one.name(), ORIGIN);
}

#[test]
fn a_private_key_is_not_seen_in_debug_output_and_errors() {
    let signing = key(ORIGIN, 1);
    let skey = signing.to_skey();
    let secret = skey.rsplit('+').next().unwrap();
    assert!(!format!("{signing:?}").contains(secret));
    assert_eq!(skey.parse::<VerifierKey>().unwrap_err(), KeyError::Private);
    for error in [
        SigningKey::from_skey(&skey.replace("PRIVATE+KEY+", "")).unwrap_err(),
        SigningKey::from_skey(&skey.replace("example", "elpmaxe")).unwrap_err(),
        SigningKey::from_skey(&format!("{}\n", *skey)).unwrap_err(),
    ] {
        assert!(!error.to_string().contains(secret), "{error}");
    }
}

#[test]
fn a_name_without_characters_or_with_those_that_end_a_name_is_none() {
    assert_eq!(SigningKey::from_seed("", &[1; 32]).unwrap_err(), KeyError::Name(NameError::Empty));
    for c in [' ', '\u{a0}', '\u{2028}', '\u{3000}', '+', '\n', '\t', '\0', '\u{7f}', '\u{85}'] {
        let error = SigningKey::from_seed(&format!("exa{c}mple"), &[1; 32]).unwrap_err();
        assert_eq!(error, KeyError::Name(NameError::Character(c as u32)));
    }
    let long = "x".repeat(256);
    assert!(matches!(
        SigningKey::from_seed(&long, &[1; 32]).unwrap_err(),
        KeyError::Name(NameError::TooLong { bytes: 256, max: 255 })
    ));
    assert!(SigningKey::from_seed(long.get(1..).unwrap(), &[1; 32]).is_ok());
}

#[test]
fn a_key_whose_id_or_name_was_changed_is_refused() {
    let vkey = key(ORIGIN, 1).verifier().to_string();
    let other_name = vkey.replace("example", "elpmaxe").parse::<VerifierKey>().unwrap_err();
    assert!(matches!(other_name, KeyError::Id { .. }));
    let id = key(ORIGIN, 1).verifier().id().to_string();
    let other_id = vkey.replace(&id, "00000000").parse::<VerifierKey>().unwrap_err();
    assert!(other_id.to_string().contains(&id), "{other_id}");
    // A second spelling would be a second text for the same key.
    let upper = vkey.replace(&id, &id.to_uppercase());
    assert_ne!(upper, vkey);
    assert_eq!(upper.parse::<VerifierKey>().unwrap_err(), KeyError::NotAVerifierKey);
}

#[test]
fn keys_of_unknown_algorithms_and_wrong_lengths_are_refused() {
    let unknown = VerifierKey::new(ORIGIN, Algorithm::Ed25519, &[1; 31]).unwrap_err();
    assert_eq!(unknown, KeyError::Length { algorithm: Algorithm::Ed25519, bytes: 31, expected: 32 });
    let short = VerifierKey::new(ORIGIN, Algorithm::MlDsa44, &[1; 32]).unwrap_err();
    assert_eq!(short, KeyError::Length { algorithm: Algorithm::MlDsa44, bytes: 32, expected: 1_312 });
    // 0x02, and 32 bytes.
    let ecdsa = format!("{ORIGIN}+00000000+AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC");
    assert_eq!(ecdsa.parse::<VerifierKey>().unwrap_err(), KeyError::Algorithm(2));
}

#[test]
fn a_point_by_which_anybody_can_sign_is_no_key() {
    let mut identity = [0; 32];
    identity[0] = 1;
    // The last of the points is the identity too, with p + 1 for its 1.
    let mut beyond = [0xff; 32];
    (beyond[0], beyond[31]) = (0xee, 0x7f);
    for point in [[0; 32], identity, beyond] {
        assert_eq!(VerifierKey::new(ORIGIN, Algorithm::Ed25519, &point).unwrap_err(), KeyError::Point);
        assert_eq!(VerifierKey::new(ORIGIN, Algorithm::CosignatureV1, &point).unwrap_err(), KeyError::Point);
    }
}

fn change() -> KeyChange {
    KeyChange::new(
        ORIGIN,
        KeyRole::Epoch,
        key(ORIGIN, 2).verifier().clone(),
        7,
        NodeHash::from_bytes([9; 32]),
    )
    .unwrap()
}

#[test]
fn a_change_of_keys_is_six_lines() {
    let vkey = key(ORIGIN, 2).verifier().to_string();
    let text = format!(
        "annals key change\n{ORIGIN}\nepoch\n{vkey}\n7\nCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=\n"
    );
    assert_eq!(change().to_string(), text);
    let read: KeyChange = text.parse().unwrap();
    assert_eq!(read, change());
    assert_eq!(
        (read.origin(), read.role(), read.size(), read.root()),
        (ORIGIN, KeyRole::Epoch, 7, &NodeHash::from_bytes([9; 32]))
    );
    assert_eq!(read.key(), key(ORIGIN, 2).verifier());
}

#[test]
fn a_text_that_is_no_change_of_keys_says_which_line_it_is() {
    let text = change().to_string();
    let lines: Vec<&str> = text.lines().collect();
    let with = |place: usize, line: &str| {
        let mut lines = lines.clone();
        lines[place] = line;
        (lines.join("\n") + "\n").parse::<KeyChange>().unwrap_err()
    };
    assert_eq!(with(0, "annals key changes"), KeyChangeError::Head);
    assert_eq!(with(1, ""), KeyChangeError::Origin);
    assert!(matches!(with(2, "Stable"), KeyChangeError::Role { line } if line == "Stable"));
    assert!(matches!(with(3, witness(1).verifier().name()), KeyChangeError::Key(_)));
    assert!(matches!(with(4, "07"), KeyChangeError::Size { line } if line == "07"));
    assert!(matches!(with(5, "CQkJ"), KeyChangeError::Root { line } if line == "CQkJ"));
    assert_eq!(text.trim_end().parse::<KeyChange>().unwrap_err(), KeyChangeError::Lines);
    assert_eq!(format!("{text}more\n").parse::<KeyChange>().unwrap_err(), KeyChangeError::Lines);
}
