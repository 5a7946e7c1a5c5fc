//! Full-text indexes. An index keeps no texts, and the text of an event is gone once the event is erased. So the
//! words that an index must forget are read from the index itself.

use std::rc::Rc;

use rusqlite::Connection;

/// The tokenizer of the index, as an argument of FTS5.
pub(crate) const TOKENIZE: &str = "tokenize='unicode61 remove_diacritics 2'";

/// Approximate bound on the words of documents in memory at once, in bytes. The words of one document are always
/// read whole.
const WORDS_BYTES_MAX: usize = 48 << 20;

/// Merges some of the segments of an index, about `pages` pages of them. Returns whether there was anything to
/// merge.
pub(crate) fn merge(connection: &Connection, index: &str, pages: u32) -> rusqlite::Result<bool> {
    let before = connection.total_changes();
    connection
        .prepare_cached(&format!("INSERT INTO {index} ({index}, rank) VALUES ('merge', ?1)"))?
        .execute([pages])?;
    // FTS5 counts the statement itself as one change (<https://sqlite.org/fts5.html#the_merge_command>).
    Ok(connection.total_changes().saturating_sub(before) >= 2)
}

/// Removes documents from an index, and leaves no trace of their words in it. The rows of the documents stay.
pub(super) fn forget(connection: &Connection, index: &str, documents: &[i64]) -> rusqlite::Result<()> {
    // The index keeps its own list of documents. The list is right even if somebody deleted the row of a
    // document.
    let mut known = connection.prepare(&format!("SELECT 1 FROM {index}_docsize WHERE id = ?1"))?;
    let documents: Vec<i64> = documents
        .iter()
        .filter_map(|document| known.exists([document]).map(|is| is.then_some(*document)).transpose())
        .collect::<rusqlite::Result<_>>()?;
    if documents.is_empty() {
        return Ok(());
    }
    let delete = format!("INSERT INTO {index} ({index}, rowid, text) VALUES ('delete', ?1, ?2)");
    // FTS5 does not check the text of a 'delete' command, and a text with other words would corrupt the index
    // (<https://sqlite.org/fts5.html#the_delete_command>). So the words come from the index.
    each_text(connection, index, &documents, |document, text| {
        connection.prepare_cached(&delete)?.execute(rusqlite::params![document, text]).map(drop)
    })?;
    // A deletion only adds markers: until its segments are merged, an index still holds the deleted words.
    connection.execute(&format!("INSERT INTO {index} ({index}) VALUES ('optimize')"), []).map(drop)
}

/// Calls `each` for every document of the sorted list `documents`, with a text that has the document's words in
/// their order. The index makes the same entries of this text as of the original one. Reads the whole index, once
/// for every [`WORDS_BYTES_MAX`] of words.
pub(crate) fn each_text(
    connection: &Connection,
    index: &str,
    documents: &[i64],
    mut each: impl FnMut(i64, &str) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    // A call that failed may have left its table behind.
    connection.execute_batch(&format!(
        "DROP TABLE IF EXISTS temp.annals_instances;
         CREATE VIRTUAL TABLE temp.annals_instances USING fts5vocab('main', '{index}', 'instance');"
    ))?;
    let mut rest = documents;
    while !rest.is_empty() {
        let words = Words::read(connection, rest)?;
        let (read, unread) = rest.split_at(rest.partition_point(|document| *document <= words.last));
        rest = unread;
        // Documents and words are sorted by document, so one pass over both is enough. A document without words
        // gets an empty text.
        let mut unused = words.instances.iter().peekable();
        for document in read {
            let mut text = String::new();
            while let Some(instance) = unused.next_if(|instance| instance.document == *document) {
                text.push_str(&instance.word);
                text.push(' ');
            }
            each(*document, &text)?;
        }
    }
    connection.execute_batch("DROP TABLE temp.annals_instances")
}

/// A word of a document. Ordered by document, and by offset within each.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Instance {
    document: i64,
    offset: i64,
    word: Rc<str>,
}

/// The words of some documents, as an index has them.
struct Words {
    /// Sorted.
    instances: Vec<Instance>,
    /// The last document whose words are all here.
    last: i64,
}

impl Words {
    /// Reads the words of the first of these documents: as many as there is room for, and one at least.
    fn read(connection: &Connection, documents: &[i64]) -> rusqlite::Result<Words> {
        let mut read = Vec::<Instance>::new();
        // Invariant: `read` has every word read so far of the wanted documents up to `last`.
        let mut last = documents.last().copied().unwrap_or(0);
        let (mut bytes, mut room) = (0_usize, WORDS_BYTES_MAX);
        let mut instances = connection.prepare("SELECT doc, \"offset\", term FROM temp.annals_instances")?;
        let mut instances = instances.query([])?;
        while let Some(row) = instances.next()? {
            let document: i64 = row.get(0)?;
            if document > last || documents.binary_search(&document).is_err() {
                continue;
            }
            let word = row.get_ref(2)?.as_str()?;
            // Rows come in the order of the words: equal words are adjacent, and share one allocation.
            let word = match read.last().filter(|instance| *instance.word == *word) {
                Some(before) => Rc::clone(&before.word),
                None => {
                    bytes = bytes.saturating_add(word.len());
                    Rc::from(word)
                }
            };
            read.push(Instance { document, offset: row.get(1)?, word });
            bytes = bytes.saturating_add(size_of::<Instance>());
            // The last documents are dropped, and the next pass reads them. The first document always stays: if it
            // is larger than the bound, the room doubles, so that it is not sorted again for each of its words.
            if bytes > room {
                last = keep_first(&mut read).unwrap_or(last);
                bytes = read.iter().map(|instance| size_of::<Instance>() + instance.word.len()).sum();
                room = WORDS_BYTES_MAX.max(bytes.saturating_mul(2));
            }
        }
        read.sort_unstable();
        Ok(Words { instances: read, last })
    }
}

/// Keeps the words of the first half of the documents, at least of one. Returns the last document whose words
/// are kept.
fn keep_first(instances: &mut Vec<Instance>) -> Option<i64> {
    instances.sort_unstable();
    let middle = instances.get(instances.len() / 2)?.document;
    let before = instances.partition_point(|instance| instance.document < middle);
    // The middle word may belong to the first document, which is then kept whole.
    let kept =
        if before > 0 { before } else { instances.partition_point(|instance| instance.document == middle) };
    instances.truncate(kept);
    instances.last().map(|instance| instance.document)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(name: &str, texts: &[(i64, String)]) -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(&format!(
                "CREATE TABLE documents (seq INTEGER PRIMARY KEY, text GENERATED ALWAYS AS (NULL));
                 CREATE VIRTUAL TABLE {name} USING fts5(text, content='documents', content_rowid='seq', {TOKENIZE})"
            ))
            .unwrap();
        let mut insert =
            connection.prepare(&format!("INSERT INTO {name} (rowid, text) VALUES (?1, ?2)")).unwrap();
        for (document, text) in texts {
            insert.execute(rusqlite::params![document, text]).unwrap();
        }
        drop(insert);
        connection
    }

    /// The stored content of an index after a full merge, in which no text may remain.
    fn kept(connection: &Connection) -> Vec<(i64, Vec<u8>)> {
        connection.execute("INSERT INTO search (search) VALUES ('optimize')", []).unwrap();
        connection
            // Two indexes with the same content have other segment numbers.
            .prepare("SELECT id & 0x1fffffffff, block FROM search_data WHERE id <> 10 UNION ALL SELECT id, sz FROM search_docsize")
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap()
    }

    #[test]
    fn the_definition_of_the_index_has_the_same_tokenizer() {
        assert!(include_str!("../../../schema/read/search.sql").contains(TOKENIZE));
    }

    #[test]
    fn words_that_were_read_make_the_same_index_whatever_their_characters() {
        // No character is assigned beyond these ranges.
        let characters: Vec<char> =
            (1..0x4_0000_u32).chain(0xe_0000..0xe_1000).filter_map(char::from_u32).collect();
        let text = |c: &char| format!("a{c}b {c} c{c} ");
        let texts: Vec<(i64, String)> =
            (1..).zip(characters.chunks(64).map(|some| some.iter().map(text).collect())).collect();
        let first = index("search", &texts);
        let documents: Vec<i64> = texts.iter().map(|(document, _)| *document).collect();
        let mut read = Vec::new();
        each_text(&first, "search", &documents, |document, text| {
            read.push((document, text.to_owned()));
            Ok(())
        })
        .unwrap();
        assert_eq!(read.len(), texts.len());
        assert_eq!(kept(&index("search", &read)), kept(&first));
    }

    #[test]
    fn a_forgotten_document_leaves_no_trace_in_an_index() {
        let text = |document: i64| {
            format!("event {document} says word{} and shared\nÉté {}", document % 7, "x ".repeat(40))
        };
        let texts: Vec<(i64, String)> = (1..=200).map(|document| (document, text(document))).collect();
        let (forgotten, others): (Vec<_>, Vec<_>) =
            texts.iter().cloned().partition(|(document, _)| document % 9 == 0);
        let whole = index("search", &texts);
        let forgotten: Vec<i64> = forgotten.into_iter().map(|(document, _)| document).collect();
        forget(&whole, "search", &forgotten).unwrap();
        assert_eq!(kept(&whole), kept(&index("search", &others)));
    }

    #[test]
    fn merging_in_steps_leaves_few_segments_with_the_same_content() {
        let texts: Vec<(i64, String)> = (1..=400)
            .map(|document| (document, format!("text {document} of words {}", "w ".repeat(99))))
            .collect();
        let whole = index("search", &[]);
        for setting in ["'automerge', 0", "'usermerge', 16", "'crisismerge', 64"] {
            whole.execute(&format!("INSERT INTO search (search, rank) VALUES ({setting})"), []).unwrap();
        }
        // Each statement is a transaction, and makes a segment.
        let mut steps = 0;
        for (document, text) in &texts {
            whole.execute("INSERT INTO search (rowid, text) VALUES (?1, ?2)", (document, text)).unwrap();
            steps += u32::from(document % 8 == 0 && merge(&whole, "search", 4).unwrap());
        }
        while merge(&whole, "search", 4).unwrap() {
            steps += 1;
        }
        assert!(steps > 10, "{steps}");
        let segments: i64 =
            whole.query_row("SELECT count(DISTINCT segid) FROM search_idx", [], |row| row.get(0)).unwrap();
        assert!(segments < 32, "{segments}");
        assert_eq!(kept(&whole), kept(&index("search", &texts)));
    }

    #[test]
    fn a_document_without_words_is_forgotten_too() {
        let texts = [(1, "one".to_owned()), (2, "--".to_owned())];
        let whole = index("search", &texts);
        forget(&whole, "search", &[2]).unwrap();
        assert_eq!(kept(&whole), kept(&index("search", &texts[..1])));
    }

    #[test]
    fn more_words_than_there_is_room_for_are_read_in_parts() {
        // The words of this text take up nearly half of the room.
        let long = "w ".repeat(WORDS_BYTES_MAX / size_of::<Instance>() / 2 - 10);
        let texts: Vec<(i64, String)> = vec![
            (1, long.clone()),
            (3, long.clone()),
            (4, long.repeat(4)),
            (5, "end".to_owned()),
            (7, String::new()),
        ];
        let documents: Vec<i64> = texts.iter().map(|(document, _)| *document).collect();
        let mut read = Vec::new();
        each_text(&index("search", &texts), "search", &documents, |document, text| {
            read.push((document, text.to_owned()));
            Ok(())
        })
        .unwrap();
        let trimmed = |texts: &[(i64, String)]| -> Vec<(i64, String)> {
            texts.iter().map(|(document, text)| (*document, text.trim().to_owned())).collect()
        };
        assert_eq!(trimmed(&read), trimmed(&texts));
    }
}
