//! The puzzles of the demonstration.

/// Puzzles of four numbers each. Most are solved; the last rows are hands that the evaluator misjudges, and hands that
/// have no answer.
pub(super) const PUZZLES: &[[u64; 4]] = &[
    [4, 5, 6, 10],
    [1, 2, 4, 7],
    [4, 9, 10, 13],
    [1, 4, 8, 8],
    [5, 5, 5, 9],
    [2, 8, 10, 12],
    [8, 8, 10, 12],
    [1, 2, 2, 6],
    [1, 10, 12, 12],
    [2, 2, 10, 11],
    [1, 1, 8, 8],
    [4, 4, 6, 8],
    [2, 9, 10, 12],
    [6, 6, 6, 6],
    [3, 5, 9, 13],
    [1, 1, 4, 6],
    [1, 1, 11, 11],
    [6, 6, 6, 8],
    [1, 3, 5, 11],
    [1, 1, 2, 7],
    [8, 8, 8, 10],
    [2, 2, 2, 12],
    [6, 12, 12, 12],
    [2, 3, 4, 4],
    [1, 1, 1, 12],
    [4, 4, 4, 12],
    [6, 6, 7, 11],
    [1, 1, 6, 12],
    [1, 1, 4, 12],
    [4, 7, 9, 13],
    [2, 2, 8, 9],
    [1, 8, 10, 12],
    [2, 8, 12, 12],
    [1, 5, 6, 12],
    [3, 3, 6, 13],
    [5, 6, 10, 12],
    [2, 6, 9, 10],
    [3, 7, 9, 11],
    [4, 8, 10, 10],
    [2, 4, 6, 12],
    [3, 9, 9, 12],
    [5, 7, 9, 11],
    [3, 5, 6, 8],
    [2, 4, 8, 10],
    [3, 4, 5, 6],
    // Misjudged: the way leads through a fraction, or a division that nobody sees at a glance.
    [1, 3, 4, 6],
    [1, 5, 5, 5],
    [2, 3, 5, 12],
    [3, 3, 8, 8],
    [4, 4, 7, 7],
    [6, 7, 8, 9],
    // Without an answer.
    [1, 1, 1, 1],
    [1, 6, 7, 7],
    [3, 4, 6, 7],
];

/// A puzzle as it is written: `4 5 6 10`.
pub(super) fn written(puzzle: &[u64]) -> String {
    puzzle.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")
}
