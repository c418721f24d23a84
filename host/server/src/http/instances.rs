//! Instances of a component, and those that have handled a request and wait for another.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use http::Request;
use millpond_wasmtime::SqliteCtx;
use tokio::sync::Notify;
use wasmtime::Store;
use wasmtime_wasi_http::WasiBody;
use wasmtime_wasi_http::handler::Proxy;

use crate::config;
use crate::guest::Guest;
use crate::http::call::{Answer, call_02, call_03};
use crate::http::guest_output::GuestOutput;
use crate::site::Component;

/// How long an instance waits until its last response has been taken by its connection. A guest may
/// have left it unfinished, so that it only ends when the instance does.
const RESPONSE_PATIENCE: Duration = Duration::from_millis(100);

/// An instance, and its store.
pub(super) struct Instance {
    pub(super) store: Store<Guest>,
    component: Arc<Component>,
    /// `None` until it is instantiated.
    proxy: Option<Proxy>,
    output: GuestOutput,
    /// Whose requests it handles: it handles no other tenant's.
    tenant: Option<Arc<str>>,
    /// How many requests it has begun to handle.
    requests: u32,
}

impl Instance {
    /// A new one, which is instantiated when it is called, for a request of this tenant.
    pub(super) fn new(
        component: Arc<Component>,
        sqlite: SqliteCtx,
        output: GuestOutput,
        tenant: Option<Arc<str>>,
    ) -> Instance {
        let guest = &component.guest;
        let mut wasi = guest.wasi();
        wasi.stdout(output.clone()).stderr(output.clone());
        Instance {
            store: guest.store(&component.program.engine, wasi.build(), sqlite),
            component,
            proxy: None,
            output,
            tenant,
            requests: 1,
        }
    }

    /// Begin another request.
    pub(super) fn begin_request(&mut self, number: u64, sqlite: SqliteCtx) {
        self.requests = self.requests.saturating_add(1);
        self.output.begin_request(number);
        self.store.data_mut().next_request(sqlite);
    }

    /// Handle the request. An error before the response replaces the response; one after it is
    /// returned. Returns whether the guest has responded itself.
    pub(super) async fn call(
        &mut self,
        request: Request<WasiBody>,
        answer: oneshot::Sender<Answer>,
    ) -> wasmtime::Result<bool> {
        if self.proxy.is_none() {
            match self
                .component
                .program
                .pre
                .instantiate_async(&mut self.store)
                .await
            {
                Ok(proxy) => self.proxy = Some(proxy),
                Err(error) => {
                    let _ = answer.send(Err(self.store.data_mut().explain(error)));
                    return Ok(false);
                }
            }
            self.store.data_mut().has_started();
        }
        match &self.proxy {
            Some(Proxy::P2(proxy)) => call_02(&mut self.store, proxy, request, answer).await,
            Some(proxy) => call_03(&mut self.store, proxy, request, answer).await,
            None => Ok(false),
        }
    }

    /// End the request: everything that it holds is returned. Returns whether the instance may handle
    /// another one.
    fn end_request(&mut self) -> bool {
        self.output.end_request();
        self.store.data_mut().end_request()
    }
}

/// The instances that wait for another request.
#[derive(Default)]
pub(super) struct Idle {
    /// The one that waits for longest is first.
    waiting: Mutex<VecDeque<Waiting>>,
    added: Notify,
}

struct Waiting {
    instance: Instance,
    until: Instant,
}

impl Idle {
    /// Take the instance of this component that has waited for the shortest time for this tenant. If
    /// there is none, drop others until there are no more than `room`.
    pub(super) fn take(
        &self,
        component: &Arc<Component>,
        tenant: Option<&str>,
        room: usize,
    ) -> Option<Instance> {
        let mut waiting = self.waiting();
        let is_its = |Waiting { instance, .. }: &Waiting| {
            Arc::ptr_eq(&instance.component, component) && instance.tenant.as_deref() == tenant
        };
        if let Some(place) = waiting.iter().rposition(is_its) {
            return Some(waiting.remove(place)?.instance);
        }
        let excess = waiting.len().saturating_sub(room);
        let dropped: Vec<_> = waiting.drain(..excess).collect();
        // Outside the lock.
        drop(waiting);
        drop(dropped);
        None
    }

    /// Keep an instance whose guest has responded, if it may handle another request, once `taken`
    /// says that its response is complete, and its component is current. Otherwise drop it.
    pub(super) async fn keep(
        &self,
        mut instance: Instance,
        taken: oneshot::Receiver<bool>,
        settings: &config::Server,
        is_current: impl Fn() -> bool,
    ) {
        let most = settings.max_instance_reuse;
        let is_kept = instance.end_request() && instance.requests < most;
        if !is_kept {
            return;
        }
        let taken = tokio::time::timeout(RESPONSE_PATIENCE, taken).await;
        if matches!(taken, Ok(Ok(true))) {
            let until = Instant::now() + settings.idle_instance_timeout;
            let mut waiting = self.waiting();
            // Under the lock: a reload clears these after it has replaced the components.
            if is_current() {
                waiting.push_back(Waiting { instance, until });
                drop(waiting);
                self.added.notify_one();
            } else {
                drop(waiting);
                drop(instance);
            }
        }
    }

    /// Drop instances that have waited for too long. Never returns.
    pub(super) async fn expire(&self) {
        loop {
            match self.drop_expired() {
                // One that is added may wait for less.
                Some(next) => {
                    let added = self.added.notified();
                    let _ = tokio::time::timeout_at(next.into(), added).await;
                }
                None => self.added.notified().await,
            }
        }
    }

    /// When the next one expires.
    fn drop_expired(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut waiting = self.waiting();
        let is_over = |waiting: &Waiting| waiting.until <= now;
        let (dropped, kept): (Vec<_>, Vec<_>) = waiting.drain(..).partition(is_over);
        let next = kept.iter().map(|one| one.until).min();
        waiting.extend(kept);
        // Outside the lock.
        drop(waiting);
        drop(dropped);
        next
    }

    /// Drop all.
    pub(super) fn clear(&self) {
        let dropped = std::mem::take(&mut *self.waiting());
        drop(dropped);
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
