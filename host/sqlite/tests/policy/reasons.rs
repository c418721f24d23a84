//! Why something is denied. A row of the golden file without a reason fails its test.

const REVEALS_LIBRARY: &str = "reveals the library's version or build";
const KEPT_BY_CONNECTION: &str = "the next borrower of the connection would keep the setting";
const OF_PROCESS: &str = "a setting of the whole process";
const SAFEGUARD: &str = "turns off what protects the file or the host";
const OWN_WORK: &str = "the pool does this itself, when it blocks no one";

/// Why a function is denied.
pub(crate) fn of_function(name: &str) -> Option<&'static str> {
    Some(match name {
        "sqlite_version"
        | "sqlite_source_id"
        | "fts5_source_id"
        | "sqlite_compileoption_get"
        | "sqlite_compileoption_used" => REVEALS_LIBRARY,
        "sqlite_log" => "writes to the host's log",
        "load_extension" => "loads code",
        "fts5" => "returns a pointer for extensions in C",
        "subtype" | "fts5_insttoken" => "only useful to functions written in C",
        "rtreecheck" => "reads a table that only a value names, unseen by the authorizer",
        "rtreedepth" | "rtreenode" => "decodes any value as if it were a node, for debugging",
        _ => return None,
    })
}

/// Why a pragma is denied, in some of its forms or all.
pub(crate) fn of_pragma(name: &str) -> Option<&'static str> {
    Some(match name {
        "analysis_limit"
        | "automatic_index"
        | "busy_timeout"
        | "cache_spill"
        | "case_sensitive_like"
        | "cell_size_check"
        | "checkpoint_fullfsync"
        | "count_changes"
        | "empty_result_callbacks"
        | "full_column_names"
        | "fullfsync"
        | "journal_size_limit"
        | "legacy_alter_table"
        | "locking_mode"
        | "mmap_size"
        | "recursive_triggers"
        | "reverse_unordered_selects"
        | "secure_delete"
        | "short_column_names"
        | "temp_store"
        | "threads" => KEPT_BY_CONNECTION,
        "hard_heap_limit" | "soft_heap_limit" | "shrink_memory" | "temp_store_directory" => {
            OF_PROCESS
        }
        "ignore_check_constraints" | "max_page_count" | "trusted_schema" | "writable_schema" => {
            SAFEGUARD
        }
        "incremental_vacuum" | "wal_autocheckpoint" | "wal_checkpoint" => OWN_WORK,
        "module_list" | "pragma_list" => REVEALS_LIBRARY,
        "database_list" => "as a table it would name the file",
        "optimize" => "as a table it would write, but look as if it only read",
        "application_id" | "auto_vacuum" | "cache_size" | "collation_list" | "compile_options"
        | "data_version" | "defer_foreign_keys" | "encoding" | "foreign_keys"
        | "freelist_count" | "function_list" | "journal_mode" | "page_count" | "page_size"
        | "query_only" | "read_uncommitted" | "schema_version" | "synchronous" => {
            "it may be read, not set to another value"
        }
        "foreign_key_list" | "index_info" | "index_list" | "index_xinfo" | "table_info"
        | "table_xinfo" => "it describes what its value names",
        _ => return None,
    })
}

/// Why a module is denied.
pub(crate) fn of_module(name: &str) -> Option<&'static str> {
    Some(match name {
        "json_each" | "json_tree" => "it exists without being created",
        "pragma_module_list" => REVEALS_LIBRARY,
        _ => return None,
    })
}

/// Why a statement is denied.
pub(crate) fn of_statement(sql: &str) -> Option<&'static str> {
    let reasons = [
        ("ATTACH ", "reaches another file"),
        ("DETACH ", "nothing can be attached"),
        (
            "VACUUM",
            "attaches a file, and copies the whole database while no one can write",
        ),
        ("TEMP", "hides tables of the database; a grant may allow it"),
        (
            "temp.",
            "hides tables of the database; a grant may allow it",
        ),
        ("millpond_", "the host's tables are named so"),
        ("sqlite_stat", "only ANALYZE writes SQLite's own tables"),
        ("sqlite_source_id", REVEALS_LIBRARY),
        ("sqlite_version", REVEALS_LIBRARY),
    ];
    let found = reasons.iter().find(|(part, _)| sql.contains(part));
    found.map(|(_, reason)| *reason)
}
