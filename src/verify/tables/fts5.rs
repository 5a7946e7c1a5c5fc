//! The contents of a full-text index, read from its pages.
//!
//! FTS5 can list its words itself, row by row through a virtual table, but this takes many times as long as
//! making the index did. Its pages are documented in SQLite's source (`fts5_index.c`). They are read here as
//! strictly as possible: every byte of a leaf must be what FTS5 writes for the words that were read, and
//! every path to a leaf must lead to the words that it has. Everything else is left to FTS5, including
//! deletions that are not merged away yet.

use std::hash::{BuildHasher as _, DefaultHasher, Hasher as _, RandomState};

use rusqlite::{Connection, OptionalExtension};

/// The id of the block in which FTS5 keeps the list of segments.
const STRUCTURE: i64 = 10;

/// Most segments, or levels of them, that are read: more than FTS5 makes.
const SEGMENTS_MAX: u64 = 2_000;

/// The length of a leaf's header: the offset of its first rowid and that of its footer, two bytes each.
const HEADER_BYTES: usize = 4;

/// A sum over the words, their documents and their positions, in any order, under a key that is drawn for
/// this verification alone. None if the pages alone do not give it.
pub(super) fn sum(connection: &Connection, key: &RandomState) -> rusqlite::Result<Option<u64>> {
    let Some(structure) = block(connection, STRUCTURE)? else { return Ok(None) };
    let Some(segments) = segments(&structure) else { return Ok(None) };
    let mut sum = 0_u64;
    for segment in segments {
        match segment.sum(connection, key)? {
            // Addition has no order, so the sum does not depend on how the words are spread over segments.
            Some(of_segment) => sum = sum.wrapping_add(of_segment),
            None => return Ok(None),
        }
    }
    Ok(Some(sum))
}

fn block(connection: &Connection, id: i64) -> rusqlite::Result<Option<Vec<u8>>> {
    connection
        .prepare_cached("SELECT block FROM main.search_data WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()
}

/// A run of leaves in which words are sorted.
struct Segment {
    id: i64,
    first_page: i64,
    last_page: i64,
}

/// Reads the list of segments.
fn segments(structure: &[u8]) -> Option<Vec<Segment>> {
    // The first four bytes are a number that changes with the configuration.
    let mut input = Bytes(structure.get(4..)?);
    // A later form of the record has this byte here. Tables without content of their own have that form.
    if input.0.first() == Some(&0xff) {
        return None;
    }
    let (levels, total) = (input.varint()?, input.varint()?);
    if levels > SEGMENTS_MAX || total > SEGMENTS_MAX {
        return None;
    }
    let _writes = input.varint()?;
    let mut segments = Vec::new();
    for _ in 0..levels {
        let (_merged, count) = (input.varint()?, input.varint()?);
        for _ in 0..count {
            let id = i64::from(u16::try_from(input.varint()?).ok()?);
            let first_page = i64::from(u32::try_from(input.varint()?).ok()?);
            let last_page = i64::from(u32::try_from(input.varint()?).ok()?);
            if !(1..=last_page).contains(&first_page) || last_page >= 1 << 31 {
                return None;
            }
            segments.push(Segment { id, first_page, last_page });
        }
    }
    (segments.len() as u64 == total).then_some(segments)
}

impl Segment {
    fn sum(&self, connection: &Connection, key: &RandomState) -> rusqlite::Result<Option<u64>> {
        let mut paths = connection
            .prepare_cached("SELECT term, pgno FROM main.search_idx WHERE segid = ?1 ORDER BY term")?;
        let mut paths = paths.query([self.id])?;
        let mut next_path = || -> rusqlite::Result<Option<(Vec<u8>, i64)>> {
            while let Some(row) = paths.next()? {
                // The lowest bit is a flag: the documents of a word have an index of their own.
                let path: (Vec<u8>, i64) = (row.get(0)?, row.get::<_, i64>(1)? >> 1);
                // Paths to leaves that were merged away stay in the table.
                if path.1 >= self.first_page {
                    return Ok(Some(path));
                }
            }
            Ok(None)
        };
        let mut reading = Reading::new(key);
        for page in self.first_page..=self.last_page {
            let Some(leaf) = block(connection, (self.id << 37) + page)? else { return Ok(None) };
            let word_before = reading.word.clone();
            let Some(read) = reading.leaf(&leaf) else { return Ok(None) };
            // A leaf on which no word begins continues the leaf before it, and has no path.
            let Some(first_word) = read else { continue };
            // A search takes the last path with a key that is not larger than its word. So the key must be
            // larger than every word before this leaf, and not larger than the first word that begins on it.
            let is_right = next_path()?.is_some_and(|(to, at)| {
                at == page && to.as_slice() <= first_word && (word_before.is_empty() || to > word_before)
            });
            if !is_right {
                return Ok(None);
            }
        }
        // No path may be left over, and the last leaf may not end before a document is complete.
        let is_whole = next_path()?.is_none() && matches!(reading.at, At::Boundary);
        Ok(is_whole.then_some(reading.sum))
    }
}

/// The state of the reading of a segment.
#[derive(Clone, Copy)]
enum At {
    /// Between two documents, or before the first word.
    Boundary,
    /// After a word, before its first document.
    Word,
    /// Within the positions of a word in a document. This many bytes of them are still to come.
    Positions(usize),
}

/// The reading of a segment, leaf after leaf.
struct Reading<'k> {
    key: &'k RandomState,
    at: At,
    word: Vec<u8>,
    of_word: DefaultHasher,
    document: i64,
    of_document: DefaultHasher,
    sum: u64,
}

impl<'k> Reading<'k> {
    fn new(key: &'k RandomState) -> Reading<'k> {
        Reading {
            key,
            at: At::Boundary,
            word: Vec::new(),
            of_word: key.build_hasher(),
            document: 0,
            of_document: key.build_hasher(),
            sum: 0,
        }
    }

    /// Reads a leaf. Returns the first word that begins on it, if one does. The outer None means that the
    /// leaf is not as FTS5 writes it.
    fn leaf<'l>(&mut self, leaf: &'l [u8]) -> Option<Option<&'l [u8]>> {
        let entry = usize::from(u16::from_be_bytes(*leaf.first_chunk()?));
        let end = usize::from(u16::from_be_bytes(*leaf.get(2..)?.first_chunk()?));
        let (content, footer) = leaf.split_at_checked(end)?;
        let mut input = Bytes(content.get(HEADER_BYTES..)?);
        let mut footer = Bytes(footer);
        let mut next_word_at = footer.offset_after(0)?;
        let (mut first_word, mut entered_at) = (None, 0);
        while !input.0.is_empty() {
            let offset = end - input.0.len();
            // The state lasts from leaf to leaf: the positions in a document may continue on the next one.
            match self.at {
                At::Positions(count) => {
                    let here = count.min(input.0.len());
                    self.positions(&mut input, here, count)?;
                }
                At::Boundary if next_word_at == Some(offset) => {
                    next_word_at = footer.offset_after(offset)?;
                    let word = self.word(&mut input, first_word.is_none())?;
                    first_word = first_word.or(Some(word));
                }
                At::Word | At::Boundary => {
                    // The first document of a leaf, before the first word. A search can enter the leaf there,
                    // so the document's number is written whole.
                    let is_entry = first_word.is_none() && entered_at == 0;
                    if is_entry {
                        entered_at = offset;
                    }
                    let is_whole = is_entry || matches!(self.at, At::Word);
                    self.document(&mut input, is_whole)?;
                }
            }
            // The footer named a word inside of what was read as something else.
            if next_word_at.is_some_and(|next| next < end - input.0.len()) {
                return None;
            }
        }
        // The footer may name no word that was not read, and the header must name the offset at which a
        // search enters.
        (next_word_at.is_none() && entered_at == entry).then_some(first_word)
    }

    /// Reads a word. The first word of a leaf is written whole, the others without what they share with the
    /// word before. Words are in order.
    fn word<'l>(&mut self, input: &mut Bytes<'l>, is_first: bool) -> Option<&'l [u8]> {
        let kept = if is_first { 0 } else { input.count()? };
        let count = input.count()?;
        let new = input.take(count).filter(|new| !new.is_empty())?;
        // Both words begin with the same `kept` bytes, so the rest decides their order.
        if self.word.get(kept..)? >= new {
            return None;
        }
        self.word.truncate(kept);
        self.word.extend_from_slice(new);
        self.of_word = self.key.build_hasher();
        // With its length, so that a word and what is hashed after it cannot be taken for another word.
        self.of_word.write_usize(self.word.len());
        self.of_word.write(&self.word);
        self.at = At::Word;
        Some(new)
    }

    /// Reads a document with the word. Documents are in order. A number that is not whole is the difference
    /// to that of the document before.
    fn document(&mut self, input: &mut Bytes<'_>, is_whole: bool) -> Option<()> {
        let number = i64::try_from(input.varint()?).ok()?;
        let document = if is_whole { number } else { self.document.checked_add(number)? };
        if !matches!(self.at, At::Word) && document <= self.document {
            return None;
        }
        self.document = document;
        let size = input.count()?;
        // The lowest bit marks a document that was deleted.
        if size % 2 == 1 || size == 0 {
            return None;
        }
        self.of_document = self.of_word.clone();
        self.of_document.write_i64(document);
        self.at = At::Positions(size / 2);
        Some(())
    }

    /// Reads some of the positions of the word in the document: `here` bytes of `count`.
    fn positions(&mut self, input: &mut Bytes<'_>, here: usize, count: usize) -> Option<()> {
        self.of_document.write(input.take(here)?);
        self.at = At::Positions(count - here);
        if count == here {
            self.sum = self.sum.wrapping_add(self.of_document.finish());
            self.at = At::Boundary;
        }
        Some(())
    }
}

/// Bytes that are read from the front.
struct Bytes<'b>(&'b [u8]);

impl<'b> Bytes<'b> {
    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// Reads a number as SQLite writes it: seven bits a byte, the highest first, and eight in the ninth byte.
    fn varint(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for index in 0..9 {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            if index == 8 {
                return Some(number << 8 | u64::from(*byte));
            }
            number = number << 7 | u64::from(byte & 0x7f);
            if byte & 0x80 == 0 {
                break;
            }
        }
        Some(number)
    }

    fn count(&mut self) -> Option<usize> {
        i32::try_from(self.varint()?).ok().and_then(|count| usize::try_from(count).ok())
    }

    /// Reads the next offset in a footer, which has differences. The inner None means that there is no other.
    fn offset_after(&mut self, before: usize) -> Option<Option<usize>> {
        if self.0.is_empty() {
            return Some(None);
        }
        before.checked_add(self.count()?).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An index over texts as read tables have it, made in as many transactions as there are parts.
    fn index(parts: &[Vec<(i64, String)>]) -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("../../../schema/read/search.sql")).unwrap();
        for part in parts {
            connection.execute_batch("BEGIN").unwrap();
            for (seq, text) in part {
                connection.execute("INSERT INTO search (rowid, text) VALUES (?1, ?2)", (seq, text)).unwrap();
            }
            connection.execute_batch("COMMIT").unwrap();
        }
        connection
    }

    /// Texts with words that all of them have, words that few have, and words that stand many times in one
    /// text.
    fn texts(count: i64) -> Vec<(i64, String)> {
        let text = |seq: i64| {
            let mut words = format!("every text number{seq} prime{} ", seq * 7_919 % 997);
            if seq % 50 == 0 {
                words += &"again and again ".repeat(3_000);
            }
            words + &"x".repeat(usize::try_from(seq % 90).unwrap())
        };
        (1..=count).map(|seq| (seq * 3, text(seq))).collect()
    }

    /// The same sum, over the words that FTS5 itself lists.
    fn listed(connection: &Connection, key: &RandomState) -> u64 {
        connection
            .execute_batch(
                "DROP TABLE IF EXISTS temp.words;
                 CREATE VIRTUAL TABLE temp.words USING fts5vocab('main', 'search', 'instance')",
            )
            .unwrap();
        let mut statement = connection.prepare("SELECT term, doc, offset FROM temp.words").unwrap();
        let mut rows = statement.query([]).unwrap();
        let (mut sum, mut document) = (0_u64, (Vec::new(), 0, Vec::new(), 0));
        let add = |(word, document, places, _): &(Vec<u8>, i64, Vec<u8>, i64)| {
            let mut hasher = key.build_hasher();
            hasher.write_usize(word.len());
            hasher.write(word);
            hasher.write_i64(*document);
            hasher.write(places);
            if places.is_empty() { 0 } else { hasher.finish() }
        };
        while let Some(row) = rows.next().unwrap() {
            let term: String = row.get(0).unwrap();
            let word = [b"0", term.as_bytes()].concat();
            let (seq, offset): (i64, i64) = (row.get(1).unwrap(), row.get(2).unwrap());
            if (&document.0, document.1) != (&word, seq) {
                sum = sum.wrapping_add(add(&document));
                document = (word, seq, Vec::new(), 0);
            }
            let difference = offset - document.3 + 2;
            document.3 = offset;
            assert!(difference < 1 << 14);
            if difference >= 128 {
                document.2.push(u8::try_from(difference >> 7).unwrap() | 0x80);
            }
            document.2.push(u8::try_from(difference & 0x7f).unwrap());
        }
        sum.wrapping_add(add(&document))
    }

    #[test]
    fn the_pages_have_the_words_that_fts5_lists_however_the_index_was_made() {
        let texts = texts(3_000);
        let key = RandomState::new();
        let whole = index(std::slice::from_ref(&texts));
        let expected = listed(&whole, &key);
        for length in [3_000, 1_000, 170, 64] {
            let parts: Vec<_> = texts.chunks(length).map(<[_]>::to_vec).collect();
            let index = index(&parts);
            assert_eq!(sum(&index, &key).unwrap(), Some(expected), "{length}");
            index.execute_batch("INSERT INTO search (search) VALUES ('optimize')").unwrap();
            assert_eq!(sum(&index, &key).unwrap(), Some(expected), "{length}, merged");
        }
        assert_eq!(sum(&index(&[]), &key).unwrap(), Some(0));
        assert_ne!(sum(&whole, &RandomState::new()).unwrap(), Some(expected), "the key counts");
    }

    #[test]
    fn a_deleted_document_does_not_count_once_it_is_merged_away() {
        let texts = texts(200);
        let key = RandomState::new();
        let index_of_all = index(std::slice::from_ref(&texts));
        let (seq, text) = texts[49].clone();
        index_of_all
            .execute("INSERT INTO search (search, rowid, text) VALUES ('delete', ?1, ?2)", (seq, text))
            .unwrap();
        assert_eq!(sum(&index_of_all, &key).unwrap(), None, "not merged yet");
        index_of_all.execute_batch("INSERT INTO search (search) VALUES ('optimize')").unwrap();
        let others: Vec<_> = texts.into_iter().filter(|(other, _)| *other != seq).collect();
        let index_of_others = index(&[others]);
        assert_eq!(sum(&index_of_all, &key).unwrap(), sum(&index_of_others, &key).unwrap());
        assert!(sum(&index_of_others, &key).unwrap().is_some());
    }

    #[test]
    fn no_byte_of_a_leaf_can_change_unnoticed() {
        let index = index(&[texts(120), texts(240).split_off(120)]);
        let key = RandomState::new();
        let expected = sum(&index, &key).unwrap();
        assert!(expected.is_some());
        // Leaves have neither the bit of the documents' own indexes nor a height.
        let leaves: Vec<(i64, Vec<u8>)> = index
            .prepare("SELECT id, block FROM search_data WHERE id > 10 AND (id >> 31) & 63 = 0")
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        assert!(leaves.len() > 10);
        for (number, (id, block)) in leaves.iter().enumerate() {
            // At other offsets in each leaf, and at the beginning of all of them.
            let places = (0..16).chain((number % 7..block.len()).step_by(7)).filter(|at| *at < block.len());
            for place in places {
                let mut other = block.clone();
                other[place] ^= 1 << (place % 8);
                let update = "UPDATE search_data SET block = ?2 WHERE id = ?1";
                index.execute(update, (id, other)).unwrap();
                let found = sum(&index, &key).unwrap();
                assert_ne!(found, expected, "byte {place} of leaf {id}");
                index.execute(update, (id, block)).unwrap();
            }
        }
        assert_eq!(sum(&index, &key).unwrap(), expected);
    }

    #[test]
    fn a_path_that_misses_its_words_is_noticed() {
        let index = index(&[texts(500)]);
        let key = RandomState::new();
        let expected = sum(&index, &key).unwrap();
        let third = "pgno = (SELECT pgno FROM search_idx ORDER BY pgno LIMIT 1 OFFSET 2)";
        for wrong in [
            format!("DELETE FROM search_idx WHERE {third}"),
            format!("UPDATE search_idx SET term = x'30' WHERE {third}"),
            format!("UPDATE search_idx SET term = CAST(term || x'7a7a' AS BLOB) WHERE {third}"),
            format!("UPDATE search_idx SET pgno = pgno + 2 WHERE {third}"),
            "INSERT INTO search_idx SELECT segid, x'ff', 6 FROM search_idx LIMIT 1".to_owned(),
        ] {
            index.execute_batch(&format!("BEGIN; {wrong}")).unwrap();
            assert_ne!(sum(&index, &key).unwrap(), expected, "{wrong}");
            index.execute_batch("ROLLBACK").unwrap();
        }
        assert!(expected.is_some());
        assert_eq!(sum(&index, &key).unwrap(), expected);
    }
}
