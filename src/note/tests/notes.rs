use ml_dsa::{KeyExport as _, Keypair as _, MlDsa44};

use super::super::{
    Algorithm, Checkpoint, CheckpointError, NoteError, Signature, SignatureError, SignedCheckpoint,
    SignedNote, VerifierKey,
};
use super::{ORIGIN, checkpoint, key, witness};
use crate::limits::{NOTE_BYTES_MAX, NOTE_SIGNATURES_MAX};
use crate::merkle::EMPTY_ROOT;

fn note() -> SignedNote {
    let mut note = SignedNote::unsigned("one\n\ntwo\n").unwrap();
    note.sign(&key("a", 1));
    note.sign(&key("b", 2));
    note
}

fn verifiers(numbers: &[(&str, u8)]) -> Vec<VerifierKey> {
    numbers.iter().map(|(name, number)| key(name, *number).verifier().clone()).collect()
}

#[test]
fn a_note_prints_as_it_was_read() {
    let text = note().to_string();
    let read: SignedNote = text.parse().unwrap();
    assert_eq!(read, note());
    assert_eq!(read.to_string(), text);
    assert_eq!(read.text(), "one\n\ntwo\n", "the last empty line is where the text ends");
}

#[test]
fn what_is_no_note_is_refused() {
    let whole = note().to_string();
    let (text, lines) = whole.rsplit_once("\n\n").unwrap();
    let parse = |note: String| note.parse::<SignedNote>().unwrap_err();
    assert_eq!(parse(String::new()), NoteError::NoSignatures);
    assert_eq!(
        parse(format!("{text}\n")),
        NoteError::SignatureLine { number: 1 },
        "its own empty line is found"
    );
    assert_eq!(parse("one\n".to_owned()), NoteError::NoSignatures);
    assert_eq!(parse("one\n\n".to_owned()), NoteError::NoSignatures);
    assert_eq!(parse(format!("\n{lines}")), NoteError::NoSignatures);
    assert_eq!(parse(whole.trim_end().to_owned()), NoteError::LastLine);
    assert_eq!(parse(whole.replace("one", "o\tne")), NoteError::Control);
    assert_eq!(parse(whole.replace("one", "one\r")), NoteError::Control);
    assert_eq!(parse(format!("{whole}\n")), NoteError::NoSignatures);
    assert_eq!(parse(format!("{whole}more\n")), NoteError::SignatureLine { number: 3 });
}

#[test]
fn what_is_no_signature_line_is_refused() {
    for line in [
        "",
        "\u{2014} a",
        "\u{2014} a AAAA",
        "\u{2014} a AAAAAA=",
        "- a AAAAAAA=",
        "\u{2014}  AAAAAAA=",
        "\u{2014} a AAAAAAB=",
        "\u{2014} a  AAAAAAA=",
        "\u{2014} a AAAAAAA= ",
        "\u{2014} a AAAAAAA",
        " \u{2014} a AAAAAAA=",
    ] {
        let error = Signature::parse_lines(&format!("{line}\n")).unwrap_err();
        assert!(
            matches!(
                error,
                NoteError::SignatureLine { number: 1 } | NoteError::SignatureName { number: 1, .. }
            ),
            "{line}: {error}"
        );
    }
    let plus = Signature::parse_lines("\u{2014} a AAAAAAA=\n\u{2014} a+b AAAAAAA=\n").unwrap_err();
    assert!(matches!(plus, NoteError::SignatureName { number: 2, .. }), "{plus}");
}

#[test]
fn a_note_has_as_many_signatures_as_the_limit_and_no_more() {
    let mut many = SignedNote::unsigned("text\n").unwrap();
    for number in 0..NOTE_SIGNATURES_MAX {
        many.sign(&key(&format!("k{number}"), 1));
    }
    let text = many.to_string();
    assert_eq!(text.parse::<SignedNote>().unwrap().signatures().len(), NOTE_SIGNATURES_MAX);
    many.sign(&key("more", 1));
    let error = many.to_string().parse::<SignedNote>().unwrap_err();
    assert_eq!(error, NoteError::TooManySignatures { max: NOTE_SIGNATURES_MAX });
}

#[test]
fn a_note_is_not_longer_than_the_limit() {
    let long = format!("{}\n", "x".repeat(NOTE_BYTES_MAX));
    assert!(matches!(SignedNote::unsigned(long.as_str()), Err(NoteError::TooLong { .. })));
    assert!(matches!(format!("{long}\n").parse::<SignedNote>(), Err(NoteError::TooLong { .. })));
    assert!(matches!(Signature::parse_lines(&long), Err(NoteError::TooLong { .. })));
}

#[test]
fn signatures_of_unknown_keys_count_for_nothing_and_against_nothing() {
    let note = note();
    let keys = verifiers(&[("b", 2), ("c", 3)]);
    let signers = note.verify(&keys).unwrap();
    assert_eq!(signers.iter().map(|signer| signer.key.name()).collect::<Vec<_>>(), ["b"]);
    // The same name with another key is another key, and so is the same key under another name.
    assert_eq!(note.verify(&verifiers(&[("a", 2), ("b", 1)])).unwrap_err(), SignatureError::NoneKnown);
    assert_eq!(note.verify(&[]).unwrap_err(), SignatureError::NoneKnown);
}

#[test]
fn a_bad_signature_by_a_known_key_rejects_the_note() {
    let text = note().to_string().replace("two", "too");
    let changed: SignedNote = text.parse().unwrap();
    let keys = verifiers(&[("a", 1)]);
    assert!(matches!(changed.verify(&keys), Err(SignatureError::Bad { name, .. }) if name == "a"));

    // The other signatures are good, which does not help.
    let mut half = note();
    let [bad, ..] = changed.signatures() else { panic!("it has two") };
    let mut bytes = bad.bytes().to_vec();
    bytes[0] ^= 1;
    half.add(key("a", 1).verifier().signature(bytes));
    assert!(half.verify(&verifiers(&[("b", 2)])).is_ok());
    assert!(matches!(half.verify(&verifiers(&[("b", 2), ("a", 1)])), Err(SignatureError::Bad { .. })));
}

#[test]
fn a_bad_signature_after_a_good_one_of_the_same_key_rejects_the_note_too() {
    let good = note();
    let text = format!("{good}{}\n", key("a", 1).verifier().signature(vec![0; 64]));
    let keys = verifiers(&[("a", 1)]);
    assert!(matches!(text.parse::<SignedNote>().unwrap().verify(&keys), Err(SignatureError::Bad { .. })));
    // A good signature that is there twice is one signer.
    let twice = format!("{good}{}\n", good.signatures()[0]);
    assert_eq!(twice.parse::<SignedNote>().unwrap().verify(&keys).unwrap().len(), 1);
}

#[test]
fn a_key_that_is_given_twice_is_one_key() {
    let keys = verifiers(&[("a", 1), ("a", 1)]);
    assert_eq!(note().verify(&keys).unwrap().len(), 1);
}

#[test]
fn signing_again_replaces_the_signature() {
    let mut again = note();
    again.sign(&key("a", 1));
    assert_eq!(again.signatures().iter().map(Signature::name).collect::<Vec<_>>(), ["b", "a"]);
    assert!(again.verify(&verifiers(&[("a", 1)])).is_ok());
}

#[test]
fn a_checkpoint_is_three_lines_and_what_another_log_added() {
    let text = format!("{ORIGIN}\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\nmore\n\u{2014}\n");
    let read: Checkpoint = text.parse().unwrap();
    assert_eq!((read.size(), read.extensions()), (0, ["more".to_owned(), "\u{2014}".to_owned()].as_slice()));
    assert_eq!(read.to_string(), text);
}

#[test]
fn what_is_no_checkpoint_is_refused() {
    let text = checkpoint(12).text().to_owned();
    let root = text.lines().nth(2).unwrap();
    let parse = |text: &str| text.parse::<Checkpoint>().unwrap_err();
    for size in ["012", "+12", "-1", "1e3", "", " 12", "12 ", "0x12", "18446744073709551616", "\u{0661}"] {
        let error = parse(&text.replace("\n12\n", &format!("\n{size}\n")));
        assert_eq!(error, CheckpointError::Size { line: size.to_owned() });
    }
    for bad in ["", "DAwM", &format!("{root} "), &root.replace("w=", "x="), root.trim_end_matches('=')] {
        assert_eq!(parse(&text.replace(root, bad)), CheckpointError::Root { line: bad.to_owned() });
    }
    assert_eq!(parse(""), CheckpointError::Lines);
    assert_eq!(parse("origin\n1\n"), CheckpointError::Lines);
    assert_eq!(parse(text.trim_end()), CheckpointError::Lines);
    assert_eq!(parse(&text.replace(ORIGIN, "")), CheckpointError::Origin);
    assert_eq!(parse(&format!("{text}\n")), CheckpointError::Extension);
    let long = "x".repeat(256);
    assert!(matches!(parse(&text.replace(ORIGIN, &long)), CheckpointError::OriginTooLong { bytes: 256, .. }));
    for origin in ["", "a\nb", "a\tb", &long] {
        assert!(Checkpoint::new(origin, 1, EMPTY_ROOT).is_err(), "{origin:?}");
    }
    assert!(format!("one\n\n{}\n", checkpoint(1).signatures()[0]).parse::<SignedCheckpoint>().is_err());
}

#[test]
fn the_largest_size_is_a_size() {
    let text = checkpoint(1).text().replace("\n1\n", "\n18446744073709551615\n");
    assert_eq!(text.parse::<Checkpoint>().unwrap().size(), u64::MAX);
}

#[test]
fn a_cosignature_says_its_time() {
    let mut checkpoint = checkpoint(5);
    checkpoint.add_signatures([witness(1).cosign(&checkpoint, 1_700_000_000)]);
    let keys = [key(ORIGIN, 1).verifier().clone(), witness(1).verifier().clone()];
    let read: SignedCheckpoint = checkpoint.to_string().parse().unwrap();
    let signers = read.verify(&keys).unwrap();
    assert_eq!(signers.iter().map(|signer| signer.time).collect::<Vec<_>>(), [None, Some(1_700_000_000)]);
}

#[test]
fn a_cosignature_with_another_time_or_on_another_checkpoint_is_bad() {
    let signature = witness(1).cosign(&checkpoint(5), 1_700_000_000);
    let keys = [witness(1).verifier().clone()];
    let bad = |checkpoint: &SignedCheckpoint, bytes: Vec<u8>| {
        let mut checkpoint = checkpoint.clone();
        checkpoint.add_signatures([witness(1).verifier().signature(bytes)]);
        matches!(checkpoint.verify(&keys), Err(SignatureError::Bad { .. }))
    };
    assert!(!bad(&checkpoint(5), signature.bytes().to_vec()));
    assert!(bad(&checkpoint(6), signature.bytes().to_vec()));
    // The first and the last byte of the time, and of the signature.
    for place in [0, 7, 8, 71] {
        let mut bytes = signature.bytes().to_vec();
        bytes[place] ^= 1;
        assert!(bad(&checkpoint(5), bytes), "{place}");
    }
    for length in [0, 7, 8, 64, 71] {
        assert!(bad(&checkpoint(5), signature.bytes().get(..length).unwrap().to_vec()), "{length}");
    }
    // Without the time it is a log's signature, with another message and another id.
    assert!(checkpoint(5).verify(&keys).is_err());
}

#[test]
fn a_time_that_fits_no_signed_number_is_bad() {
    let seed = ed25519_dalek::SigningKey::from_bytes(&[101; 32]);
    let time = 1_u64 << 63;
    let message = format!("cosignature/v1\ntime {time}\n{}", checkpoint(5).text());
    let signature = ed25519_dalek::Signer::sign(&seed, message.as_bytes()).to_bytes();
    let mut checkpoint = checkpoint(5);
    let bytes = [time.to_be_bytes().as_slice(), &signature].concat();
    checkpoint.add_signatures([witness(1).verifier().signature(bytes)]);
    assert!(matches!(checkpoint.verify(&[witness(1).verifier().clone()]), Err(SignatureError::Bad { .. })));
}

/// A cosignature of ML-DSA-44, made here byte by byte as in the specification.
fn ml_dsa_44(name: &str, checkpoint: &Checkpoint, time: u64) -> (VerifierKey, Signature) {
    let key = ml_dsa::SigningKey::<MlDsa44>::from_seed(&[3; 32].into());
    let verifier = VerifierKey::new(name, Algorithm::MlDsa44, &key.verifying_key().to_bytes()).unwrap();
    let mut message = b"subtree/v1\n\0".to_vec();
    message.push(u8::try_from(name.len()).unwrap());
    message.extend(name.as_bytes());
    message.extend(time.to_be_bytes());
    message.push(u8::try_from(checkpoint.origin().len()).unwrap());
    message.extend(checkpoint.origin().as_bytes());
    message.extend([0; 8]);
    message.extend(checkpoint.size().to_be_bytes());
    message.extend(checkpoint.root().bytes());
    let signature = key.expanded_key().sign_deterministic(&message, &[]).unwrap().encode();
    let signature = verifier.signature([time.to_be_bytes().as_slice(), &signature].concat());
    (verifier, signature)
}

#[test]
fn an_ml_dsa_44_cosignature_covers_name_time_origin_size_and_root() {
    let mut signed = checkpoint(5);
    let (verifier, signature) = ml_dsa_44("witness.example/pq", signed.checkpoint(), 1_700_000_000);
    signed.add_signatures([signature.clone()]);
    let keys = [verifier];
    assert_eq!(signed.verify(&keys).unwrap()[0].time, Some(1_700_000_000));
    let vkey = keys[0].to_string();
    assert_eq!(vkey.parse::<VerifierKey>().unwrap(), keys[0]);

    let bad = |checkpoint: Checkpoint, bytes: Vec<u8>| {
        let mut checkpoint = SignedCheckpoint::unsigned(checkpoint);
        checkpoint.add_signatures([keys[0].signature(bytes)]);
        matches!(checkpoint.verify(&keys), Err(SignatureError::Bad { .. }))
    };
    let (same, bytes) = (signed.checkpoint(), signature.bytes().to_vec());
    assert!(!bad(same.clone(), bytes.clone()));
    assert!(bad(Checkpoint::new("example.com/other", 5, *same.root()).unwrap(), bytes.clone()));
    assert!(bad(Checkpoint::new(ORIGIN, 6, *same.root()).unwrap(), bytes.clone()));
    assert!(bad(Checkpoint::new(ORIGIN, 5, EMPTY_ROOT).unwrap(), bytes.clone()));
    // The first and the last byte of the time, and of the signature.
    for place in [0, 7, 8, bytes.len() - 1] {
        let mut bytes = bytes.clone();
        bytes[place] ^= 1;
        assert!(bad(same.clone(), bytes), "{place}");
    }
    let (_, by_other_name) = ml_dsa_44("witness.example/other", same, 1_700_000_000);
    assert!(bad(same.clone(), by_other_name.bytes().to_vec()));
}

#[test]
fn an_ml_dsa_44_key_signs_no_text_that_is_no_checkpoint() {
    let (verifier, signature) = ml_dsa_44("pq", checkpoint(5).checkpoint(), 0);
    let mut note = SignedNote::unsigned("text\n").unwrap();
    note.add(signature);
    assert!(matches!(note.verify(&[verifier]), Err(SignatureError::Bad { .. })));
}
