//! Instances of a component, and those that have handled a request and wait for another.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::Request;
use millpond_wasmtime::SqliteCtx;
use tokio::sync::{Notify, Semaphore};
use wasmtime::{Store, UpdateDeadline};
use wasmtime_wasi_http::WasiBody;
use wasmtime_wasi_http::handler::Proxy;

use crate::config;
use crate::guest::Guest;
use crate::http::background::{Background, turn};
use crate::http::call::{Responder, call_02, call_03};
use crate::http::delivery::Delivery;
use crate::http::guest_output::GuestOutput;
use crate::http::guest_work::leave_foreground;
use crate::site::Component;

/// How long an instance waits until its last response has been taken by its connection. A guest may
/// have left it unfinished, so that it only ends when the instance does.
const RESPONSE_PATIENCE: Duration = Duration::from_millis(100);
/// How often to look for instances that have waited for too long, while any wait.
const LOOK_EVERY: Duration = Duration::from_millis(100);

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
        let mut store = guest.store(&component.program.engine, wasi.build(), sqlite);
        store.limiter_async(|guest| guest.limits());
        store.set_epoch_deadline(turn());
        store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Yield(turn())));
        Instance {
            store,
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
        // Epochs have passed while it waited.
        self.store.set_epoch_deadline(turn());
        self.store.data_mut().next_request(sqlite);
    }

    /// Handle the request.
    #[expect(
        clippy::manual_async_fn,
        reason = "the future of an `async fn` has room for its arguments twice"
    )]
    pub(super) fn call(
        &mut self,
        request: Request<WasiBody>,
        responder: Responder,
    ) -> impl Future<Output = wasmtime::Result<()>> + Send {
        async move {
            if self.store.data().is_large() {
                // It may fill its memory at once.
                leave_foreground().await;
            }
            let proxy = match &self.proxy {
                Some(proxy) => proxy,
                None => {
                    let pre = &self.component.program.pre;
                    let proxy = pre.instantiate_async(&mut self.store).await?;
                    self.store.data_mut().has_started();
                    self.proxy.insert(proxy)
                }
            };
            match proxy {
                Proxy::P2(proxy) => call_02(&mut self.store, proxy, request, responder).await,
                // Boxed: otherwise each request of 0.2 has room for it too.
                proxy => Box::pin(call_03(&mut self.store, proxy, request, responder)).await,
            }
        }
    }

    /// End the request: everything that it holds is returned. Returns whether the instance may
    /// handle another one.
    fn end_request(&mut self) -> bool {
        self.output.end_request();
        self.store.data_mut().end_request()
    }
}

/// The instances that wait for another request.
#[derive(Default)]
pub(super) struct Idle {
    /// The one that waits for longest is first.
    instances: Mutex<VecDeque<IdleInstance>>,
    /// Notified when the first begins to wait, and when they are dismissed.
    changed: Notify,
}

pub(super) struct IdleInstance {
    instance: Instance,
    since: Instant,
    /// How long it may wait for a request.
    patience: Duration,
    /// Of its last response.
    delivery: Arc<Delivery>,
}

impl IdleInstance {
    fn is_over(&self, now: Instant) -> bool {
        let patience = match self.delivery.is_complete() {
            None => RESPONSE_PATIENCE,
            Some(true) => self.patience,
            Some(false) => Duration::ZERO,
        };
        now.saturating_duration_since(self.since) >= patience
    }

    pub(super) fn is_large(&self) -> bool {
        self.instance.store.data().is_large()
    }
}

/// What a request finds among the instances that wait.
pub(super) enum Found {
    /// One that fits.
    Reused(Instance),
    /// None fits. Drop this one, if any, before a new one starts: it needs the room.
    Excess(Option<IdleInstance>),
}

impl Idle {
    /// Take the instance of this component that has waited for the shortest time for this tenant.
    /// If there is none, and all room is taken, take the one that has waited for longest. The
    /// caller has one of the `places`.
    pub(super) fn take(
        &self,
        component: &Arc<Component>,
        tenant: Option<&str>,
        places: &Semaphore,
    ) -> Found {
        let now = Instant::now();
        let mut instances = self.instances();
        let is_its = |idle: &IdleInstance| {
            Arc::ptr_eq(&idle.instance.component, component)
                && idle.instance.tenant.as_deref() == tenant
                && idle.delivery.is_complete() == Some(true)
                && !idle.is_over(now)
        };
        let index = instances.iter().rposition(is_its);
        if let Some(idle) = index.and_then(|index| instances.remove(index)) {
            return Found::Reused(idle.instance);
        }
        // Each request takes one at most, and looks under the lock: then the instances that wait,
        // and those of requests, are never more than the places.
        let is_full = instances.len() > places.available_permits();
        Found::Excess(is_full.then(|| instances.pop_front()).flatten())
    }

    /// Keep an instance for another request. It is not used before its last response is complete.
    /// Returns it if it may handle no other, or its component is not current.
    pub(super) fn keep(
        &self,
        mut instance: Instance,
        delivery: Arc<Delivery>,
        settings: &config::Server,
        is_current: impl Fn() -> bool,
    ) -> Option<Instance> {
        if !instance.end_request() || instance.requests >= settings.max_instance_reuse {
            return Some(instance);
        }
        let mut instances = self.instances();
        // Under the lock: a reload dismisses these after it has replaced the components.
        if !is_current() {
            return Some(instance);
        }
        if instances.is_empty() {
            self.changed.notify_one();
        }
        instances.push_back(IdleInstance {
            instance,
            since: Instant::now(),
            patience: settings.idle_instance_timeout,
            delivery,
        });
        None
    }

    /// Drop instances that have waited for too long. Never returns. Sleeps while there are none, so
    /// that an idle server does not wake for them.
    pub(super) async fn expire(&self, background: &Background) {
        loop {
            self.changed.notified().await;
            while !self.drop_expired(background).await {
                let _ = tokio::time::timeout(LOOK_EVERY, self.changed.notified()).await;
            }
        }
    }

    /// Returns whether none is left.
    async fn drop_expired(&self, background: &Background) -> bool {
        loop {
            let expired = {
                let now = Instant::now();
                let mut instances = self.instances();
                match instances.iter().position(|idle| idle.is_over(now)) {
                    Some(index) => instances.remove(index),
                    None => return instances.is_empty(),
                }
            };
            // One at a time: a component's pool has room for one without a place.
            let _ = background.discard(expired).await;
        }
    }

    /// Stop reusing those that wait now: they are dropped soon.
    pub(super) fn dismiss(&self) {
        for idle in &mut *self.instances() {
            idle.patience = Duration::ZERO;
        }
        self.changed.notify_one();
    }

    fn instances(&self) -> MutexGuard<'_, VecDeque<IdleInstance>> {
        self.instances
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// Outside of a runtime, a timer would panic.
    #[test]
    fn no_timer_runs_while_no_instance_waits() {
        let idle = Idle::default();
        let background = Background::start(1).expect("threads");
        let mut expire = pin!(idle.expire(&background));
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(expire.as_mut().poll(&mut context), Poll::Pending);
    }
}
