//! The functions of the contract, called as a guest's calls arrive, without a guest: both
//! implementations answer hostile input with an error value, and keep no connection.

use millpond_pool::{Access, Pool, PoolStats, StatsScope};
use millpond_sqlite::PoolBuilder;
use wasmtime::component::{Resource, ResourceTable};

use crate::bindings::blocking::millpond::sqlite::pool::Host as _;
use crate::bindings::blocking::millpond::sqlite::pool::{self, Access as WitAccess};
use crate::bindings::blocking::millpond::sqlite::types::{
    self, Cells, ErrorKind, Host as _, HostConnection as _, HostCursor as _, HostStatement as _,
    HostTransaction as _, Parameters, TransactionMode,
};
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
        self.view()
            .get_connection("default".into(), WitAccess::ReadWrite)
            .expect("a connection")
    }

    fn error<T>(&mut self, result: Result<T, Failure>) -> types::Error {
        match result {
            Ok(_) => panic!("it succeeded"),
            Err(failure) => self
                .view()
                .convert_error(failure)
                .expect("a guest's mistake"),
        }
    }
}

fn none() -> Parameters {
    Parameters::Positional(Vec::new())
}

/// A second handle to what the guest holds, as each of its calls brings one.
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
        let result = f.view().get_connection(name.into(), WitAccess::ReadOnly);
        assert_eq!(f.error(result).kind, ErrorKind::NoSuchDatabase, "{name:?}");
        let result = f.view().stats(name.into());
        assert_eq!(f.error(result).kind, ErrorKind::NoSuchDatabase, "{name:?}");
    }
    assert_eq!(f.view().databases().expect("names"), ["default"]);
}

#[test]
fn a_read_only_grant_lends_no_writer() {
    let mut f = fixture(Access::ReadOnly);
    let result = f
        .view()
        .get_connection("default".into(), WitAccess::ReadWrite);
    assert_eq!(f.error(result).kind, ErrorKind::NotAuthorized);
    f.view()
        .get_connection("default".into(), WitAccess::ReadOnly)
        .expect("a reader");
}

#[test]
fn a_request_holds_no_more_than_its_grant_allows() {
    let mut f = fixture(Access::ReadWrite);
    let (one, two) = (f.get(), f.get());
    let result = f
        .view()
        .get_connection("default".into(), WitAccess::ReadOnly);
    assert_eq!(f.error(result).kind, ErrorKind::TooManyHandles);
    f.view().return_connection(one).expect("returned");
    let one = f.get();

    let statements: Vec<_> = (0..3)
        .map(|_| {
            f.view()
                .prepare(lend(&one), "SELECT 1 UNION SELECT 2".into())
                .expect("compiled")
        })
        .collect();
    let result = f.view().prepare(lend(&one), "SELECT 1".into());
    assert_eq!(f.error(result).kind, ErrorKind::TooManyHandles);

    let mut cursors = Vec::new();
    for statement in &statements[..2] {
        let page = types::HostStatement::query(&mut f.view(), lend(statement), none(), 1);
        cursors.extend(page.expect("a row").rest);
    }
    let result = types::HostStatement::query(&mut f.view(), lend(&statements[2]), none(), 1);
    assert_eq!(f.error(result).kind, ErrorKind::TooManyHandles);
    types::HostCursor::drop(&mut f.view(), cursors.remove(0)).expect("dropped");
    types::HostStatement::query(&mut f.view(), lend(&statements[2]), none(), 1).expect("a place");
    f.view().close_connection(two).expect("closed");
    assert_eq!((f.stats().in_use, f.stats().connections_closed), (1, 1));
}

#[test]
fn what_outlives_its_connection_is_stale_and_does_not_trap() {
    let mut f = fixture(Access::ReadWrite);
    let connection = f.get();
    let statement = f
        .view()
        .prepare(lend(&connection), "SELECT 1 UNION SELECT 2".into())
        .expect("compiled");
    let page = types::HostStatement::query(&mut f.view(), lend(&statement), none(), 1);
    let cursor = page.expect("a row").rest.expect("another");
    let transaction = f
        .view()
        .begin(lend(&connection), TransactionMode::Immediate)
        .expect("a transaction");
    f.view().return_connection(connection).expect("returned");
    assert_eq!(f.stats().in_use, 0);

    let result = types::HostStatement::execute(&mut f.view(), lend(&statement), none());
    assert_eq!(f.error(result).kind, ErrorKind::StaleHandle);
    let cells = Cells {
        kinds: vec![],
        integers: vec![],
        reals: vec![],
        lengths: vec![],
        bytes: vec![],
    };
    let result = f.view().execute_many(lend(&statement), cells);
    assert_eq!(f.error(result).kind, ErrorKind::StaleHandle);
    let result = f.view().next(lend(&cursor), 1);
    assert_eq!(f.error(result).kind, ErrorKind::StaleHandle);
    assert!(f.view().columns(lend(&statement)).expect("none").is_empty());
    assert!(f.view().is_read_only(lend(&statement)).expect("an answer"));
    let result = f.view().commit(transaction);
    assert_eq!(f.error(result).kind, ErrorKind::StaleHandle);
    types::HostStatement::drop(&mut f.view(), statement).expect("dropped");
    types::HostCursor::drop(&mut f.view(), cursor).expect("dropped");
}

#[test]
fn a_request_that_ends_gives_everything_back_even_if_its_table_stays() {
    let mut f = fixture(Access::ReadWrite);
    let connection = f.get();
    let _other = f.get();
    let _transaction = f
        .view()
        .begin(lend(&connection), TransactionMode::Immediate)
        .expect("a transaction");
    assert_eq!(f.stats().in_use, 2);
    let Fixture { pool, ctx, table } = f;
    drop(ctx);
    let stats = pool.stats();
    assert_eq!(
        (stats.in_use, stats.pool_size, stats.rolled_back),
        (0, 2, 1)
    );
    drop(table);
    assert_eq!(pool.stats(), stats);
}

#[test]
fn an_error_keeps_its_code_and_its_place() {
    let mut f = fixture(Access::ReadWrite);
    let connection = f.get();
    let result = types::HostConnection::execute(
        &mut f.view(),
        lend(&connection),
        "SELECT missing".into(),
        none(),
    );
    let error = f.error(result);
    assert_eq!(
        (error.kind, error.code, error.offset),
        (ErrorKind::Sql, 1, Some(7))
    );
    let result = f
        .view()
        .execute_script(lend(&connection), "SELECT 1; SELECT missing".into());
    assert_eq!(f.error(result).offset, Some(17));
}

#[test]
fn stats_tell_as_much_as_is_granted() {
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
                let used = (stats.in_use, stats.pool_hits, stats.pool_misses);
                Ok((used.0, used.1, used.2, stats.max_pool_size))
            }
            Err(failure) => Err(f.error::<()>(Err(failure)).kind),
        };
        assert_eq!(told_now, told, "{scope:?}");
    }
}
