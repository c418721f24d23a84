//! Limits SQLite's memory, per connection and for the whole process.
//!
//! SQLite uses one allocator for everything: its page cache, compiled statements, sorting, values,
//! and the temporary files here. This is that allocator (<https://sqlite.org/c3ref/config.html>,
//! `SQLITE_CONFIG_MALLOC`). It gets its memory from Rust's allocator, and accounts for it: while a
//! thread is in a [`Budget`]'s scope, SQLite's allocations count against that budget. An allocation
//! that would exceed it fails, which SQLite reports as `SQLITE_NOMEM`. Each allocation records its
//! account, so that freeing it credits the right one on any thread and in any scope.
//!
//! SQLite's use by other code of the process is in no scope, and never refused.
//!
//! An account can refuse everything for a while, which stops what a connection does: see
//! [`watchdog`](crate::deadline::watchdog). SQLite then gets no pages either, not even cached ones
//! (`SQLITE_CONFIG_PCACHE2`), because it can scan whole tables without allocating. Memory-mapped
//! pages are the exception.
//!
//! SQLite only accepts an allocator before it is first used, which another crate may do before any
//! pool is opened: so this one is installed before `main`. SQLite's own memory statistics, a
//! counter behind a lock that all connections would share, are switched off
//! (`SQLITE_CONFIG_MEMSTATUS`).
//!
//! **Invariant:** every pointer that SQLite frees or resizes comes from here and has a [`Header`]
//! in front of it, because there is no other allocator before or after. Accounts are never freed.
//! Nothing here unwinds: no code below panics, whatever SQLite asks for. Handing over a worker does
//! not either, because it first checks that there is one.
#![expect(
    unsafe_code,
    reason = "SQLite's C interface; each block states why it holds"
)]

use std::alloc::{Layout, alloc, dealloc, realloc};
use std::cell::Cell;
use std::ffi::{c_int, c_uint, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::ffi;

use crate::deadline::Watch;

/// The limit of all connections together, unless [`set_process_memory_limit`] changes it.
const DEFAULT_PROCESS_LIMIT: usize = 4 << 30;

/// Accounts report to the process in steps of this many bytes, to avoid contention for one counter.
const STEP: usize = 256 << 10;

/// The size from which an account records a growing array, in bytes.
pub(crate) const LARGE: usize = 3 * 1024;

static INSTALLED: AtomicBool = AtomicBool::new(false);
/// The `xFetch` of SQLite's own page cache, or null.
static FETCH: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());
/// Briefly negative if two threads of one account allocate and free at once.
static PROCESS: AtomicIsize = AtomicIsize::new(0);
static PROCESS_LIMIT: AtomicUsize = AtomicUsize::new(DEFAULT_PROCESS_LIMIT);

/// For allocations outside of any budget's scope.
static HOST: Account = Account::new(usize::MAX);

thread_local! {
    static CURRENT: Cell<&'static Account> = const { Cell::new(&HOST) };
}

/// Limit SQLite's memory for the connections of **all** pools in this process together, in bytes: a
/// backstop behind [`max_memory_bytes`](crate::PoolBuilder::max_memory_bytes), for a process with
/// many pools. A statement that would exceed it fails with
/// [`QuotaExceeded`](millpond_pool::ErrorKind::QuotaExceeded). Counted in steps of 256 KiB per
/// connection. Takes effect at once, and frees nothing. Defaults to 4 GiB.
pub fn set_process_memory_limit(bytes: usize) {
    PROCESS_LIMIT.store(bytes, Ordering::Relaxed);
}

/// Whether SQLite uses this allocator. False if other code initialised SQLite before `main`.
pub(crate) fn is_installed() -> bool {
    INSTALLED.load(Ordering::Relaxed)
}

/// A limit, and the memory in use.
#[derive(Debug)]
pub(crate) struct Account {
    used: AtomicUsize,
    /// The current limit: the budget, or 0.
    limit: AtomicUsize,
    budget: AtomicUsize,
    /// The [`Watch`] of the connection whose account this is; or null.
    watch: AtomicPtr<Watch>,
    /// How many tokens of a full-text query, and of a row being indexed, have been read since a
    /// page was fetched: parsing a query fetches none, nor does indexing a row until the next one.
    query_tokens: AtomicU32,
    row_tokens: AtomicU32,
    /// Set while compiling a statement when something grew to [`LARGE`] bytes, or a page was
    /// fetched.
    grew_large: AtomicBool,
    fetched: AtomicBool,
    #[cfg(test)]
    peak: AtomicUsize,
}

impl Account {
    const fn new(limit: usize) -> Account {
        Account {
            used: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
            budget: AtomicUsize::new(limit),
            watch: AtomicPtr::new(ptr::null_mut()),
            query_tokens: AtomicU32::new(0),
            row_tokens: AtomicU32::new(0),
            grew_large: AtomicBool::new(false),
            fetched: AtomicBool::new(false),
            #[cfg(test)]
            peak: AtomicUsize::new(0),
        }
    }

    fn take(&self, bytes: usize) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let after = before.saturating_add(bytes);
        let steps = (after / STEP).saturating_sub(before / STEP);
        let total = match steps {
            0 => 0,
            _ => {
                let more = (steps * STEP) as isize;
                let total = PROCESS.fetch_add(more, Ordering::Relaxed);
                usize::try_from(total.saturating_add(more)).unwrap_or(0)
            }
        };
        let process_limit = match limit {
            usize::MAX => usize::MAX,
            _ => PROCESS_LIMIT.load(Ordering::Relaxed),
        };
        let granted = after <= limit && total <= process_limit;
        #[cfg(test)]
        let granted = granted && (limit == usize::MAX || !tests::fails());
        if !granted {
            self.give_back(bytes);
        }
        #[cfg(test)]
        if granted {
            self.peak.fetch_max(after, Ordering::Relaxed);
        }
        granted
    }

    /// Hand over the runtime's worker if the call is slow. For work that calls nothing else of
    /// ours, but allocates, frees or reads pages: SQLite asks its authorizer nothing while it
    /// derives the columns of a view (`sqlite3ViewGetColumnNames` in its source), counts a table in
    /// one instruction, and frees the tree of a statement of any size at once. It holds no lock of
    /// the process meanwhile: with `SQLITE_CONFIG_MEMSTATUS` off, there is none to allocate.
    fn hand_over_if_marked(&self) {
        let watch = self.watch.load(Ordering::Relaxed);
        // SAFETY: null, or what the budget of a connection keeps. Only this thread uses that
        // connection while it is in its scope, which the caller has checked: the connection is not
        // closed, nor the budget dropped, meanwhile.
        if let Some(watch) = unsafe { watch.as_ref() } {
            watch.hand_over_if_marked();
        }
    }

    /// See [`Budget::enter`].
    pub(crate) fn enter(&'static self) -> Scope {
        Scope {
            before: CURRENT.replace(self),
            not_send: std::marker::PhantomData,
        }
    }

    /// Refuse all allocations from now on.
    pub(crate) fn refuse(&self) {
        self.limit.store(0, Ordering::Relaxed);
    }

    /// Allow allocations up to the budget again.
    pub(crate) fn allow(&self) {
        let budget = self.budget.load(Ordering::Relaxed);
        self.limit.store(budget, Ordering::Relaxed);
    }

    /// No full-text query is being parsed, and no row indexed.
    pub(crate) fn forget_tokens(&self) {
        self.query_tokens.store(0, Ordering::Relaxed);
        self.row_tokens.store(0, Ordering::Relaxed);
    }

    /// SQLite is about to compile a statement.
    pub(crate) fn start_compiling(&self) {
        self.grew_large.store(false, Ordering::Relaxed);
        self.fetched.store(false, Ordering::Relaxed);
    }

    /// Whether an array grew to [`LARGE`] bytes or more since SQLite began to compile. A program is
    /// such an array.
    pub(crate) fn grew_large(&self) -> bool {
        self.grew_large.load(Ordering::Relaxed)
    }

    /// Whether a page was fetched since SQLite began to compile, which it only does to read the
    /// schema.
    pub(crate) fn fetched(&self) -> bool {
        self.fetched.load(Ordering::Relaxed)
    }

    /// How many tokens the current or last full-text query has.
    pub(crate) fn query_tokens(&self) -> u32 {
        self.query_tokens.load(Ordering::Relaxed)
    }

    /// How many tokens the current or last indexed row has.
    pub(crate) fn row_tokens(&self) -> u32 {
        self.row_tokens.load(Ordering::Relaxed)
    }

    fn give_back(&self, bytes: usize) {
        let before = self.used.fetch_sub(bytes, Ordering::Relaxed);
        let steps = (before / STEP).saturating_sub(before.saturating_sub(bytes) / STEP);
        if steps > 0 {
            PROCESS.fetch_sub((steps * STEP) as isize, Ordering::Relaxed);
        }
    }
}

/// The memory limit of one connection.
#[derive(Debug)]
pub(crate) struct Budget {
    account: &'static Account,
    /// Kept alive for as long as the account points to it.
    watch: Option<Arc<Watch>>,
}

/// Accounts of closed connections. They are never freed, because SQLite may share an allocation
/// between connections to one file, and free it with the last: until then its account is not
/// reused.
static SPARE: Mutex<Vec<&'static Account>> = Mutex::new(Vec::new());

impl Budget {
    pub(crate) fn new(bytes: u64) -> Budget {
        let limit = usize::try_from(bytes).unwrap_or(usize::MAX - 1);
        let mut spares = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
        let empty = |account: &&Account| account.used.load(Ordering::Relaxed) == 0;
        let spare = spares.iter().position(empty);
        let spare = spare.map(|spare| spares.swap_remove(spare));
        drop(spares);
        let account = spare.unwrap_or_else(|| Box::leak(Box::new(Account::new(0))));
        account.budget.store(limit, Ordering::Relaxed);
        account.allow();
        #[cfg(test)]
        account.peak.store(0, Ordering::Relaxed);
        Budget {
            account,
            watch: None,
        }
    }

    /// Within this budget's scope, [`with_watch`] finds `watch`.
    pub(crate) fn set_watch(&mut self, watch: &Arc<Watch>) {
        self.account
            .watch
            .store(Arc::as_ptr(watch).cast_mut(), Ordering::Relaxed);
        self.watch = Some(Arc::clone(watch));
    }

    /// Until the scope is dropped, SQLite's allocations on this thread count against this budget.
    pub(crate) fn enter(&self) -> Scope {
        self.account.enter()
    }

    /// The account that the budget uses.
    pub(crate) fn account(&self) -> &'static Account {
        self.account
    }

    /// The most memory that was in use at once, and the memory in use now, in bytes.
    #[cfg(test)]
    pub(crate) fn peak_and_used(&self) -> (usize, usize) {
        (
            self.account.peak.load(Ordering::Relaxed),
            self.account.used.load(Ordering::Relaxed),
        )
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        self.account.watch.store(ptr::null_mut(), Ordering::Relaxed);
        SPARE
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(self.account);
    }
}

/// Count `more` tokens of the full-text query that FTS5 is reading. Returns their total.
pub(crate) fn count_query_tokens(more: u32) -> u32 {
    count(&CURRENT.get().query_tokens, more)
}

/// FTS5 has finished a row.
pub(crate) fn forget_row() {
    CURRENT.get().row_tokens.store(0, Ordering::Relaxed);
}

/// Count `more` tokens of the row that FTS5 is indexing. Returns their total, and the memory that
/// the connection uses, in bytes.
pub(crate) fn count_indexed(more: u32) -> (u32, u64) {
    let account = CURRENT.get();
    let used = account.used.load(Ordering::Relaxed);
    (count(&account.row_tokens, more), used as u64)
}

fn count(counter: &AtomicU32, more: u32) -> u32 {
    let total = counter.load(Ordering::Relaxed).saturating_add(more);
    counter.store(total, Ordering::Relaxed);
    total
}

/// Call `work` with the [`Watch`] of the connection that this thread works for, if any: for
/// callbacks that get no data of ours.
pub(crate) fn with_watch<T>(work: impl FnOnce(&Watch) -> T) -> Option<T> {
    let watch = CURRENT.get().watch.load(Ordering::Relaxed);
    // SAFETY: null, or what the budget of a connection keeps. Only this thread uses that connection
    // while it is in its scope: the connection is not closed, nor the budget dropped, meanwhile.
    unsafe { watch.as_ref() }.map(work)
}

/// See [`Budget::enter`].
#[derive(Debug)]
#[must_use]
pub(crate) struct Scope {
    before: &'static Account,
    /// Tied to this thread.
    not_send: std::marker::PhantomData<*const ()>,
}

impl Drop for Scope {
    fn drop(&mut self) {
        CURRENT.set(self.before);
    }
}

/// Precedes each allocation. Its size is twice the strictest alignment that SQLite needs, so that
/// what follows is aligned.
#[repr(C, align(16))]
struct Header {
    account: &'static Account,
    /// The size that SQLite asked for.
    size: usize,
}

const HEADER: usize = size_of::<Header>();

fn layout(size: usize) -> Option<Layout> {
    Layout::from_size_align(HEADER.checked_add(size)?, align_of::<Header>()).ok()
}

// SAFETY: this runs before `main`, where Rust's library may not be ready: it only stores to an
// atomic, and calls a C function that copies what it is given.
#[ctor::ctor(unsafe)]
fn install() {
    let methods = ffi::sqlite3_mem_methods {
        xMalloc: Some(sqlite_malloc),
        xFree: Some(sqlite_free),
        xRealloc: Some(sqlite_realloc),
        xSize: Some(sqlite_size),
        xRoundup: Some(sqlite_roundup),
        xInit: Some(sqlite_init),
        xShutdown: Some(sqlite_shutdown),
        pAppData: ptr::null_mut(),
    };
    // SAFETY: SQLite copies the structure before the call returns. No other thread runs yet, or
    // none that uses SQLite without having started it, and then the call is refused.
    let code = unsafe {
        let code = ffi::sqlite3_config(ffi::SQLITE_CONFIG_MALLOC, &raw const methods);
        ffi::sqlite3_config(ffi::SQLITE_CONFIG_MEMSTATUS, 0);
        let mut pages = MaybeUninit::<ffi::sqlite3_pcache_methods2>::zeroed();
        let had = ffi::sqlite3_config(ffi::SQLITE_CONFIG_GETPCACHE2, pages.as_mut_ptr());
        // SAFETY: all zeros is a value of it, and otherwise SQLite has filled it.
        let mut pages = pages.assume_init();
        if let (ffi::SQLITE_OK, Some(fetch)) = (had, pages.xFetch) {
            FETCH.store(fetch as *mut c_void, Ordering::Relaxed);
            pages.xFetch = Some(fetch_page);
            ffi::sqlite3_config(ffi::SQLITE_CONFIG_PCACHE2, &raw const pages);
        }
        code
    };
    INSTALLED.store(code == ffi::SQLITE_OK, Ordering::Relaxed);
}

unsafe extern "C" fn sqlite_malloc(size: c_int) -> *mut c_void {
    let Ok(size) = usize::try_from(size) else {
        return ptr::null_mut();
    };
    let Some(layout) = layout(size) else {
        return ptr::null_mut();
    };
    let account = CURRENT.get();
    account.hand_over_if_marked();
    if !account.take(layout.size()) {
        return ptr::null_mut();
    }
    // SAFETY: the layout has a size, that of the header at least; what is written fits, and is
    // aligned.
    unsafe {
        let header = alloc(layout).cast::<Header>();
        if header.is_null() {
            account.give_back(layout.size());
            return ptr::null_mut();
        }
        header.write(Header { account, size });
        header.add(1).cast()
    }
}

type Fetch =
    unsafe extern "C" fn(*mut ffi::sqlite3_pcache, c_uint, c_int) -> *mut ffi::sqlite3_pcache_page;

/// Like SQLite's own cache, unless the account refuses. Only refuses if a page may be created,
/// which is how SQLite asks for every page that it visits: a rollback asks only for what the cache
/// has, and must get the true answer. Never refuses the first page, which SQLite assumes to be
/// there in a transaction: a commit does not check whether it got it.
unsafe extern "C" fn fetch_page(
    cache: *mut ffi::sqlite3_pcache,
    key: c_uint,
    create: c_int,
) -> *mut ffi::sqlite3_pcache_page {
    let account = CURRENT.get();
    if create != 0 && key != 1 && account.limit.load(Ordering::Relaxed) == 0 {
        return ptr::null_mut();
    }
    account.forget_tokens();
    account.fetched.store(true, Ordering::Relaxed);
    account.hand_over_if_marked();
    // SAFETY: it was an `xFetch` when it was stored, before this function was installed.
    unsafe {
        let fetch = FETCH.load(Ordering::Relaxed);
        let fetch = std::mem::transmute::<*mut c_void, Fetch>(fetch);
        fetch(cache, key, create)
    }
}

unsafe extern "C" fn sqlite_free(memory: *mut c_void) {
    if memory.is_null() {
        return;
    }
    CURRENT.get().hand_over_if_marked();
    // SAFETY: the module's invariant: there is a header in front, and its size was a layout's.
    unsafe {
        let header = memory.cast::<Header>().sub(1);
        let Header { account, size } = header.read();
        if let Some(layout) = layout(size) {
            dealloc(header.cast(), layout);
            account.give_back(layout.size());
        }
    }
}

unsafe extern "C" fn sqlite_realloc(memory: *mut c_void, size: c_int) -> *mut c_void {
    if memory.is_null() {
        // SAFETY: as SQLite would call it.
        return unsafe { sqlite_malloc(size) };
    }
    let Ok(size) = usize::try_from(size) else {
        return ptr::null_mut();
    };
    // SAFETY: the module's invariant. Where nothing could be had, what was there stays.
    unsafe {
        let header = memory.cast::<Header>().sub(1);
        let Header {
            account,
            size: before,
        } = header.read();
        let (Some(old), Some(new)) = (layout(before), layout(size)) else {
            return ptr::null_mut();
        };
        if size > before && !account.take(size - before) {
            return ptr::null_mut();
        }
        let moved = realloc(header.cast(), old, new.size()).cast::<Header>();
        if moved.is_null() {
            account.give_back(size.saturating_sub(before));
            return ptr::null_mut();
        }
        account.give_back(before.saturating_sub(size));
        if size >= LARGE {
            account.grew_large.store(true, Ordering::Relaxed);
        }
        moved.write(Header { account, size });
        moved.add(1).cast()
    }
}

unsafe extern "C" fn sqlite_size(memory: *mut c_void) -> c_int {
    if memory.is_null() {
        return 0;
    }
    // SAFETY: the module's invariant. The size came from a `c_int`.
    unsafe { (*memory.cast::<Header>().sub(1)).size as c_int }
}

unsafe extern "C" fn sqlite_roundup(size: c_int) -> c_int {
    size.saturating_add(7) & !7
}

unsafe extern "C" fn sqlite_init(_: *mut c_void) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn sqlite_shutdown(_: *mut c_void) {}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
