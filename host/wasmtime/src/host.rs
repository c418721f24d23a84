//! The contract's functions: look the handle up, delegate to the pool, convert.
//!
//! They are written once, and made into two implementations: one whose waiting functions are
//! asynchronous, one whose functions block.

use std::sync::Arc;

use millpond_pool::{Cursor, Statement, Transaction};
use wasmtime::component::{Linker, Resource};

use crate::bindings::{asynchronous, blocking};
use crate::convert::Failure;
use crate::ctx::{Connection, Sqlite, SqliteCtxView, SqliteView};

/// Define the package `millpond:sqlite` in a linker for asynchronous guests
/// ([`instantiate_async`](wasmtime::component::Linker::instantiate_async) and its like).
/// Waiting holds no thread; it needs a tokio runtime with time enabled.
///
/// # Errors
///
/// The linker has a definition of one of the names already.
pub fn add_to_linker<T: SqliteView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    asynchronous::Imports::add_to_linker::<T, Sqlite>(linker, T::sqlite)
}

/// As [`add_to_linker`], for guests that are called without `async`: waiting blocks the thread.
/// It needs no runtime.
///
/// # Errors
///
/// The linker has a definition of one of the names already.
pub fn add_to_linker_sync<T: SqliteView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    blocking::Imports::add_to_linker::<T, Sqlite>(linker, T::sqlite)
}

macro_rules! awaited {
    ($future:expr) => {
        $future.await
    };
}

macro_rules! blocked {
    ($future:expr) => {
        millpond_pool::block_on($future)
    };
}

/// `$wait` ends a call that may wait; `$async` marks the functions that make such calls.
macro_rules! implement {
    ($bindings:ident, $wait:ident $(, $async:tt)?) => {
        const _: () = {
            use $bindings::millpond::sqlite::{pool, types};

            impl pool::Host for SqliteCtxView<'_> {
                $($async)? fn get_connection(
                    &mut self,
                    database: String,
                    access: pool::Access,
                ) -> Result<Resource<Connection>, Failure> {
                    let connection = $wait!(self.ctx.get_connection(&database, access.into()))?;
                    Ok(self.table.push(connection)?)
                }

                fn return_connection(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
                    self.table.delete(connection)?.give_back();
                    Ok(())
                }

                fn close_connection(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
                    // No call is under way on it: the guest has given its handle away.
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

            impl types::Host for SqliteCtxView<'_> {
                fn convert_error(&mut self, failure: Failure) -> wasmtime::Result<types::Error> {
                    match failure {
                        Failure::Guest(mistake) => Ok(mistake.into()),
                        Failure::Trap(error) => Err(error),
                    }
                }
            }

            impl types::HostConnection for SqliteCtxView<'_> {
                $($async)? fn execute(
                    &mut self,
                    this: Resource<Connection>,
                    sql: String,
                    parameters: types::Parameters,
                ) -> Result<types::Summary, Failure> {
                    let connection = self.table.get(&this)?;
                    Ok($wait!(connection.execute(&sql, &parameters.into()))?.into())
                }

                $($async)? fn query(
                    &mut self,
                    this: Resource<Connection>,
                    sql: String,
                    parameters: types::Parameters,
                ) -> Result<types::Table, Failure> {
                    let connection = self.table.get(&this)?;
                    Ok($wait!(connection.query(&sql, &parameters.into()))?.into())
                }

                $($async)? fn execute_script(
                    &mut self,
                    this: Resource<Connection>,
                    sql: String,
                ) -> Result<(), Failure> {
                    let connection = self.table.get(&this)?;
                    Ok($wait!(connection.execute_script(&sql))?)
                }

                fn prepare(
                    &mut self,
                    this: Resource<Connection>,
                    sql: String,
                ) -> Result<Resource<Statement>, Failure> {
                    self.ctx.statements.check("statements")?;
                    let statement = self.table.get(&this)?.prepare(&sql)?;
                    let statement = self.table.push(statement)?;
                    self.ctx.statements.add();
                    Ok(statement)
                }

                $($async)? fn begin(
                    &mut self,
                    this: Resource<Connection>,
                    mode: types::TransactionMode,
                ) -> Result<Resource<Transaction>, Failure> {
                    self.ctx.transactions.check("transactions")?;
                    let connection = self.table.get(&this)?;
                    let transaction = $wait!(connection.begin(mode.into()))?;
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

            impl types::HostStatement for SqliteCtxView<'_> {
                fn columns(&mut self, this: Resource<Statement>) -> wasmtime::Result<Vec<types::Column>> {
                    Ok(self.table.get(&this)?.columns().into_iter().map(Into::into).collect())
                }

                fn parameter_names(
                    &mut self,
                    this: Resource<Statement>,
                ) -> wasmtime::Result<Vec<Option<String>>> {
                    Ok(self.table.get(&this)?.parameter_names())
                }

                fn is_read_only(&mut self, this: Resource<Statement>) -> wasmtime::Result<bool> {
                    Ok(self.table.get(&this)?.is_read_only())
                }

                $($async)? fn execute(
                    &mut self,
                    this: Resource<Statement>,
                    parameters: types::Parameters,
                ) -> Result<types::Summary, Failure> {
                    let statement = self.table.get(&this)?;
                    Ok($wait!(statement.execute(&parameters.into()))?.into())
                }

                $($async)? fn execute_many(
                    &mut self,
                    this: Resource<Statement>,
                    rows: types::Cells,
                ) -> Result<types::Summary, Failure> {
                    let statement = self.table.get(&this)?;
                    Ok($wait!(statement.execute_many(&rows.into()))?.into())
                }

                $($async)? fn query(
                    &mut self,
                    this: Resource<Statement>,
                    parameters: types::Parameters,
                    max_rows: u32,
                ) -> Result<types::Page, Failure> {
                    self.ctx.cursors.check("cursors")?;
                    let statement = self.table.get(&this)?;
                    let page = $wait!(statement.query(&parameters.into(), max_rows))?;
                    let rest = match page.rest {
                        Some(cursor) => {
                            let cursor = self.table.push(cursor)?;
                            self.ctx.cursors.add();
                            Some(cursor)
                        }
                        None => None,
                    };
                    Ok(types::Page { cells: page.cells.into(), rest })
                }

                fn drop(&mut self, this: Resource<Statement>) -> wasmtime::Result<()> {
                    self.table.delete(this)?;
                    self.ctx.statements.remove();
                    Ok(())
                }
            }

            impl types::HostCursor for SqliteCtxView<'_> {
                fn next(&mut self, this: Resource<Cursor>, max_rows: u32) -> Result<types::Cells, Failure> {
                    Ok(self.table.get(&this)?.next(max_rows)?.into())
                }

                fn drop(&mut self, this: Resource<Cursor>) -> wasmtime::Result<()> {
                    self.table.delete(this)?;
                    self.ctx.cursors.remove();
                    Ok(())
                }
            }

            impl types::HostTransaction for SqliteCtxView<'_> {
                fn commit(&mut self, this: Resource<Transaction>) -> Result<(), Failure> {
                    let transaction = self.table.delete(this)?;
                    self.ctx.transactions.remove();
                    Ok(transaction.commit()?)
                }

                fn rollback(&mut self, this: Resource<Transaction>) -> Result<(), Failure> {
                    let transaction = self.table.delete(this)?;
                    self.ctx.transactions.remove();
                    Ok(transaction.rollback()?)
                }

                fn drop(&mut self, this: Resource<Transaction>) -> wasmtime::Result<()> {
                    self.table.delete(this)?;
                    self.ctx.transactions.remove();
                    Ok(())
                }
            }
        };
    };
}

implement!(asynchronous, awaited, async);
implement!(blocking, blocked);

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
