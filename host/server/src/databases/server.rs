//! Databases on a libSQL server: how to reach it, and the token that it asks for.
//!
//! A token comes from a file or a variable, never from the configuration. No message contains a
//! token, nor a URL that may have one in it.

use std::collections::BTreeMap;
use std::env::{self, VarError};
use std::fmt;
use std::sync::Arc;

use millpond_libsql::{Migrator, PoolBuilder};
use millpond_sqlite::migrations::{self, MigrationError, Migrations, Report};
use millpond_wasmtime::pool::observe::Observer;
use millpond_wasmtime::pool::{self, Parameters, Rows};

use super::Source;
use super::open::{may_pass, migrations, migrations_may_pass, pools_settings, warn};
use crate::config::{Database, Name};
use crate::error::{Error, Result};

/// The name of a database if a configuration, or a guest, gives none.
const DEFAULT: &str = "default";

/// Open a database on the server at `url`.
pub(super) fn open(
    name: &str,
    url: &str,
    settings: &Database,
    observer: Option<&Arc<dyn Observer>>,
) -> Result<Source> {
    let mut builder = builder(name, settings)?.name(name);
    if let Some(observer) = observer {
        builder = builder.observer(Arc::clone(observer));
    }
    if !settings.tenant_namespaces {
        let pool = builder.open_blocking(url);
        return Ok(Source::One(pool.map_err(|error| not_opened(name, &error))?));
    }
    let pools = pools_settings(settings);
    let pools = match migrations(settings)? {
        None => builder.pools(url, pools),
        Some(migrations) => builder.migrated_pools(url, pools, move |migrator| {
            let report = migrations.run_on(&mut OnServer(migrator));
            warn(&"a tenant's database", &report.map_err(not_migrated)?);
            Ok(())
        }),
    };
    Ok(Source::Tenants(
        pools.map_err(|error| not_opened(name, &error))?,
    ))
}

/// Run the migrations of a database on the server at `url`.
pub(super) fn migrate(
    name: &str,
    url: &str,
    settings: &Database,
    migrations: &Migrations,
) -> Result<Report> {
    let migrator = builder(name, settings)?.open_migrator(url);
    let mut migrator = migrator.map_err(|error| not_opened(name, &error))?;
    let report = migrations.run_on(&mut OnServer(&mut migrator));
    report.map_err(|error| {
        let may_pass = migrations_may_pass(&error);
        about(name, error).passing_if(may_pass)
    })
}

fn about(name: &str, error: impl fmt::Display) -> Error {
    Error::new(format_args!("the database `{name}`: {error}"))
}

fn not_opened(name: &str, error: &pool::Error) -> Error {
    about(name, error).passing_if(may_pass(error))
}

fn not_migrated(error: MigrationError) -> pool::Error {
    pool::Error::new(pool::ErrorKind::CannotOpen, error.to_string())
}

/// The settings for the server of the database `name`.
fn builder(name: &str, settings: &Database) -> Result<PoolBuilder> {
    let mut builder = PoolBuilder::new()
        .max_size(settings.pool_size)
        .timeout(settings.timeout)
        .max_value_bytes(settings.max_value_size.bytes())
        .max_result_bytes(settings.max_result_size.bytes())
        .max_page_bytes(settings.max_page_size.bytes())
        .read_only(settings.read_only)
        .allow_plain_http(settings.allow_plain_http)
        .server_enforces_tables(settings.server_enforces_tables);
    if let Some(idle) = settings.max_idle {
        builder = builder.max_idle(idle);
    }
    if let Some(time) = settings.max_idle_time {
        builder = builder.max_idle_time(time);
    }
    if let Some(timeout) = settings.connect_timeout {
        builder = builder.connect_timeout(timeout);
    }
    if let Some(namespace) = &settings.namespace {
        builder = builder.namespace(namespace);
    }
    if let Some(file) = &settings.certificate_authorities {
        builder = builder.certificate_authorities(file);
    }
    Ok(match (&settings.token_file, token(name)?) {
        (Some(file), _) => builder.token_file(file),
        (None, Some(token)) => builder.token(token),
        (None, None) => builder,
    })
}

/// The variable with the token of the database `name`.
fn variable(name: &str) -> String {
    match name {
        DEFAULT => "MILLPOND_DB_TOKEN".to_string(),
        name => {
            let name = name.to_ascii_uppercase().replace('-', "_");
            format!("MILLPOND_DB_TOKEN_{name}")
        }
    }
}

/// Check that no two servers get their token from the same variable: one must not get the other's.
pub(super) fn check_tokens(databases: &BTreeMap<Name, Database>) -> Result<()> {
    let mut variables = BTreeMap::new();
    for (name, database) in databases {
        if database.url.is_none() || database.token_file.is_some() {
            continue;
        }
        let variable = variable(name.as_str());
        if env::var_os(&variable).is_none_or(|token| token.is_empty()) {
            continue;
        }
        if let Some(other) = variables.insert(variable.clone(), name) {
            return Err(Error::new(format_args!(
                "{variable} is for both `{other}` and `{name}`: give each database its own \
                 token-file"
            )));
        }
    }
    Ok(())
}

/// The token in the environment. An empty one is ignored.
fn token(name: &str) -> Result<Option<String>> {
    let variable = variable(name);
    match env::var(&variable) {
        Ok(token) => Ok(Some(token).filter(|token| !token.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(Error::new(format_args!(
            "{variable} is not UTF-8: write the server's token into it"
        ))),
    }
}

/// A database on a server, to run migrations on.
struct OnServer<'a>(&'a mut Migrator);

impl migrations::Database for OnServer<'_> {
    fn begin(&mut self) -> pool::Result<()> {
        self.0.begin()
    }

    fn query(&mut self, sql: &str) -> pool::Result<Rows> {
        self.0.query(sql)
    }

    fn execute(&mut self, sql: &str, parameters: &Parameters) -> pool::Result<()> {
        self.0.execute(sql, parameters)
    }

    fn execute_script(&mut self, sql: &str) -> pool::Result<()> {
        self.0.execute_script(sql)
    }

    fn commit(&mut self) -> pool::Result<()> {
        self.0.commit()
    }

    fn rollback(&mut self) {
        self.0.rollback();
    }
}

#[cfg(test)]
mod tests {
    use super::variable;

    #[test]
    fn each_database_has_its_variable() {
        assert_eq!(variable("default"), "MILLPOND_DB_TOKEN");
        assert_eq!(variable("user-data"), "MILLPOND_DB_TOKEN_USER_DATA");
    }
}
