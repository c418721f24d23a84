//! One store for several requests: what one leaves is stale in the next, and still counts.

use std::future::poll_fn;
use std::task::Poll;

use millpond_pool::{Access, Pool, block_on};
use millpond_sqlite::PoolBuilder;
use wasmtime::component::{Resource, ResourceTable};

use super::*;
use crate::bindings::connections::{
    ErrorKind, Host as _, HostConnection, HostCursor, HostStatement, HostTransaction,
    TransactionMode,
};
use crate::bindings::pool::{Access as WitAccess, Host as _};
use crate::convert::Failure;

const TWO_ROWS: &str = "SELECT 1 UNION SELECT 2";

fn pool(max_size: u32) -> Pool {
    let pool = PoolBuilder::new().max_size(max_size).open_in_memory();
    pool.expect("a pool")
}

/// A request that may hold two of everything.
fn request(pool: &Pool) -> SqliteCtx {
    let grant = Grant::new(pool, Access::ReadWrite).max_connections(2);
    SqliteCtx::builder()
        .grant("default", grant)
        .max_statements(2)
        .max_cursors(2)
        .max_transactions(2)
        .build()
}

struct Store {
    ctx: SqliteCtx,
    table: ResourceTable,
}

impl Store {
    fn of(ctx: SqliteCtx) -> Store {
        let table = ResourceTable::new();
        Store { ctx, table }
    }

    fn view(&mut self) -> SqliteCtxView<'_> {
        SqliteCtxView {
            ctx: &mut self.ctx,
            table: &mut self.table,
        }
    }

    fn told<T>(&mut self, result: Result<T, Failure>) -> Result<T, ErrorKind> {
        let mut error = |failure| self.view().convert_error(failure).expect("a mistake");
        result.map_err(|failure| error(failure).kind)
    }

    fn get(&mut self) -> Result<Resource<Connection>, ErrorKind> {
        let mut view = self.view();
        let got = block_on(view.get_connection("default".into(), WitAccess::ReadWrite));
        self.told(got)
    }

    fn prepare(
        &mut self,
        this: &Resource<Connection>,
    ) -> Result<Resource<millpond_pool::Statement>, ErrorKind> {
        let this = Resource::new_borrow(this.rep());
        let prepared = block_on(self.view().prepare(this, TWO_ROWS.into()));
        self.told(prepared)
    }

    fn begin(
        &mut self,
        this: &Resource<Connection>,
    ) -> Result<Resource<millpond_pool::Transaction>, ErrorKind> {
        let this = Resource::new_borrow(this.rep());
        let begun = block_on(self.view().begin(this, TransactionMode::Immediate));
        self.told(begun)
    }

    fn query(
        &mut self,
        this: &Resource<millpond_pool::Statement>,
    ) -> Result<Resource<millpond_pool::Cursor>, ErrorKind> {
        let this = Resource::new_borrow(this.rep());
        let mut view = self.view();
        let page = HostStatement::query(&mut view, this, Vec::new(), 1, false);
        let page = block_on(page);
        self.told(page).map(|page| page.rest.expect("another row"))
    }
}

fn borrow<T: 'static>(resource: &Resource<T>) -> Resource<T> {
    Resource::new_borrow(resource.rep())
}

#[test]
fn what_a_request_leaves_is_returned_and_stale_in_the_next() {
    let (first, second) = (pool(2), pool(2));
    let mut store = Store::of(request(&first));
    let connection = store.get().expect("a connection");
    let statement = store.prepare(&connection).expect("compiled");
    let cursor = store.query(&statement).expect("a cursor");
    let transaction = store.begin(&connection).expect("a transaction");
    let late = store.ctx.request().clone();

    store.ctx.end_request();
    assert_eq!((first.stats().in_use, first.stats().rolled_back), (0, 1));
    assert_eq!(store.get().err(), Some(ErrorKind::PoolTimeout));
    store.ctx.next_request(request(&second));
    late.interrupt();

    let executed = block_on(store.view().execute_script(borrow(&connection), "".into()));
    assert_eq!(store.told(executed), Err(ErrorKind::StaleHandle));
    assert_eq!(store.query(&statement).err(), Some(ErrorKind::StaleHandle));
    let next = block_on(store.view().next(borrow(&cursor), 1));
    assert_eq!(store.told(next), Err(ErrorKind::StaleHandle));
    let commit = block_on(store.view().commit(borrow(&transaction)));
    assert_eq!(store.told(commit), Err(ErrorKind::StaleHandle));

    let new = store.get().expect("the new request's");
    let executed = block_on(store.view().execute_script(borrow(&new), TWO_ROWS.into()));
    assert_eq!(store.told(executed), Ok(()));
    assert_eq!((first.stats().in_use, second.stats().in_use), (0, 1));
}

#[test]
fn what_the_guest_keeps_counts_until_it_is_dropped() {
    let pool = pool(5);
    let mut store = Store::of(request(&pool));
    let connection = store.get().expect("a connection");
    let statement = store.prepare(&connection).expect("compiled");
    let cursor = store.query(&statement).expect("a cursor");
    let transaction = store.begin(&connection).expect("a transaction");
    let _place = store.ctx.take_cursor_place().expect("a place");

    // Two requests later.
    store.ctx.next_request(request(&pool));
    store.ctx.next_request(request(&pool));
    let new = store.get().expect("one more");
    assert_eq!(store.get().err(), Some(ErrorKind::TooManyHandles));
    let compiled = store.prepare(&new).expect("one more");
    assert_eq!(store.prepare(&new).err(), Some(ErrorKind::TooManyHandles));
    assert_eq!(
        store.query(&compiled).err(),
        Some(ErrorKind::TooManyHandles)
    );
    let begun = store.begin(&new).expect("one more");
    assert_eq!(store.begin(&new).err(), Some(ErrorKind::TooManyHandles));

    HostTransaction::drop(&mut store.view(), begun).expect("dropped");
    HostTransaction::drop(&mut store.view(), transaction).expect("dropped");
    HostCursor::drop(&mut store.view(), cursor).expect("dropped");
    HostStatement::drop(&mut store.view(), statement).expect("dropped");
    HostConnection::drop(&mut store.view(), connection).expect("dropped");
    let second = store.get().expect("its place is free");
    store.prepare(&second).expect("its place is free");
    store.query(&compiled).expect("its place is free");
}

#[test]
fn a_call_that_waits_does_not_get_into_the_next_request() {
    let (first, second) = (pool(1), pool(2));
    let other = first.get_blocking(Access::ReadWrite).expect("another's");
    let mut ctx = request(&first);
    let late = block_on(async {
        let mut waiting = Box::pin(ctx.get_connection("default", Access::ReadWrite));
        poll_fn(|context| {
            assert!(waiting.as_mut().poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
        ctx.next_request(request(&second));
        // It counts while it waits.
        let one = ctx.get_connection("default", Access::ReadWrite).await;
        let two = ctx.get_connection("default", Access::ReadWrite).await;
        let error = two.expect_err("it may hold two");
        assert_eq!(error.kind, ErrorKind::TooManyHandles);
        assert_eq!(second.stats().in_use, 1, "{one:?}");
        drop(other);
        waiting.await
    });
    assert_eq!(first.stats().in_use, 0, "{late:?}");
    assert_eq!(second.stats().in_use, 0);
}
