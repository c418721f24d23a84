//! The names that are refused, or allowed, before anything is sent.

/// Functions that tell of the server or reach into it. `load_extension` has an error of its own.
const FUNCTIONS: &[&str] = &[
    "fts3_tokenizer",
    "fts5",
    "fts5_insttoken",
    "fts5_source_id",
    "rtreecheck",
    "rtreedepth",
    "rtreenode",
    "sqlite_compileoption_get",
    "sqlite_compileoption_used",
    "sqlite_log",
    "sqlite_source_id",
    "sqlite_version",
    "subtype",
];

/// Pragmas that read, and take no value.
const PRAGMAS_BARE: &[&str] = &[
    "application_id",
    "auto_vacuum",
    "cache_size",
    "collation_list",
    "compile_options",
    "data_version",
    "defer_foreign_keys",
    "encoding",
    "foreign_key_check",
    "foreign_keys",
    "freelist_count",
    "function_list",
    "integrity_check",
    "journal_mode",
    "page_count",
    "page_size",
    "query_only",
    "quick_check",
    "read_uncommitted",
    "schema_version",
    "synchronous",
    "table_list",
    "user_version",
];

/// Pragmas whose value is the name of a table or an index to describe or to check.
const PRAGMAS_ABOUT: &[&str] = &[
    "foreign_key_check",
    "foreign_key_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "quick_check",
    "table_info",
    "table_list",
    "table_xinfo",
];

/// Tables that are pragmas, and tell of the server or write.
const PRAGMA_TABLES: &[&str] = &[
    "pragma_database_list",
    "pragma_module_list",
    "pragma_optimize",
    "pragma_pragma_list",
];

/// Virtual tables that may be created.
const MODULES: &[&str] = &["fts5", "fts5vocab", "rtree", "rtree_i32"];

fn contains(names: &[&str], name: &str) -> bool {
    names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

pub(super) fn is_refused_function(name: &str) -> bool {
    contains(FUNCTIONS, name)
}

pub(super) fn is_refused_table(name: &str) -> bool {
    contains(PRAGMA_TABLES, name)
}

pub(super) fn is_module(name: &str) -> bool {
    contains(MODULES, name)
}

/// Whether a pragma reads, with a value or without.
pub(super) fn is_reading_pragma(name: &str, value: bool) -> bool {
    contains(if value { PRAGMAS_ABOUT } else { PRAGMAS_BARE }, name)
}

/// Whether a table is the host's own.
pub(super) fn is_reserved(name: &str) -> bool {
    let start = name.as_bytes().get(..9);
    start.is_some_and(|start| start.eq_ignore_ascii_case(b"millpond_"))
}
