//! Compare and swap: a value that a guest will replace, unless another has changed it.

use std::hash::{BuildHasher, RandomState};

use millpond_pool::TransactionMode;
use millpond_wasmtime::SqliteCtx;

use super::bucket::Bucket;
use super::failure::Failure;

/// The longest key, in bytes: each open handle keeps its own.
const MAX_KEY_BYTES: usize = 4 << 10;

/// A key, and what its value was when the guest last looked.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "generated code exports it")]
pub struct Cas {
    bucket: Bucket,
    key: String,
    /// Of the value, which may be large. The guest does not know the hash's key, so it can find no
    /// other value of the same hash.
    seen: u64,
    hasher: RandomState,
}

/// Why a value was not swapped.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "generated code exports it")]
pub enum SwapFailure {
    /// Another has changed it: a new handle, of what it is now.
    Changed(Cas),
    Failed(Failure),
}

impl<E: Into<Failure>> From<E> for SwapFailure {
    fn from(error: E) -> SwapFailure {
        SwapFailure::Failed(error.into())
    }
}

impl Cas {
    pub(super) async fn new(
        ctx: &mut SqliteCtx,
        bucket: &Bucket,
        key: String,
    ) -> Result<Cas, Failure> {
        if key.len() > MAX_KEY_BYTES {
            let message =
                format!("the key has more than {MAX_KEY_BYTES} bytes: set it without a cas");
            return Err(Failure::Other(message));
        }
        let mut cas = Cas {
            bucket: bucket.clone(),
            key,
            seen: 0,
            hasher: RandomState::new(),
        };
        cas.current(ctx).await?;
        Ok(cas)
    }

    /// The value now, which a swap will then compare with.
    pub(super) async fn current(
        &mut self,
        ctx: &mut SqliteCtx,
    ) -> Result<Option<Vec<u8>>, Failure> {
        let value = self.bucket.get(ctx, &self.key).await?;
        self.seen = self.hasher.hash_one(&value);
        Ok(value)
    }

    pub(super) async fn swap(
        mut self,
        ctx: &mut SqliteCtx,
        value: Vec<u8>,
    ) -> Result<(), SwapFailure> {
        let connection = self.bucket.lend(ctx).await?;
        let transaction = connection.begin(TransactionMode::Immediate).await?;
        let now = self.bucket.value(&connection, &self.key).await?;
        let now = self.hasher.hash_one(&now);
        if now != self.seen {
            transaction.rollback().await?;
            self.seen = now;
            return Err(SwapFailure::Changed(self));
        }
        self.bucket.put(&connection, self.key, value).await?;
        transaction.commit().await?;
        Ok(())
    }
}
