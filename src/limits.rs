//! Every bound in one file, with the reason why it is enough, and its relation to the others.

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

/// Most signatures on a signed note that is read. The specification asks for at least 16; a log with two keys and 32
/// witnesses, which any policy may name, with two keys each, has 66.
pub const NOTE_SIGNATURES_MAX: usize = 66;

/// Longest policy that is read, in bytes: thousands of logs and witnesses, where 32 must be enough.
pub const POLICY_BYTES_MAX: usize = 4 << 20;

/// Longest file of public keys that is read, in bytes: thousands of keys.
pub(crate) const KEY_FILE_BYTES_MAX: usize = 1 << 20;

/// Longest file of checkpoints that is read, in bytes. The file is read into memory as a whole and has some hundred
/// bytes for each checkpoint, so a file with one for every minute of a year is accepted.
pub const CHECKPOINT_FILE_BYTES_MAX: usize = 256 << 20;

/// Longest answer of a witness or a time-stamp authority that is read, in bytes: as many signatures as
/// a note may have, or a token with the certificates of its authority, which take up some thousands.
pub const ANCHOR_ANSWER_BYTES_MAX: u64 = NOTE_BYTES_MAX as u64;

/// Longest time-stamp token that is read, in bytes. A token with a chain of certificates has some thousands.
pub const TOKEN_BYTES_MAX: usize = 128 << 10;

/// Timeout of a connection to a witness or a time-stamp authority.
pub const ANCHOR_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Timeout of a request to a witness or a time-stamp authority. The anchor's own thread waits for it, and closing the
/// log waits for that thread.
pub const ANCHOR_TIMEOUT: Duration = Duration::from_secs(15);

/// Random bytes before each payload.
pub const SALT_BYTES: usize = 16;

/// Largest payload accepted unless the builder sets another limit, in bytes as encoded.
pub const PAYLOAD_BYTES_DEFAULT: usize = 4 << 20;

/// Largest payload that any configuration may accept, in bytes as encoded.
pub const PAYLOAD_BYTES_MAX: usize = 64 << 20;

/// Longest value of a column, and longest row, that is read or written, in bytes: several times the largest payload,
/// because a row of the read tables may have parts of several payloads. A file that somebody else made can have longer
/// ones; a connection refuses them before they are in memory.
pub(crate) const COLUMN_BYTES_MAX: usize = 4 * PAYLOAD_BYTES_MAX;

/// Bytes of names and values of the attributes that a row of the read tables collects from several events: twice the
/// payload that one event has by default. The row has the count of the events that would bring more.
pub(crate) const ROW_ATTRIBUTES_BYTES_MAX: usize = 2 * PAYLOAD_BYTES_DEFAULT;

/// Longest entry that is judged by its bytes, in bytes: many times [`ENTRY_BYTES_MAX`]. A longer one is not an entry.
pub(crate) const JUDGED_ENTRY_BYTES_MAX: usize = 1 << 20;

/// Longest value of a table beside the log whose rows are found by a name, in bytes: many times the longest that Annals
/// writes. SQLite holds such a row in memory as a whole to compare it with another.
pub(crate) const BESIDE_BYTES_MAX: usize = 16 << 20;

/// Longest name, or reason for a failure, that a table beside the log shows, in bytes.
pub(crate) const SHOWN_BYTES_MAX: usize = 4_096;

/// Most items of a list whose length a file can choose freely. The items beyond it are counted.
pub(crate) const LISTED_MAX: usize = 100;

/// Most erased events that a report names. Beyond it, the report has the number of redactions that it leaves out.
pub(crate) const REPORTED_SEQS_MAX: usize = 1 << 20;

/// Longest line that `record` reads, in bytes. JSON spells a byte of payload with at most six characters (`\u0000`),
/// and an error about the largest payload must still be able to name its field.
pub const LINE_BYTES_MAX: usize = 6 * PAYLOAD_BYTES_MAX + (1 << 20);

/// Most items in one list or map of a payload. It bounds what a decoder reserves in advance.
pub const ITEMS_MAX: usize = 65_536;

/// Size of the texts that the decisions of a span or log record have in common (options, rationale, actor), each
/// decision with its copy, in sizes of the event. Without this bound, many calls beside many tools take memory that
/// grows with the square of the event.
pub(crate) const DECISION_COPIES_MAX: usize = 16;

/// Most bytes of these texts of one event, whatever its size.
pub(crate) const DECISION_COPIES_BYTES_MAX: usize = 16 << 20;

/// Most tokens that one event may state. SQLite's integers end at 2^63 - 1, and the read tables add up two such
/// numbers.
pub const TOKENS_MAX: u64 = (1 << 62) - 1;

/// Most events that one declaration of coverage may announce of a kind: the largest integer that every JSON reader keeps
/// exactly (RFC 8259, section 6).
pub const ANNOUNCED_MAX: u64 = (1 << 53) - 1;

/// Cost of a session, in US dollars, at which its sum becomes unknown: far below the largest floating-point number, and
/// far above any real cost.
pub const COST_SUM_MAX: f64 = 1e300;

/// Levels of steps that a change of a step climbs. Deeper trees are no work of people: their sums may count usage
/// twice, and the time for one event stays bounded.
pub(crate) const TREE_LEVELS_MAX: usize = 1024;

/// Different errors of the steps directly below a step that are remembered, to find those that the step repeats.
pub(crate) const ERRORS_BELOW_MAX: usize = 64;

/// Memory that a decoder may claim for one value before it gives up, in bytes. bincode counts the length of every
/// container against it, so a hostile length cannot exhaust the memory.
pub(crate) const DECODE_BYTES_MAX: usize = 256 << 20;

/// Deepest nesting of free-form JSON. Common readers stop here (`serde_json` itself, and SQLite's
/// functions at 1,000), so deeper JSON would be recorded but not read.
pub const JSON_DEPTH_MAX: usize = 128;

/// Longest number in free-form JSON, in characters: Python reads no integer of more than 4,300 digits, and to
/// read a longer one takes some readers a time that grows with its square.
pub(crate) const JSON_NUMBER_CHARS_MAX: usize = 4_000;

/// Largest exponent of a number in free-form JSON, above or below zero: a reader that writes the number out needs as
/// many digits.
pub(crate) const JSON_EXPONENT_MAX: u32 = 9_999;

/// Deepest nesting of the JSON form of an event. Free-form JSON is at most an attribute of one of several options, so
/// three levels belong to the event itself.
pub const JSON_EVENT_DEPTH_MAX: usize = JSON_DEPTH_MAX + 3;

/// Length of a text, in bytes, from which on a row refers to the payload that has the text instead of repeating it.
pub(crate) const REFERRED_BYTES_MIN: usize = 128;

/// Length of a text, in bytes, beyond which a row stores its beginning. A shorter text is looked up as fast.
pub(crate) const BEGINNING_BYTES_MIN: usize = 4 << 10;

/// Length, in bytes, beyond which a text of a span or log record, and its beginning, is treated as a long one: it may
/// be put together from pieces of the payload.
pub(crate) const PIECED_BYTES_MIN: usize = 1 << 10;

/// Shortest piece, in bytes: reading a piece costs about as much as a copy of it.
pub(crate) const PIECE_BYTES_MIN: usize = 64;

/// Most bytes that SQLite may copy to read a text that consists of pieces: it copies the payload for each piece. The
/// views enforce the same bound, which covers the rows of foreign files.
pub(crate) const PIECES_BYTES_MAX: usize = 32 << 20;

/// Characters of a text that stand in for a missing summary, from its beginning.
pub(crate) const SUMMARY_CHARS: usize = 200;

/// Events waiting between the callers and the writer, unless the builder sets another number: about a tenth of a second
/// of a writer at full speed, and some megabytes of ordinary events.
pub const QUEUE_EVENTS_DEFAULT: usize = 16_384;

/// Payload bytes that may wait in the queue when one more message is put in: eight batches. Without this bound a full
/// queue of the largest events would take up many gigabytes.
pub const QUEUE_BYTES_MAX: usize = 64 << 20;

/// Timeout of a handle that is dropped without an end and waits for room in the queue. A working writer empties a full
/// queue several times within it; a stuck writer must not hold a destructor forever.
pub const DROP_TIMEOUT: Duration = Duration::from_secs(1);

/// Refused events that the writer remembers by their ids, and that one `events.lost` names: a list of the greatest
/// length, 1 MiB. Further events are only counted, and stay lost even if they are sent again.
pub(crate) const LOST_IDS_MAX: usize = 65_536;

/// Events committed in one transaction, unless the builder sets another number.
pub const BATCH_EVENTS_DEFAULT: usize = 2_048;

/// Payload bytes after which a batch is closed, unless the builder sets another number.
pub const BATCH_BYTES_DEFAULT: usize = 8 << 20;

/// Events that a projection folds at once.
pub(crate) const FOLD_EVENTS_MAX: usize = 512;

/// Events that a projection folds at once while more is appended than the tables can take in: less than a millisecond
/// of work.
pub(crate) const FOLD_EVENTS_SHORT: usize = 96;

/// Events left after a transaction of the projections beyond which the tables are behind. The next transactions are
/// short then.
pub(crate) const FOLD_BEHIND_MIN: u64 = 1_024;

/// Pause of the read tables after they reached the end of the log, while events are appended. A durable append that
/// meets a transaction of the projections waits for its end. With this pause, less than one in a hundred appends of one
/// producer meets one.
pub(crate) const FOLD_PAUSE: Duration = Duration::from_millis(100);

/// Pause of the read tables while somebody waits for them.
pub(crate) const FOLD_PAUSE_AWAITED: Duration = Duration::from_millis(10);

/// Pause of the full-text index while nobody waits for it: each of its transactions makes a segment.
pub(crate) const INDEX_PAUSE: Duration = Duration::from_millis(200);

/// Approximate number of pages of the full-text index, of about 4 KiB each, that one transaction merges: a few
/// milliseconds of work.
pub(crate) const INDEX_MERGE_PAGES: u32 = 96;

/// Pages that one transaction merges while more is appended than the tables can take in.
pub(crate) const INDEX_MERGE_PAGES_SHORT: u32 = 24;

/// Longest time for which one transaction of the projections goes on with further events while nobody else waits. Its
/// fixed cost, and the pages that every event changes, are paid once.
pub(crate) const FOLD_TIME_MAX: Duration = Duration::from_millis(100);

/// Longest time of such a transaction while the writer waits for the write lock: enough to reach the end of the log if
/// the tables keep up with the appends.
pub(crate) const FOLD_TIME_KEEPING_UP: Duration = Duration::from_millis(12);

/// Longest time of such a transaction while the tables do not keep up. There is always more to fold then, and most
/// durable appends meet a transaction.
pub(crate) const FOLD_TIME_SHORT: Duration = Duration::from_micros(800);

/// Time for which transactions stay short after one that did not reach the end of the log.
pub(crate) const FOLD_SHORT_FOR: Duration = Duration::from_secs(2);

/// Payload bytes that a projection folds at once.
pub(crate) const FOLD_BYTES_MAX: usize = 4 << 20;

/// Approximate bytes of rows that a projection keeps between its transactions at most; later events that change these
/// rows need not read them again. It is enough for the sessions that are under way. Rows that are in no table yet come
/// on top, as many as one transaction writes.
pub(crate) const FOLD_KEPT_BYTES_MAX: usize = 16 << 20;

/// Pages that the writer's connection keeps, in kibibytes: enough for a batch, so no page is written to the write-ahead
/// log before the commit and again with it.
pub(crate) const WRITER_CACHE_KIBIBYTES: i32 = 16 << 10;

/// Pages that the projections' connection keeps, in kibibytes: one transaction changes rows of many sessions, and many
/// indexes.
pub(crate) const PROJECTIONS_CACHE_KIBIBYTES: i32 = 64 << 10;

/// Bytes in the write-ahead log at which the projections' thread checkpoints even under load. Appends wait for it:
/// twice as much is hardly faster on the whole, and makes the longest wait twice as long.
pub(crate) const WAL_BYTES_CHECKPOINT: u64 = 32 << 20;

/// Bytes in the write-ahead log at which the writer checkpoints. If there are projections, they do it earlier.
pub(crate) const WAL_BYTES_CHECKPOINT_WRITER: u64 = 48 << 20;

/// Bytes in the write-ahead log at which a checkpoint waits for readers. Beyond it, readers that overlap would keep the
/// log growing.
pub const WAL_BYTES_RESTART: u64 = 4 * WAL_BYTES_CHECKPOINT;

/// Size to which SQLite cuts the file of the write-ahead log after a checkpoint, in bytes. Overwriting is cheaper than
/// making the file longer, so under steady load it is never cut.
pub(crate) const WAL_BYTES_KEEP: u64 = 64 << 20;

/// Most tiles that one transaction of the tree stores. The writer waits no longer than one such transaction for the
/// write lock, and a tile is 8 KiB.
pub(crate) const TREE_TILES_MAX: u64 = 64;

/// Events after which a checkpoint is signed, unless the log's owner sets another number.
pub const CHECKPOINT_EVENTS_DEFAULT: u64 = 65_536;

/// Time after which a checkpoint is signed if something was appended, unless the log's owner sets another time. It
/// weighs the part of the log that nobody outside vouches for yet against one flush and some hundred bytes.
pub const CHECKPOINT_INTERVAL_DEFAULT: Duration = Duration::from_secs(60);

/// Most hashes of a proof: the path to the root of the largest tree that SQLite can number, and the most that C2SP
/// witnesses accept.
pub const PROOF_HASHES_MAX: usize = 63;

/// Longest proof file, in bytes. It is read into memory as a whole, and its content beside it. It is enough for any one
/// event with its payload; larger sessions are proved in parts, or without payloads.
pub const PROOF_BYTES_MAX: usize = 256 << 20;

/// Events that a client sends in one request, unless its builder sets another number.
pub const REQUEST_EVENTS_DEFAULT: usize = 500;

/// Bytes after which a client closes a request, unless its builder sets another number. One event alone may have more.
pub const REQUEST_BYTES_DEFAULT: usize = 1 << 20;

/// Longest answer that a client reads, in bytes: many times a server's answer to [`REQUEST_EVENTS_DEFAULT`] events.
pub(crate) const REPLY_BYTES_MAX: u64 = 16 << 20;

/// Timeout of a client's connection to its server.
pub const SERVER_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Timeout of a client's request, unless its builder sets another. The server commits before it answers, and may have
/// others' events to commit first.
pub const SERVER_TIMEOUT: Duration = Duration::from_secs(30);

/// Time for which an event is in a client's memory alone, unless its builder sets another. A healthy server answers
/// many times faster.
pub const SPOOL_AFTER_DEFAULT: Duration = Duration::from_secs(1);

/// Timeout of closing a client, unless its builder sets another. Events that are not sent by then stay in the spool.
pub const CLIENT_CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// First pause before a client tries an unreachable server again; each further pause is twice as long.
pub(crate) const RETRY_PAUSE_MIN: Duration = Duration::from_millis(250);

/// Longest pause before a client tries an unreachable server again.
pub(crate) const RETRY_PAUSE_MAX: Duration = Duration::from_secs(30);

/// Longest pause that a server may ask for.
pub(crate) const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// Bytes that a client's spool may have, unless its builder sets another number.
pub const SPOOL_BYTES_DEFAULT: u64 = 1 << 30;

/// Size at which a segment of the spool is closed, in bytes. A segment is deleted when all of it was sent.
pub(crate) const SPOOL_SEGMENT_BYTES: u64 = 8 << 20;

/// Bytes that a spool reserves beyond its events. They are released when a full disk has no room for a refused event:
/// enough for a request and more.
pub(crate) const SPOOL_RESERVE_BYTES: usize = 2 << 20;

/// Longest timeout of a client. A longer one is cut to it, because timeouts are added to the clock's time.
pub const CLIENT_TIMEOUT_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

const _: () = {
    // The largest event fits into a proof file: base64 makes four characters of three bytes, and the checkpoint is a
    // note.
    assert!((LEAF_BYTES_MAX + SALT_BYTES + PAYLOAD_BYTES_MAX) / 3 * 4 + 2 * NOTE_BYTES_MAX < PROOF_BYTES_MAX);
    // The longest session id fits into an entry several times over, beside the fields of fixed size.
    assert!(ENTRY_BYTES_MAX > 4 * SESSION_ID_BYTES_MAX + 256);
    // A signature is a line of base64, four characters for three bytes, after a name.
    assert!(NOTE_SIGNATURES_MAX * (5_000 * 4 / 3 + ORIGIN_BYTES_MAX + 16) < NOTE_BYTES_MAX);
    // Connecting is a part of a request.
    assert!(ANCHOR_CONNECT_TIMEOUT.as_secs() < ANCHOR_TIMEOUT.as_secs());
    assert!(PAYLOAD_BYTES_DEFAULT <= PAYLOAD_BYTES_MAX);
    // Every byte of a payload, and every item of a full list, may claim memory when decoded.
    assert!(PAYLOAD_BYTES_MAX + ITEMS_MAX * 1_024 <= DECODE_BYTES_MAX);
    // The first decision has room for all texts of an event of the largest size that a log accepts by default.
    assert!(DECISION_COPIES_BYTES_MAX >= PAYLOAD_BYTES_DEFAULT);
    // SQLite takes its limit on lengths as an `i32`.
    assert!(COLUMN_BYTES_MAX <= i32::MAX as usize);
    assert!(JUDGED_ENTRY_BYTES_MAX > ENTRY_BYTES_MAX);
    // A row has less than twenty texts of events of ordinary size. In JSON a byte takes up six at most.
    assert!(20 * PAYLOAD_BYTES_DEFAULT + 2 * 6 * ROW_ATTRIBUTES_BYTES_MAX < COLUMN_BYTES_MAX);
    // A full queue fills at least one batch.
    assert!(BATCH_EVENTS_DEFAULT <= QUEUE_EVENTS_DEFAULT);
    // The ids of one failed batch fit into one `events.lost`, and that event into the default payload.
    assert!(BATCH_EVENTS_DEFAULT <= LOST_IDS_MAX);
    assert!(LOST_IDS_MAX <= ITEMS_MAX);
    assert!(LOST_IDS_MAX * 16 + (64 << 10) <= PAYLOAD_BYTES_DEFAULT);
    // The queue has room for a whole batch.
    assert!(BATCH_BYTES_DEFAULT <= QUEUE_BYTES_MAX);
    // The projections checkpoint before the writer does, and the file is large enough for both without being cut.
    assert!(WAL_BYTES_CHECKPOINT_WRITER > WAL_BYTES_CHECKPOINT);
    assert!(WAL_BYTES_KEEP > WAL_BYTES_CHECKPOINT_WRITER);
};
