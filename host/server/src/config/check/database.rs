//! A database: one place, and only settings that have an effect there.

use crate::config::problem::ProblemKind::{Contradiction, InvalidValue, OutOfBounds};
use crate::config::report::Report;
use crate::config::{Database, Location, Size};

/// The keys that a database in a file can have.
pub(crate) const FILE_KEYS: [&str; 21] = [
    "file",
    "create",
    "read-only",
    "migrations",
    "pool-size",
    "max-idle",
    "max-idle-time",
    "timeout",
    "max-value-size",
    "max-result-size",
    "max-page-size",
    "max-database-size",
    "max-transaction-size",
    "max-connection-memory",
    "busy-timeout",
    "cache-size",
    "mmap-size",
    "statement-cache",
    "synchronous",
    "upkeep-after",
    "backup",
];

/// What only a database in files or in memory can have, and what to do on a server instead.
fn not_on_a_server(database: &Database) -> [(&'static str, bool, &'static str); 11] {
    let only_local = "it only has an effect on SQLite here";
    [
        (
            "max-database-size",
            database.max_database_size.is_some(),
            "set it at the server (its --max-database-size, or a namespace's configuration)",
        ),
        (
            "max-transaction-size",
            database.max_transaction_size.is_some(),
            "limit requests by time instead, with a grant's `max-transaction-time`",
        ),
        (
            "max-connection-memory",
            database.max_connection_memory.is_some(),
            "limit the server's process instead",
        ),
        ("busy-timeout", database.busy_timeout.is_some(), only_local),
        ("cache-size", database.cache_size.is_some(), only_local),
        ("mmap-size", database.mmap_size.is_some(), only_local),
        (
            "statement-cache",
            database.statement_cache.is_some(),
            only_local,
        ),
        ("synchronous", database.synchronous.is_some(), only_local),
        ("upkeep-after", database.upkeep_after.is_some(), only_local),
        (
            "create",
            database.create.is_some(),
            "create it at the server",
        ),
        (
            "backup",
            database.backup.is_some(),
            "have the server make backups",
        ),
    ]
}

fn only_on_a_server(database: &Database) -> [(&'static str, bool); 7] {
    [
        ("token-file", database.token_file.is_some()),
        ("allow-plain-http", database.allow_plain_http),
        ("tenant-namespaces", database.tenant_namespaces),
        ("namespace", database.namespace.is_some()),
        (
            "certificate-authorities",
            database.certificate_authorities.is_some(),
        ),
        ("server-enforces-tables", database.server_enforces_tables),
        ("connect-timeout", database.connect_timeout.is_some()),
    ]
}

pub(super) fn check(database: &Database, report: &mut Report) {
    check_idle(database, report);
    if !database.is_per_tenant() {
        let instead = "only a `folder`, or a server with `tenant-namespaces`, has a database for each \
                       tenant: leave it out";
        refuse(
            "max-open-pools",
            database.max_open_pools.is_some(),
            instead,
            report,
        );
        refuse(
            "pool-idle-timeout",
            database.pool_idle_timeout.is_some(),
            instead,
            report,
        );
    }
    if database.create == Some(true) && database.read_only {
        let message =
            "the database is `read-only`, so it cannot be created: leave one of the two out";
        refuse("create", true, message, report);
    }
    let Some(location) = database.location() else {
        let message = "write where the database is, by exactly one of `file`, `folder`, `url` and \
                       `memory = true`";
        report.key(Contradiction, message);
        return;
    };
    match location {
        Location::Server(url) => check_on_server(database, url.reveal(), report),
        Location::File(_) | Location::Folder(_) | Location::Memory => {
            check_sizes(database, report);
            for (key, is_set) in only_on_a_server(database) {
                let message = "it only has an effect on a server, by `url`: leave it out";
                refuse(key, is_set, message, report);
            }
        }
    }
    match location {
        Location::File(path) => check_path("file", path, report),
        Location::Folder(path) => check_path("folder", path, report),
        Location::Memory => check_in_memory(database, report),
        Location::Server(_) => {}
    }
}

fn refuse(key: &str, is_set: bool, message: &str, report: &mut Report) {
    if is_set {
        report.under(key, |report| report.key(Contradiction, message));
    }
}

/// A path that was meant to be something else.
fn check_path(key: &str, path: &std::path::Path, report: &mut Report) {
    let name = path.file_name().unwrap_or_default();
    let message = if name == ":memory:" {
        "a database in memory is written as `memory = true`"
    } else if path.to_string_lossy().contains(":/") {
        "a URL is not a path: write the server's as `url = \"libsql://HOST\"`, or the file's path"
    } else {
        return;
    };
    report.under(key, |report| report.value(InvalidValue, message));
}

fn check_in_memory(database: &Database, report: &mut Report) {
    let message = "a database in memory has no file: leave it out";
    for (key, is_set) in [
        ("create", database.create.is_some()),
        ("read-only", database.read_only),
        ("migrations", database.migrations.is_some()),
        ("mmap-size", database.mmap_size.is_some()),
        ("synchronous", database.synchronous.is_some()),
        ("upkeep-after", database.upkeep_after.is_some()),
        ("backup", database.backup.is_some()),
    ] {
        refuse(key, is_set, message, report);
    }
}

fn check_idle(database: &Database, report: &mut Report) {
    let size = database.pool_size;
    if database.max_idle.is_some_and(|idle| idle > size) {
        let message = format!("it must be at most `pool-size`, {size}");
        report.under("max-idle", |report| report.value(OutOfBounds, message));
    }
}

fn check_sizes(database: &Database, report: &mut Report) {
    let cache = database.cache_size.unwrap_or(Size(2 << 20));
    let memory = database.max_connection_memory.unwrap_or(Size(64 << 20));
    let least = Size(cache.bytes().saturating_add(2 << 20));
    if memory < least {
        let message = format!(
            "`max-connection-memory` must be at least `cache-size` and 2MiB, {least}: raise it, or \
             lower `cache-size`"
        );
        let key = match database.max_connection_memory {
            Some(_) => "max-connection-memory",
            None => "cache-size",
        };
        report.under(key, |report| report.value(OutOfBounds, message));
    }
}

fn check_on_server(database: &Database, url: &str, report: &mut Report) {
    for (key, is_set, instead) in not_on_a_server(database) {
        let message =
            format!("it cannot be set for a database on a server: leave it out; {instead}");
        refuse(key, is_set, &message, report);
    }
    for (key, value, most) in [
        ("max-value-size", database.max_value_size, Size(64 << 20)),
        ("max-result-size", database.max_result_size, Size(256 << 20)),
    ] {
        if value > most {
            let message = format!("it must be at most {most} for a database on a server");
            report.under(key, |report| report.value(OutOfBounds, message));
        }
    }
    if database.tenant_namespaces {
        let message = "`tenant-namespaces` is set: leave one of the two out";
        refuse("namespace", database.namespace.is_some(), message, report);
    }
    if let Some(namespace) = &database.namespace {
        let is_label = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if !(1..=63).contains(&namespace.len()) || !namespace.chars().all(is_label) {
            let message = "a namespace has up to 63 letters, digits, `-` and `_`";
            report.under("namespace", |report| report.value(InvalidValue, message));
        }
    }
    if let Some(message) = wrong_url(url, database.allow_plain_http) {
        report.under("url", |report| report.value(InvalidValue, message));
    }
    check_token_file(database, report);
}

/// What is wrong with the URL of a server. Does not repeat it: it may have a secret in it.
fn wrong_url(url: &str, allow_plain_http: bool) -> Option<&'static str> {
    let Ok(uri) = url.parse::<http::Uri>() else {
        return Some("it is not a URL: write it as in \"libsql://db.example.com\"");
    };
    let scheme = uri.scheme_str().unwrap_or_default().to_ascii_lowercase();
    let Some(authority) = uri.authority() else {
        return Some("it names no host: write it as in \"libsql://db.example.com\"");
    };
    let host = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    let is_here = match host.parse::<std::net::IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    };
    if !["http", "https", "libsql"].contains(&scheme.as_str()) {
        Some("it must begin with `libsql:`, `https:` or `http:`; a file is written as `file`")
    } else if authority.as_str().contains('@') {
        Some("it holds a password: write a token into a file, and name that in `token-file`")
    } else if uri.query().is_some() {
        Some("it has a query: write a token into a file, and name that in `token-file`")
    } else if host.is_empty() {
        Some("it names no host: write it as in \"libsql://db.example.com\"")
    } else if scheme == "http" && !is_here && !allow_plain_http {
        Some(
            "it is `http:`, which anyone on the network can read and change: write `https:`, or \
             `allow-plain-http = true`",
        )
    } else {
        None
    }
}

/// A token where its file's path should be would be shown by the error that there is no such file.
fn check_token_file(database: &Database, report: &mut Report) {
    let Some(path) = &database.token_file else {
        return;
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.starts_with("eyJ") && name.matches('.').count() == 2 {
        let message = "this is a token: write it into a file, and the file's path here";
        report.under("token-file", |report| report.value(InvalidValue, message));
    }
}
