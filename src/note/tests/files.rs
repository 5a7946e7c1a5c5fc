use proptest::prelude::*;

use super::super::{CheckpointError, CheckpointFile, NoteError};
use super::{checkpoint, key, witness};

/// Three checkpoints; the second has a cosignature.
fn file() -> CheckpointFile {
    let mut second = checkpoint(20);
    second.add_signatures([witness(1).cosign(&second, 1_700_000_000)]);
    [checkpoint(10), second, checkpoint(30)].into_iter().collect()
}

#[test]
fn checkpoints_stand_one_after_the_other_with_an_empty_line_between() {
    let text = file().to_string();
    assert_eq!(text.parse::<CheckpointFile>().unwrap(), file());
    assert_eq!(text.matches("\n\n").count(), 5);
    let one = checkpoint(10).to_string();
    assert_eq!(one.parse::<CheckpointFile>().unwrap().checkpoints, [checkpoint(10)]);
    let appended = format!("{one}\n{}", checkpoint(11));
    assert_eq!(appended.parse::<CheckpointFile>().unwrap().checkpoints, [checkpoint(10), checkpoint(11)]);
}

#[test]
fn lines_after_a_root_and_origins_like_signatures_do_not_end_a_checkpoint() {
    let text = checkpoint(1).to_string();
    let dash = text
        .replace("example.com/log\n1\n", "\u{2014} log AAAAAAA=\n1\n")
        .replace("=\n\n", "=\n\u{2014} x\n\n");
    let file: CheckpointFile = format!("{dash}\n{dash}").parse().unwrap();
    assert_eq!(file.checkpoints.len(), 2);
    assert_eq!(file.checkpoints[1].origin(), "\u{2014} log AAAAAAA=");
}

#[test]
fn a_file_with_a_bad_checkpoint_says_on_which_line_it_begins() {
    let text = file().to_string();
    let error = text.replace("\n30\n", "\n030\n").parse::<CheckpointFile>().unwrap_err();
    assert_eq!((error.line, error.error), (14, CheckpointError::Size { line: "030".to_owned() }));
    assert_eq!(text.lines().nth(13), Some(super::ORIGIN));

    let error = text.trim_end().parse::<CheckpointFile>().unwrap_err();
    assert_eq!((error.line, error.error), (14, CheckpointError::Note(NoteError::LastLine)));

    assert_eq!("".parse::<CheckpointFile>().unwrap_err().line, 1);
    for end in ["\n", "\n\n", "\nmore\n"] {
        let error = format!("{text}{end}").parse::<CheckpointFile>().unwrap_err();
        assert!(error.line >= 14, "{end:?}: {error}");
    }
    let doubled = text.replace("\n\nexample", "\n\n\nexample").parse::<CheckpointFile>().unwrap_err();
    assert_eq!(doubled.line, 7);
}

#[test]
fn a_file_that_was_torn_anywhere_keeps_the_checkpoints_before() {
    let text = file().to_string();
    // A checkpoint with one whole signature counts.
    let first_lines = text.match_indices("\u{2014} example.com").map(|(at, _)| at);
    let ends: Vec<usize> =
        first_lines.map(|at| at + text.get(at..).unwrap().find('\n').unwrap() + 1).collect();
    for length in 0..=text.len() {
        let torn = &text.as_bytes()[..length];
        let found = CheckpointFile::recover(torn);
        let whole = ends.iter().filter(|end| **end <= length).count();
        assert_eq!(found.checkpoints.len(), whole, "at {length}");
        assert_eq!(found.rest, &torn[found.good_bytes..]);
        assert_eq!(found.error.is_some(), !found.rest.is_empty(), "at {length}");
        // A checkpoint that is appended after the good bytes can be read.
        let good = std::str::from_utf8(&torn[..found.good_bytes]).unwrap();
        let between = if good.is_empty() { "" } else { "\n" };
        let next = format!("{good}{between}{}", checkpoint(40)).parse::<CheckpointFile>().unwrap();
        assert_eq!(next.checkpoints.len(), whole + 1);
    }
}

#[test]
fn what_is_no_text_at_the_end_of_a_file_is_left_over() {
    let text = file().to_string();
    for rest in [&[0; 512][..], &[0xff, 0xfe], "\n\u{2014}".as_bytes().split_last().unwrap().1, b"\n"] {
        let torn = [text.as_bytes(), rest].concat();
        let found = CheckpointFile::recover(&torn);
        assert_eq!(found.rest, rest);
        assert_eq!((found.good_bytes, found.checkpoints), (text.len(), file().checkpoints));
        assert!(found.error.is_some());
    }
    assert_eq!(CheckpointFile::recover(b"").rest, b"");
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes: Vec<u8>, cut in 0_usize..1_000, with: u8) {
        drop(CheckpointFile::recover(&bytes));
        let mut text = file().to_string().into_bytes();
        let place = cut % text.len();
        text[place] = with;
        let found = CheckpointFile::recover(&text);
        prop_assert_eq!(found.good_bytes + found.rest.len(), text.len());
        // A file that parses in spite of the changed byte prints as it is.
        if let Ok(whole) = std::str::from_utf8(&text).unwrap_or("").parse::<CheckpointFile>() {
            prop_assert_eq!(whole.to_string().into_bytes(), text.clone());
        }
        let keys = [key(super::ORIGIN, 1).verifier().clone()];
        found.checkpoints.iter().for_each(|checkpoint| drop(checkpoint.verify(&keys)));
    }
}
