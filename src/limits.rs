//! Every bound in one place, with the reason it is enough and how it relates to the others.

use std::time::Duration;

/// Longest leaf, in bytes: what an entry bundle of a C2SP tile log can carry (a `u16` length).
pub const LEAF_BYTES_MAX: usize = u16::MAX as usize;

/// Longest entry, in bytes: a leaf is the 32 bytes of the previous link, then the entry.
pub const ENTRY_BYTES_MAX: usize = LEAF_BYTES_MAX - 32;

/// Longest session id, in bytes of UTF-8. It is part of every entry of its session.
pub const SESSION_ID_BYTES_MAX: usize = 128;

/// Longest id of a step, decision, finding or review, in bytes of UTF-8.
pub const ID_BYTES_MAX: usize = 256;

/// Longest origin of a log, in bytes: the first line of a checkpoint.
pub const ORIGIN_BYTES_MAX: usize = 255;

/// Longest signed note that is read, in bytes: many times what [`NOTE_SIGNATURES_MAX`] of the longest
/// known signatures (nearly 5,000 bytes, in base64) take up beside a checkpoint.
pub const NOTE_BYTES_MAX: usize = 1 << 20;

/// Most signatures on a signed note that is read. The specification asks for 16 at least; a log with
/// two keys and 32 witnesses, which any policy may name, with two keys each make 66.
pub const NOTE_SIGNATURES_MAX: usize = 66;

/// Longest policy that is read, in bytes: thousands of logs and witnesses, where 32 must be enough.
pub const POLICY_BYTES_MAX: usize = 4 << 20;

/// Longest file of public keys that is read, in bytes: thousands of keys.
pub const KEY_FILE_BYTES_MAX: usize = 1 << 20;

/// Longest file of checkpoints that is read, in bytes: it is read into memory as a whole, and has some
/// hundred bytes for each checkpoint, so that one for every minute of a year is let in.
pub const CHECKPOINT_FILE_BYTES_MAX: usize = 256 << 20;

/// Longest answer of a witness or a time-stamp authority that is read, in bytes: as many signatures as
/// a note may have, or a token with the certificates of its authority, which take up some thousands.
pub const ANCHOR_ANSWER_BYTES_MAX: u64 = NOTE_BYTES_MAX as u64;

/// Longest time-stamp token that is read, in bytes. With a chain of certificates in it one has some
/// thousands.
pub const TOKEN_BYTES_MAX: usize = 128 << 10;

/// How long a connection to a witness or a time-stamp authority may take.
pub const ANCHOR_CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// How long a request to a witness or a time-stamp authority may take. Its own thread waits for it, and
/// closing the log waits for that thread.
pub const ANCHOR_PATIENCE: Duration = Duration::from_secs(15);

/// Random bytes before each payload.
pub const SALT_BYTES: usize = 16;

/// Largest payload accepted unless the builder says otherwise, in bytes as encoded.
pub const PAYLOAD_BYTES_DEFAULT: usize = 4 << 20;

/// Largest payload that any configuration may accept, in bytes as encoded.
pub const PAYLOAD_BYTES_MAX: usize = 64 << 20;

/// Longest value of a column, and longest row, that is read or written, in bytes: several of the largest payload, of
/// which a row of the read tables may have parts. A file that somebody else made can have longer ones; a
/// connection refuses them before it has them in memory.
pub const COLUMN_BYTES_MAX: usize = 4 * PAYLOAD_BYTES_MAX;

/// Attributes that a row of the read tables collects from several events, in bytes of their names and values: twice
/// what one event has by default. Of the events that would bring more the row has the count.
pub const ROW_ATTRIBUTES_BYTES_MAX: usize = 2 * PAYLOAD_BYTES_DEFAULT;

/// Longest entry that is judged by its bytes, in bytes: many times [`ENTRY_BYTES_MAX`]. A longer one is none.
pub const JUDGED_ENTRY_BYTES_MAX: usize = 1 << 20;

/// Longest value of a table beside the log whose rows are found by a name, in bytes: many times the longest that
/// Annals writes. SQLite has such a row in memory as a whole to compare it with another.
pub const BESIDE_BYTES_MAX: usize = 16 << 20;

/// Longest name, or reason for a failure, that a table beside the log shows, in bytes.
pub const SHOWN_BYTES_MAX: usize = 4_096;

/// Most items of a list that a file can make as long as it likes: of the others there is the count.
pub const LISTED_MAX: usize = 100;

/// Most events that a report names as erased. Where more are erased, it has the count of the licences left out.
pub const REPORTED_SEQS_MAX: usize = 1 << 20;

/// Longest line that `record` reads, in bytes. JSON spells a byte of payload with at most six
/// characters (`\u0000`), and the largest payload must still be heard of by its field's name.
pub const LINE_BYTES_MAX: usize = 6 * PAYLOAD_BYTES_MAX + (1 << 20);

/// Most items in one list or map of a payload. It bounds what a decoder reserves in advance.
pub const ITEMS_MAX: usize = 65_536;

/// Most tokens that one event may state: the read tables add up two such numbers, and SQLite's
/// integers end at 2^63 - 1.
pub const TOKENS_MAX: u64 = (1 << 62) - 1;

/// Cost of a session, in US dollars, from which on its sum is not known: far below the end of the
/// floating-point numbers, and far above any cost.
pub const COST_SUM_MAX: f64 = 1e300;

/// What a decoder may claim for one value before it gives up, in bytes of memory. bincode counts
/// the length of every container against it, so that a hostile length cannot exhaust the memory.
pub const DECODE_BYTES_MAX: usize = 256 << 20;

/// Deepest nesting of free-form JSON. Common readers stop here (`serde_json` itself, and SQLite's
/// functions at 1,000), so deeper JSON would be recorded but not read.
pub const JSON_DEPTH_MAX: usize = 128;

/// Longest number in free-form JSON, in characters: Python reads no integer of more than 4,300 digits, and to
/// read a longer one takes some readers a time that grows with its square.
pub const JSON_NUMBER_CHARS_MAX: usize = 4_000;

/// Largest exponent of a number in free-form JSON, and the largest below zero: who writes such a number out has
/// so many digits.
pub const JSON_EXPONENT_MAX: u32 = 9_999;

/// Deepest nesting of the JSON form of an event: free-form JSON is at most an attribute of one of
/// several options, so that three levels are the event's own.
pub const JSON_EVENT_DEPTH_MAX: usize = JSON_DEPTH_MAX + 3;

/// Bytes of a text from which on a row refers to the payload that has it, and does not have it again.
pub const REFERRED_BYTES_MIN: usize = 128;

/// Bytes of a text beyond which a row has its beginning: a shorter one is looked up as fast.
pub const BEGINNING_BYTES_MIN: usize = 4 << 10;

/// Bytes beyond which a text of a span or log record, and the beginning of it, is treated as a long one: it may be put
/// together of pieces of the payload.
pub const PIECED_BYTES_MIN: usize = 1 << 10;

/// Bytes of a piece at least: to read one costs about as much as a copy of it.
pub const PIECE_BYTES_MIN: usize = 64;

/// Most bytes that SQLite may copy to read a text of pieces: it copies the payload for each piece. The views have the same
/// bound, so that no row of a foreign file is slower to read.
pub const PIECES_BYTES_MAX: usize = 32 << 20;

/// First characters of a text that stand in where the producer gave no summary.
pub const SUMMARY_CHARS: usize = 200;

/// Events waiting between the callers and the writer, unless the builder says otherwise: about a
/// tenth of a second of a writer at full speed, and some megabytes of ordinary events.
pub const QUEUE_EVENTS_DEFAULT: usize = 16_384;

/// Payload bytes that may wait there when one more message is put in: eight batches. Without it a full queue of the
/// largest events would take up many gigabytes.
pub const QUEUE_BYTES_MAX: usize = 64 << 20;

/// How long a handle that is dropped without an end waits for room in the queue. A writer at work
/// empties a full queue several times over in it; one that is stuck must not hold a destructor for
/// good.
pub const DROP_PATIENCE: Duration = Duration::from_secs(1);

/// Refused events that the writer remembers by their ids, and that one `events.lost` names: a list of the
/// greatest length, 1 MiB. What is more is counted alone, and stays lost also where it is sent again.
pub const LOST_IDS_MAX: usize = 65_536;

/// Events committed in one transaction, unless the builder says otherwise.
pub const BATCH_EVENTS_DEFAULT: usize = 2_048;

/// Payload bytes after which a batch is closed, unless the builder says otherwise.
pub const BATCH_BYTES_DEFAULT: usize = 8 << 20;

/// Events that a projection folds at once.
pub const FOLD_EVENTS_MAX: usize = 512;

/// The same while more is appended than the tables can take in: less than a millisecond of work.
pub const FOLD_EVENTS_SHORT: usize = 96;

/// Events left after a transaction of the projections beyond which the tables are behind: then the next transactions
/// are short.
pub const FOLD_BEHIND_MIN: u64 = 1_024;

/// Rest of the read tables once they came to the end of the log, while events are appended. A durable append that meets a
/// transaction of the projections waits for its end. With so few of them, less than one in a hundred appends of one
/// producer does.
pub const FOLD_REST: Duration = Duration::from_millis(100);

/// Rest of the read tables where somebody waits for them.
pub const FOLD_REST_AWAITED: Duration = Duration::from_millis(10);

/// Rest of the full-text index where nobody waits for it: each of its transactions makes a segment.
pub const INDEX_REST: Duration = Duration::from_millis(200);

/// Pages of the full-text index, of about 4 KiB each, that one transaction merges, about: a few milliseconds.
pub const INDEX_MERGE_PAGES: u32 = 96;

/// Pages that one transaction merges while more is appended than the tables can take in.
pub const INDEX_MERGE_PAGES_SHORT: u32 = 24;

/// Longest time for which one transaction of the projections goes on with further events while nobody else
/// waits: its fixed cost, and the pages that every event changes, are paid once.
pub const FOLD_TIME_MAX: Duration = Duration::from_millis(100);

/// Longest time of such a transaction while the writer waits for its turn: enough to come to the end of the log, where
/// the tables keep up with what is appended.
pub const FOLD_TIME_KEEPING_UP: Duration = Duration::from_millis(12);

/// Longest time of such a transaction where the tables do not keep up: then there is always more to be folded, and most
/// durable appends meet a transaction.
pub const FOLD_TIME_SHORT: Duration = Duration::from_micros(800);

/// Time for which transactions stay short after one that did not come to the end of the log.
pub const FOLD_SHORT_FOR: Duration = Duration::from_secs(2);

/// Payload bytes that a projection folds at once.
pub const FOLD_BYTES_MAX: usize = 4 << 20;

/// Bytes of rows that a projection keeps between its transactions at most, about; what later events
/// change of them need not be read again. It is enough for the sessions that are under way. Those that are in no table yet come
/// on top, as many as one transaction writes.
pub const FOLD_KEPT_BYTES_MAX: usize = 16 << 20;

/// Pages that the writer's connection keeps, in kibibytes: a batch's worth, so that none is written to the
/// write-ahead log before the commit and once more with it.
pub const WRITER_CACHE_KIBIBYTES: i32 = 16 << 10;

/// Pages that the projections' connection keeps, in kibibytes: rows of many sessions, and many indexes,
/// change in one transaction.
pub const PROJECTIONS_CACHE_KIBIBYTES: i32 = 64 << 10;

/// Bytes in the write-ahead log at which the projections' thread checkpoints even under load. Appends wait
/// for it: twice as much is hardly faster on the whole, and the longest wait twice as long.
pub const WAL_BYTES_CHECKPOINT: u64 = 32 << 20;

/// Bytes in the write-ahead log at which the writer checkpoints: where there are projections, these do it before.
pub const WAL_BYTES_CHECKPOINT_WRITER: u64 = 48 << 20;

/// Bytes in the write-ahead log at which a checkpoint waits for readers: beyond it they would keep it
/// growing for as long as they overlap.
pub const WAL_BYTES_RESTART: u64 = 4 * WAL_BYTES_CHECKPOINT;

/// Size to which SQLite cuts the file of the write-ahead log after a checkpoint, in bytes. Writing over
/// what is there is cheaper than making the file longer, so that under steady load it is never cut.
pub const WAL_BYTES_KEEP: u64 = 64 << 20;

/// Tiles that one transaction of the tree stores at most. The writer waits no longer than one such
/// transaction for its turn, and a tile is 8 KiB.
pub const TREE_TILES_MAX: u64 = 64;

/// Events after which a checkpoint is signed, unless the log's owner says otherwise.
pub const CHECKPOINT_EVENTS_DEFAULT: u64 = 65_536;

/// Time after which a checkpoint is signed where something was appended, unless the log's owner says
/// otherwise: how much of a log nobody outside vouches for yet, against one flush and some hundred bytes.
pub const CHECKPOINT_INTERVAL_DEFAULT: Duration = Duration::from_secs(60);

/// Most hashes of a proof: the way to the root of the largest tree that SQLite can number, and what
/// C2SP witnesses take.
pub const PROOF_HASHES_MAX: usize = 63;

/// Longest proof file, in bytes: it is read into memory as a whole, and what it holds beside it. It is
/// enough for any one event with its payload; sessions with more than that are proved in parts, or
/// without payloads.
pub const PROOF_BYTES_MAX: usize = 256 << 20;

/// Events that a client sends in one request, unless its builder says otherwise.
pub const REQUEST_EVENTS_DEFAULT: usize = 500;

/// Bytes after which a client closes a request, unless its builder says otherwise. One event alone may
/// have more.
pub const REQUEST_BYTES_DEFAULT: usize = 1 << 20;

/// Longest answer that a client reads, in bytes: many times what a server says of
/// [`REQUEST_EVENTS_DEFAULT`] events.
pub const REPLY_BYTES_MAX: u64 = 16 << 20;

/// How long a client waits for a connection with its server.
pub const SERVER_CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// How long a client waits for an answer of its server, unless its builder says otherwise. The server
/// commits before it answers, and may have others' events to commit first.
pub const SERVER_PATIENCE: Duration = Duration::from_secs(30);

/// How long an event is in a client's memory alone, unless its builder says otherwise: a server that is
/// well answers many times faster.
pub const SPOOL_AFTER_DEFAULT: Duration = Duration::from_secs(1);

/// How long closing a client waits for its server, unless its builder says otherwise. What is not sent by
/// then stays in the spool.
pub const CLIENT_CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// First pause before a client tries a server again that is away; each one after it is twice as long.
pub const RETRY_PAUSE_MIN: Duration = Duration::from_millis(250);

/// Longest pause before a client tries a server again that is away.
pub const RETRY_PAUSE_MAX: Duration = Duration::from_secs(30);

/// Longest pause that a server may ask for.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// Bytes that a client's spool may have, unless its builder says otherwise.
pub const SPOOL_BYTES_DEFAULT: u64 = 1 << 30;

/// Size at which a segment of the spool is closed. A segment is deleted when all of it was sent.
pub const SPOOL_SEGMENT_BYTES: u64 = 8 << 20;

/// Bytes that a spool has beyond its events, to be given up where a full disk has no room for a refused one:
/// those of a request and more.
pub const SPOOL_RESERVE_BYTES: usize = 2 << 20;

/// Longest time that a client waits for anything: a longer one is cut to it, because times are added to the
/// clock's.
pub const CLIENT_PATIENCE_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

const _: () = {
    assert!((LEAF_BYTES_MAX + SALT_BYTES + PAYLOAD_BYTES_MAX) / 3 * 4 + 2 * NOTE_BYTES_MAX < PROOF_BYTES_MAX);
    assert!(ENTRY_BYTES_MAX > 4 * SESSION_ID_BYTES_MAX + 256);
    // A signature is a line of base64, four characters for three bytes, after a name.
    assert!(NOTE_SIGNATURES_MAX * (5_000 * 4 / 3 + ORIGIN_BYTES_MAX + 16) < NOTE_BYTES_MAX);
    assert!(ANCHOR_CONNECT_PATIENCE.as_secs() < ANCHOR_PATIENCE.as_secs());
    assert!(PAYLOAD_BYTES_DEFAULT <= PAYLOAD_BYTES_MAX);
    // Every byte of a payload, and every item of a full list, may claim memory when decoded.
    assert!(PAYLOAD_BYTES_MAX + ITEMS_MAX * 1_024 <= DECODE_BYTES_MAX);
    assert!(COLUMN_BYTES_MAX <= i32::MAX as usize);
    assert!(JUDGED_ENTRY_BYTES_MAX > ENTRY_BYTES_MAX);
    // A row has less than twenty texts of events of ordinary size; in JSON a byte takes up six at most.
    assert!(20 * PAYLOAD_BYTES_DEFAULT + 2 * 6 * ROW_ATTRIBUTES_BYTES_MAX < COLUMN_BYTES_MAX);
    assert!(BATCH_EVENTS_DEFAULT <= QUEUE_EVENTS_DEFAULT);
    assert!(BATCH_EVENTS_DEFAULT <= LOST_IDS_MAX);
    assert!(LOST_IDS_MAX <= ITEMS_MAX);
    assert!(LOST_IDS_MAX * 16 + (64 << 10) <= PAYLOAD_BYTES_DEFAULT);
    assert!(BATCH_BYTES_DEFAULT <= QUEUE_BYTES_MAX);
    assert!(WAL_BYTES_CHECKPOINT_WRITER > WAL_BYTES_CHECKPOINT);
    assert!(WAL_BYTES_KEEP > WAL_BYTES_CHECKPOINT_WRITER);
};
