//! Limits that no setting changes, and that apply to the operator's schema too.

/// The maximum number of columns of a table, a result or a list.
pub(crate) const MAX_COLUMNS: i32 = 2_000;
/// The maximum depth of an expression or nested query, number of terms of a compound query, and
/// size of a text in the schema, in bytes.
pub(crate) const MAX_DEPTH: i32 = 1_000;
pub(crate) const MAX_COMPOUND: i32 = 500;
pub(crate) const MAX_DEFINITION_BYTES: i32 = 1_000_000_000;
/// The maximum number of arguments of a function (`SQLITE_LIMIT_FUNCTION_ARG`).
pub(crate) const MAX_ARGUMENTS: usize = 1_000;
