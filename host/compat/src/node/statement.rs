//! A statement: `StatementSync`.

use std::sync::{Arc, Weak};

use millpond_pool::{Parameters, Statement as Compiled};

use super::bind::bind;
use super::failure::{Failure, Result};
use super::iterate::Iterator;
use super::opened::{Iteration, Opened, size_of_names};
use super::options::Options;
use super::values::{Answer, names};
use super::wit;

/// A statement that the guest has prepared. It is compiled for each run, which costs little: the engine
/// has the last ones in its cache. So handles that the guest's garbage collector has not found cost no
/// more than their text.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "generated code exports it")]
pub struct Statement {
    opened: Weak<Opened>,
    key: u64,
    pub(super) options: Options,
}

/// A statement and its values, about to run.
struct Ready {
    compiled: Compiled,
    parameters: Parameters,
    read_only: bool,
}

impl Statement {
    pub(super) async fn prepare(
        opened: &Arc<Opened>,
        sql: &str,
        options: Options,
    ) -> Result<Statement> {
        // To report mistakes now. It stays in the cache.
        opened.connection.prepare(sql).await?;
        Ok(Statement {
            opened: Arc::downgrade(opened),
            key: opened.add_statement(sql)?,
            options,
        })
    }

    pub(super) fn opened(&self) -> Result<Arc<Opened>> {
        self.opened.upgrade().ok_or_else(Failure::finalized)
    }

    pub(super) fn sql(&self) -> Result<Arc<str>> {
        self.opened()?.sql(self.key)
    }

    async fn ready(&self, opened: &Opened, bindings: wit::Bindings) -> Result<Ready> {
        let sql = opened.sql(self.key)?;
        opened.end_last_run(self.key);
        let compiled = opened.connection.prepare(&sql).await?;
        let description = compiled.describe().await?;
        Ok(Ready {
            compiled,
            parameters: bind(&description.parameter_names, bindings, self.options)?,
            read_only: description.read_only,
        })
    }

    pub(super) async fn run(&self, bindings: wit::Bindings) -> Result<wit::Changes> {
        let opened = self.opened()?;
        let ready = self.ready(&opened, bindings).await?;
        let summary = ready.compiled.execute(&ready.parameters).await?;
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
        let opened = self.opened()?;
        let ready = self.ready(&opened, bindings).await?;
        let sql = opened.sql(self.key)?;
        let result = opened.connection.query(&sql, &ready.parameters).await?;
        let columns = names(result.columns, self.options);
        Answer::new(self.options).rows(&result.rows, &columns).await
    }

    pub(super) async fn get(&self, bindings: wit::Bindings) -> Result<Option<wit::Row>> {
        let opened = self.opened()?;
        let ready = self.ready(&opened, bindings).await?;
        let (columns, rows) = match ready.read_only {
            true => {
                let page = ready.compiled.query(&ready.parameters, 1, true).await?;
                (page.columns.unwrap_or_default(), page.rows)
            }
            // Only its end tells whether it was committed.
            false => {
                let sql = opened.sql(self.key)?;
                let result = opened.connection.query(&sql, &ready.parameters).await?;
                (result.columns, result.rows)
            }
        };
        let columns = names(columns, self.options);
        let first = rows.iter().next();
        let row = first.map(|row| Answer::new(self.options).row(row, &columns));
        row.transpose()
    }

    pub(super) async fn iterate(&self, bindings: wit::Bindings) -> Result<Iterator> {
        let opened = self.opened()?;
        let ready = self.ready(&opened, bindings).await?;
        opened.check_iterations()?;
        let page = ready.compiled.query(&ready.parameters, 1, true).await?;
        let columns = names(page.columns.unwrap_or_default(), self.options);
        let mut answer = Answer::new(self.options);
        let first = page.rows.iter().next();
        let first = first.map(|row| answer.row(row, &columns)).transpose()?;
        let key = opened.add_iteration(Iteration {
            statement: self.key,
            size: answer.size + size_of_names(&columns),
            columns,
            first,
            rest: page.rest,
        })?;
        Ok(Iterator::new(&opened, key, self.options))
    }

    pub(super) async fn columns(&self) -> Result<Vec<wit::Column>> {
        let opened = self.opened()?;
        let sql = opened.sql(self.key)?;
        let compiled = opened.connection.prepare(&sql).await?;
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
