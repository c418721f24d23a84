//! What the sessions of one database have in common: where the server is, what it has told, and the
//! connections to it.

use std::collections::HashMap;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashlink::LruCache;
use millpond_pool::engine::RequestId;
use millpond_pool::{Description, Error, ErrorKind, PoolStats, Result};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::circuit::Circuit;
use crate::error::unavailable;
use crate::http::{Http, Tls};
use crate::runtime;
use crate::settings::Settings;
use crate::target::Target;
use crate::token::Token;

/// How many statements' descriptions are kept, and how long their texts may be.
const DESCRIPTIONS: usize = 1_000;
const MAX_DESCRIBED_BYTES: usize = 4_000;
/// How many statements with large results are remembered, of that length too.
const LARGE: usize = 100;

/// Tells the sessions of one database apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionId(u64);

/// What the sessions of one database have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) target: Target,
    /// The header `host`, by which a server that has several databases knows which one is meant.
    pub(crate) host: String,
    pub(crate) settings: Settings,
    pub(crate) token: Token,
    pub(crate) runtime: &'static Handle,
    tls: Option<Tls>,
    /// The newest state of the database that any session has seen; 0 before any. Servers number
    /// them, and a replica waits until it has that one.
    index: AtomicU64,
    /// What statements are, by their text. Every statement that defines something empties it.
    descriptions: Mutex<LruCache<Box<str>, Arc<Description>>>,
    /// How often that was.
    definitions: AtomicU64,
    /// Statements whose last result was larger than the server answers at once.
    large: Mutex<LruCache<Box<str>, ()>>,
    /// Which session of each request is in a transaction that writes. Another one of that request
    /// would wait for its own request.
    writers: Mutex<HashMap<RequestId, SessionId>>,
    sessions: AtomicU64,
    /// Connections that no stream uses.
    idle: Mutex<Vec<Http>>,
    circuit: Circuit,
    /// Held by the one who waits for the server to have a stream left: others wait behind it.
    pub(crate) full: tokio::sync::Mutex<()>,
    closed: AtomicBool,
}

// All that a session changes in it is behind a lock that is taken whatever happened under it, and
// whole whenever it is free.
impl UnwindSafe for Shared {}
impl RefUnwindSafe for Shared {}

impl Shared {
    pub(crate) fn new(url: &str, settings: Settings) -> Result<Shared> {
        let target = Target::parse(url, settings.allow_plain_http)?;
        let tls = match target.tls {
            true => Some(Tls::new(&target.host, settings.authorities.as_deref())?),
            false => None,
        };
        let host = match &settings.namespace {
            Some(namespace) => format!("{}.{}", label(namespace)?, target.authority),
            None => target.authority.clone(),
        };
        let token = Token::new(settings.token.clone())?;
        Ok(Shared {
            target,
            host,
            settings,
            token,
            runtime: runtime::handle()?,
            tls,
            index: AtomicU64::new(0),
            descriptions: Mutex::new(LruCache::new(DESCRIPTIONS)),
            definitions: AtomicU64::new(0),
            large: Mutex::new(LruCache::new(LARGE)),
            writers: Mutex::default(),
            sessions: AtomicU64::new(0),
            idle: Mutex::default(),
            circuit: Circuit::default(),
            full: tokio::sync::Mutex::default(),
            closed: AtomicBool::new(false),
        })
    }

    pub(crate) fn count(&self, stats: &mut PoolStats) {
        stats.connect_failures = self.circuit.failures();
        stats.unreachable = self.circuit.is_open();
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Close the connections that no stream uses.
    pub(crate) fn forget_idle(&self) {
        self.idle().clear();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// What the server must have seen before it answers.
    pub(crate) fn index(&self) -> Option<u64> {
        match self.index.load(Ordering::Relaxed) {
            0 => None,
            index => Some(index),
        }
    }

    pub(crate) fn saw(&self, index: u64) {
        self.index.fetch_max(index, Ordering::Relaxed);
    }

    pub(crate) fn description(&self, sql: &str) -> Option<Arc<Description>> {
        self.descriptions().get(sql).cloned()
    }

    pub(crate) fn remember(&self, sql: &str, description: &Arc<Description>) {
        if sql.len() <= MAX_DESCRIBED_BYTES {
            self.descriptions()
                .insert(sql.into(), Arc::clone(description));
        }
    }

    /// Whether the statement's last result was larger than the server answers at once.
    pub(crate) fn was_large(&self, sql: &str) -> bool {
        let mut large = self.large.lock().unwrap_or_else(PoisonError::into_inner);
        large.get(sql).is_some()
    }

    pub(crate) fn note_large(&self, sql: &str, is_large: bool) {
        let mut large = self.large.lock().unwrap_or_else(PoisonError::into_inner);
        match is_large && sql.len() <= MAX_DESCRIBED_BYTES {
            true => drop(large.insert(sql.into(), ())),
            false => drop(large.remove(sql)),
        }
    }

    pub(crate) fn forget_descriptions(&self) {
        self.definitions.fetch_add(1, Ordering::SeqCst);
        self.descriptions().clear();
    }

    /// Changes when a statement of this pool defines something.
    pub(crate) fn definitions(&self) -> u64 {
        self.definitions.load(Ordering::SeqCst)
    }

    /// What tells a new session from the others.
    pub(crate) fn new_session(&self) -> SessionId {
        SessionId(self.sessions.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether another session of the request is in a transaction that writes.
    pub(crate) fn is_other_writing(&self, request: RequestId, session: SessionId) -> bool {
        let writer = self.writers().get(&request).copied();
        writer.is_some_and(|writer| writer != session)
    }

    /// The session is in a transaction that writes, for the request.
    pub(crate) fn begin_writing(&self, request: RequestId, session: SessionId) {
        self.writers().entry(request).or_insert(session);
    }

    /// Its transaction has ended.
    pub(crate) fn end_writing(&self, request: RequestId, session: SessionId) {
        let mut writers = self.writers();
        if writers.get(&request) == Some(&session) {
            writers.remove(&request);
        }
    }

    fn writers(&self) -> MutexGuard<'_, HashMap<RequestId, SessionId>> {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn descriptions(&self) -> MutexGuard<'_, LruCache<Box<str>, Arc<Description>>> {
        self.descriptions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Http>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection to the server: one that is there, or a new one.
    pub(crate) async fn connect(&self) -> Result<Http> {
        loop {
            let idle = self.idle().pop();
            match idle {
                Some(http) if http.is_usable() => return Ok(http),
                Some(_) => {}
                None => break,
            }
        }
        let attempt = self.circuit.attempt().await?;
        let connecting = Http::connect(self.runtime, &self.target, self.tls.as_ref());
        let why = match timeout(self.settings.connect_timeout, connecting).await {
            Ok(Ok(http)) => {
                attempt.succeeded();
                return Ok(http);
            }
            Ok(Err(error)) => format!("cannot be reached: {error}"),
            Err(_) => "cannot be reached in time".to_owned(),
        };
        attempt.failed(&why);
        Err(unavailable(&why))
    }

    /// Keep a connection for the next who needs one.
    pub(crate) fn keep(&self, http: Http) {
        let mut idle = self.idle();
        if !self.is_closed()
            && idle.len() < self.settings.pool.max_size as usize
            && http.is_usable()
        {
            idle.push(http);
        }
    }
}

/// A namespace as the first label of a host's name.
fn label(namespace: &str) -> Result<&str> {
    match is_label(namespace) {
        true => Ok(namespace),
        false => Err(Error::new(
            ErrorKind::Config,
            "a namespace has 1 to 63 letters, digits, `-` and `_`",
        )),
    }
}

pub(crate) fn is_label(namespace: &str) -> bool {
    let is_of_label = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    !namespace.is_empty() && namespace.len() <= 63 && namespace.chars().all(is_of_label)
}
