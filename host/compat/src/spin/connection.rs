//! A connection that a guest has opened, and what it does for both forms of the functions.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use millpond_pool::{Connection, ErrorKind, Parameters, ValueRef};
use millpond_wasmtime::SqliteCtxView;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMutexGuard};
use wasmtime::component::Resource;

use super::types::{Error, QueryResult, Value, all_rows, names};

/// The most bytes of a connection's statements that run or wait at the same time, with their
/// parameters, in addition to the first of them.
const MAX_RUNNING_BYTES: usize = 32 << 20;

/// The data of a connection's handle.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) connection: Arc<Connection>,
    pub(super) running: Budget,
    /// Held for each call, because the pool's calls block while another thread makes one.
    call: Arc<Mutex<()>>,
}

/// A call on a connection that is under way: no other is.
pub(super) type Call = OwnedMutexGuard<()>;

impl Open {
    pub(super) fn new(connection: Arc<Connection>) -> Open {
        Open {
            connection,
            running: Budget::default(),
            call: Arc::default(),
        }
    }

    /// Wait until no other call on the connection is running.
    pub(super) async fn begin_call(&self) -> Call {
        Arc::clone(&self.call).lock_owned().await
    }

    /// Do something with the connection as soon as no call on it is running, without waiting for
    /// that. Outside of a runtime, does it at once, which may block until that call has ended.
    pub(super) fn soon(&self, work: impl FnOnce() + Send + 'static) {
        if let Ok(_call) = self.call.try_lock() {
            return work();
        }
        let Ok(runtime) = Handle::try_current() else {
            return work();
        };
        let open = self.clone();
        runtime.spawn(async move {
            let _call = open.begin_call().await;
            work();
        });
    }

    pub(super) fn of(view: &SqliteCtxView<'_>, this: &Resource<Open>) -> wasmtime::Result<Open> {
        Ok(view.table.get(this)?.clone())
    }

    /// Run a statement, and return its whole result.
    pub(super) async fn execute(
        &self,
        statement: &str,
        parameters: Vec<Value>,
    ) -> Result<QueryResult, Error> {
        let parameters = Parameters::positional(parameters);
        let call = self.begin_call().await;
        let result = self.connection.query(statement, &parameters).await?;
        drop(call);
        Ok(QueryResult {
            rows: all_rows(&result.rows).await?,
            columns: names(result.columns),
        })
    }

    pub(super) async fn last_insert_rowid(&self) -> wasmtime::Result<i64> {
        self.count("SELECT last_insert_rowid()").await
    }

    pub(super) async fn changes(&self) -> wasmtime::Result<u64> {
        Ok(self.count("SELECT changes()").await?.unsigned_abs())
    }

    /// A counter of the connection. The functions that return it have no errors, so a connection
    /// that has been taken back traps.
    async fn count(&self, sql: &str) -> wasmtime::Result<i64> {
        let _call = self.begin_call().await;
        match self.connection.query_rows(sql, &Parameters::NONE).await {
            Ok(rows) => match rows.values().next() {
                Some(ValueRef::Integer(count)) => Ok(count),
                other => Err(wasmtime::format_err!("{sql} returned {other:?}")),
            },
            // A server does not tell before the connection has written.
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}

/// The bytes of a connection's statements that run or wait, with their parameters.
#[derive(Clone, Debug, Default)]
pub(super) struct Budget(Arc<AtomicUsize>);

impl Budget {
    /// Count a statement that begins, until the answer is dropped.
    pub(super) fn take(&self, statement: &str, parameters: &[Value]) -> Result<Taken, Error> {
        let bytes = statement.len() + parameters.iter().map(Value::size).sum::<usize>();
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        let taken = Taken {
            budget: self.clone(),
            bytes,
        };
        if before > 0 && before + bytes > MAX_RUNNING_BYTES {
            return Err(Error::Io(format!(
                "too-large: the statements that are running have more than {MAX_RUNNING_BYTES} bytes \
                 with their parameters: wait until one has ended"
            )));
        }
        Ok(taken)
    }
}

/// A statement that runs or waits.
#[derive(Debug)]
pub(super) struct Taken {
    budget: Budget,
    bytes: usize,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_that_wait_are_bounded() {
        let budget = Budget::default();
        let text = " ".repeat(MAX_RUNNING_BYTES);
        let large = [Value::Blob(vec![0; MAX_RUNNING_BYTES])];
        let small = [Value::Integer(1)];
        for (statement, parameters) in [("", &large), (&text, &small)] {
            let first = budget.take(statement, parameters);
            let first = first.expect("the first, of any size");
            for (statement, parameters) in [("", &large), (&text, &small), ("", &small)] {
                let more = budget.take(statement, parameters);
                assert!(matches!(more, Err(Error::Io(_))));
            }
            drop(first);
            let taken = [&small, &small].map(|small| budget.take("", small).expect("room"));
            assert!(budget.take(statement, parameters).is_err());
            drop(taken);
        }
    }
}
