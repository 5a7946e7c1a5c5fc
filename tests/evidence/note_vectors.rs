//! Notes, keys, checkpoints and cosignatures that others made, and another implementation as judge.

#![allow(clippy::string_slice, reason = "a test that cannot go on fails")]

use annals::note::{SignatureError, SignedCheckpoint, SignedNote, SigningKey, VerifierKey};
use proptest::prelude::*;
use signed_note::{Note, Signer, StandardSigner, StandardVerifier, Verifier, VerifierList};

fn vkey(text: &str) -> VerifierKey {
    let key: VerifierKey = text.parse().unwrap();
    assert_eq!(key.to_string(), text);
    key
}

// golang.org/x/mod, sumdb/note/note_test.go.
const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const PETER_PRIVATE: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const ENOCH: &str = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop";
const TEXT: &str = "If you think cryptography is the answer to your problem,\n\
                    then you don't know what your problem is.\n";
const PETER_SIGNED: &str = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
const ENOCH_SIGNED: &str = "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n";

#[test]
fn a_note_is_signed_as_by_go() {
    let key = SigningKey::from_skey(PETER_PRIVATE).unwrap();
    assert_eq!(key.verifier(), &vkey(PETER));
    assert_eq!(*key.to_skey(), PETER_PRIVATE);
    let mut note = SignedNote::unsigned(TEXT).unwrap();
    note.sign(&key);
    assert_eq!(note.to_string(), format!("{TEXT}\n{PETER_SIGNED}"));
}

#[test]
fn notes_of_go_are_verified() {
    let whole = format!("{TEXT}\n{PETER_SIGNED}{ENOCH_SIGNED}");
    let note: SignedNote = whole.parse().unwrap();
    assert_eq!((note.text(), note.to_string()), (TEXT, whole.clone()));
    for (keys, signers) in [
        (vec![PETER], vec![PETER]),
        (vec![ENOCH], vec![ENOCH]),
        (vec![ENOCH, PETER], vec![PETER, ENOCH]),
        (vec![PETER, ENOCH, ENOCH], vec![PETER, ENOCH]),
    ] {
        let keys: Vec<VerifierKey> = keys.into_iter().map(vkey).collect();
        let found: Vec<String> =
            note.verify(&keys).unwrap().iter().map(|signer| signer.key.to_string()).collect();
        assert_eq!(found, signers);
    }
    assert_eq!(note.verify(&[]).unwrap_err(), SignatureError::NoneKnown);

    let changed = whole.replacen("SffcvIAQ", "SffcABCDvIAQ", 1);
    assert_ne!(changed, whole);
    let changed: SignedNote = changed.parse().unwrap();
    assert!(
        matches!(changed.verify(&[vkey(PETER)]), Err(SignatureError::Bad { name, .. }) if name == "PeterNeumann")
    );
    assert!(changed.verify(&[vkey(ENOCH)]).is_ok());
}

#[test]
fn what_go_finds_malformed_is_refused() {
    let signed = format!("{TEXT}\n{PETER_SIGNED}");
    let cut = &signed[..signed.len() - 1];
    let bad = [
        TEXT.to_owned(),
        format!("{TEXT}\n"),
        cut.to_owned(),
        format!("\x01{signed}"),
        signed.replace("PeterNeumann", "Bad Name"),
        format!("{signed}Unexpected line.\n"),
        format!("{TEXT}\n{}", PETER_SIGNED.repeat(101)),
    ];
    for note in bad {
        assert!(note.parse::<SignedNote>().is_err(), "{note}");
    }
}

#[test]
fn what_go_finds_to_be_no_key_is_none() {
    for (whole, read) in [
        (PETER, (|text: &str| text.parse::<VerifierKey>().is_ok()) as fn(&str) -> bool),
        (PETER_PRIVATE, |text| SigningKey::from_skey(text).is_ok()),
    ] {
        assert!(read(whole));
        for start in 0..=whole.len() {
            for end in start..=whole.len() {
                let part = &whole[start..end];
                assert_eq!(read(part), part == whole, "{part}");
            }
        }
        for place in 0..whole.len() {
            let mut bytes = whole.as_bytes().to_vec();
            bytes[place] += 1;
            assert!(!read(std::str::from_utf8(&bytes).unwrap()), "at {place}");
        }
    }
    for bad in [
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    ] {
        assert!(bad.parse::<VerifierKey>().is_err());
    }
}

// The example of c2sp.org/signed-note whose key is published with it.
#[test]
fn the_note_of_the_specification_is_verified() {
    let note = "This is an example message.\n\n\
                — example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
    let note: SignedNote = note.parse().unwrap();
    let key = vkey("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k");
    assert_eq!(note.verify(std::slice::from_ref(&key)).unwrap()[0].key, &key);
}

// The examples of c2sp.org/signed-note, tlog-checkpoint and tlog-cosignature whose keys are not
// published: their form, and what they say.
#[test]
fn the_examples_of_the_specifications_are_read_and_printed_as_they_were() {
    let poem = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n\
                — quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";
    let note: SignedNote = poem.parse().unwrap();
    assert_eq!(note.to_string(), poem);
    assert!(note.text().ends_with("sole:\n\ned è subito sera.\n"));
    assert_eq!(note.signatures()[0].id().to_string(), "367ba04b");

    let cosigned = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
        — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
        — witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";
    let checkpoint: SignedCheckpoint = cosigned.parse().unwrap();
    assert_eq!(checkpoint.to_string(), cosigned);
    assert_eq!((checkpoint.origin(), checkpoint.size()), ("example.com/behind-the-sofa", 20_852_163));
    // 8 bytes of time before 64 of signature.
    let cosignature = checkpoint.signatures()[1].bytes();
    assert_eq!(cosignature.len(), 72);
    assert_eq!(u64::from_be_bytes(cosignature[..8].try_into().unwrap()), 1_679_315_147);
}

// github.com/transparency-dev/tessera, testdata/log/checkpoint.15.
#[test]
fn a_checkpoint_of_tessera_is_verified() {
    let text = "example.com/log/testdata\n15\nrKbDipCvhuX1GZ7g5BBe8sA6BbJ7ja/1nk427v383cs=\n\n\
                — example.com/log/testdata M9e0luh4jTG+UMBqOUo9/q+yAEvx1ilBEniMvjf1zfcBOhg+CKubMt53MvIt/uEWP6zdkdIQzd/fmwlM/dlPWF74ewI=\n";
    let checkpoint: SignedCheckpoint = text.parse().unwrap();
    assert_eq!((checkpoint.size(), checkpoint.to_string().as_str()), (15, text));
    let key = vkey("example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx");
    assert!(checkpoint.verify(&[key]).is_ok());
}

/// A checkpoint of a public log, with what four public witnesses signed on 23 May 2026.
const ARCHE: &str = "arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

— arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
— arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
— transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
— witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==
— remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
— witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==
";

#[test]
fn cosignatures_of_public_witnesses_are_verified() {
    let checkpoint: SignedCheckpoint = ARCHE.parse().unwrap();
    assert_eq!(checkpoint.to_string(), ARCHE);
    let log =
        vkey("arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f");
    let witnesses = [
        vkey("witness1.smartit.nu/witness1+a48c820f+BPSFWg9G6KPiO7QPryYO5Xq4oYJJ+kAvLKLSimDhoxMO"),
        vkey("remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"),
        vkey("witness.stagemole.eu+67f7aea0+BEqSG3yu9YrmcM3BHvQYTxwFj3uSWakQepafafpUqklv"),
    ];
    assert!(checkpoint.verify(&[log]).is_ok());
    let signers = checkpoint.verify(&witnesses).unwrap();
    assert_eq!(signers.iter().map(|signer| signer.time).collect::<Vec<_>>(), [Some(1_779_573_024); 3]);

    let changed: SignedCheckpoint = ARCHE.replace("1432088532", "1432088533").parse().unwrap();
    for witness in witnesses {
        assert!(matches!(changed.verify(&[witness]), Err(SignatureError::Bad { .. })));
    }
}

// filippo.io/torchwood, cmd/litewitness/testdata/mldsa.txt: a log that signs with ML-DSA-44.
#[test]
fn an_ml_dsa_44_signature_of_torchwood_is_verified() {
    let vectors = include_str!("../golden/torchwood-ml-dsa-44.txt");
    let (key, checkpoint) = vectors.split_once('\n').unwrap();
    let checkpoint: SignedCheckpoint = checkpoint.parse().unwrap();
    let keys = [vkey(key)];
    assert_eq!((checkpoint.origin(), checkpoint.size()), ("example.com/mldsa-log", 1));
    assert_eq!(checkpoint.verify(&keys).unwrap()[0].time, Some(0), "this log states no time");
    let changed: SignedCheckpoint = checkpoint.to_string().replacen("\n1\n", "\n2\n", 1).parse().unwrap();
    assert!(matches!(changed.verify(&keys), Err(SignatureError::Bad { .. })));
}

proptest! {
    #[test]
    fn another_implementation_verifies_what_we_sign(
        seed: [u8; 32],
        name in "[a-z.é/—]{1,20}",
        text in "([ -~é—\u{2028}]{0,20}\n){1,5}",
    ) {
        let key = SigningKey::from_seed(&name, &seed).unwrap();
        let mut ours = SignedNote::unsigned(text.as_str()).unwrap();
        ours.sign(&key);
        let printed = ours.to_string();

        let theirs = Note::from_bytes(printed.as_bytes()).unwrap();
        prop_assert_eq!(theirs.text(), text.as_bytes());
        prop_assert_eq!(theirs.to_bytes(), printed.as_bytes());
        let verifier = StandardVerifier::new(&key.verifier().to_string()).unwrap();
        prop_assert_eq!(verifier.key_id().to_be_bytes(), *key.verifier().id().bytes());
        let (good, unknown) = theirs.verify(&VerifierList::new(vec![Box::new(verifier)])).unwrap();
        prop_assert_eq!((good.len(), unknown.len()), (1, 0));
        prop_assert_eq!(printed.parse::<SignedNote>().unwrap(), ours);
    }

    #[test]
    fn we_verify_what_another_implementation_signs(
        seed: [u8; 32],
        name in "[a-z.é/—]{1,20}",
        text in "([ -~é—\u{2028}]{0,20}\n){1,5}",
    ) {
        let key = SigningKey::from_seed(&name, &seed).unwrap();
        let signer = StandardSigner::new(&key.to_skey()).unwrap();
        prop_assert_eq!(signer.name(), name.as_str());
        let mut theirs = Note::new(text.as_bytes(), &[]).unwrap();
        theirs.add_sigs(&[&signer]).unwrap();
        let printed = String::from_utf8(theirs.to_bytes()).unwrap();

        let ours: SignedNote = printed.parse().unwrap();
        prop_assert_eq!(ours.to_string(), printed);
        prop_assert_eq!(ours.verify(std::slice::from_ref(key.verifier())).unwrap().len(), 1);
    }

    #[test]
    fn we_read_no_note_that_another_implementation_refuses(
        change in 0_usize..500,
        with in "[\n —+=A]",
    ) {
        let mut text = format!("{TEXT}\n{PETER_SIGNED}{ENOCH_SIGNED}");
        let place = (0..=change % text.len()).rev().find(|place| text.is_char_boundary(*place)).unwrap();
        let end = (place + 1..=text.len()).find(|end| text.is_char_boundary(*end)).unwrap();
        text.replace_range(place..end, &with);
        if let Ok(ours) = text.parse::<SignedNote>() {
            let theirs = Note::from_bytes(text.as_bytes()).unwrap();
            prop_assert_eq!(ours.text().as_bytes(), theirs.text());
            prop_assert_eq!(ours.to_string().into_bytes(), text.into_bytes());
        }
    }
}
