//! A guest whose memory grows large continues in the background: nothing interrupts it while it
//! fills or copies memory.

use std::future::ready;
use std::pin::Pin;

use wasmtime::{ResourceLimiter, ResourceLimiterAsync, Result};

use crate::guest::{LARGE, Limits};
use crate::http::guest_work::leave_foreground;

type Allowed<'a> = Pin<Box<dyn Future<Output = Result<bool>> + Send + 'a>>;

impl ResourceLimiterAsync for Limits {
    fn memory_growing<'a, 'b>(
        &'a mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Allowed<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        let allowed = ResourceLimiter::memory_growing(self, current, desired, maximum);
        let becomes_large = matches!(allowed, Ok(true)) && desired > LARGE;
        Box::pin(async move {
            if becomes_large {
                leave_foreground().await;
            }
            allowed
        })
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> Result<()> {
        ResourceLimiter::memory_grow_failed(self, error)
    }

    fn table_growing<'a, 'b>(
        &'a mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Allowed<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        let allowed = ResourceLimiter::table_growing(self, current, desired, maximum);
        Box::pin(ready(allowed))
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> Result<()> {
        ResourceLimiter::table_grow_failed(self, error)
    }

    fn instances(&self) -> usize {
        ResourceLimiter::instances(self)
    }

    fn tables(&self) -> usize {
        ResourceLimiter::tables(self)
    }

    fn memories(&self) -> usize {
        ResourceLimiter::memories(self)
    }
}
