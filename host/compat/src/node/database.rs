//! A database: `DatabaseSync`.

use std::sync::Arc;

use millpond_pool::Access;
use millpond_wasmtime::SqliteCtx;
use millpond_wasmtime::bindings::connections::ErrorKind;

use super::failure::{Failure, Result};
use super::opened::Opened;
use super::options::Options;
use super::path::Location;
use super::statement::Statement;
use super::tags::TagStore;
use super::wit;

/// A database that the guest has named, and may have opened.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "generated code exports it")]
pub struct Database {
    location: Location,
    options: Options,
    opened: Option<Arc<Opened>>,
}

impl Database {
    pub(super) async fn new(
        ctx: &mut SqliteCtx,
        path: wit::Path,
        options: wit::DatabaseOptions,
    ) -> Result<Database> {
        check(&options)?;
        let mut location = Location::of(path)?;
        location.read_only |= options.read_only == Some(true);
        let mut database = Database {
            location,
            options: Options::DEFAULT.with(&options.statement),
            opened: None,
        };
        if options.open != Some(false) {
            database.open(ctx).await?;
        }
        Ok(database)
    }

    pub(super) async fn open(&mut self, ctx: &mut SqliteCtx) -> Result<()> {
        if self.opened.is_some() {
            return Err(Failure::state("database is already open"));
        }
        let name = &self.location.name;
        let connection = match self.location.read_only {
            true => ctx.get_connection(name, Access::ReadOnly).await?,
            false => match ctx.get_connection(name, Access::ReadWrite).await {
                // As SQLite opens a file that may not be written.
                Err(error) if error.kind == ErrorKind::NotAuthorized => {
                    ctx.get_connection(name, Access::ReadOnly).await?
                }
                connection => connection?,
            },
        };
        self.opened = Some(Arc::new(Opened::new(connection)));
        Ok(())
    }

    pub(super) fn close(&mut self) -> Result<()> {
        self.opened.take().map(drop).ok_or_else(Failure::not_open)
    }

    pub(super) fn is_open(&self) -> bool {
        self.opened.is_some()
    }

    pub(super) fn opened(&self) -> Result<&Arc<Opened>> {
        self.opened.as_ref().ok_or_else(Failure::not_open)
    }

    pub(super) async fn prepare(
        &self,
        sql: &str,
        options: &wit::StatementOptions,
    ) -> Result<Statement> {
        Statement::prepare(self.opened()?, sql, self.options.with(options)).await
    }

    pub(super) fn tag_store(&self, capacity: f64) -> Result<TagStore> {
        TagStore::new(self.opened()?, self.options, capacity)
    }

    pub(super) fn location(&self, schema: Option<&str>) -> Result<Option<String>> {
        self.opened()?;
        let is_main = schema.is_none_or(|schema| schema.eq_ignore_ascii_case("main"));
        Ok(is_main.then(|| self.location.path.clone()))
    }
}

/// Refuse options that this host cannot provide.
fn check(options: &wit::DatabaseOptions) -> Result<()> {
    if options
        .timeout
        .is_some_and(|timeout| timeout.fract() != 0.0)
    {
        let message = "The \"options.timeout\" argument must be an integer.";
        return Err(Failure::argument(message));
    }
    let refused = [
        (
            options.enable_foreign_key_constraints == Some(false),
            "enableForeignKeyConstraints: false is",
        ),
        (
            options.enable_double_quoted_string_literals == Some(true),
            "enableDoubleQuotedStringLiterals is",
        ),
        (options.allow_extension == Some(true), "allowExtension is"),
        (options.defensive == Some(false), "defensive: false is"),
        (!options.limits.is_empty(), "limits are"),
    ];
    match refused.iter().find(|(wanted, _)| *wanted) {
        Some((_, what)) => Err(Failure::unavailable(what)),
        None => Ok(()),
    }
}
