//! The locks and wait queues of `gate`, `queue` and `progress`. `scheduled_tests` replaces them
//! with shuttle's, which tries many interleavings of threads.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
pub(crate) use std::sync::{Arc, Mutex, MutexGuard};

pub(crate) use tokio::sync::Notify;
