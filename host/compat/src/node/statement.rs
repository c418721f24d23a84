//! A statement: `StatementSync`.

use std::sync::{Arc, Weak};

use millpond_pool::Parameters;
use millpond_wasmtime::SqliteCtx;

use super::bind::bind;
use super::cursor::Cursor;
use super::failure::{Failure, Result};
use super::opened::{OpenRun, Opened, Prepared, Progress};
use super::options::Options;
use super::values::{Answer, names};
use super::wit;

/// A statement that the guest has prepared. Each run takes it from the connection's cache, by its
/// text. So handles that the guest's garbage collector has not found cost no more than their text.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "generated code exports it")]
pub struct Statement {
    opened: Weak<Opened>,
    key: u64,
    pub(super) options: Options,
}

/// A statement and its values, about to run.
struct Ready {
    opened: Arc<Opened>,
    prepared: Arc<Prepared>,
    parameters: Parameters,
}

impl Statement {
    pub(super) async fn prepare(
        opened: &Arc<Opened>,
        sql: String,
        options: Options,
    ) -> Result<Statement> {
        // To report mistakes now. It stays in the cache.
        let compiled = opened.connection.prepare(&sql).await?;
        let description = compiled.describe().await?;
        let key = opened.add_statement(Prepared {
            sql,
            parameter_names: description.parameter_names,
            read_only: description.read_only,
        })?;
        Ok(Statement {
            opened: Arc::downgrade(opened),
            key,
            options,
        })
    }

    pub(super) fn opened(&self) -> Result<Arc<Opened>> {
        self.opened.upgrade().ok_or_else(Failure::finalized)
    }

    pub(super) fn prepared(&self) -> Result<Arc<Prepared>> {
        self.opened()?.statement(self.key)
    }

    async fn ready(&self, bindings: wit::Bindings) -> Result<Ready> {
        let opened = self.opened()?;
        let prepared = opened.statement(self.key)?;
        opened.end_last_run(self.key);
        let parameters = bind(&prepared.parameter_names, bindings, self.options).await?;
        Ok(Ready {
            opened,
            prepared,
            parameters,
        })
    }

    pub(super) async fn run(&self, bindings: wit::Bindings) -> Result<wit::Changes> {
        let ready = self.ready(bindings).await?;
        let connection = &ready.opened.connection;
        let ran = connection.execute(&ready.prepared.sql, &ready.parameters);
        let summary = ran.await?;
        let number = |value: i64| match self.options.read_big_ints {
            true => wit::Value::Bigint(value),
            // Not exact if it is large, as in Node.
            false => wit::Value::Number(value as f64),
        };
        Ok(wit::Changes {
            changes: number(i64::try_from(summary.changes).unwrap_or(i64::MAX)),
            last_insert_rowid: number(summary.last_insert_rowid),
        })
    }

    pub(super) async fn all(&self, bindings: wit::Bindings) -> Result<Vec<wit::Row>> {
        let ready = self.ready(bindings).await?;
        let connection = &ready.opened.connection;
        let ran = connection.query(&ready.prepared.sql, &ready.parameters);
        let result = ran.await?;
        let columns = names(result.columns, self.options);
        Answer::new(self.options).rows(&result.rows, &columns).await
    }

    pub(super) async fn get(&self, bindings: wit::Bindings) -> Result<Option<wit::Row>> {
        let ready = self.ready(bindings).await?;
        let connection = &ready.opened.connection;
        let sql = &ready.prepared.sql;
        let (columns, rows) = match ready.prepared.read_only {
            true => {
                let compiled = connection.prepare(sql).await?;
                let page = compiled.query(&ready.parameters, 1, true).await?;
                (page.columns.unwrap_or_default(), page.rows)
            }
            // Only its end tells whether it was committed.
            false => {
                let result = connection.query(sql, &ready.parameters).await?;
                (result.columns, result.rows)
            }
        };
        let columns = names(columns, self.options);
        match rows.iter().next() {
            Some(row) => Ok(Some(Answer::new(self.options).row(row, &columns).await?)),
            None => Ok(None),
        }
    }

    /// Bind the values. The statement runs when the guest asks for the first row.
    pub(super) async fn iterate(
        &self,
        ctx: &mut SqliteCtx,
        bindings: wit::Bindings,
    ) -> Result<Cursor> {
        let ready = self.ready(bindings).await?;
        let key = ready.opened.add_run(OpenRun {
            statement: self.key,
            progress: Progress::Bound(ready.prepared, ready.parameters),
            place: ctx.take_cursor_place()?,
        })?;
        Ok(Cursor::new(&ready.opened, key, self.options))
    }

    pub(super) async fn columns(&self) -> Result<Vec<wit::Column>> {
        let opened = self.opened()?;
        let prepared = opened.statement(self.key)?;
        let compiled = opened.connection.prepare(&prepared.sql).await?;
        let columns = compiled.describe().await?.columns;
        let column = |column: millpond_pool::Column| wit::Column {
            name: column.name,
            type_: column.declared_type,
            column: None,
            database: None,
            table: None,
        };
        Ok(columns.into_iter().map(column).collect())
    }
}

impl Drop for Statement {
    fn drop(&mut self) {
        if let Some(opened) = self.opened.upgrade() {
            opened.remove_statement(self.key);
        }
    }
}
