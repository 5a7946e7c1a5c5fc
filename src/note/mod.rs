//! Signed notes, checkpoints, cosignatures and policies, as C2SP specifies them.
