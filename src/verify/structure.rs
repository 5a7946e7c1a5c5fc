//! A check of the pages of the table `log` and of its index, in less time than SQLite's own check takes.
//!
//! SQLite's check looks up every row in the index. Here the index is read once along its keys. If its
//! fingerprint equals that of the walked rows, the index holds exactly what the rows do. If anything is not
//! found sound here, SQLite's check runs and names the problem.

use rusqlite::functions::Context;
use rusqlite::{Connection, ErrorCode};

use super::inside::{Inside, Take};

/// The prime of the field that fingerprints are from: 2^61 - 1.
const PRIME: u64 = (1 << 61) - 1;

/// The fingerprint of pairs of event id and seq, in any order.
///
/// The product of one linear form of each pair, at a point that is drawn for this verification alone.
/// Different pairs have different forms. So two different sets of pairs have the same product with a
/// probability of at most one in 2^61 for each pair (Schwartz and Zippel). For a log of a million events,
/// that is one in 2,000,000,000,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(u64);

impl Default for Fingerprint {
    /// The fingerprint of no pairs: the empty product.
    fn default() -> Fingerprint {
        Fingerprint(1)
    }
}

impl Fingerprint {
    /// Adds the pairs of another fingerprint.
    #[inline]
    pub(super) fn add(&mut self, other: Fingerprint) {
        self.0 = reduced(u128::from(self.0) * u128::from(other.0));
    }
}

/// The remainder when a number below 2^122 - 1 is divided by the prime.
#[inline]
fn reduced(number: u128) -> u64 {
    // 2^61 is 1 modulo the prime, so the bits above it are added as a number of their own. Both parts are at
    // most the prime, so one subtraction is enough.
    let low = number & u128::from(PRIME);
    let sum = u64::try_from(low + (number >> 61)).unwrap_or(u64::MAX);
    if sum >= PRIME { sum - PRIME } else { sum }
}

/// The random point at which fingerprints are taken.
#[derive(Clone)]
pub(super) struct Pairs {
    point: [u64; 4],
    constant: u64,
}

impl Pairs {
    pub(super) fn new() -> Pairs {
        let draw = || rand::random_range(0..PRIME);
        Pairs { point: std::array::from_fn(|_| draw()), constant: draw() }
    }

    /// The fingerprint of one pair, whose 192 bits are split into four numbers of 48.
    #[inline]
    pub(super) fn of(&self, event_id: &[u8; 16], seq: i64) -> Fingerprint {
        const MASK: u128 = (1 << 48) - 1;
        let (id, seq) = (u128::from_le_bytes(*event_id), u128::from(seq.cast_unsigned()));
        let parts = [id & MASK, (id >> 48) & MASK, seq & MASK, (id >> 96) << 16 | seq >> 48];
        // Four products below 2^109 and a constant: far below the bound of `reduced`.
        let form = self
            .point
            .iter()
            .zip(parts)
            .fold(u128::from(self.constant), |sum, (factor, part)| sum + u128::from(*factor) * part);
        Fingerprint(reduced(form))
    }
}

/// The index on the event ids, read along its keys.
struct Index {
    pairs: Pairs,
    before: Option<[u8; 16]>,
    fingerprint: Fingerprint,
}

impl Take for Index {
    fn take(&mut self, row: &Context<'_>) -> rusqlite::Result<bool> {
        let event_id = row.get_raw(0).as_blob().ok().and_then(|id| <[u8; 16]>::try_from(id).ok());
        // Keys must ascend strictly. A search in an index out of order would miss rows that the fingerprint
        // counts.
        let Some(event_id) = event_id.filter(|id| self.before.is_none_or(|before| before < *id)) else {
            return Ok(false);
        };
        self.before = Some(event_id);
        self.fingerprint.add(self.pairs.of(&event_id, row.get_raw(1).as_i64()?));
        Ok(true)
    }
}

/// The fingerprint of the pairs in the index on the event ids. None if the index is empty, or if the log has
/// other indexes, made by the user: this check does not cover them.
///
/// # Errors
/// If SQLite cannot read the index, its keys are not in order, or something in it is not what it should be.
pub(super) fn pairs_of_index(
    connection: &Connection,
    pairs: &Pairs,
) -> rusqlite::Result<Option<Fingerprint>> {
    let indexes: u32 =
        connection.query_row("SELECT count(*) FROM pragma_index_list('log')", [], |row| row.get(0))?;
    if indexes != 1 {
        return Ok(None);
    }
    // Reads in the order of the index, which `Index` checks. Both columns are in the index itself: the rows
    // of the table are not read.
    let sql = "SELECT annals_pairs(event_id, seq) FROM log INDEXED BY sqlite_autoindex_log_1";
    let index = Index { pairs: pairs.clone(), before: None, fingerprint: Fingerprint::default() };
    let index = Inside::new(connection, "annals_pairs")?.run(connection, sql, [], index)?;
    Ok(index.map(|index| index.fingerprint))
}

/// Returns whether SQLite finds the B-trees of the table and of its index sound: keys in order, no page in
/// two places, every cell in its own place.
///
/// `PRAGMA integrity_check` checks the trees before it looks up every row in the index, and answers at once
/// if something is wrong. SQLite counts a step for each page of a tree, and after a given number of steps it
/// asks the progress handler whether to go on. With more steps than pages, it first asks when the trees are
/// done.
pub(super) fn has_sound_trees(connection: &mut Connection) -> rusqlite::Result<bool> {
    /// Steps that SQLite may count besides those for pages: more than for the hundred errors that it names.
    const SLACK: u64 = 1_000;
    let pages: u32 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
    let steps = u64::from(pages) + SLACK;
    let steps_asked = i32::try_from(steps).unwrap_or(i32::MAX);
    // A file may have more pages than fit into that number. SQLite then asks before the trees are done too,
    // and these calls must let it go on.
    let times_before = (steps - 1) / u64::from(steps_asked.unsigned_abs());
    let mut asked = 0_u64;
    let is_enough = move || {
        asked += 1;
        asked > times_before
    };
    connection.progress_handler(steps_asked, Some(is_enough))?;
    let answer = connection.query_row("PRAGMA integrity_check(\"log\")", [], |row| row.get::<_, String>(0));
    connection.progress_handler(0, None::<fn() -> bool>)?;
    match answer {
        Ok(answer) => Ok(answer == "ok"),
        // The handler stopped it, so the trees were done and nothing was wrong with them.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => Ok(true),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(pairs: &Pairs, of: &[([u8; 16], i64)]) -> Fingerprint {
        of.iter().fold(Fingerprint::default(), |mut whole, (event_id, seq)| {
            whole.add(pairs.of(event_id, *seq));
            whole
        })
    }

    #[test]
    fn the_same_pairs_in_any_order_have_one_fingerprint_and_others_have_another() {
        let pairs = Pairs::new();
        let (a, b, c) = ([0; 16], [0xff; 16], 7_u128.to_be_bytes());
        let whole = fingerprint(&pairs, &[(a, 1), (b, 2), (c, i64::MAX)]);
        assert_eq!(whole, fingerprint(&pairs, &[(c, i64::MAX), (a, 1), (b, 2)]));
        for others in [
            &[(a, 2), (b, 1), (c, i64::MAX)] as &[_],
            &[(a, 1), (b, 2)],
            &[(a, 1), (b, 2), (c, i64::MAX), (c, i64::MAX)],
            &[(a, 1), (b, 2), (c, -1)],
            &[(a, 1), (b, 2), (c, i64::MAX - i64::try_from(PRIME).unwrap())],
            &[(a, 1), (a, 2), (c, i64::MAX)],
        ] {
            assert_ne!(whole, fingerprint(&pairs, others), "{others:?}");
        }
    }

    #[test]
    fn every_bit_of_a_pair_counts() {
        let pairs = Pairs::new();
        let of_none = pairs.of(&[0; 16], 0);
        for bit in 0..128 {
            assert_ne!(pairs.of(&(1_u128 << bit).to_le_bytes(), 0), of_none, "bit {bit} of the id");
        }
        for bit in 0..64 {
            assert_ne!(pairs.of(&[0; 16], 1_i64.wrapping_shl(bit)), of_none, "bit {bit} of the seq");
        }
    }

    #[test]
    fn remainders_are_those_of_the_prime() {
        let prime = u128::from(PRIME);
        for number in [0, 1, prime - 1, prime, prime + 1, 2 * prime, (prime - 1) * (prime - 1), 1 << 111] {
            assert_eq!(u128::from(reduced(number)), number % prime, "{number}");
        }
    }
}
