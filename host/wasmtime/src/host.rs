//! Implements the contract's functions: look up the handle, delegate to the pool, convert. Dropping
//! a connection's handle calls `Connection::give_back`, which rolls back and resets.

use std::sync::Arc;

use millpond_pool::{Cursor, Parameters, Rows, Statement, Transaction};
use wasmtime::component::Resource;

use crate::bindings::{connections, pool};
use crate::convert::{Failure, columns};
use crate::ctx::{Connection, SqliteCtxView};

impl pool::Host for SqliteCtxView<'_> {
    async fn get_connection(
        &mut self,
        database: String,
        access: pool::Access,
    ) -> Result<Resource<Connection>, Failure> {
        let connection = self.ctx.get_connection(&database, access.into()).await?;
        Ok(self.table.push(connection)?)
    }

    fn return_connection(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
        self.table.delete(connection)?.give_back();
        Ok(())
    }

    fn close_connection(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
        // No call is running on it: the guest has given up its handle.
        if let Some(connection) = Arc::into_inner(self.table.delete(connection)?) {
            connection.close();
        }
        Ok(())
    }

    fn stats(&mut self, database: String) -> Result<pool::PoolStats, Failure> {
        Ok(self.ctx.stats(&database)?.into())
    }

    fn databases(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(self.ctx.databases())
    }
}

impl connections::Host for SqliteCtxView<'_> {
    fn convert_error(&mut self, failure: Failure) -> wasmtime::Result<connections::Error> {
        match failure {
            Failure::Guest(error) => Ok(error),
            Failure::Trap(error) => Err(error),
        }
    }
}

impl connections::HostConnection for SqliteCtxView<'_> {
    async fn execute(
        &mut self,
        this: Resource<Connection>,
        sql: String,
        parameters: Vec<u8>,
    ) -> Result<connections::Summary, Failure> {
        let connection = self.table.get(&this)?;
        let parameters = Parameters::from_bytes(parameters)?;
        Ok(connection.execute(&sql, &parameters).await?.into())
    }

    async fn query(
        &mut self,
        this: Resource<Connection>,
        sql: String,
        parameters: Vec<u8>,
        with_columns: bool,
    ) -> Result<connections::ResultSet, Failure> {
        let connection = self.table.get(&this)?;
        let parameters = Parameters::from_bytes(parameters)?;
        if !with_columns {
            let rows = connection.query_rows(&sql, &parameters).await?;
            return Ok(connections::ResultSet {
                columns: None,
                rows: rows.into_bytes(),
            });
        }
        let result = connection.query(&sql, &parameters).await?;
        Ok(connections::ResultSet {
            columns: Some(columns(result.columns)),
            rows: result.rows.into_bytes(),
        })
    }

    async fn execute_script(
        &mut self,
        this: Resource<Connection>,
        sql: String,
    ) -> Result<(), Failure> {
        Ok(self.table.get(&this)?.execute_script(&sql).await?)
    }

    async fn prepare(
        &mut self,
        this: Resource<Connection>,
        sql: String,
    ) -> Result<Resource<Statement>, Failure> {
        self.ctx.statements.check("statements")?;
        let statement = self.table.get(&this)?.prepare(&sql).await?;
        let statement = self.table.push(statement)?;
        self.ctx.statements.add();
        Ok(statement)
    }

    async fn begin(
        &mut self,
        this: Resource<Connection>,
        mode: connections::TransactionMode,
    ) -> Result<Resource<Transaction>, Failure> {
        self.ctx.transactions.check("transactions")?;
        let transaction = self.table.get(&this)?.begin(mode.into()).await?;
        let transaction = self.table.push(transaction)?;
        self.ctx.transactions.add();
        Ok(transaction)
    }

    fn in_transaction(&mut self, this: Resource<Connection>) -> wasmtime::Result<bool> {
        Ok(self.table.get(&this)?.in_transaction())
    }

    fn drop(&mut self, this: Resource<Connection>) -> wasmtime::Result<()> {
        self.table.delete(this)?.give_back();
        Ok(())
    }
}

impl connections::HostStatement for SqliteCtxView<'_> {
    async fn describe(
        &mut self,
        this: Resource<Statement>,
    ) -> Result<connections::Description, Failure> {
        Ok(self.table.get(&this)?.describe().await?.into())
    }

    async fn execute(
        &mut self,
        this: Resource<Statement>,
        parameters: Vec<u8>,
    ) -> Result<connections::Summary, Failure> {
        let statement = self.table.get(&this)?;
        let parameters = Parameters::from_bytes(parameters)?;
        Ok(statement.execute(&parameters).await?.into())
    }

    async fn execute_many(
        &mut self,
        this: Resource<Statement>,
        rows: Vec<u8>,
    ) -> Result<connections::Summary, Failure> {
        let statement = self.table.get(&this)?;
        let rows = Rows::from_bytes(rows)?;
        Ok(statement.execute_many(&rows).await?.into())
    }

    async fn query(
        &mut self,
        this: Resource<Statement>,
        parameters: Vec<u8>,
        max_rows: u32,
        with_columns: bool,
    ) -> Result<connections::Page, Failure> {
        self.ctx.check_cursors()?;
        let statement = self.table.get(&this)?;
        let parameters = Parameters::from_bytes(parameters)?;
        let page = statement.query(&parameters, max_rows, with_columns).await?;
        let rest = match page.rest {
            Some(cursor) => {
                let cursor = self.table.push(cursor)?;
                self.ctx.cursors.add();
                Some(cursor)
            }
            None => None,
        };
        Ok(connections::Page {
            columns: page.columns.map(columns),
            rows: page.rows.into_bytes(),
            rest,
        })
    }

    fn drop(&mut self, this: Resource<Statement>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        self.ctx.statements.remove();
        Ok(())
    }
}

impl connections::HostCursor for SqliteCtxView<'_> {
    async fn next(&mut self, this: Resource<Cursor>, max_rows: u32) -> Result<Vec<u8>, Failure> {
        Ok(self.table.get(&this)?.next(max_rows).await?.into_bytes())
    }

    fn drop(&mut self, this: Resource<Cursor>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        self.ctx.cursors.remove();
        Ok(())
    }
}

impl connections::HostTransaction for SqliteCtxView<'_> {
    async fn commit(&mut self, this: Resource<Transaction>) -> Result<(), Failure> {
        Ok(self.table.get(&this)?.commit().await?)
    }

    async fn rollback(&mut self, this: Resource<Transaction>) -> Result<(), Failure> {
        Ok(self.table.get(&this)?.rollback().await?)
    }

    fn drop(&mut self, this: Resource<Transaction>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        self.ctx.transactions.remove();
        Ok(())
    }
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
