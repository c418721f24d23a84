//! Version 0.2.0-draft.

use millpond_wasmtime::SqliteCtxView;
use wasmtime::component::Resource;

use self::generated::wasi::keyvalue::{atomics, batch, store};
use super::bucket::Bucket;
use super::failure::Failure;

mod generated {
    wasmtime::component::bindgen!({
        path: "wit/keyvalue",
        world: "wasi:keyvalue/imports",
        imports: { default: async | trappable },
        with: { "wasi:keyvalue/store.bucket": crate::keyvalue::bucket::Bucket },
        trappable_error_type: {
            "wasi:keyvalue/store.error" => crate::keyvalue::failure::Failure,
        },
        require_store_data_send: true,
    });
}

pub(super) use self::generated::Imports;

/// A cursor counts from the least `id` of a row.
const LEAST_ID: u64 = 1 << 63;

type Handle = Resource<Bucket>;

impl store::Host for SqliteCtxView<'_> {
    async fn open(&mut self, identifier: String) -> Result<Handle, Failure> {
        let bucket = Bucket::open(self.ctx, &identifier).await?;
        Ok(self.table.push(bucket)?)
    }

    fn convert_error(&mut self, failure: Failure) -> wasmtime::Result<store::Error> {
        match failure {
            Failure::NoSuchStore => Ok(store::Error::NoSuchStore),
            Failure::AccessDenied => Ok(store::Error::AccessDenied),
            Failure::Other(message) => Ok(store::Error::Other(message)),
            Failure::Trap(error) => Err(error),
        }
    }
}

impl store::HostBucket for SqliteCtxView<'_> {
    async fn get(&mut self, this: Handle, key: String) -> Result<Option<Vec<u8>>, Failure> {
        self.table.get(&this)?.get(self.ctx, &key).await
    }

    async fn set(&mut self, this: Handle, key: String, value: Vec<u8>) -> Result<(), Failure> {
        self.table.get(&this)?.set(self.ctx, key, value).await
    }

    async fn delete(&mut self, this: Handle, key: String) -> Result<(), Failure> {
        self.table.get(&this)?.delete(self.ctx, key).await
    }

    async fn exists(&mut self, this: Handle, key: String) -> Result<bool, Failure> {
        self.table.get(&this)?.exists(self.ctx, key).await
    }

    async fn list_keys(
        &mut self,
        this: Handle,
        cursor: Option<u64>,
    ) -> Result<store::KeyResponse, Failure> {
        let after = cursor.map(|cursor| (cursor ^ LEAST_ID).cast_signed());
        let (keys, last) = self.table.get(&this)?.list_keys(self.ctx, after).await?;
        let cursor = last.map(|last| last.cast_unsigned() ^ LEAST_ID);
        Ok(store::KeyResponse { keys, cursor })
    }

    async fn drop(&mut self, this: Handle) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl atomics::Host for SqliteCtxView<'_> {
    async fn increment(&mut self, this: Handle, key: String, delta: u64) -> Result<u64, Failure> {
        let bucket = self.table.get(&this)?;
        let range = 0..=i128::from(u64::MAX);
        let number = bucket.increment(self.ctx, key, delta.into(), range).await?;
        Ok(u64::try_from(number).unwrap_or_default())
    }
}

impl batch::Host for SqliteCtxView<'_> {
    async fn get_many(
        &mut self,
        this: Handle,
        keys: Vec<String>,
    ) -> Result<Vec<Option<(String, Vec<u8>)>>, Failure> {
        let pairs = self.table.get(&this)?.get_many(self.ctx, keys).await?;
        let pairs = pairs.into_iter();
        Ok(pairs.map(|(key, value)| Some((key, value?))).collect())
    }

    async fn set_many(
        &mut self,
        this: Handle,
        pairs: Vec<(String, Vec<u8>)>,
    ) -> Result<(), Failure> {
        self.table.get(&this)?.set_many(self.ctx, pairs).await
    }

    async fn delete_many(&mut self, this: Handle, keys: Vec<String>) -> Result<(), Failure> {
        self.table.get(&this)?.delete_many(self.ctx, keys).await
    }
}
