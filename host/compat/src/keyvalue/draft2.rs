//! Version 0.2.0-draft2, as the SDKs of Spin import it.

use millpond_wasmtime::SqliteCtxView;
use wasmtime::component::Resource;

use self::generated::wasi::keyvalue::{atomics, batch, store};
use super::bucket::Bucket;
use super::cas::{Cas, SwapFailure};
use super::failure::Failure;

mod generated {
    wasmtime::component::bindgen!({
        path: "wit/keyvalue2",
        world: "wasi:keyvalue/imports",
        imports: { default: async | trappable },
        with: {
            "wasi:keyvalue/store.bucket": crate::keyvalue::bucket::Bucket,
            "wasi:keyvalue/atomics.cas": crate::keyvalue::cas::Cas,
        },
        trappable_error_type: {
            "wasi:keyvalue/store.error" => crate::keyvalue::failure::Failure,
            "wasi:keyvalue/atomics.cas-error" => crate::keyvalue::cas::SwapFailure,
        },
        require_store_data_send: true,
    });
}

pub(super) use self::generated::Imports;

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
        cursor: Option<String>,
    ) -> Result<store::KeyResponse, Failure> {
        let after = cursor.map(|cursor| {
            let no_cursor = |_| Failure::Other("the cursor is from no answer of list-keys".into());
            cursor.parse().map_err(no_cursor)
        });
        let after = after.transpose()?;
        let (keys, last) = self.table.get(&this)?.list_keys(self.ctx, after).await?;
        let cursor = last.map(|last| last.to_string());
        Ok(store::KeyResponse { keys, cursor })
    }

    async fn drop(&mut self, this: Handle) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl atomics::Host for SqliteCtxView<'_> {
    async fn increment(&mut self, this: Handle, key: String, delta: i64) -> Result<i64, Failure> {
        let bucket = self.table.get(&this)?;
        let range = i64::MIN.into()..=i64::MAX.into();
        let number = bucket.increment(self.ctx, key, delta.into(), range).await?;
        Ok(i64::try_from(number).unwrap_or_default())
    }

    async fn swap(&mut self, this: Resource<Cas>, value: Vec<u8>) -> Result<(), SwapFailure> {
        let cas = self.table.delete(this)?;
        cas.swap(self.ctx, value).await
    }

    fn convert_cas_error(&mut self, failure: SwapFailure) -> wasmtime::Result<atomics::CasError> {
        use store::Host as _;
        match failure {
            SwapFailure::Changed(cas) => Ok(atomics::CasError::CasFailed(self.table.push(cas)?)),
            SwapFailure::Failed(error) => {
                Ok(atomics::CasError::StoreError(self.convert_error(error)?))
            }
        }
    }
}

impl atomics::HostCas for SqliteCtxView<'_> {
    async fn new(&mut self, bucket: Handle, key: String) -> Result<Resource<Cas>, Failure> {
        let bucket = self.table.get(&bucket)?;
        let cas = Cas::new(self.ctx, bucket, key).await?;
        Ok(self.table.push(cas)?)
    }

    async fn current(&mut self, this: Resource<Cas>) -> Result<Option<Vec<u8>>, Failure> {
        self.table.get_mut(&this)?.current(self.ctx).await
    }

    async fn drop(&mut self, this: Resource<Cas>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl batch::Host for SqliteCtxView<'_> {
    async fn get_many(
        &mut self,
        this: Handle,
        keys: Vec<String>,
    ) -> Result<Vec<(String, Option<Vec<u8>>)>, Failure> {
        self.table.get(&this)?.get_many(self.ctx, keys).await
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
