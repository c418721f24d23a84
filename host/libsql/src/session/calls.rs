//! The calls that the pool makes of a session.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use millpond_pool::engine::{Call, Reset, Session, Step, Stop, Terms};
use millpond_pool::{
    Access, Column, Description, Error, ErrorKind, Parameters, Result, ResultSet, Rows, Summary,
    TransactionMode,
};

use super::handles::Prepared;
use super::{Dropped, LibsqlSession};

impl LibsqlSession {
    fn prepared_as(&mut self, statement: usize) -> Result<&mut Prepared> {
        let prepared = self.statements.get_mut(statement);
        prepared.ok_or_else(Error::stale_connection)
    }

    /// What names a statement for good, and its text.
    fn text(&mut self, statement: usize) -> Result<(u64, Arc<str>)> {
        let prepared = self.prepared_as(statement)?;
        Ok((prepared.id, Arc::clone(&prepared.sql)))
    }
}

impl Session for LibsqlSession {
    fn suits(&self, _: Access) -> bool {
        true
    }

    fn lend(&mut self, terms: &Terms<'_>) -> Result<()> {
        self.limits = terms.limits;
        match self.core.try_lock() {
            Ok(mut core) => {
                core.lend(terms);
                Ok(())
            }
            Err(_) => Err(Error::new(
                ErrorKind::Other,
                "a call of the borrower before is still under way",
            )),
        }
    }

    fn reset(&mut self) -> Reset {
        self.statements.clear();
        self.dropped.clear();
        match self.core.try_lock() {
            Ok(mut core) => core.reset(),
            Err(_) => {
                // Its call ends, and the stream with it.
                self.gone.store(true, Ordering::Relaxed);
                Reset {
                    clean: false,
                    rolled_back: self.is_in_transaction(),
                }
            }
        }
    }

    fn execute(&mut self, call: Call, sql: &str, parameters: &Parameters) -> Step<Summary> {
        self.attempt(call, || {
            let (sql, parameters) = (sql.to_owned(), parameters.clone());
            move |core| Box::pin(async move { core.execute(&sql, &parameters).await })
        })
    }

    fn query(
        &mut self,
        call: Call,
        sql: &str,
        parameters: &Parameters,
        with_columns: bool,
    ) -> Step<ResultSet> {
        self.attempt(call, || {
            let (sql, parameters) = (sql.to_owned(), parameters.clone());
            move |core| Box::pin(async move { core.query(&sql, &parameters, with_columns).await })
        })
    }

    fn execute_script(&mut self, call: Call, sql: &str, start: &mut usize) -> Step<()> {
        self.attempt(call, || {
            let (text, from) = (sql.to_owned(), *start);
            move |core| Box::pin(async move { core.execute_script(&text, from).await })
        })?;
        *start = sql.len();
        Ok(())
    }

    fn prepare(&mut self, call: Call, sql: &str) -> Step<usize> {
        let (sql, described) = self.attempt(call, || {
            let text = sql.to_owned();
            move |core| Box::pin(async move { core.prepare(&text).await })
        })?;
        self.prepared += 1;
        Ok(self.statements.insert(Prepared {
            id: self.prepared,
            sql,
            described,
        }))
    }

    fn describe(&mut self, call: Call, statement: usize) -> Step<Description> {
        let current = self.shared.definitions();
        let prepared = self.prepared_as(statement)?;
        if let Some((definitions, description)) = prepared.described.take()
            && definitions == current
        {
            return Ok(Description::clone(&description));
        }
        let sql = Arc::clone(&prepared.sql);
        self.attempt(call, || {
            move |core| {
                Box::pin(async move {
                    let description = core.describe_on_server(&sql).await?;
                    Ok(Description::clone(&description))
                })
            }
        })
    }

    fn execute_prepared(
        &mut self,
        call: Call,
        statement: usize,
        parameters: &Parameters,
    ) -> Step<Summary> {
        let (id, sql) = self.text(statement)?;
        self.attempt(call, || {
            let parameters = parameters.clone();
            move |core| Box::pin(async move { core.execute_prepared(id, &sql, &parameters).await })
        })
    }

    fn execute_many(&mut self, call: Call, statement: usize, rows: &Rows) -> Step<Summary> {
        let (id, sql) = self.text(statement)?;
        self.attempt(call, || {
            let rows = rows.clone();
            move |core| Box::pin(async move { core.execute_many(id, &sql, &rows).await })
        })
    }

    fn query_prepared(
        &mut self,
        call: Call,
        statement: usize,
        parameters: &Parameters,
        max_rows: u32,
        with_columns: bool,
    ) -> Step<(Rows, Option<Vec<Column>>, Option<u64>)> {
        let (id, sql) = self.text(statement)?;
        let page = (max_rows, with_columns);
        self.attempt(call, || {
            let parameters = parameters.clone();
            move |core| {
                Box::pin(async move { core.query_prepared(id, &sql, &parameters, page).await })
            }
        })
    }

    // The number of a cursor is no other's, whatever statement it is of.
    fn next(&mut self, call: Call, _: usize, cursor: u64, max_rows: u32) -> Step<Rows> {
        self.attempt(call, || {
            move |core| Box::pin(async move { core.next_page(cursor, max_rows).await })
        })
    }

    fn begin(&mut self, call: Call, mode: TransactionMode) -> Step<u64> {
        self.attempt(call, || {
            move |core| Box::pin(async move { core.begin(mode) })
        })
    }

    fn commit(&mut self, call: Call, transaction: u64) -> Step<()> {
        self.attempt(call, || {
            move |core| Box::pin(async move { core.commit(transaction).await })
        })
    }

    fn rollback(&mut self, call: Call, transaction: u64) -> Step<()> {
        if call.outcome.is_none() && self.stop.must_stop() {
            // Not in a call's time, which is over: in the background.
            if let Ok(mut core) = self.core.try_lock() {
                let checked = core.rollback_now(transaction);
                core.settle();
                return checked.map_err(Stop::Error);
            }
        }
        let done = self.attempt(call, || {
            move |core| Box::pin(async move { core.rollback(transaction).await })
        });
        match done {
            // It is undone, though the server has not said so in time.
            Err(Stop::Error(error)) if error.rolled_back() => Ok(()),
            done => done,
        }
    }

    fn in_transaction(&self) -> bool {
        self.is_in_transaction()
    }

    fn drop_statement(&mut self, statement: usize) {
        self.statements.try_remove(statement);
    }

    fn drop_cursor(&mut self, _: usize, cursor: u64) {
        self.drop_handle(Dropped::Cursor(cursor));
    }

    fn drop_transaction(&mut self, transaction: u64) {
        self.drop_handle(Dropped::Transaction(transaction));
    }

    fn end_overdue(&mut self) {
        self.end_overdue_now();
    }
}
