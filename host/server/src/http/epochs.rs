//! Interrupts guests that compute: advances the epochs of all components, while a request runs.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use millpond_wasmtime::pool::spawner;
use tokio::sync::Semaphore;
use wasmtime::{Engine, EngineWeak};

use super::handler::Handler;

/// How often the epochs advance.
pub(super) const EPOCH: Duration = Duration::from_millis(1);

/// The thread that advances the epochs. It ends when this is dropped.
pub(super) struct Epochs {
    shared: Arc<Shared>,
    /// Wakes the thread.
    wake: SyncSender<()>,
}

struct Shared {
    /// Those whose guests it interrupts. Also of components that were replaced, until their last
    /// guest has ended.
    engines: Mutex<Vec<EngineWeak>>,
    /// All of them are free while no guest runs.
    places: Arc<Semaphore>,
    max_requests: u32,
    /// How often it has looked whether a guest runs.
    count: AtomicU64,
    /// Whether it sleeps until it is woken.
    is_asleep: AtomicBool,
}

impl Epochs {
    /// # Errors
    ///
    /// The system has no more threads.
    pub(super) fn start(places: Arc<Semaphore>, max_requests: u32) -> io::Result<Epochs> {
        let shared = Arc::new(Shared {
            engines: Mutex::default(),
            places,
            max_requests,
            count: AtomicU64::new(0),
            is_asleep: AtomicBool::new(false),
        });
        let (wake, woken) = sync_channel(1);
        let advanced = Arc::clone(&shared);
        let thread = thread::Builder::new().name("millpond-epochs".to_owned());
        spawner::spawn(thread, move || advanced.advance(&woken))?;
        Ok(Epochs { shared, wake })
    }

    /// Interrupt the guests of these engines too, from now on.
    pub(super) fn add<'a>(&self, engines: impl Iterator<Item = &'a Engine>) {
        let mut alive = self.shared.alive();
        for engine in engines {
            if !alive.iter().any(|other| Engine::same(other, engine)) {
                alive.push(engine.clone());
            }
        }
        *self.shared.engines() = alive.iter().map(Engine::weak).collect();
    }

    /// A request has taken its place: its guest may run.
    pub(super) fn guest_begins(&self) {
        // Either this sees that the thread is asleep, or the thread sees that the place is taken.
        fence(Ordering::SeqCst);
        if self.shared.is_asleep.load(Ordering::Relaxed) {
            // Full: it is about to wake.
            let _ = self.wake.try_send(());
        }
    }
}

impl Shared {
    fn advance(&self, woken: &Receiver<()>) {
        /// After how many epochs without a guest it sleeps. Waking it takes longer than an epoch's
        /// work.
        const QUIET_EPOCHS: u32 = 50;

        let mut quiet = 0;
        loop {
            self.count.fetch_add(1, Ordering::Relaxed);
            thread::sleep(EPOCH);
            if matches!(woken.try_recv(), Err(TryRecvError::Disconnected)) {
                return;
            }
            self.alive().iter().for_each(Engine::increment_epoch);
            quiet = if self.is_busy() { 0 } else { quiet + 1 };
            if quiet > QUIET_EPOCHS {
                self.is_asleep.store(true, Ordering::Relaxed);
                fence(Ordering::SeqCst);
                // A check that reads this count sees that it is asleep, and wakes it.
                self.count.fetch_add(1, Ordering::Relaxed);
                if !self.is_busy() && woken.recv().is_err() {
                    return;
                }
                self.is_asleep.store(false, Ordering::Relaxed);
                quiet = 0;
            }
        }
    }

    /// Those that are still in use. If this is the last, it is dropped outside the lock.
    fn alive(&self) -> Vec<Engine> {
        self.engines()
            .iter()
            .filter_map(EngineWeak::upgrade)
            .collect()
    }

    fn is_busy(&self) -> bool {
        self.places.available_permits() < self.max_requests as usize
    }

    fn engines(&self) -> MutexGuard<'_, Vec<EngineWeak>> {
        self.engines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A check whether the thread that interrupts guests makes progress. Without it, a guest that
/// computes would keep its worker, and its request would not end at its timeout.
pub struct EpochProgress {
    handler: Arc<Handler>,
    /// The count at the last look.
    count: Option<u64>,
}

impl fmt::Debug for EpochProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EpochProgress")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl EpochProgress {
    pub(super) fn new(handler: Arc<Handler>) -> EpochProgress {
        EpochProgress {
            handler,
            count: None,
        }
    }

    /// Whether the thread has made progress since the last call. True at the first. Wait 10 ms or
    /// longer between two calls. Never blocks.
    pub fn has_advanced(&mut self) -> bool {
        let epochs = &self.handler.epochs;
        let count = Some(epochs.shared.count.load(Ordering::Relaxed));
        let before = std::mem::replace(&mut self.count, count);
        // Asleep, it makes none.
        epochs.guest_begins();
        before != count
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn until(what: &str, mut holds: impl FnMut() -> bool) {
        let since = Instant::now();
        while !holds() {
            assert!(since.elapsed() < Duration::from_secs(30), "{what}");
            thread::yield_now();
        }
    }

    #[test]
    fn the_thread_sleeps_while_no_guest_runs_and_wakes_for_each() {
        let places = Arc::new(Semaphore::new(1));
        let epochs = Epochs::start(Arc::clone(&places), 1).expect("a thread");
        let count = || epochs.shared.count.load(Ordering::Relaxed);
        for _ in 0..3 {
            let is_asleep = || epochs.shared.is_asleep.load(Ordering::Relaxed);
            until("it falls asleep", is_asleep);
            let place = places.try_acquire().expect("a place");
            epochs.guest_begins();
            let before = count();
            until("it advances", || count() > before + 100);
            drop(place);
        }
        let shared = Arc::downgrade(&epochs.shared);
        drop(epochs);
        until("it ends", || shared.strong_count() == 0);
    }

    #[test]
    fn an_engine_is_added_once_and_forgotten_after_its_end() {
        let places = Arc::new(Semaphore::new(1));
        let epochs = Epochs::start(places, 1).expect("a thread");
        let (one, other) = (Engine::default(), Engine::default());
        let add = |engines: &[&Engine]| epochs.add(engines.iter().copied());
        add(&[&one, &other]);
        add(&[&one]);
        assert_eq!(epochs.shared.engines().len(), 2);
        drop(other);
        until("only one is there", || epochs.shared.alive().len() == 1);
        add(&[&one]);
        assert_eq!(epochs.shared.engines().len(), 1);
    }
}
