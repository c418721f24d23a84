//! The locks and the lines of `request`, `slots` and `stop_flag`. Tests put a scheduler's in their
//! place, which tries the orders that threads can take them in: see `scheduled_tests`.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
pub(crate) use std::sync::{Arc, Mutex, MutexGuard, Weak};

pub(crate) use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, TryAcquireError};
