//! A component: its environment, and what it is granted.

use std::collections::BTreeMap;

use millpond_pool::Access;

use crate::config::problem::ProblemKind::{Contradiction, Duplicate, InvalidValue, UnknownName};
use crate::config::report::{Report, did_you_mean};
use crate::config::{Component, Database, Grant, Location, Name, Operation, Table};

pub(super) fn check(
    component: &Component,
    databases: &BTreeMap<Name, Database>,
    report: &mut Report,
) {
    report.under("env", |report| {
        for (name, value) in &component.env {
            report.under(name.as_str(), |report| {
                check_variable(name, report);
                if value.reveal().contains('\0') {
                    report.value(InvalidValue, "a variable's value has no null character");
                }
            });
        }
    });
    report.under("inherit-env", |report| {
        for (index, name) in component.inherit_env.iter().enumerate() {
            report.under(index, |report| {
                check_variable(name, report);
                if OF_A_SERVICE_MANAGER.contains(&name.as_str()) {
                    let message =
                        "it is for the server alone, from its service manager: leave it out";
                    report.value(InvalidValue, message);
                }
                let is_twice = component.inherit_env[..index].contains(name);
                if is_twice || component.env.contains_key(name) {
                    let message =
                        "the component already has a variable of this name: write it once";
                    report.value(Duplicate, message);
                }
            });
        }
    });
    for (name, grant) in &component.grants {
        report.under("grants", |report| {
            report.under(name.as_str(), |report| {
                check_grant(grant, databases, report);
            });
        });
    }
}

/// The variables by which a service manager talks to the server. Guests must not get them.
const OF_A_SERVICE_MANAGER: [&str; 6] = [
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

fn check_variable(name: &str, report: &mut Report) {
    if name.is_empty() || name.contains(['=', '\0']) {
        let message = "a variable's name is not empty, and has no `=` and no null character";
        report.key(InvalidValue, message);
    }
}

fn check_grant(grant: &Grant, databases: &BTreeMap<Name, Database>, report: &mut Report) {
    check_tables(grant, report);
    if grant.schema == Some(true) && grant.access == Access::ReadOnly {
        let message = "`access` is \"read-only\", so the schema cannot be changed: leave it out";
        report.under("schema", |report| report.value(Contradiction, message));
    }
    let Some(database) = databases.get(grant.database.as_str()) else {
        let names = databases.keys().map(Name::as_str);
        let suggestion = did_you_mean(&grant.database, names);
        let message = format!("there is no database of this name in `databases`{suggestion}");
        report.under("database", |report| report.value(UnknownName, message));
        return;
    };
    if database.read_only && grant.access == Access::ReadWrite {
        let message = "the database is `read-only`: write `access = \"read-only\"`";
        report.under("access", |report| report.value(Contradiction, message));
    }
    if grant.share.is_some_and(|share| share > database.pool_size) {
        let message = format!(
            "it is more than the database's `pool-size`, {}, and would have no effect: write less",
            database.pool_size
        );
        report.under("share", |report| report.value(Contradiction, message));
    }
    if grant.share.is_some() && database.is_per_tenant() {
        let message = "each tenant has its own pool, which this does not limit: leave it out, and \
                       write `max-tenant-requests` in `[server]`";
        report.under("share", |report| report.key(Contradiction, message));
    }
    if let Some(Location::Server(_)) = database.location() {
        check_on_server(grant, database, report);
    }
}

/// What a libSQL server cannot enforce.
fn check_on_server(grant: &Grant, database: &Database, report: &mut Report) {
    for (key, is_set, instead) in [
        (
            "max-statement-steps",
            grant.max_statement_steps.is_some(),
            "limit statements by time instead, with `max-statement-time`",
        ),
        (
            "temporary",
            grant.temporary,
            "a libSQL server has no temporary tables",
        ),
        (
            "tables",
            !grant.tables.is_empty() && !database.server_enforces_tables,
            "or restrict the token at the server and write `server-enforces-tables = true` for the \
             database",
        ),
    ] {
        if is_set {
            let message = format!(
                "it cannot be enforced on the database `{}`, which is on a server: leave it out; \
                 {instead}",
                grant.database
            );
            report.under(key, |report| report.key(Contradiction, message));
        }
    }
}

fn check_tables(grant: &Grant, report: &mut Report) {
    report.under("tables", |report| {
        for (number, (name, table)) in grant.tables.iter().enumerate() {
            report.under(name.as_str(), |report| {
                let mut earlier = grant.tables.keys().take(number);
                if earlier.any(|other| other.eq_ignore_ascii_case(name)) {
                    let message = "names are case-insensitive: the table is already listed";
                    report.key(Duplicate, message);
                }
                check_table(table, grant.access, report);
            });
        }
    });
}

fn check_table(table: &Table, access: Access, report: &mut Report) {
    report.under("allow", |report| {
        for (index, operation) in table.allow.iter().enumerate() {
            report.under(index, |report| {
                if table.allow[..index].contains(operation) {
                    report.value(Duplicate, "it is already listed: write it once");
                }
                if access == Access::ReadOnly && *operation != Operation::Read {
                    let message = "`access` is \"read-only\": leave it out, or write \
                                   `access = \"read-write\"`";
                    report.value(Contradiction, message);
                }
            });
        }
    });
}
