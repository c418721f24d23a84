//! Calls the contract's functions directly, as a guest would: hostile input gets an error value,
//! and keeps no connection.

use std::future::poll_fn;
use std::task::Poll;

use millpond_pool::{Access, Pool, PoolStats, StatsScope, block_on};
use millpond_sqlite::PoolBuilder;
use wasmtime::component::{Resource, ResourceTable};

use crate::bindings::connections::{
    self, ErrorKind, Host as _, HostConnection, HostCursor, HostStatement, HostTransaction,
    TransactionMode,
};
use crate::bindings::pool::{self, Access as WitAccess, Host as _};
use crate::convert::Failure;
use crate::{Grant, SqliteCtx, SqliteCtxView};

struct Fixture {
    pool: Pool,
    ctx: SqliteCtx,
    table: ResourceTable,
}

fn fixture(access: Access) -> Fixture {
    let pool = PoolBuilder::new()
        .timeout(std::time::Duration::ZERO)
        .open_in_memory()
        .expect("a pool");
    let ctx = SqliteCtx::builder()
        .grant("default", Grant::new(&pool, access).max_connections(2))
        .max_statements(3)
        .max_cursors(2)
        .build();
    Fixture {
        pool,
        ctx,
        table: ResourceTable::new(),
    }
}

impl Fixture {
    fn view(&mut self) -> SqliteCtxView<'_> {
        SqliteCtxView {
            ctx: &mut self.ctx,
            table: &mut self.table,
        }
    }

    fn stats(&self) -> PoolStats {
        self.pool.stats()
    }

    fn get(&mut self) -> Resource<crate::ctx::Connection> {
        block_on(
            self.view()
                .get_connection("default".into(), WitAccess::ReadWrite),
        )
        .expect("a connection")
    }

    fn error<T>(&mut self, result: Result<T, Failure>) -> connections::Error {
        match result {
            Ok(_) => panic!("it succeeded"),
            Err(failure) => self
                .view()
                .convert_error(failure)
                .expect("a guest's mistake"),
        }
    }
}

/// No parameters, or no rows.
fn none() -> Vec<u8> {
    Vec::new()
}

/// A borrowed handle, as each of a guest's calls passes one.
fn lend<T>(resource: &Resource<T>) -> Resource<T>
where
    T: 'static,
{
    Resource::new_borrow(resource.rep())
}

#[test]
fn a_name_that_was_not_granted_is_no_such_database() {
    let mut f = fixture(Access::ReadWrite);
    for name in [
        "",
        "DEFAULT",
        "../app.db",
        "default\0",
        "file:app.db?mode=ro",
    ] {
        let result = block_on(f.view().get_connection(name.into(), WitAccess::ReadOnly));
        assert_eq!(f.error(result).kind, ErrorKind::NoSuchDatabase, "{name:?}");
        let result = f.view().stats(name.into());
        assert_eq!(f.error(result).kind, ErrorKind::NoSuchDatabase, "{name:?}");
    }
    assert_eq!(f.view().databases().expect("names"), ["default"]);
}

#[test]
fn a_read_only_grant_lends_no_writer() {
    let mut f = fixture(Access::ReadOnly);
    let result = block_on(
        f.view()
            .get_connection("default".into(), WitAccess::ReadWrite),
    );
    assert_eq!(f.error(result).kind, ErrorKind::NotAuthorized);
    block_on(
        f.view()
            .get_connection("default".into(), WitAccess::ReadOnly),
    )
    .expect("a reader");
}

#[test]
fn a_request_holds_no_more_than_its_grant_allows() {
    let mut f = fixture(Access::ReadWrite);
    let (one, two) = (f.get(), f.get());
    let result = block_on(
        f.view()
            .get_connection("default".into(), WitAccess::ReadOnly),
    );
    assert_eq!(f.error(result).kind, ErrorKind::TooManyHandles);
    f.view().return_connection(one).expect("returned");
    let one = f.get();

    let statements: Vec<_> = (0..3)
        .map(|_| {
            block_on(
                f.view()
                    .prepare(lend(&one), "SELECT 1 UNION SELECT 2".into()),
            )
            .expect("compiled")
        })
        .collect();
    let result = block_on(f.view().prepare(lend(&one), "SELECT 1".into()));
    assert_eq!(f.error(result).kind, ErrorKind::TooManyHandles);

    let mut cursors = Vec::new();
    for statement in &statements[..2] {
        let page = block_on(connections::HostStatement::query(
            &mut f.view(),
            lend(statement),
            none(),
            1,
            false,
        ));
        cursors.extend(page.expect("a row").rest);
    }
    let result = block_on(connections::HostStatement::query(
        &mut f.view(),
        lend(&statements[2]),
        none(),
        1,
        false,
    ));
    assert_eq!(f.error(result).kind, ErrorKind::TooManyHandles);
    connections::HostCursor::drop(&mut f.view(), cursors.remove(0)).expect("dropped");
    block_on(connections::HostStatement::query(
        &mut f.view(),
        lend(&statements[2]),
        none(),
        1,
        false,
    ))
    .expect("a place");
    f.view().close_connection(two).expect("closed");
    assert_eq!((f.stats().in_use, f.stats().connections_closed), (1, 1));
}

#[test]
fn what_outlives_its_connection_is_stale_and_does_not_trap() {
    let mut f = fixture(Access::ReadWrite);
    let connection = f.get();
    let statement = block_on(
        f.view()
            .prepare(lend(&connection), "SELECT 1 UNION SELECT 2".into()),
    )
    .expect("compiled");
    let page = block_on(connections::HostStatement::query(
        &mut f.view(),
        lend(&statement),
        none(),
        1,
        false,
    ));
    let cursor = page.expect("a row").rest.expect("another");
    let transaction = block_on(
        f.view()
            .begin(lend(&connection), TransactionMode::Immediate),
    )
    .expect("a transaction");
    f.view().return_connection(connection).expect("returned");
    assert_eq!(f.stats().in_use, 0);

    let result = block_on(connections::HostStatement::execute(
        &mut f.view(),
        lend(&statement),
        none(),
    ));
    assert_eq!(f.error(result).kind, ErrorKind::StaleHandle);
    let result = block_on(f.view().execute_many(lend(&statement), none()));
    assert_eq!(f.error(result).kind, ErrorKind::StaleHandle);
    let result = block_on(f.view().next(lend(&cursor), 1));
    assert_eq!(f.error(result).kind, ErrorKind::StaleHandle);
    let result = block_on(f.view().describe(lend(&statement)));
    assert_eq!(f.error(result).kind, ErrorKind::StaleHandle);
    let result = block_on(f.view().commit(lend(&transaction)));
    assert_eq!(f.error(result).kind, ErrorKind::StaleHandle);
    connections::HostStatement::drop(&mut f.view(), statement).expect("dropped");
    connections::HostCursor::drop(&mut f.view(), cursor).expect("dropped");
    connections::HostTransaction::drop(&mut f.view(), transaction).expect("dropped");
}

#[test]
fn ending_a_request_returns_everything_even_if_its_table_stays() {
    let mut f = fixture(Access::ReadWrite);
    let connection = f.get();
    let _other = f.get();
    let _transaction = block_on(
        f.view()
            .begin(lend(&connection), TransactionMode::Immediate),
    )
    .expect("a transaction");
    assert_eq!(f.stats().in_use, 2);
    let Fixture { pool, ctx, table } = f;
    drop(ctx);
    let stats = pool.stats();
    assert_eq!((stats.in_use, stats.idle, stats.rolled_back), (0, 2, 1));
    drop(table);
    assert_eq!(pool.stats(), stats);
}

#[test]
fn an_error_keeps_its_code_and_its_place() {
    let mut f = fixture(Access::ReadWrite);
    let connection = f.get();
    let result = block_on(connections::HostConnection::execute(
        &mut f.view(),
        lend(&connection),
        "SELECT missing".into(),
        none(),
    ));
    let error = f.error(result);
    assert_eq!(
        (error.kind, error.code, error.offset),
        (ErrorKind::Sql, 1, Some(7))
    );
    let result = block_on(
        f.view()
            .execute_script(lend(&connection), "SELECT 1; SELECT missing".into()),
    );
    assert_eq!(f.error(result).offset, Some(17));
}

#[test]
fn a_call_that_waits_is_counted_and_keeps_nothing_after_the_request() {
    let pool = PoolBuilder::new().max_size(1).open_in_memory();
    let pool = pool.expect("a pool");
    let other = pool.get_blocking(Access::ReadWrite).expect("another's");
    let grant = Grant::new(&pool, Access::ReadWrite).max_connections(1);
    let mut ctx = SqliteCtx::builder().grant("default", grant).build();
    let connection = block_on(async {
        let mut waiting = Box::pin(ctx.get_connection("default", Access::ReadWrite));
        poll_fn(|context| {
            assert!(waiting.as_mut().poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
        let second = ctx.get_connection("default", Access::ReadWrite).await;
        let error = second.expect_err("the request may have one");
        assert_eq!(error.kind, ErrorKind::TooManyHandles);
        // From now on the first one has it.
        drop(other);
        drop(ctx);
        waiting.await
    });
    assert_eq!(pool.stats().in_use, 0, "{connection:?}");
}

#[test]
fn stats_show_what_the_grant_allows() {
    let mut f = fixture(Access::ReadWrite);
    let _other = f.pool.get_blocking(Access::ReadOnly).expect("another's");
    let _own = f.get();
    for (scope, told) in [
        (StatsScope::Pool, Ok((2, 1, 1, 5))),
        (StatsScope::Request, Ok((1, 0, 0, 2))),
        (StatsScope::Nothing, Err(ErrorKind::NotAuthorized)),
    ] {
        let grant = Grant::new(&f.pool, Access::ReadWrite);
        let grant = grant.max_connections(2).stats(scope);
        f.ctx.set_grant("default", grant);
        let told_now = match f.view().stats("default".into()) {
            Ok(stats) => {
                let stats: pool::PoolStats = stats;
                let used = (stats.in_use, stats.hits, stats.misses);
                Ok((used.0, used.1, used.2, stats.max_size))
            }
            Err(failure) => Err(f.error::<()>(Err(failure)).kind),
        };
        assert_eq!(told_now, told, "{scope:?}");
    }
}

#[test]
fn malformed_rows_are_an_error_value() {
    let mut f = fixture(Access::ReadWrite);
    let connection = f.get();
    let sql = "SELECT ?1";
    let statement = block_on(f.view().prepare(lend(&connection), sql.into())).expect("compiled");
    let not_utf8 = [1, 0, 0, 0, 3, 1, 0, 0, 0, 0xff];
    for (bytes, kind) in [
        (vec![1], ErrorKind::Parameters),
        (vec![1, 0, 0, 0, 9], ErrorKind::Parameters),
        (vec![0xff, 0xff, 0xff, 0xff, 5], ErrorKind::Parameters),
        (not_utf8.to_vec(), ErrorKind::NotUtf8),
    ] {
        let view = &mut f.view();
        let (this, parameters) = (lend(&connection), bytes.clone());
        let executed = HostConnection::execute(view, this, sql.into(), parameters);
        let executed = block_on(executed);
        assert_eq!(f.error(executed).kind, kind, "{bytes:?}");
        let view = &mut f.view();
        let (this, parameters) = (lend(&connection), bytes.clone());
        let table = HostConnection::query(view, this, sql.into(), parameters, true);
        let table = block_on(table);
        assert_eq!(f.error(table).kind, kind, "{bytes:?}");
        let view = &mut f.view();
        let executed = HostStatement::execute(view, lend(&statement), bytes.clone());
        let executed = block_on(executed);
        assert_eq!(f.error(executed).kind, kind, "{bytes:?}");
        let view = &mut f.view();
        let page = HostStatement::query(view, lend(&statement), bytes.clone(), 1, true);
        let page = block_on(page);
        assert_eq!(f.error(page).kind, kind, "{bytes:?}");
        let many = block_on(f.view().execute_many(lend(&statement), bytes.clone()));
        assert_eq!(f.error(many).kind, kind, "{bytes:?}");
    }
}
