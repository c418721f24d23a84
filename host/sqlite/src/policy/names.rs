//! The names that SQL may use: allow-lists. Whatever a later SQLite adds is not in them, and so is
//! denied.

/// Functions (<https://sqlite.org/lang_corefunc.html> and related pages). Excluded are:
///
/// - those that reveal the host or the library, such as `sqlite_version`;
/// - those that reach code or memory: `load_extension`, `fts3_tokenizer`, `fts5`, `subtype`,
///   `rtreenode`, `rtreedepth`, `rtreecheck`; or the host's log: `sqlite_log`.
///
/// Functions that take quadratic time without calling the progress handler are replaced (see
/// `functions`), or only handle short values (see `program`).
const FUNCTIONS: &[&str] = &[
    "->",
    "->>",
    "abs",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "avg",
    "bm25",
    "ceil",
    "ceiling",
    "changes",
    "char",
    "coalesce",
    "concat",
    "concat_ws",
    "cos",
    "cosh",
    "count",
    "cume_dist",
    "current_date",
    "current_time",
    "current_timestamp",
    "date",
    "datetime",
    "degrees",
    "dense_rank",
    "exp",
    "first_value",
    "floor",
    "format",
    "fts5_get_locale",
    "fts5_locale",
    "glob",
    "group_concat",
    "hex",
    "highlight",
    "if",
    "ifnull",
    "iif",
    "instr",
    "json",
    "json_array",
    "json_array_insert",
    "json_array_length",
    "json_error_position",
    "json_extract",
    "json_group_array",
    "json_group_object",
    "json_insert",
    "json_object",
    "json_patch",
    "json_pretty",
    "json_quote",
    "json_remove",
    "json_replace",
    "json_set",
    "json_type",
    "json_valid",
    "jsonb",
    "jsonb_array",
    "jsonb_array_insert",
    "jsonb_extract",
    "jsonb_group_array",
    "jsonb_group_object",
    "jsonb_insert",
    "jsonb_object",
    "jsonb_patch",
    "jsonb_remove",
    "jsonb_replace",
    "jsonb_set",
    "julianday",
    "lag",
    "last_insert_rowid",
    "last_value",
    "lead",
    "length",
    "like",
    "likelihood",
    "likely",
    "ln",
    "log",
    "log10",
    "log2",
    "lower",
    "ltrim",
    "match",
    "max",
    "min",
    "mod",
    "nth_value",
    "ntile",
    "nullif",
    "octet_length",
    "percent_rank",
    "pi",
    "pow",
    "power",
    "printf",
    "quote",
    "radians",
    "random",
    "randomblob",
    "rank",
    "replace",
    "round",
    "row_number",
    "rtrim",
    "sign",
    "sin",
    "sinh",
    "snippet",
    "soundex",
    "sqrt",
    "strftime",
    "string_agg",
    "substr",
    "substring",
    "sum",
    "tan",
    "tanh",
    "time",
    "timediff",
    "total",
    "total_changes",
    "trim",
    "trunc",
    "typeof",
    "unhex",
    "unicode",
    "unistr",
    "unistr_quote",
    "unixepoch",
    "unlikely",
    "upper",
    "zeroblob",
];

/// Functions that SQLite's `ALTER TABLE` calls. In any other statement SQLite does not find them.
const FUNCTIONS_OF_ALTER: &[&str] = &[
    "sqlite_add_constraint",
    "sqlite_drop_column",
    "sqlite_drop_constraint",
    "sqlite_fail",
    "sqlite_find_constraint",
    "sqlite_rename_column",
    "sqlite_rename_quotefix",
    "sqlite_rename_table",
    "sqlite_rename_test",
];

/// Pragmas that only read, and only the database that the statement may read anyway; none takes a
/// value.
const PRAGMAS_BARE: &[&str] = &[
    "application_id",
    "auto_vacuum",
    "cache_size",
    "collation_list",
    "compile_options",
    "data_version",
    "defer_foreign_keys",
    "encoding",
    "foreign_keys",
    "freelist_count",
    "function_list",
    "journal_mode",
    "page_count",
    "page_size",
    "query_only",
    "read_uncommitted",
    "schema_version",
    "synchronous",
    "user_version",
];

/// Pragmas that read every table.
const PRAGMAS_OF_SCHEMA: &[&str] = &[
    "foreign_key_check",
    "integrity_check",
    "optimize",
    "quick_check",
    "table_list",
];

/// Pragmas that change the schema's values in the file, or its statistics.
const PRAGMAS_THAT_DEFINE: &[&str] = &["optimize", "user_version"];

/// The table of a pragma that writes, although a statement on it looks read-only.
const CLOSED_TABLE: &str = "pragma_optimize";

/// The spellings of "on" and "off" for a pragma.
pub(crate) const ON: &[&str] = &["1", "on", "yes", "true"];
pub(crate) const OFF: &[&str] = &["0", "off", "no", "false"];

/// Pragmas whose setting lasts until the transaction ends.
const PRAGMAS_OF_TRANSACTION: &[&str] = &["defer_foreign_keys"];

/// Pragmas whose value is the name of a table to describe or to check.
const PRAGMAS_ABOUT_TABLE: &[&str] = &[
    "foreign_key_check",
    "foreign_key_list",
    "index_list",
    "integrity_check",
    "quick_check",
    "table_info",
    "table_list",
    "table_xinfo",
];

/// Pragmas whose value is the name of an index to describe.
const PRAGMAS_ABOUT_INDEX: &[&str] = &["index_info", "index_xinfo"];

/// Modules of virtual tables that may be created.
const MODULES: &[&str] = &["fts5", "fts5vocab", "rtree", "rtree_i32"];

/// Virtual tables that exist without being created.
const TABLES: &[&str] = &["generate_series", "json_each", "json_tree"];

/// The suffixes of shadow tables, in which full-text and R*Tree tables keep their content
/// (<https://sqlite.org/vtab.html#the_xshadowname_method>).
const SHADOWS: &[&str] = &[
    "_config", "_content", "_data", "_docsize", "_idx", "_node", "_parent", "_rowid",
];

/// What a pragma accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PragmaScope {
    /// The file, or settings of the connection.
    Database,
    Schema,
    Transaction,
    Table,
    Index,
}

pub(super) fn is_function(name: &str) -> bool {
    contains(FUNCTIONS, name)
}

pub(super) fn is_function_of_alter(name: &str) -> bool {
    contains(FUNCTIONS_OF_ALTER, name)
}

/// What a pragma accesses; `None` if it is not allowed with this value.
pub(super) fn pragma_scope(name: &str, value: Option<&str>) -> Option<PragmaScope> {
    let lists: &[_] = match value {
        None => &[
            (PRAGMAS_BARE, PragmaScope::Database),
            (PRAGMAS_OF_SCHEMA, PragmaScope::Schema),
        ],
        Some(_) => &[
            (PRAGMAS_ABOUT_TABLE, PragmaScope::Table),
            (PRAGMAS_ABOUT_INDEX, PragmaScope::Index),
            (PRAGMAS_THAT_DEFINE, PragmaScope::Schema),
            (PRAGMAS_OF_TRANSACTION, PragmaScope::Transaction),
        ],
    };
    let found = lists.iter().find(|(names, _)| contains(names, name));
    found.map(|(_, scope)| *scope)
}

pub(super) fn is_module(name: &str) -> bool {
    contains(MODULES, name)
}

/// Whether a module of the library has a table that may be read without being created. The tables
/// of pragmas are authorized as pragmas.
pub(crate) fn is_open_module(name: &str) -> bool {
    contains(TABLES, name) || contains(MODULES, name) || starts_with(name, "pragma_")
}

/// Whether it is the name of a table-valued function. An ordinary table of this name hides it.
pub(super) fn is_open_table(name: &str) -> bool {
    let is_pragma =
        |name: &str| pragma_scope(name, None).is_some() || pragma_scope(name, Some("")).is_some();
    let pragma = name.get("pragma_".len()..).unwrap_or_default();
    contains(TABLES, name) || (starts_with(name, "pragma_") && is_pragma(pragma))
}

pub(super) fn is_closed_table(name: &str) -> bool {
    name.eq_ignore_ascii_case(CLOSED_TABLE)
}

/// The table that `name` is a shadow table of, judging by its suffix.
pub(super) fn shadowed(name: &str) -> Option<&str> {
    SHADOWS.iter().find_map(|suffix| {
        let at = name.len().checked_sub(suffix.len())?;
        let (owner, end) = (name.get(..at)?, name.get(at..)?);
        end.eq_ignore_ascii_case(suffix).then_some(owner)
    })
}

pub(super) fn contains(names: &[&str], name: &str) -> bool {
    names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

pub(crate) fn ends_with(name: &str, end: &str) -> bool {
    name.len()
        .checked_sub(end.len())
        .and_then(|start| name.get(start..))
        .is_some_and(|rest| rest.eq_ignore_ascii_case(end))
}

pub(crate) fn starts_with(name: &str, start: &str) -> bool {
    name.get(..start.len())
        .is_some_and(|begin| begin.eq_ignore_ascii_case(start))
}
