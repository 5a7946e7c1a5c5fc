//! Where commands write to: files that appear whole, pipes, standard output; and what is left of them.

use crate::support::program;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::program::{EVENTS, Log};
use predicates::prelude::*;

const NOTE: &str = r#"{"type":"note.logged","message":"hi"}"#;
const BAD: &str = r#"{"type":"step.ended","session":"s","status":"ok"}"#;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

/// The names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The program as a child that can be sent signals, also where these tests run with some ignored.
fn child(log: &Log, args: &[&str]) -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal=INT,TERM,HUP", env!("CARGO_BIN_EXE_annals"), "--db"]);
    command.arg(log.path()).args(args);
    command.env("ANNALS_HOME", log.file("annals-home")).env("USER", "tester");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A shell that runs the program, as `$0 "$@"`, after these words.
fn shell(log: &Log, script: &str, args: &[&str]) -> assert_cmd::Command {
    let mut command = assert_cmd::Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_annals"), "--db"]).arg(log.path()).args(args);
    command.env("ANNALS_HOME", log.file("annals-home")).env("USER", "tester").env_remove("ANNALS_DB");
    command
}

#[test]
fn a_pipe_is_written_to_and_stays_a_pipe() {
    let log = Log::with(EVENTS);
    let (events, pipe) = (log.out(&["export"]), log.file("pipe"));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for force in [&[][..], &["--force"]] {
        let from = pipe.clone();
        let reader = std::thread::Builder::new();
        let read = reader.spawn(move || fs::read_to_string(from).unwrap()).unwrap();
        let args = [&["export", "-o", pipe.to_str().unwrap()], force].concat();
        log.annals(&args).assert().success();
        assert_eq!(read.join().unwrap(), events);
        assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
    }
}

#[test]
fn a_device_is_written_to_and_stays_a_device() {
    let log = Log::with(EVENTS);
    let device = log.file("null");
    let made = Command::new("mknod").arg(&device).args(["c", "1", "3"]).stderr(Stdio::null()).status();
    if !made.is_ok_and(|made| made.success()) {
        eprintln!("skipped: no device can be made here");
        return;
    }
    log.annals(&["export", "--force", "-o", device.to_str().unwrap()]).assert().success();
    assert!(fs::symlink_metadata(&device).unwrap().file_type().is_char_device());
}

#[test]
fn a_file_is_replaced_behind_its_link_and_keeps_its_mode() {
    let log = Log::with(EVENTS);
    let (real, link) = (log.file("real.jsonl"), log.file("link.jsonl"));
    fs::write(&real, "before").unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
    symlink("real.jsonl", &link).unwrap();
    let path = link.to_str().unwrap();
    log.annals(&["export", "-o", path]).assert().code(2).stderr(predicate::str::contains("--force"));
    log.annals(&["export", "-o", path, "--force"]).assert().success();
    assert!(link.is_symlink());
    assert_eq!(fs::read_to_string(&real).unwrap(), log.out(&["export"]));
    assert_eq!(mode(&real), 0o640);
}

#[test]
fn a_link_that_leads_nowhere_is_named_as_one() {
    let log = Log::with(EVENTS);
    let link = log.file("link");
    symlink("elsewhere", &link).unwrap();
    let path = link.to_str().unwrap();
    let named =
        || predicate::str::contains("is a symbolic link to").and(predicate::str::contains("elsewhere"));
    log.annals(&["export", "-o", path]).assert().code(2).stderr(named());
    assert!(!log.file("elsewhere").exists());
    for command in ["info", "record", "init"] {
        let mut annals = program::annals(&link);
        annals.arg(command).write_stdin(NOTE).assert().code(2).stderr(named());
    }
    assert!(!log.file("elsewhere").exists());
    log.annals(&["export", "-o", path, "--force"]).assert().success();
    assert!(link.is_symlink());
    assert_eq!(fs::read_to_string(log.file("elsewhere")).unwrap(), log.out(&["export"]));
}

#[test]
fn a_dash_stands_for_standard_output() {
    let log = Log::with(EVENTS);
    let events = log.out(&["export"]);
    let mut export = log.annals(&["export", "-o", "-"]);
    let exported = export.current_dir(log.folder.path()).assert().success();
    assert_eq!(String::from_utf8_lossy(&exported.get_output().stdout), events);
    let mut copy = log.annals(&["copy", "-"]);
    copy.current_dir(log.folder.path()).env("TMPDIR", log.folder.path());
    let copied = copy.assert().success().stderr(predicate::str::contains("copied; the head is"));
    assert!(!names(log.folder.path()).iter().any(|name| name == "-" || name.ends_with(".new")));
    let path = log.file("copy.db");
    fs::write(&path, &copied.get_output().stdout).unwrap();
    program::annals(&path).arg("verify").assert().success();
    assert_eq!(program::annals(&path).arg("export").assert().get_output().stdout, events.as_bytes());
}

/// Runs an export of many events again and again until one was there to be sent a signal while it wrote.
fn interrupted(log: &Log, signal: &str) {
    for _ in 0..50 {
        let file = log.file("events.jsonl");
        let _ = fs::remove_file(&file);
        let mut export = child(log, &["export", "-o", file.to_str().unwrap()]).spawn().unwrap();
        let is_made = || names(log.folder.path()).iter().any(|name| name.ends_with(".new"));
        while !is_made() && export.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let pid = export.id().to_string();
        let _ = Command::new("kill").args([signal, &pid]).stderr(Stdio::null()).status();
        let status = export.wait().unwrap();
        if status.signal().is_some() {
            assert!(!file.exists());
            return;
        }
    }
    panic!("no export was interrupted");
}

#[test]
fn what_is_told_to_end_leaves_nothing_half_made() {
    let log = Log::with(&format!("{NOTE}\n").repeat(10_000));
    for signal in ["-INT", "-TERM", "-HUP"] {
        interrupted(&log, signal);
        let left = names(log.folder.path());
        assert!(!left.iter().any(|name| name.ends_with(".new")), "{signal}: {left:?}");
    }
    interrupted(&log, "-KILL");
    assert!(names(log.folder.path()).iter().any(|name| name.ends_with(".new")), "nobody could remove it");
    log.annals(&["copy", log.file("copy.db").to_str().unwrap()]).assert().success();
    let left = names(log.folder.path());
    assert!(!left.iter().any(|name| name.ends_with(".new")), "{left:?}");
}

#[test]
fn a_disk_that_is_full_leaves_nothing_half_made() {
    let log = Log::with(&format!("{NOTE}\n").repeat(500));
    // What readers leave beside the log belongs to it.
    let others = |log: &Log| -> Vec<String> {
        names(log.folder.path()).into_iter().filter(|name| !name.starts_with("audit.db")).collect()
    };
    let before = others(&log);
    let limited = "trap '' XFSZ; ulimit -f 40; exec \"$0\" \"$@\"";
    for args in [["copy", "copy.db"].as_slice(), &["export", "--table", "notes", "-o", "notes.jsonl"]] {
        shell(&log, limited, args).current_dir(log.folder.path()).assert().code(2);
        assert_eq!(others(&log), before, "{args:?}");
    }
    let new = log.folder.path().join("new.db");
    let mut init = shell(&log, limited, &["--db", new.to_str().unwrap(), "init"]);
    init.current_dir(log.folder.path()).assert().code(2);
    assert_eq!(others(&log), before);
}

#[test]
fn what_is_bad_from_its_beginning_makes_no_log() {
    let log = Log::new();
    let large = format!(r#"{{"type":"note.logged","message":"{}"}}"#, "x".repeat(20 << 20));
    for lines in [BAD, "no json", large.as_str()] {
        let _ = log.annals(&["record"]).write_stdin(lines.to_owned()).ok();
        assert_eq!(names(log.folder.path()), Vec::<String>::new());
    }
    log.annals(&["record", "--skip-bad"]).write_stdin(format!("{BAD}\n")).assert().code(1);
    assert_eq!(names(log.folder.path()), Vec::<String>::new());
    let broken = log.file("broken.json");
    fs::write(&broken, "[").unwrap();
    log.annals(&["import", "tau-bench", broken.to_str().unwrap()]).assert().code(2);
    log.annals(&["apikey", "create", "--name", "", "--scopes", "read"]).assert().code(2);
    assert_eq!(names(log.folder.path()), ["broken.json"]);
    log.annals(&["record", "--skip-bad"]).write_stdin(format!("{BAD}\n{NOTE}\n")).assert().code(1);
    assert!(log.path().exists());
}

#[test]
fn an_answer_that_nobody_can_get_is_an_error() {
    let log = Log::with(EVENTS);
    let outputs = ["exec \"$0\" \"$@\" >&-", "exec \"$0\" \"$@\" >/dev/full"];
    let copy = log.file("copy.db");
    for output in outputs {
        for args in [
            &["export"][..],
            &["export", "--table", "steps", "--format", "csv"],
            &["sessions"],
            &["--json", "info"],
            &["sql", "SELECT 1"],
            &["verify"],
            &["search", "boom"],
            &["completions", "bash"],
            &["copy", "-"],
            &["copy", copy.to_str().unwrap()],
        ] {
            let refused = shell(&log, output, args).assert().code(2);
            let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
            assert!(said.contains("standard output cannot be written"), "{args:?}: {said}");
            let _ = fs::remove_file(&copy);
        }
    }
    shell(&log, outputs[0], &["--version"]).assert().code(2);
    // A program that looks at the answer alone has a null device there.
    shell(&log, "exec \"$0\" \"$@\" >/dev/null", &["export"]).assert().success();
    shell(&log, "exec \"$0\" \"$@\" 1<>/dev/null", &["export"]).assert().success();
    // The reader who has enough goes.
    shell(&log, "\"$0\" \"$@\" | head -n 1", &["export"]).assert().success();
}

#[test]
fn a_url_is_no_name_of_a_log() {
    let log = Log::new();
    let run = |db: &str, args: &[&str]| {
        let mut command = program::bare();
        command.args(["--db", db]).args(args).current_dir(log.folder.path()).write_stdin(NOTE);
        command.assert().code(2).stderr(predicate::str::contains("only files of this machine are supported"));
    };
    let urls = [
        "postgres://host/x",
        "https://example.org/audit.db",
        "file:audit.db",
        "sqlite:///audit.db",
        "s3://bucket/audit.db",
        ":memory:",
    ];
    for url in urls {
        for args in [&["record"][..], &["init"], &["info"], &["verify"], &["demo"]] {
            run(url, args);
        }
    }
    assert_eq!(names(log.folder.path()), Vec::<String>::new());
    let log = Log::with(EVENTS);
    for args in [["copy", "s3://bucket/x"].as_slice(), &["export", "-o", "https://example.org/x"]] {
        let mut command = log.annals(args);
        command.current_dir(log.folder.path()).assert().code(2);
    }
    let mut odd = program::annals(&PathBuf::from("./postgres:x"));
    odd.current_dir(log.folder.path()).arg("record").write_stdin(NOTE).assert().success();
    assert!(log.file("postgres:x").exists());
}

#[test]
fn the_demonstration_refuses_a_log_with_events_of_others() {
    let log = Log::with(EVENTS);
    let events = log.out(&["export"]);
    log.annals(&["demo"]).assert().code(2).stderr(predicate::str::contains("name a separate log"));
    assert_eq!(log.out(&["export"]), events);
}

#[test]
fn a_log_that_was_given_its_name_by_a_link_is_rid_of_its_first_one() {
    let log = Log::with(EVENTS);
    let folder = log.file("audit.db.019f0000-0000-7000-8000-000000000001.new");
    fs::create_dir(&folder).unwrap();
    fs::hard_link(log.path(), folder.join("file")).unwrap();
    log.annals(&["record"]).write_stdin(NOTE).assert().success();
    assert!(!folder.join("file").exists());
    log.annals(&["verify"]).assert().success();
}
