use super::super::{
    Algorithm, Cosigner, LogVerdict, Missing, Policy, PolicyFault, PolicyVerdict, SignatureError,
    SignedCheckpoint, SigningKey, VerifierKey,
};
use super::{ORIGIN, checkpoint, key, witness};

fn vkey(number: u8) -> String {
    witness(number).verifier().to_string()
}

fn log_key(number: u8) -> String {
    key(ORIGIN, number).verifier().to_string()
}

/// The specification's example: two of the first three, and one of the other three.
fn example() -> String {
    format!(
        "log {}\n\nwitness X1 {}\nwitness X2 {}\nwitness X3 {}\ngroup X-witnesses 2 X1 X2 X3\n\n\
         witness Y1 {}\nwitness Y2 {}\nwitness Y3 {}\ngroup Y-witnesses any Y1 Y2 Y3\n\n\
         group X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n",
        log_key(1),
        vkey(1),
        vkey(2),
        vkey(3),
        vkey(4),
        vkey(5),
        vkey(6)
    )
}

/// A checkpoint that the log and these witnesses signed.
fn cosigned(numbers: &[u8]) -> SignedCheckpoint {
    let mut signed = checkpoint(5);
    for number in numbers {
        let signature = witness(*number).cosign(&signed, 1_700_000_000 + u64::from(*number));
        signed.add_signatures([signature]);
    }
    signed
}

fn verdict(policy: &str, numbers: &[u8]) -> PolicyVerdict {
    policy.parse::<Policy>().unwrap().evaluate(&cosigned(numbers))
}

#[track_caller]
fn fault(policy: &str, line: usize) -> PolicyFault {
    let error = policy.parse::<Policy>().unwrap_err();
    assert_eq!(error.line, line, "{error}");
    error.fault
}

#[test]
fn the_example_of_the_specification_asks_for_two_of_one_group_and_one_of_another() {
    // Every subset of the six witnesses.
    for subset in 0_u8..64 {
        let numbers: Vec<u8> = (1..=6).filter(|number| subset & (1 << (number - 1)) != 0).collect();
        let of_x = numbers.iter().filter(|number| **number <= 3).count();
        let expected = of_x >= 2 && numbers.len() > of_x;
        let verdict = verdict(&example(), &numbers);
        assert_eq!(verdict.is_accepted(), expected, "{numbers:?}");
        assert_eq!(verdict.to_string().is_empty(), expected, "{numbers:?}");
        assert_eq!(verdict.cosigned.len(), numbers.len());
    }
}

#[test]
fn a_verdict_says_which_groups_and_witnesses_are_missing() {
    let verdict = verdict(&example(), &[2, 5]);
    assert_eq!(
        verdict.missing,
        [
            Missing::Group {
                group: "X-and-Y".to_owned(),
                threshold: 2,
                met: vec!["Y-witnesses".to_owned()],
                unmet: vec!["X-witnesses".to_owned()]
            },
            Missing::Group {
                group: "X-witnesses".to_owned(),
                threshold: 2,
                met: vec!["X2".to_owned()],
                unmet: vec!["X1".to_owned(), "X3".to_owned()]
            },
        ]
    );
    assert_eq!(
        verdict.to_string(),
        "group `X-and-Y` asks for 2 of 2, and has 1; missing: X-witnesses\n\
         group `X-witnesses` asks for 2 of 3, and has 1; missing: X1, X3"
    );
    assert_eq!((verdict.cosigned[1].witness.as_str(), verdict.cosigned[1].time), ("Y2", 1_700_000_005));
}

#[test]
fn a_quorum_of_one_witness_and_one_of_none() {
    let one = format!("log {}\nwitness w {}\nquorum w\n", log_key(1), vkey(1));
    assert!(verdict(&one, &[1]).is_accepted());
    assert_eq!(verdict(&one, &[2]).missing, [Missing::Witness { witness: "w".to_owned() }]);
    let none = format!("log {}\nquorum none\n", log_key(1));
    assert!(verdict(&none, &[]).is_accepted());
}

#[test]
fn the_log_must_be_one_that_is_listed_under_its_own_origin() {
    let other = format!("log {}\nquorum none\n", log_key(2));
    assert_eq!(verdict(&other, &[]).log, LogVerdict::NotSigned);
    // The key belongs to another log, which signed this log's checkpoint.
    let elsewhere = key("example.com/elsewhere", 3);
    let policy: Policy = format!("log {}\nquorum none\n", elsewhere.verifier()).parse().unwrap();
    let mut signed = checkpoint(5);
    signed.sign(&elsewhere);
    assert_eq!(policy.evaluate(&signed).log, LogVerdict::NotSigned);
    let two = format!("log {}\nlog {}\nquorum none\n", log_key(2), log_key(1));
    assert!(verdict(&two, &[]).is_accepted());
}

#[test]
fn a_policy_without_logs_leaves_the_log_to_whoever_asks() {
    let policy = format!("witness w {}\nquorum w\n", vkey(1));
    let verdict = verdict(&policy, &[1]);
    assert_eq!(verdict.log, LogVerdict::NoneListed);
    assert!(verdict.is_quorum_met() && !verdict.is_accepted());
}

#[test]
fn a_bad_cosignature_of_a_listed_witness_rejects_whatever_else_is_there() {
    let policy: Policy = example().parse().unwrap();
    let mut signed = cosigned(&[1, 2, 4]);
    assert!(policy.evaluate(&signed).is_accepted());
    signed.add_signatures([witness(3).verifier().signature(vec![0; 72])]);
    let verdict = policy.evaluate(&signed);
    assert!(verdict.missing.is_empty() && !verdict.is_accepted());
    assert!(matches!(verdict.bad.as_slice(), [SignatureError::Bad { .. }]));
    // A bad signature by a witness that is not listed does not matter.
    let mut signed = cosigned(&[1, 2, 4]);
    signed.add_signatures([witness(7).verifier().signature(vec![0; 72])]);
    assert!(policy.evaluate(&signed).is_accepted());
}

#[test]
fn spaces_tabs_comments_and_urls_are_allowed() {
    let policy = format!(
        "# Logs\n \t# and more\n\n \t \n\tlog\t{} \t https://log.example/ \nwitness  w\u{212a}  {} https://w.example/\t\n \
         group g all w\u{212a}\n quorum g\n",
        log_key(1),
        vkey(1)
    );
    let policy: Policy = policy.parse().unwrap();
    assert_eq!(policy.logs()[0].url.as_deref(), Some("https://log.example/"));
    assert_eq!(policy.witnesses()[0].url.as_deref(), Some("https://w.example/"));
    assert!(policy.evaluate(&cosigned(&[1])).is_accepted());
}

#[test]
fn names_are_octets() {
    let (one, two) = (vkey(1), vkey(2));
    let parts: [&[u8]; 5] = [
        b"witness \xff\xfe ",
        one.as_bytes(),
        b"\nwitness \xff\xfd ",
        two.as_bytes(),
        b"\ngroup K 1 \xff\xfd\nquorum K\n",
    ];
    let policy = parts.concat();
    let read = Policy::parse(&policy).unwrap();
    assert!(!read.evaluate(&cosigned(&[1])).is_quorum_met());
    assert!(read.evaluate(&cosigned(&[2])).is_quorum_met());
    // The Kelvin sign is not a K.
    let kelvin = format!("witness K {}\nquorum \u{212a}\n", vkey(1));
    assert!(matches!(fault(&kelvin, 2), PolicyFault::Unknown(_)));
}

#[test]
fn other_control_characters_are_refused() {
    assert_eq!(fault("quorum none\r\n", 1), PolicyFault::Octet(b'\r'));
    assert_eq!(fault("# a\nquorum none\n# \u{7f}\n", 3), PolicyFault::Octet(0x7f));
    assert_eq!(fault("\0quorum none\n", 1), PolicyFault::Octet(0));
}

#[test]
fn there_is_exactly_one_quorum_of_what_is_defined_above() {
    assert_eq!(fault("", 1), PolicyFault::NoQuorum);
    assert!(matches!(fault("quorum none\nquorum none\n", 2), PolicyFault::SecondQuorum { line: 1 }));
    assert!(matches!(fault(&format!("quorum w\nwitness w {}\n", vkey(1)), 1), PolicyFault::Unknown(_)));
    assert!(matches!(fault("quorum\n", 1), PolicyFault::Form { .. }));
    assert!(matches!(fault("quorum none none\n", 1), PolicyFault::Form { .. }));
    assert!(matches!(fault("quorums none\n", 1), PolicyFault::Word(_)));
    assert!(matches!(fault("Quorum none\n", 1), PolicyFault::Word(_)));
}

#[test]
fn the_same_key_is_no_second_log_and_no_second_witness() {
    let renamed = |name: &str, key: &VerifierKey| {
        VerifierKey::new(name, key.algorithm(), key.public_bytes()).unwrap().to_string()
    };
    let log = key(ORIGIN, 1).verifier().clone();
    let logs = format!("log {log}\n\nlog {}\nquorum none\n", renamed("example.com/other", &log));
    assert_eq!(fault(&logs, 3), PolicyFault::DuplicateKey { line: 1 });
    let one = witness(1).verifier().clone();
    let witnesses = format!("witness a {one}\nwitness b {}\nquorum none\n", renamed("other", &one));
    assert_eq!(fault(&witnesses, 2), PolicyFault::DuplicateKey { line: 1 });
    // A log may be its own witness, or that of others.
    let both = VerifierKey::new("example.com/log", Algorithm::CosignatureV1, log.public_bytes()).unwrap();
    assert!(format!("log {log}\nwitness w {both}\nquorum none\n").parse::<Policy>().is_ok());
}

#[test]
fn a_name_is_defined_once_and_never_none() {
    let taken = format!("witness a {}\nwitness a {}\nquorum a\n", vkey(1), vkey(2));
    assert!(matches!(fault(&taken, 2), PolicyFault::DuplicateName { line: 1, .. }));
    let group = format!("witness a {}\ngroup a any a\nquorum a\n", vkey(1));
    assert!(matches!(fault(&group, 2), PolicyFault::DuplicateName { line: 1, .. }));
    assert_eq!(fault(&format!("witness none {}\nquorum none\n", vkey(1)), 1), PolicyFault::None);
    assert_eq!(fault(&format!("witness a {}\ngroup none any a\n", vkey(1)), 2), PolicyFault::None);
    assert_eq!(fault(&format!("witness a {}\ngroup g any none\n", vkey(1)), 2), PolicyFault::None);
}

#[test]
fn a_group_asks_for_one_to_all_of_its_members() {
    let head = format!("witness a {}\nwitness b {}\n", vkey(1), vkey(2));
    for threshold in ["0", "3", "-1", "+1", "01", "1.0", "ALL", "most", "99999999999999999999"] {
        let policy = format!("{head}group g {threshold} a b\nquorum g\n");
        assert!(matches!(fault(&policy, 3), PolicyFault::Threshold { members: 2, .. }), "{threshold}");
    }
    for (threshold, one, two) in
        [("any", true, true), ("1", true, true), ("2", false, true), ("all", false, true)]
    {
        let policy = format!("{head}group g {threshold} a b\nquorum g\n");
        assert!(!verdict(&policy, &[]).is_quorum_met());
        assert_eq!(verdict(&policy, &[2]).is_quorum_met(), one);
        assert_eq!(verdict(&policy, &[1, 2]).is_quorum_met(), two);
    }
    for policy in ["group g any\n", "group g\n", "group\n"] {
        assert!(matches!(fault(policy, 1), PolicyFault::Form { .. }), "{policy}");
    }
}

#[test]
fn a_name_is_a_member_once_in_the_whole_policy() {
    let head = format!("witness a {}\nwitness b {}\n", vkey(1), vkey(2));
    let twice = fault(&format!("{head}group g any a a\nquorum g\n"), 3);
    assert!(matches!(twice, PolicyFault::DuplicateMember { line: 3, .. }));
    let two_groups = fault(&format!("{head}group g any a b\ngroup h any b\nquorum h\n"), 4);
    assert!(matches!(two_groups, PolicyFault::DuplicateMember { line: 3, .. }));
    let itself = fault(&format!("{head}group g any a g\nquorum g\n"), 3);
    assert!(matches!(itself, PolicyFault::Unknown(_)));
}

#[test]
fn logs_and_witnesses_sign_with_keys_of_their_own_kinds() {
    let log = fault(&format!("log {}\nquorum none\n", vkey(1)), 1);
    assert!(matches!(log, PolicyFault::Algorithm { algorithm: Algorithm::CosignatureV1, of: "log", .. }));
    let witness = fault(&format!("witness w {}\nquorum none\n", log_key(1)), 1);
    assert!(matches!(witness, PolicyFault::Algorithm { algorithm: Algorithm::Ed25519, of: "witness", .. }));
    let either = VerifierKey::new(ORIGIN, Algorithm::MlDsa44, &[1; 1_312]).unwrap();
    assert!(format!("log {either}\nwitness w {either}\nquorum none\n").parse::<Policy>().is_ok());
    assert!(matches!(fault("log a\nquorum none\n", 1), PolicyFault::Key(_)));
    for policy in ["log\n", "log a b c\n", "witness a\n", "witness a b c d\n"] {
        assert!(matches!(fault(policy, 1), PolicyFault::Form { .. }), "{policy}");
    }
}

#[test]
fn every_line_ends_in_a_newline() {
    let whole = format!("witness w {}\nquorum w\n", vkey(1));
    assert!(whole.parse::<Policy>().is_ok());
    assert_eq!(fault(whole.trim_end(), 2), PolicyFault::NotEnded);
    assert_eq!(fault("quorum none\n# said by", 2), PolicyFault::NotEnded);
    assert_eq!(fault("", 1), PolicyFault::NoQuorum);
}

#[test]
fn a_policy_has_room_for_many_logs_witnesses_and_groups() {
    let mut policy = String::new();
    for number in 0..200_u8 {
        let log = SigningKey::from_seed(ORIGIN, &[number; 32]).unwrap();
        let witness = Cosigner::from_seed("w", &[number; 32]).unwrap();
        policy += &format!("log {}\nwitness w{number} {}\n", log.verifier(), witness.verifier());
        // Each group contains the group before it: a chain of 200 groups.
        let inner = if number == 0 { String::new() } else { format!("g{}", number - 1) };
        policy += &format!("group g{number} all {inner} w{number}\n");
    }
    policy += "quorum g199\n";
    let read: Policy = policy.parse().unwrap();
    let mut signed = checkpoint(5);
    signed.add_signatures([Cosigner::from_seed("w", &[0; 32]).unwrap().cosign(&signed, 1)]);
    let verdict = read.evaluate(&signed);
    assert_eq!((verdict.log, verdict.cosigned.len(), verdict.missing.len()), (LogVerdict::Signed, 1, 199));
}
