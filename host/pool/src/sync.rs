//! The locks and wait queues of `request`, `slots` and `stop_flag`. `scheduled_tests` replaces them
//! with shuttle's, which tries many interleavings of threads.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
pub(crate) use std::sync::{Arc, Mutex, MutexGuard, Weak};

pub(crate) use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, TryAcquireError};
