//! Clients that are slow, large, wrong or many: the server goes on serving the others.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::support::new_path;
use crate::support::server::{Served, answer, ask};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
const HEAD: &str = "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";

/// Only a hang reaches it.
const LIMIT: Duration = Duration::from_secs(600);

/// Waits until the server ends the connection.
fn until_closed(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut buffer = [0; 1 << 16];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return,
            Err(error) => panic!("it was not closed: {error}"),
        }
    }
}

fn serves_others(served: &Served) {
    let answer = served.post_json("/v1/events", r#"{"type":"note.logged","message":"m"}"#);
    assert_eq!(answer.expect(200)["committed"], 1);
}

#[test]
fn a_client_that_sends_nothing_or_its_headers_bit_by_bit_is_given_up() {
    let (_folder, path) = new_path();
    let served = Served::start_with(&path, &["--header-timeout", "1", "--idle-timeout", "1"]);
    let silent: Vec<_> = (0..50).map(|_| served.connect()).collect();
    let mut begun = served.connect();
    begun.write_all(b"P").unwrap();
    let mut slow = served.connect();
    let dripping = slow.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut dripping = dripping;
            dripping.write_all(HEAD.as_bytes()).unwrap();
            // Until the server has enough of it.
            while dripping.write_all(b"x-a: b\r\n").is_ok() {
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        until_closed(&mut slow);
    });
    for mut stream in silent {
        until_closed(&mut stream);
    }
    until_closed(&mut begun);
    serves_others(&served);
    served.stop();
}

#[test]
fn a_connection_that_rests_is_closed_and_one_that_works_is_not() {
    let (_folder, path) = new_path();
    let served = Served::start_with(&path, &["--idle-timeout", "3"]);
    let rest = Duration::from_secs(3);
    let mut busy = served.connect();
    let (mut since, mut last) = (Instant::now(), Instant::now());
    while since.elapsed() < 2 * rest {
        match ask(&mut busy, "GET", "/healthz", &[], b"") {
            Ok(answer) => drop(answer.expect(200)),
            Err(error) => {
                // A busy machine may have kept this thread from asking for so long.
                assert!(last.elapsed() >= rest, "it worked, and was closed: {error}");
                busy = served.connect();
                since = Instant::now();
            }
        }
        last = Instant::now();
        std::thread::sleep(Duration::from_millis(500));
    }
    until_closed(&mut busy);
}

#[test]
fn a_body_that_does_not_come_in_time_is_given_up() {
    let (_folder, path) = new_path();
    let served = Served::start_with(&path, &["--body-timeout", "1"]);
    let mut stream = served.connect();
    stream.write_all(format!("{HEAD}content-length: 100\r\n\r\n[").as_bytes()).unwrap();
    assert_eq!(answer(&mut stream).unwrap().problem(408), "timeout");
    serves_others(&served);
}

#[test]
fn an_endless_body_is_cut_off_and_takes_no_memory() {
    let (_folder, path) = new_path();
    let served = Served::start_with(&path, &["--max-body", "1"]);
    serves_others(&served);
    let before = served.resident_bytes();
    let mut stream = served.connect();
    stream.write_all(format!("{HEAD}transfer-encoding: chunked\r\n\r\n").as_bytes()).unwrap();
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
    let sent = (0..1_000).take_while(|_| stream.write_all(&chunk).is_ok()).count();
    assert!(sent < 1_000);
    if let Ok(answer) = answer(&mut stream) {
        assert_eq!(answer.problem(413), "too-large");
    }
    assert!(served.resident_bytes() < before + (32 << 20));
    serves_others(&served);
}

#[test]
fn bodies_beyond_the_memory_for_all_of_them_are_told_to_come_again() {
    let (_folder, path) = new_path();
    let served = Served::start_with(&path, &["--max-memory", "1"]);
    // Two that hold most of it, and do not end.
    let mut holding: Vec<_> = (0..2).map(|_| served.connect()).collect();
    for stream in &mut holding {
        stream.write_all(format!("{HEAD}content-length: 500000\r\n\r\n").as_bytes()).unwrap();
        stream.write_all(&[b' '; 450 << 10]).unwrap();
    }
    std::thread::sleep(Duration::from_millis(500));
    let body = vec![b' '; 200 << 10];
    let deadline = Instant::now() + LIMIT;
    loop {
        let answer = served.post_json("/v1/events", &body);
        if answer.status == 503 {
            assert_eq!(answer.problem(503), "overloaded");
            assert!(answer.header("retry-after").is_some());
            break;
        }
        assert!(Instant::now() < deadline, "{}", answer.text());
    }
    drop(holding);
    let deadline = Instant::now() + LIMIT;
    while served.post_json("/v1/events", &body).status == 503 {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_bomb_is_cut_off_and_takes_no_memory() {
    let (_folder, path) = new_path();
    let served = Served::start(&path);
    serves_others(&served);
    let before = served.resident_bytes();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..512 {
        encoder.write_all(&[b' '; 1 << 20]).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    for _ in 0..4 {
        let headers = [JSON[0], ("content-encoding", "gzip")];
        assert_eq!(served.request("POST", "/v1/events", &headers, &bomb).problem(413), "too-large");
    }
    assert!(served.resident_bytes() < before + (160 << 20), "{} MiB", served.resident_bytes() >> 20);
    serves_others(&served);
}

#[test]
fn a_client_that_does_not_read_is_given_up() {
    let (_folder, path) = new_path();
    let served = Served::start_with(&path, &["--write-timeout", "1"]);
    let mut stream = served.connect();
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    // Answers that nobody reads fill what the system keeps of them.
    let request = b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(500);
    for _ in 0..100 {
        if stream.write_all(&request).is_err() {
            break;
        }
    }
    std::thread::sleep(Duration::from_secs(3));
    until_closed(&mut stream);
    serves_others(&served);
}

/// A connection with a request that is under way.
fn busy(served: &Served) -> TcpStream {
    let mut stream = served.connect();
    let head = "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n[";
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

#[test]
fn connections_beyond_the_limit_wait_until_one_ends() {
    let (_folder, path) = new_path();
    let served = Served::start_with(&path, &["--max-connections", "2"]);
    let (first, second) = (busy(&served), busy(&served));
    std::thread::sleep(Duration::from_millis(200));
    let mut third = served.connect();
    third.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    third.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    assert!(third.read(&mut [0]).is_err());
    drop((first, second));
    third.set_read_timeout(Some(LIMIT)).unwrap();
    answer(&mut third).unwrap().expect(200);
}

#[test]
fn connections_that_rest_make_room_when_there_is_none() {
    let (_folder, path) = new_path();
    // Nothing else would end them before this test gives up.
    let forever = ["--header-timeout", "3600", "--idle-timeout", "3600"];
    let served = Served::start_with(&path, &[&["--max-connections", "4"], &forever[..]].concat());
    let mut used = served.connect();
    ask(&mut used, "GET", "/healthz", &[], b"").unwrap().expect(200);
    let silent: Vec<_> = (0..3).map(|_| served.connect()).collect();
    served.get("/healthz").expect(200);
    drop((used, silent));
}

#[test]
fn a_socket_that_nobody_comes_to_takes_no_room_from_the_others() {
    let (folder, path) = new_path();
    let socket = folder.path().join("s");
    let served = Served::start_with(&path, &["--max-connections", "1", "--unix", socket.to_str().unwrap()]);
    // One after the other, and never by turns.
    for _ in 0..3 {
        served.get("/healthz").expect(200);
    }
    for _ in 0..3 {
        let mut unix = UnixStream::connect(&socket).unwrap();
        unix.set_read_timeout(Some(LIMIT)).unwrap();
        ask(&mut unix, "GET", "/healthz", &[], b"").unwrap().expect(200);
    }
    served.stop();
}

#[test]
fn a_body_for_which_there_is_never_room_is_too_large() {
    let (_folder, path) = new_path();
    let served = Served::start_with(&path, &["--max-memory", "1"]);
    let answer = served.post_json("/v1/events", vec![b' '; (1 << 20) + 1]);
    assert_eq!(answer.problem(413), "too-large");
}

#[test]
fn a_client_above_its_rate_is_told_to_wait() {
    let (_folder, path) = new_path();
    let served = Served::start_with(&path, &["--rate", "1"]);
    let mut stream = served.connect();
    let mut post = || ask(&mut stream, "POST", "/v1/events", &JSON, b"[]").unwrap();
    assert_eq!(post().status, 200);
    // However slow the machine is, it asks more than once a second.
    let refused = std::iter::repeat_with(post).find(|answer| answer.status != 200).unwrap();
    assert_eq!(refused.problem(429), "too-many-requests");
    assert_eq!(refused.header("retry-after"), Some("1"));
    served.get("/healthz").expect(200);
}

#[test]
fn bad_tls_is_nothing_to_the_others() {
    let (folder, path) = new_path();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let made = std::process::Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .output()
        .unwrap();
    assert!(made.status.success());
    let arguments = ["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let mut arguments = arguments.to_vec();
    arguments.extend(["--header-timeout", "1"]);
    let served = Served::start_with(&path, &arguments);
    assert!(served.announced["http"][0].as_str().unwrap().starts_with("https://"));
    let mut plain = served.connect();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    until_closed(&mut plain);
    let mut silent = served.connect();
    until_closed(&mut silent);

    let request = std::process::Command::new("curl")
        .args(["-sS", "--max-time", "600", "--cacert"])
        .arg(&cert)
        .arg(format!("https://{}/healthz", served.address))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&request.stdout), r#"{"status":"ok"}"#, "{request:?}");
    served.stop();
}
