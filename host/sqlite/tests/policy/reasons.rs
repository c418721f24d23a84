//! Why each denied row of `policy.golden` is denied. A denied row without a reason fails the test,
//! and so does a reason without such a row.

const REVEALS_LIBRARY: &str = "reveals the library's version or build";
const KEPT_BY_CONNECTION: &str = "the setting would last for the connection's next borrower";
const OF_PROCESS: &str = "a setting of the whole process";
const SAFEGUARD: &str = "turns off what protects the file or the host";
const OWN_WORK: &str = "the pool checkpoints by itself, when that blocks no other request";
const ONLY_READ: &str = "it may be read, not set to another value";
const NO_VALUE: &str = "it may be read; it takes no value";
const NEEDS_NAME: &str = "needs the name of what to describe";

/// Names, each with its reason.
pub(crate) type Reasons = &'static [(&'static str, &'static str)];

/// For functions.
pub(crate) const FUNCTIONS: Reasons = &[
    ("fts5", "returns a pointer for extensions in C"),
    ("fts5_insttoken", "only useful to functions written in C"),
    ("fts5_source_id", REVEALS_LIBRARY),
    (
        "rtreecheck",
        "reads a table that only a value names, unseen by the authorizer",
    ),
    (
        "rtreedepth",
        "decodes any value as if it were a node, for debugging",
    ),
    (
        "rtreenode",
        "decodes any value as if it were a node, for debugging",
    ),
    ("sqlite_compileoption_get", REVEALS_LIBRARY),
    ("sqlite_compileoption_used", REVEALS_LIBRARY),
    ("sqlite_log", "writes to the host's log"),
    ("sqlite_source_id", REVEALS_LIBRARY),
    ("sqlite_version", REVEALS_LIBRARY),
    ("subtype", "only useful to functions written in C"),
];

/// For pragmas that are denied in some of their forms, or all.
pub(crate) const PRAGMAS: Reasons = &[
    ("analysis_limit", KEPT_BY_CONNECTION),
    ("application_id", ONLY_READ),
    ("auto_vacuum", ONLY_READ),
    ("automatic_index", KEPT_BY_CONNECTION),
    ("busy_timeout", KEPT_BY_CONNECTION),
    ("cache_size", ONLY_READ),
    ("cache_spill", KEPT_BY_CONNECTION),
    ("case_sensitive_like", KEPT_BY_CONNECTION),
    ("cell_size_check", KEPT_BY_CONNECTION),
    ("checkpoint_fullfsync", KEPT_BY_CONNECTION),
    ("collation_list", NO_VALUE),
    ("compile_options", NO_VALUE),
    ("count_changes", KEPT_BY_CONNECTION),
    ("data_version", NO_VALUE),
    ("database_list", "as a table it would name the file"),
    ("defer_foreign_keys", "a guest may turn it on, not off"),
    ("empty_result_callbacks", KEPT_BY_CONNECTION),
    ("encoding", ONLY_READ),
    ("foreign_key_list", NEEDS_NAME),
    ("foreign_keys", ONLY_READ),
    ("freelist_count", NO_VALUE),
    ("full_column_names", KEPT_BY_CONNECTION),
    ("fullfsync", KEPT_BY_CONNECTION),
    ("function_list", NO_VALUE),
    ("hard_heap_limit", OF_PROCESS),
    ("ignore_check_constraints", SAFEGUARD),
    (
        "incremental_vacuum",
        "rewrites the file for as long as it has free pages",
    ),
    ("index_info", NEEDS_NAME),
    ("index_list", NEEDS_NAME),
    ("index_xinfo", NEEDS_NAME),
    ("journal_mode", ONLY_READ),
    ("journal_size_limit", KEPT_BY_CONNECTION),
    ("legacy_alter_table", KEPT_BY_CONNECTION),
    ("locking_mode", KEPT_BY_CONNECTION),
    ("max_page_count", SAFEGUARD),
    ("mmap_size", KEPT_BY_CONNECTION),
    ("module_list", REVEALS_LIBRARY),
    (
        "optimize",
        "as a table it would write, but look as if it only read",
    ),
    ("page_count", NO_VALUE),
    ("page_size", ONLY_READ),
    ("pragma_list", REVEALS_LIBRARY),
    ("query_only", ONLY_READ),
    ("read_uncommitted", ONLY_READ),
    ("recursive_triggers", KEPT_BY_CONNECTION),
    ("reverse_unordered_selects", KEPT_BY_CONNECTION),
    ("schema_version", ONLY_READ),
    ("secure_delete", KEPT_BY_CONNECTION),
    ("short_column_names", KEPT_BY_CONNECTION),
    (
        "shrink_memory",
        "would empty the connection's cache for the next borrower",
    ),
    ("soft_heap_limit", OF_PROCESS),
    ("synchronous", ONLY_READ),
    ("table_info", NEEDS_NAME),
    ("table_xinfo", NEEDS_NAME),
    ("temp_store", KEPT_BY_CONNECTION),
    ("temp_store_directory", OF_PROCESS),
    ("threads", KEPT_BY_CONNECTION),
    ("trusted_schema", SAFEGUARD),
    ("wal_autocheckpoint", OWN_WORK),
    ("wal_checkpoint", OWN_WORK),
    ("writable_schema", SAFEGUARD),
];

/// For modules.
pub(crate) const MODULES: Reasons = &[
    (
        "json_each",
        "a table-valued function: use it without creating it",
    ),
    (
        "json_tree",
        "a table-valued function: use it without creating it",
    ),
    ("pragma_module_list", REVEALS_LIBRARY),
];

/// For statements: a part of each, the reason, and what names it in the contract.
pub(crate) const STATEMENTS: &[(&str, &str, &str)] = &[
    ("ATTACH ", "reaches another file", "`ATTACH`"),
    ("DETACH ", "nothing can be attached", "`DETACH`"),
    (
        "VACUUM",
        "attaches a file, and copies the whole database while no one can write",
        "`VACUUM`",
    ),
    (
        "TEMP ",
        "hides tables of the database; a grant may allow it",
        "temporary objects",
    ),
    (
        "temp.",
        "hides tables of the database; a grant may allow it",
        "temporary objects",
    ),
    (
        "millpond_",
        "names that begin with `millpond_` are the host's",
        "`millpond_`",
    ),
    (
        "sqlite_stat",
        "only ANALYZE writes SQLite's statistics",
        "`sqlite_`",
    ),
    ("sqlite_source_id", REVEALS_LIBRARY, "`sqlite_source_id`"),
    ("sqlite_version", REVEALS_LIBRARY, "`sqlite_version`"),
];
