use tempfile::TempDir;

use super::*;

const NO_LIMIT: u64 = 1 << 30;

fn open(folder: &TempDir, bytes_max: u64) -> Spool {
    let mut refusals = Refusals::new(folder.path(), None);
    Spool::open(folder.path(), bytes_max, &mut refusals).unwrap()
}

/// The event with a number, in a line whose length depends on it.
fn line(number: u8) -> String {
    let id = EventId::from_bytes([number; 16]);
    format!(r#"{{"type":"note.logged","id":"{id}","message":"{}"}}"#, "x".repeat(usize::from(number)))
}

fn append(spool: &mut Spool, numbers: impl IntoIterator<Item = u8>) -> Result<usize, NotSpooled> {
    let lines: Vec<_> = numbers.into_iter().map(line).collect();
    spool.append(lines.iter().map(String::as_str), 1)
}

fn numbers(spool: &Spool) -> Vec<u8> {
    match spool.head(usize::MAX, usize::MAX).unwrap() {
        Head::Lines(lines) => lines.iter().map(|line| line.event_id.bytes()[0]).collect(),
        Head::Nothing => Vec::new(),
        Head::Unreadable(text) => panic!("{text}"),
    }
}

fn segments(folder: &TempDir) -> Vec<PathBuf> {
    let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<_> = names
        .filter(|path| place::segment_number(path.file_name().unwrap().to_str().unwrap()).is_some())
        .collect();
    names.sort();
    names
}

fn refused(folder: &TempDir) -> String {
    fs::read_to_string(folder.path().join("refused.jsonl")).unwrap_or_default()
}

#[test]
fn nobody_else_can_read_what_is_in_it() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let within = folder.path().join("spool");
    let mut refusals = Refusals::new(&within, None);
    let mut spool = Spool::open(&within, NO_LIMIT, &mut refusals).unwrap();
    append(&mut spool, [1]).unwrap();
    refusals.torn("half a li").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&within), 0o700);
    let files: Vec<_> = fs::read_dir(&within).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 3, "{files:?}");
    assert!(files.iter().all(|path| mode(path) == 0o600), "{files:?}");
}

#[test]
fn events_come_out_as_they_went_in_and_are_gone_once_they_are_past() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(&folder, NO_LIMIT);
    assert!(spool.is_empty());
    assert_eq!(append(&mut spool, 1..=3).unwrap(), 3);
    assert_eq!(append(&mut spool, 4..=5).unwrap(), 2);
    let Head::Lines(lines) = spool.head(2, usize::MAX).unwrap() else { panic!("no lines") };
    assert_eq!(lines.iter().map(|line| line.text.clone()).collect::<Vec<_>>(), [line(1), line(2)]);
    spool.advance(2).unwrap();
    assert_eq!((numbers(&spool), spool.events()), (vec![3, 4, 5], 3));
    spool.advance(3).unwrap();
    assert!(spool.is_empty() && numbers(&spool).is_empty());
    assert_eq!(segments(&folder), Vec::<PathBuf>::new());
    append(&mut spool, [6]).unwrap();
    assert_eq!(numbers(&spool), [6]);
}

#[test]
fn the_next_process_goes_on_where_the_last_one_stopped() {
    let folder = tempfile::tempdir().unwrap();
    // So small that every append makes a segment.
    let limit = 4_000;
    for already_sent in 0..=6 {
        let mut spool = open(&folder, limit);
        for number in 1..=6 {
            append(&mut spool, [number]).unwrap();
        }
        spool.advance(already_sent).unwrap();
        drop(spool);
        let mut spool = open(&folder, limit);
        let left: Vec<u8> = (1..=6).skip(already_sent).collect();
        assert_eq!((numbers(&spool), spool.events()), (left.clone(), left.len() as u64));
        spool.advance(left.len()).unwrap();
    }
}

#[test]
fn a_segment_that_a_crash_cut_off_at_any_byte_keeps_every_whole_event() {
    let (whole, folder) = {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = open(&folder, NO_LIMIT);
        append(&mut spool, 1..=3).unwrap();
        drop(spool);
        (fs::read(&segments(&folder)[0]).unwrap(), folder)
    };
    let path = segments(&folder)[0].clone();
    let ends: Vec<usize> = (1..=3).map(|number| (1..=number).map(|n| line(n).len() + 1).sum()).collect();
    for length in 0..=whole.len() {
        let _ = fs::remove_file(folder.path().join("refused.jsonl"));
        fs::write(&path, &whole[..length]).unwrap();
        let mut spool = open(&folder, NO_LIMIT);
        // One that lacks its line break alone is whole.
        let kept = ends.iter().filter(|&&end| length + 1 >= end).count();
        let expected: Vec<u8> = (1..).take(kept).collect();
        assert_eq!(numbers(&spool), expected, "{length} bytes");
        let torn = length > 0 && !ends.iter().any(|&end| length == end || length + 1 == end);
        assert_eq!(refused(&folder).lines().count(), usize::from(torn), "{length} bytes");
        // It can be written to again, and is read again.
        append(&mut spool, [9]).unwrap();
        drop(spool);
        let spool = open(&folder, NO_LIMIT);
        assert_eq!(numbers(&spool), [expected, vec![9]].concat(), "{length} bytes");
        drop(spool);
        for path in segments(&folder) {
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn a_place_that_a_crash_spoiled_sends_again_what_is_there() {
    for spoiled in ["", "1", "1 x\n", "7 0", "1 1\n", "1 999999\n", "0 0\n"] {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = open(&folder, NO_LIMIT);
        append(&mut spool, 1..=3).unwrap();
        spool.advance(2).unwrap();
        drop(spool);
        fs::write(folder.path().join("sent"), spoiled).unwrap();
        assert_eq!(numbers(&open(&folder, NO_LIMIT)), [1, 2, 3], "{spoiled:?}");
    }
}

#[test]
fn a_line_that_is_no_event_is_told_apart_from_those_around_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(&folder, NO_LIMIT);
    append(&mut spool, [1]).unwrap();
    spool.append(["\0\0\0\0"].into_iter(), 1).unwrap();
    append(&mut spool, [2]).unwrap();
    assert_eq!(numbers(&spool), [1]);
    spool.advance(1).unwrap();
    assert_eq!(spool.head(10, 1_000).unwrap(), Head::Unreadable("\0\0\0\0".to_owned()));
    spool.advance(1).unwrap();
    assert_eq!(numbers(&spool), [2]);
}

#[test]
fn a_full_spool_takes_what_fits_and_takes_again_when_something_was_sent() {
    let folder = tempfile::tempdir().unwrap();
    let limit = 3 * (line(10).len() as u64 + 1);
    let mut spool = open(&folder, limit);
    assert_eq!(append(&mut spool, [10, 10, 10, 10]).unwrap(), 3);
    assert!(matches!(append(&mut spool, [1]), Err(NotSpooled::Full { .. })));
    let lines = [line(1), line(2)];
    spool.advance(3).unwrap();
    let wanted = [line(10), line(10), line(10), line(10)];
    let all_or_none = spool.append(wanted.iter().map(String::as_str), 4);
    assert!(matches!(all_or_none, Err(NotSpooled::Full { .. })));
    assert_eq!(spool.append(lines.iter().map(String::as_str), 2).unwrap(), 2);
    assert_eq!(numbers(&spool), [1, 2]);
}

#[test]
fn a_request_has_no_more_bytes_than_asked_for_unless_one_event_has() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(&folder, NO_LIMIT);
    append(&mut spool, [200, 1, 2]).unwrap();
    let count = |spool: &Spool, bytes| match spool.head(10, bytes).unwrap() {
        Head::Lines(lines) => lines.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(count(&spool, 1), 1);
    assert_eq!(count(&spool, line(200).len() + line(1).len()), 2);
    spool.advance(1).unwrap();
    assert_eq!(count(&spool, 1_000), 2);
}

#[test]
fn one_process_at_a_time_uses_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(&folder, NO_LIMIT);
    let mut refusals = Refusals::new(folder.path(), None);
    let second = Spool::open(folder.path(), NO_LIMIT, &mut refusals);
    assert!(matches!(second, Err(SpoolError::InUse { .. })), "{second:?}");
    drop(spool);
    open(&folder, NO_LIMIT);
}

#[test]
fn files_that_somebody_deleted_are_missed() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(&folder, NO_LIMIT);
    append(&mut spool, 1..=3).unwrap();
    fs::remove_file(&segments(&folder)[0]).unwrap();
    assert_eq!(spool.head(10, 1_000).unwrap(), Head::Nothing);
    assert_eq!((spool.give_up(), spool.is_empty()), (3, true));
}
