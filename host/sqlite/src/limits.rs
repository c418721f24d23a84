//! Limits that no setting changes, and that hold for the operator's schema too.

/// How many columns a table, a result or a list may have.
pub(crate) const MAX_COLUMNS: i32 = 2_000;
/// How deep an expression or a nested query may be, how many parts a compound one may have, and how
/// long a text in the schema may be, in bytes.
pub(crate) const MAX_DEPTH: i32 = 1_000;
pub(crate) const MAX_COMPOUND: i32 = 500;
pub(crate) const MAX_DEFINITION_BYTES: i32 = 1_000_000_000;
/// The most arguments of a function (`SQLITE_LIMIT_FUNCTION_ARG`).
pub(crate) const MAX_ARGUMENTS: usize = 1_000;
