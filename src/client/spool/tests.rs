use tempfile::TempDir;

use super::*;

const NO_LIMIT: u64 = 1 << 30;

fn open(folder: &TempDir, bytes_max: u64) -> Spool {
    Spool::open(folder.path(), bytes_max).unwrap()
}

/// The event with a number, on a line with a length that depends on it.
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
    let mut names: Vec<_> =
        names.filter(|path| segment::number(path.file_name().unwrap().to_str().unwrap()).is_some()).collect();
    names.sort();
    names
}

fn texts(lines: &[Line]) -> impl ExactSizeIterator<Item = &str> {
    lines.iter().map(|line| line.text.as_str())
}

/// Removes the first lines.
fn advance(spool: &mut Spool, count: usize) {
    match spool.head(count, usize::MAX).unwrap() {
        Head::Lines(lines) => spool.advance(texts(&lines)).unwrap(),
        Head::Unreadable(text) => spool.advance(std::iter::once(text.as_str())).unwrap(),
        Head::Nothing => {}
    }
}

/// Removes every line. Returns the events, and the number of lines that are not events.
fn drain(spool: &mut Spool) -> (Vec<u8>, usize) {
    let (mut events, mut unreadable) = (Vec::new(), 0);
    loop {
        match spool.head(3, usize::MAX).unwrap() {
            Head::Lines(lines) => {
                events.extend(lines.iter().map(|line| line.event_id.bytes()[0]));
                spool.advance(texts(&lines)).unwrap();
            }
            Head::Unreadable(text) => {
                unreadable += 1;
                spool.advance(std::iter::once(text.as_str())).unwrap();
            }
            Head::Nothing => return (events, unreadable),
        }
    }
}

#[test]
fn only_the_owner_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let within = folder.path().join("new").join("spool");
    let mut spool = Spool::open(&within, NO_LIMIT).unwrap();
    append(&mut spool, 1..=2).unwrap();
    advance(&mut spool, 1);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&within), mode(within.parent().unwrap())), (0o700, 0o700));
    let files: Vec<_> = fs::read_dir(&within).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 4, "{files:?}");
    assert!(files.iter().all(|path| mode(path) == 0o600), "{files:?}");
}

#[test]
fn a_folder_to_which_others_may_write_is_refused_and_left_as_it_is() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    for mode in [0o700, 0o750, 0o755, 0o770, 0o777, 0o1777] {
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
        let opened = Spool::open(folder.path(), NO_LIMIT);
        match opened {
            Ok(_) => assert_eq!(mode & 0o022, 0, "{mode:o}"),
            Err(error) => {
                assert!(matches!(error, SpoolError::Writable { .. }), "{error}");
                assert!(mode & 0o022 != 0 && error.to_string().contains("chmod go-w"), "{error}");
            }
        }
        assert_eq!(fs::metadata(folder.path()).unwrap().permissions().mode() & 0o7777, mode);
    }
}

#[test]
fn events_are_read_in_order_until_they_were_sent() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(&folder, NO_LIMIT);
    assert!(spool.is_empty());
    assert_eq!(append(&mut spool, 1..=3).unwrap(), 3);
    assert_eq!(append(&mut spool, 4..=5).unwrap(), 2);
    let Head::Lines(lines) = spool.head(2, usize::MAX).unwrap() else { panic!("no lines") };
    assert_eq!(lines.iter().map(|line| line.text.clone()).collect::<Vec<_>>(), [line(1), line(2)]);
    advance(&mut spool, 2);
    assert_eq!((numbers(&spool), spool.events()), (vec![3, 4, 5], 3));
    advance(&mut spool, 3);
    assert!(spool.is_empty() && numbers(&spool).is_empty());
    assert_eq!(segments(&folder), Vec::<PathBuf>::new());
    append(&mut spool, [6]).unwrap();
    assert_eq!(numbers(&spool), [6]);
}

#[test]
fn the_next_process_goes_on_where_the_last_one_stopped() {
    let folder = tempfile::tempdir().unwrap();
    // So small that every append starts a segment.
    let limit = 4_000;
    for already_sent in 0..=6 {
        let mut spool = open(&folder, limit);
        for number in 1..=6 {
            append(&mut spool, [number]).unwrap();
        }
        advance(&mut spool, already_sent);
        drop(spool);
        let mut spool = open(&folder, limit);
        let left: Vec<u8> = (1..=6).skip(already_sent).collect();
        assert_eq!((numbers(&spool), spool.events()), (left.clone(), left.len() as u64));
        advance(&mut spool, left.len());
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
        let _ = fs::remove_file(folder.path().join("sent"));
        fs::write(&path, &whole[..length]).unwrap();
        let mut spool = open(&folder, NO_LIMIT);
        // An event that lacks only its line break is whole.
        let kept = ends.iter().filter(|&&end| length + 1 >= end).count();
        let expected: Vec<u8> = (1..).take(kept).collect();
        let torn = length > 0 && !ends.iter().any(|&end| length == end || length + 1 == end);
        assert_eq!(spool.events(), (kept + usize::from(torn)) as u64, "{length} bytes");
        // The spool can be written to and read again.
        append(&mut spool, [9]).unwrap();
        drop(spool);
        let mut spool = open(&folder, NO_LIMIT);
        let all = ([expected, vec![9]].concat(), usize::from(torn));
        assert_eq!(drain(&mut spool), all, "{length} bytes");
        assert_eq!(segments(&folder), Vec::<PathBuf>::new());
    }
}

/// Reads the spool after its mark was replaced by this one.
fn with_mark(folder: &TempDir, mark: &str) -> Vec<u8> {
    fs::write(folder.path().join("sent"), mark).unwrap();
    numbers(&open(folder, NO_LIMIT))
}

#[test]
fn a_mark_that_does_not_fit_its_segment_deletes_nothing_and_skips_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(&folder, NO_LIMIT);
    append(&mut spool, 1..=3).unwrap();
    advance(&mut spool, 2);
    drop(spool);
    let mark = fs::read_to_string(folder.path().join("sent")).unwrap();
    let [number, offset, digest] = mark.trim_end().split(' ').collect::<Vec<_>>()[..] else {
        panic!("{mark}")
    };
    assert_eq!(with_mark(&folder, &mark), [3]);
    let other = Mark::new(Position::default(), b"another line");
    let end = segments(&folder)[0].metadata().unwrap().len();
    for spoiled in [
        String::new(),
        "1".to_owned(),
        "1 x\n".to_owned(),
        "0 0\n".to_owned(),
        // Marks of an older version, which were not bound to a segment.
        "1 1\n".to_owned(),
        format!("{number} {offset}\n"),
        "7 0\n".to_owned(),
        // Marks of a later segment, and of another segment with this number.
        format!("7 {offset} {digest}\n"),
        format!("{number} {end} {digest}\n"),
        format!("{number} 999999 {digest}\n"),
        format!("{number} {offset} {}\n", format!("{other:?}").split('"').nth(1).unwrap()),
        mark.trim_end().to_owned(),
    ] {
        assert_eq!(with_mark(&folder, &spoiled), [1, 2, 3], "{spoiled:?}");
    }
}

/// After a loss of power, the mark may be any that was written, and deleted segments may be back: neither
/// was flushed.
#[test]
fn after_a_loss_of_power_everything_that_was_not_sent_is_there_in_order() {
    for seed in 0..40 {
        let mut random = fastrand::Rng::with_seed(seed);
        let folder = tempfile::tempdir().unwrap();
        let kept = tempfile::tempdir().unwrap();
        let mut marks = Vec::new();
        // Segments are small: each has a few lines.
        let mut spool = open(&folder, 8 * random.u64(1..400) + 6_000);
        let mut unsent = VecDeque::new();
        let mut next = 1;
        for _ in 0..random.usize(1..40) {
            for path in segments(&folder) {
                fs::copy(&path, kept.path().join(path.file_name().unwrap())).unwrap();
            }
            if next < 120 && random.bool() {
                let count = random.u8(1..4);
                if append(&mut spool, next..next + count).is_ok_and(|taken| taken == usize::from(count)) {
                    unsent.extend(next..next + count);
                }
                next += count;
            } else if let Head::Lines(lines) = spool.head(random.usize(1..5), usize::MAX).unwrap() {
                let sent = random.usize(1..=lines.len());
                spool.advance(texts(&lines[..sent])).unwrap();
                unsent.drain(..sent);
            }
            marks.extend(fs::read(folder.path().join("sent")).ok());
        }
        drop(spool);
        // Some deleted segments are back, the last ones first, with their last content.
        let last_gone = random.usize(0..5);
        let mut gone: Vec<_> =
            fs::read_dir(kept.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        gone.sort();
        gone.retain(|path| !folder.path().join(path.file_name().unwrap()).exists());
        for path in gone.iter().rev().take(last_gone) {
            fs::copy(path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
        if !marks.is_empty() && random.bool() {
            fs::write(folder.path().join("sent"), random.choice(&marks).unwrap()).unwrap();
        }
        let mut spool = open(&folder, NO_LIMIT);
        let (read, unreadable) = drain(&mut spool);
        let again = read.len() - unsent.len();
        assert_eq!((&read[again..], unreadable), (&*unsent.make_contiguous(), 0), "seed {seed}");
        assert_eq!((spool.events(), segments(&folder)), (0, Vec::new()), "seed {seed}");
    }
}

#[test]
fn a_line_that_is_no_event_does_not_hide_its_neighbours() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(&folder, NO_LIMIT);
    append(&mut spool, [1]).unwrap();
    spool.append(["\0\0\0\0"].into_iter(), 1).unwrap();
    append(&mut spool, [2]).unwrap();
    assert_eq!(numbers(&spool), [1]);
    advance(&mut spool, 1);
    assert_eq!(spool.head(10, 1_000).unwrap(), Head::Unreadable("\0\0\0\0".to_owned()));
    advance(&mut spool, 1);
    assert_eq!(numbers(&spool), [2]);
}

#[test]
fn a_full_spool_accepts_events_again_once_some_were_sent() {
    let folder = tempfile::tempdir().unwrap();
    let limit = 3 * (line(10).len() as u64 + 1);
    let mut spool = open(&folder, limit);
    assert_eq!(append(&mut spool, [10, 10, 10, 10]).unwrap(), 3);
    assert!(matches!(append(&mut spool, [1]), Err(NotSpooled::Full { .. })));
    let lines = [line(1), line(2)];
    advance(&mut spool, 3);
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
    advance(&mut spool, 1);
    assert_eq!(count(&spool, 1_000), 2);
}

#[test]
fn one_process_at_a_time_uses_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(&folder, NO_LIMIT);
    let second = Spool::open(folder.path(), NO_LIMIT);
    assert!(matches!(second, Err(SpoolError::InUse { .. })), "{second:?}");
    drop(spool);
    open(&folder, NO_LIMIT);
}

#[test]
fn a_lock_that_somebody_deleted_is_taken_again_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(&folder, NO_LIMIT);
    fs::remove_file(folder.path().join("lock")).unwrap();
    append(&mut spool, [1]).unwrap();
    let second = Spool::open(folder.path(), NO_LIMIT);
    assert!(matches!(second, Err(SpoolError::InUse { .. })), "{second:?}");

    fs::remove_file(folder.path().join("lock")).unwrap();
    let mut second = open(&folder, NO_LIMIT);
    let refused = append(&mut spool, [2]);
    assert!(matches!(refused, Err(NotSpooled::Folder(SpoolError::InUse { .. }))), "{refused:?}");
    assert_eq!(drain(&mut second), (vec![1], 0));
}

#[test]
fn events_in_deleted_files_are_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(&folder, NO_LIMIT);
    append(&mut spool, 1..=3).unwrap();
    fs::remove_file(&segments(&folder)[0]).unwrap();
    assert_eq!(spool.head(10, 1_000).unwrap(), Head::Nothing);
    assert_eq!((spool.give_up(), spool.is_empty()), (3, true));
    append(&mut spool, [4]).unwrap();
    assert_eq!(numbers(&spool), [4]);
}

#[test]
fn nothing_is_written_to_a_segment_that_somebody_deleted_moved_or_cut() {
    type Meddle = fn(&Path);
    let meddlers: [(Meddle, &[u8]); 4] = [
        (|path| fs::remove_file(path).unwrap(), &[3]),
        (|path| fs::rename(path, path.with_extension("gone")).unwrap(), &[3]),
        (|path| File::options().write(true).open(path).unwrap().set_len(0).unwrap(), &[3]),
        (
            |path| File::options().write(true).open(path).unwrap().set_len(line(1).len() as u64 + 1).unwrap(),
            &[1, 3],
        ),
    ];
    for (meddle, left) in meddlers {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = open(&folder, NO_LIMIT);
        append(&mut spool, 1..=2).unwrap();
        meddle(&segments(&folder)[0]);
        append(&mut spool, [3]).unwrap();
        assert_eq!(numbers(&spool), left);
        // The other events are reported as missing, and later events are sent.
        assert_eq!(drain(&mut spool), (left.to_vec(), 0));
        assert_eq!(spool.give_up(), 3 - left.len() as u64);
        append(&mut spool, [4]).unwrap();
        assert_eq!(drain(&mut spool), (vec![4], 0));
        assert_eq!((spool.events(), segments(&folder)), (0, Vec::new()));
    }
}

#[test]
fn a_segment_that_cannot_be_begun_holds_up_no_later_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(&folder, NO_LIMIT);
    // A file that has the number of the next segment.
    fs::write(segment::path(folder.path(), 1), "").unwrap();
    append(&mut spool, [1]).unwrap();
    assert_eq!(drain(&mut spool), (vec![1], 0));

    let folder = tempfile::tempdir().unwrap();
    fs::write(segment::path(folder.path(), u64::MAX), line(1)).unwrap();
    let mut spool = open(&folder, NO_LIMIT);
    let refused = append(&mut spool, [2]);
    assert!(refused.unwrap_err().to_string().contains("numbers are used up"));
    assert_eq!(drain(&mut spool), (vec![1], 0));
}

#[test]
fn events_that_were_sent_and_then_deleted_are_not_counted_against_those_that_were_not_sent() {
    let folder = tempfile::tempdir().unwrap();
    // So small that every append starts a segment.
    let mut spool = open(&folder, 8);
    spool.bytes_max = NO_LIMIT;
    for number in 1..=3 {
        append(&mut spool, [number]).unwrap();
        spool.last = None;
    }
    let Head::Lines(under_way) = spool.head(2, usize::MAX).unwrap() else { panic!("no lines") };
    fs::remove_file(&segments(&folder)[1]).unwrap();
    spool.advance(texts(&under_way)).unwrap();
    assert_eq!((numbers(&spool), spool.events()), (vec![3], 1));
}
