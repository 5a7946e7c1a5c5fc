//! Time-stamp authorities as another party, and `openssl ts` as the judge of what is kept.

#![cfg(feature = "http")]

use crate::support::authority;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::authority::{Kind, Mode, RSA, TestAuthority, certify, has_openssl, openssl};
use annals::Timestamp;
use annals::evidence::http::{HttpClient, HttpError, Roots, Timeouts};
use annals::evidence::timestamp::{Stamped, TimestampAuthority, TimestampError};
use annals::evidence::token::{AuthorityCertificates, CertificateError, TokenError, stamped_text, verify};
use annals::evidence::{Anchor as _, AnchorAnswer};
use annals::merkle::NodeHash;
use annals::note::{Checkpoint, Cosigner, SignedCheckpoint, SigningKey};
use sha2::{Digest as _, Sha256};

const ORIGIN: &str = "example.com/log";

fn checkpoint() -> SignedCheckpoint {
    let checkpoint = Checkpoint::new(ORIGIN, 7, NodeHash::from_bytes([7; 32])).unwrap();
    let mut checkpoint = SignedCheckpoint::unsigned(checkpoint);
    checkpoint.sign(&SigningKey::from_seed(ORIGIN, &[1; 32]).unwrap());
    checkpoint
}

fn note() -> String {
    checkpoint().to_string()
}

/// A client that only a hang makes give up.
fn client(roots: Roots<'_>) -> HttpClient {
    let patience = Duration::from_secs(600);
    HttpClient::new(Timeouts { connect: patience, whole: patience }, roots).unwrap()
}

fn certificates(authority: &TestAuthority) -> AuthorityCertificates {
    AuthorityCertificates::from_pem(&authority.certificate()).unwrap()
}

fn stamp(authority: &TestAuthority) -> Result<Stamped, TimestampError> {
    TimestampAuthority::new(&authority.url(), certificates(authority), client(Roots::Web))
        .unwrap()
        .stamp(&note())
}

/// What is wrong with the token of an authority that answers so.
fn token_error(authority: &TestAuthority, mode: Mode) -> TokenError {
    authority.answer(mode);
    match stamp(authority).unwrap_err() {
        TimestampError::Token { source, .. } => source,
        other => panic!("{other}"),
    }
}

#[test]
fn a_checkpoint_is_stamped_and_verified_here_and_by_openssl() {
    if !has_openssl() {
        return;
    }
    let ec = |curve| Kind { key: curve, ..RSA };
    let p_256 = ec("ec -pkeyopt ec_paramgen_curve:P-256");
    let p_384 = ec("ec -pkeyopt ec_paramgen_curve:P-384");
    for kind in [
        RSA,
        Kind { digest: "sha384", fraction: 3, ..RSA },
        Kind { digest: "sha512", certificate_digest: "sha512", ..RSA },
        Kind { certificate_digest: "sha1", ..RSA },
        p_256,
        Kind { digest: "sha384", fraction: 6, ..p_256 },
        Kind { digest: "sha384", ..p_384 },
    ] {
        let before = Timestamp::now().micros() - 1_000_000;
        let authority = TestAuthority::start(kind);
        let stamped = stamp(&authority).unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        assert!((before..=Timestamp::now().micros()).contains(&stamped.time.micros()), "{kind:?}");
        assert_eq!(verify(&stamped.token, &note(), &certificates(&authority)), Ok(stamped.time));
        assert!(authority.openssl_verifies(&stamped.token, &note()), "{kind:?}");
        if kind.fraction == 0 {
            assert_eq!(stamped.time.micros() % 1_000_000, 0);
        }
    }
}

#[test]
fn a_token_is_about_one_text_only() {
    if !has_openssl() {
        return;
    }
    let authority = TestAuthority::start(RSA);
    let stamped = stamp(&authority).unwrap();
    for other in [note().replace("\n7\n", "\n8\n"), note() + "\u{2014} w AAAAAAA=\n", String::new()] {
        assert_eq!(verify(&stamped.token, &other, &certificates(&authority)), Err(TokenError::Imprint));
        assert!(!authority.openssl_verifies(&stamped.token, &other));
    }
}

#[test]
fn a_stamp_is_on_the_logs_own_signatures_whatever_witnesses_add() {
    if !has_openssl() {
        return;
    }
    let authority = TestAuthority::start(RSA);
    let mut anchor =
        TimestampAuthority::new(&authority.url(), certificates(&authority), client(Roots::Web)).unwrap();
    assert_eq!(anchor.name(), format!("timestamp {}", authority.url()));
    let mut with_epoch = checkpoint();
    with_epoch.sign(&SigningKey::from_seed(ORIGIN, &[2; 32]).unwrap());
    let text = with_epoch.to_string();
    let witness =
        |number: u8| Cosigner::from_seed(&format!("witness.example/w{number}"), &[number; 32]).unwrap();
    with_epoch.add_signatures([witness(3).cosign(&with_epoch, 1)]);
    let AnchorAnswer::Receipt(token) = anchor.submit(&with_epoch, &mut |_, _| Ok(Vec::new())).unwrap() else {
        panic!("an authority gives a token")
    };
    with_epoch.add_signatures([witness(4).cosign(&with_epoch, 2), witness(3).cosign(&with_epoch, 3)]);
    assert_eq!(stamped_text(&with_epoch), text);
    assert!(verify(&token, &stamped_text(&with_epoch), &certificates(&authority)).is_ok());
    assert!(authority.openssl_verifies(&token, &text));
    assert_eq!(verify(&token, &note(), &certificates(&authority)), Err(TokenError::Imprint));
}

#[test]
fn the_commands_of_the_format_page_check_a_token_that_a_log_keeps() {
    if !has_openssl() {
        return;
    }
    let page = include_str!("../../docs/format.md");
    let (_, rest) = page.split_once("```sh\nsqlite3 audit.db").unwrap();
    let (rest, _) = rest.split_once("```").unwrap();
    let commands = format!("set -e\nsqlite3 audit.db{rest}")
        .replace("ORIGIN", ORIGIN)
        .replace("= SIZE", "= 7")
        .replace("NAME", "timestamp");
    let authority = TestAuthority::start(RSA);
    let stamped = stamp(&authority).unwrap();
    let witness = Cosigner::from_seed("witness.example/w", &[3; 32]).unwrap();
    let mut cosigned = checkpoint();
    cosigned.add_signatures([witness.cosign(&cosigned, 1)]);
    let log = rusqlite::Connection::open(authority.folder().join("audit.db")).unwrap();
    log.execute_batch(include_str!("../../schema/0002_evidence.sql")).unwrap();
    log.execute("INSERT INTO checkpoints VALUES (7, ?1, 0)", [cosigned.to_string()]).unwrap();
    log.execute("INSERT INTO anchor_receipts VALUES ('timestamp', 7, ?1)", [&stamped.token]).unwrap();
    let run = || {
        let mut shell = Command::new("sh");
        shell.args(["-c", &commands]).current_dir(authority.folder()).output().unwrap()
    };
    let output = run();
    assert!(output.status.success(), "{output:?}");
    let other = cosigned.to_string().replace("\n7\n", "\n8\n");
    log.execute("UPDATE checkpoints SET note = ?1", [other]).unwrap();
    assert!(!run().status.success());
}

#[test]
fn a_changed_token_proves_nothing() {
    if !has_openssl() {
        return;
    }
    let authority = TestAuthority::start(RSA);
    let stamped = stamp(&authority).unwrap();
    let certificates = certificates(&authority);
    let mut good = 0;
    for place in 0..stamped.token.len() {
        let mut token = stamped.token.clone();
        token[place] ^= 0x01;
        // The certificates in the token, and the version and algorithms before them, are signed by
        // nobody; they are not used either.
        if let Ok(time) = verify(&token, &note(), &certificates) {
            assert_eq!(time, stamped.time, "at {place}");
            good += 1;
        }
    }
    assert!(good < stamped.token.len());
    for length in 0..stamped.token.len() {
        assert!(verify(&stamped.token[..length], &note(), &certificates).is_err(), "{length}");
    }
    let longer = [stamped.token.as_slice(), &[0]].concat();
    assert!(verify(&longer, &note(), &certificates).is_err());
    let huge = vec![0x30; 1 << 20];
    assert!(matches!(verify(&huge, &note(), &certificates), Err(TokenError::TooLong { .. })));
}

#[test]
fn an_answer_about_something_else_is_not_kept() {
    if !has_openssl() {
        return;
    }
    let authority = TestAuthority::start(RSA);
    let digest = Sha256::digest(note()).to_vec();
    assert_eq!(token_error(&authority, Mode::Instead(digest, vec![1; 32])), TokenError::Imprint);
    assert_eq!(token_error(&authority, Mode::OtherNonce), TokenError::Nonce);
}

#[test]
fn a_token_of_another_authority_is_not_kept() {
    if !has_openssl() {
        return;
    }
    let (authority, other) = (TestAuthority::start(RSA), TestAuthority::start(RSA));
    let stamped = stamp(&authority).unwrap();
    assert_eq!(verify(&stamped.token, &note(), &certificates(&other)), Err(TokenError::OtherSigner));
    let wrong = TimestampAuthority::new(&authority.url(), certificates(&other), client(Roots::Web)).unwrap();
    let error = wrong.stamp(&note()).unwrap_err();
    assert!(matches!(error, TimestampError::Token { source: TokenError::OtherSigner, .. }), "{error}");
    // The certificate of before and the present one may stand in one file.
    let both = [other.certificate(), authority.certificate()].concat();
    let both = AuthorityCertificates::from_pem(&both).unwrap();
    assert_eq!(verify(&stamped.token, &note(), &both), Ok(stamped.time));
}

#[test]
fn a_certificate_that_has_the_signers_name_but_not_its_key_does_not_verify() {
    if !has_openssl() {
        return;
    }
    let authority = TestAuthority::start(RSA);
    let stamped = stamp(&authority).unwrap();
    // The same issuer and serial number, with another key.
    let serial = openssl(authority.folder(), "x509 -in tsa.pem -noout -serial").stdout;
    let serial = String::from_utf8(serial).unwrap().trim().replace("serial=", "");
    let folder = authority.folder();
    authority::made(folder, "req -newkey rsa:2048 -nodes -keyout other.key -out other.csr -subj /CN=tsa");
    authority::made(
        folder,
        &format!(
            "x509 -req -in other.csr -CA ca.pem -CAkey ca.key -set_serial 0x{serial} -days 30 \
             -extfile extensions -out other.pem"
        ),
    );
    let other =
        AuthorityCertificates::from_pem(&std::fs::read(authority.file("other.pem")).unwrap()).unwrap();
    assert_eq!(verify(&stamped.token, &note(), &other), Err(TokenError::Signature));
    // And the same key, in another certificate.
    authority::made(
        folder,
        &format!(
            "x509 -req -in tsa.csr -CA ca.pem -CAkey ca.key -set_serial 0x{serial} -days 29 \
             -extfile extensions -out other.pem"
        ),
    );
    let other =
        AuthorityCertificates::from_pem(&std::fs::read(authority.file("other.pem")).unwrap()).unwrap();
    assert_eq!(verify(&stamped.token, &note(), &other), Err(TokenError::OtherCertificate));
}

#[test]
fn a_token_from_after_the_end_of_its_certificate_is_not_kept() {
    if !has_openssl() {
        return;
    }
    let authority = TestAuthority::start_with_days(RSA, -1);
    assert!(matches!(token_error(&authority, Mode::Honest), TokenError::Validity { .. }));
}

#[test]
fn an_algorithm_that_is_not_known_is_named() {
    if !has_openssl() {
        return;
    }
    let kind = Kind { key: "ec -pkeyopt ec_paramgen_curve:P-256", digest: "sha512", ..RSA };
    let error = token_error(&TestAuthority::start(kind), Mode::Honest);
    assert!(matches!(&error, TokenError::Algorithm(_)) && error.to_string().contains("1.2.840.10045.4.3.4"));
}

#[test]
fn a_refusal_says_why() {
    if !has_openssl() {
        return;
    }
    let authority = TestAuthority::start(RSA);
    let config = std::fs::read_to_string(authority.file("ts.cnf")).unwrap();
    std::fs::write(authority.file("ts.cnf"), config.replace("digests = sha256", "digests = sha512")).unwrap();
    let error = stamp(&authority).unwrap_err();
    assert!(
        matches!(&error, TimestampError::Refused { status: 2, reason, .. }
        if reason.contains("it does not know the algorithm")),
        "{error}"
    );
    // A PKIStatusInfo of 3 (waiting), and none of a token.
    authority.answer(Mode::Fixed(
        200,
        "application/timestamp-reply",
        b"\x30\x05\x30\x03\x02\x01\x03".to_vec(),
    ));
    assert!(matches!(stamp(&authority).unwrap_err(), TimestampError::Refused { status: 3, .. }));
    let granted_nothing = b"\x30\x05\x30\x03\x02\x01\x00".to_vec();
    let error = token_error(&authority, Mode::Fixed(200, "application/timestamp-reply", granted_nothing));
    assert!(matches!(error, TokenError::Form(_)));
}

#[test]
fn garbage_is_no_answer() {
    if !has_openssl() {
        return;
    }
    let authority = TestAuthority::start(RSA);
    for body in [
        b"".to_vec(),
        b"<html></html>".to_vec(),
        vec![0x30; 100_000],
        vec![0xff; 50],
        b"\x30\x80\0\0".to_vec(),
    ] {
        let error = token_error(&authority, Mode::Fixed(200, "application/timestamp-reply", body));
        assert!(matches!(error, TokenError::Encoding(_) | TokenError::Form(_)), "{error}");
    }
    authority.answer(Mode::Fixed(503, "text/plain", b"later".to_vec()));
    let error = stamp(&authority).unwrap_err();
    assert!(
        matches!(&error, TimestampError::Status { status: 503, answer, .. } if answer == "later"),
        "{error}"
    );
    authority.answer(Mode::Fixed(200, "text/plain", vec![0; 3 << 20]));
    assert!(matches!(stamp(&authority).unwrap_err(), TimestampError::Http(HttpError::TooLong { .. })));
}

#[test]
fn a_late_authority_is_given_up() {
    if !has_openssl() {
        return;
    }
    let authority = TestAuthority::start(RSA);
    authority.answer(Mode::Held);
    let patience = Duration::from_secs(2);
    let impatient = HttpClient::new(Timeouts { connect: patience, whole: patience }, Roots::Web).unwrap();
    let authorities = TimestampAuthority::new(&authority.url(), certificates(&authority), impatient).unwrap();
    let error = authorities.stamp(&note()).unwrap_err();
    assert!(matches!(error, TimestampError::Http(HttpError::Late { .. })), "{error}");
    authority.answer(Mode::Honest);
}

#[test]
fn a_file_without_a_certificate_for_time_stamping_is_refused() {
    if !has_openssl() {
        return;
    }
    let authority = TestAuthority::start(RSA);
    let ca = std::fs::read(authority.file("ca.pem")).unwrap();
    let of = |pem: &[u8]| AuthorityCertificates::from_pem(pem).unwrap_err();
    assert_eq!(of(&ca), CertificateError::NoneForTimestamping);
    assert_eq!(of(b""), CertificateError::NoneForTimestamping);
    assert_eq!(of(&std::fs::read(authority.file("tsa.key")).unwrap()), CertificateError::NoneForTimestamping);
    let cut = authority.certificate();
    assert!(matches!(
        of(&cut[..cut.len() / 2]),
        CertificateError::Unreadable(_) | CertificateError::NoneForTimestamping
    ));
    // Whoever certified it may stand in the file too.
    assert!(AuthorityCertificates::from_pem(&[ca, authority.certificate()].concat()).is_ok());
}

/// What comes of a request to a server with TLS that answers 503 to everything.
fn over_tls(roots: impl FnOnce(&std::path::Path) -> Option<Vec<u8>>) -> TimestampError {
    let folder = tempfile::tempdir().unwrap();
    certify(folder.path(), "server", "rsa:2048", "subjectAltName=IP:127.0.0.1\n", 30);
    certify(folder.path(), "tsa", "rsa:2048", "extendedKeyUsage=critical,timeStamping\n", 30);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = Command::new("openssl")
        .args(["s_server", "-quiet", "-cert", "server.pem", "-key", "server.key", "-accept"])
        .arg(format!("127.0.0.1:{port}"))
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut requests, mut answers) = (server.stdout.take().unwrap(), server.stdin.take().unwrap());
    let answer = std::thread::Builder::new().name("tls".to_owned()).spawn(move || {
        let (mut request, mut byte) = (Vec::new(), [0]);
        while !request.ends_with(b"\r\n\r\n") && requests.read(&mut byte).is_ok_and(|read| read > 0) {
            request.extend(byte);
        }
        drop(answers.write_all(b"HTTP/1.1 503 Later\r\nContent-Length: 5\r\n\r\nlater"));
        drop(answers.flush());
        // Until the server ends: the end of its input would end the connection.
        drop(requests.read_to_end(&mut request));
    });
    let roots = roots(folder.path());
    let roots = roots.as_deref().map_or(Roots::Web, Roots::Pem);
    let tsa = std::fs::read(folder.path().join("tsa.pem")).unwrap();
    let tsa = AuthorityCertificates::from_pem(&tsa).unwrap();
    let url = format!("https://127.0.0.1:{port}/");
    let authority = TimestampAuthority::new(&url, tsa, client(roots)).unwrap();
    let mut tries = 0;
    let error = loop {
        let error = authority.stamp("text\n").unwrap_err();
        tries += 1;
        // It may not listen yet.
        if tries > 12_000 || !error.to_string().contains("refused") {
            break error;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    server.kill().unwrap();
    server.wait().unwrap();
    answer.unwrap().join().unwrap();
    error
}

#[test]
fn a_server_with_tls_is_trusted_by_the_authorities_that_were_given() {
    if !has_openssl() {
        return;
    }
    let given = over_tls(|folder| Some(std::fs::read(folder.join("ca.pem")).unwrap()));
    assert!(matches!(given, TimestampError::Status { status: 503, .. }), "{given}");
    let web = over_tls(|_| None);
    assert!(matches!(web, TimestampError::Http(HttpError::Transport { .. })), "{web}");
    let patience = Timeouts::default();
    assert!(matches!(HttpClient::new(patience, Roots::Pem(b"nothing")), Err(HttpError::Roots(_))));
}
