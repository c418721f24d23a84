//! Implements the interface's functions: look up the handle, delegate.

use millpond_wasmtime::SqliteCtxView;
use wasmtime::component::Resource;

use super::cursor::Cursor;
use super::database::Database;
use super::failure::{Failure, Result};
use super::statement::Statement;
use super::tags::TagStore;
use super::wit;

impl wit::Host for SqliteCtxView<'_> {
    async fn open_database(
        &mut self,
        path: wit::Path,
        options: wit::DatabaseOptions,
    ) -> Result<Resource<Database>> {
        let database = Database::new(self.ctx, path, options).await?;
        Ok(self.table.push(database)?)
    }

    async fn backup(
        &mut self,
        _: Resource<Database>,
        _: wit::Path,
        _: wit::BackupOptions,
    ) -> Result<f64> {
        Err(Failure::unavailable("backup is"))
    }

    fn convert_error(&mut self, failure: Failure) -> wasmtime::Result<wit::Error> {
        match failure {
            Failure::Guest(error) => Ok(error),
            Failure::Trap(error) => Err(error),
        }
    }
}

impl wit::HostDatabase for SqliteCtxView<'_> {
    async fn open(&mut self, this: Resource<Database>) -> Result<()> {
        self.table.get_mut(&this)?.open(self.ctx).await
    }

    async fn close(&mut self, this: Resource<Database>) -> Result<()> {
        self.table.get_mut(&this)?.close()
    }

    async fn is_open(&mut self, this: Resource<Database>) -> Result<bool> {
        Ok(self.table.get(&this)?.is_open())
    }

    async fn is_transaction(&mut self, this: Resource<Database>) -> Result<bool> {
        let opened = self.table.get(&this)?.opened()?;
        Ok(opened.connection.in_transaction())
    }

    async fn exec(&mut self, this: Resource<Database>, sql: String) -> Result<()> {
        let opened = self.table.get(&this)?.opened()?;
        Ok(opened.connection.execute_script(&sql).await?)
    }

    async fn prepare(
        &mut self,
        this: Resource<Database>,
        sql: String,
        options: wit::StatementOptions,
    ) -> Result<Resource<Statement>> {
        let statement = self.table.get(&this)?.prepare(sql, &options).await?;
        Ok(self.table.push(statement)?)
    }

    async fn location(
        &mut self,
        this: Resource<Database>,
        schema: Option<String>,
    ) -> Result<Option<String>> {
        self.table.get(&this)?.location(schema.as_deref())
    }

    async fn get_limit(&mut self, this: Resource<Database>, _: wit::LimitName) -> Result<f64> {
        self.table.get(&this)?.opened()?;
        Err(Failure::unavailable("limits are"))
    }

    async fn set_limit(
        &mut self,
        this: Resource<Database>,
        _: wit::LimitName,
        _: f64,
    ) -> Result<()> {
        self.table.get(&this)?.opened()?;
        Err(Failure::unavailable("limits are"))
    }

    async fn serialize(&mut self, this: Resource<Database>, _: Option<String>) -> Result<Vec<u8>> {
        self.table.get(&this)?.opened()?;
        Err(Failure::unavailable("serialize is"))
    }

    async fn deserialize(
        &mut self,
        this: Resource<Database>,
        _: Vec<u8>,
        _: Option<String>,
    ) -> Result<()> {
        self.table.get(&this)?.opened()?;
        Err(Failure::unavailable("deserialize is"))
    }

    async fn create_session(
        &mut self,
        this: Resource<Database>,
        _: wit::SessionOptions,
    ) -> Result<Resource<wit::Session>> {
        self.table.get(&this)?.opened()?;
        Err(Failure::unavailable("createSession is"))
    }

    async fn apply_changeset(&mut self, this: Resource<Database>, _: Vec<u8>) -> Result<bool> {
        self.table.get(&this)?.opened()?;
        Err(Failure::unavailable("applyChangeset is"))
    }

    async fn create_tag_store(
        &mut self,
        this: Resource<Database>,
        capacity: f64,
    ) -> Result<Resource<TagStore>> {
        let store = self.table.get(&this)?.tag_store(capacity)?;
        Ok(self.table.push(store)?)
    }

    async fn enable_load_extension(&mut self, this: Resource<Database>, allow: bool) -> Result<()> {
        self.table.get(&this)?.opened()?;
        match allow {
            true => Err(Failure::state(
                "Cannot enable extension loading because it was disabled at database creation.",
            )),
            false => Ok(()),
        }
    }

    async fn enable_defensive(&mut self, this: Resource<Database>, active: bool) -> Result<()> {
        self.table.get(&this)?.opened()?;
        match active {
            true => Ok(()),
            false => Err(Failure::unavailable("enableDefensive(false) is")),
        }
    }

    async fn load_extension(
        &mut self,
        this: Resource<Database>,
        _: String,
        _: Option<String>,
    ) -> Result<()> {
        self.table.get(&this)?.opened()?;
        Err(Failure::unavailable("loadExtension is"))
    }

    async fn drop(&mut self, this: Resource<Database>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl wit::HostStatement for SqliteCtxView<'_> {
    async fn all(
        &mut self,
        this: Resource<Statement>,
        parameters: wit::Bindings,
    ) -> Result<Vec<wit::Row>> {
        self.table.get(&this)?.all(parameters).await
    }

    async fn get(
        &mut self,
        this: Resource<Statement>,
        parameters: wit::Bindings,
    ) -> Result<Option<wit::Row>> {
        self.table.get(&this)?.get(parameters).await
    }

    async fn run(
        &mut self,
        this: Resource<Statement>,
        parameters: wit::Bindings,
    ) -> Result<wit::Changes> {
        self.table.get(&this)?.run(parameters).await
    }

    async fn iterate(
        &mut self,
        this: Resource<Statement>,
        parameters: wit::Bindings,
    ) -> Result<Resource<Cursor>> {
        let statement = self.table.get(&this)?;
        let cursor = statement.iterate(self.ctx, parameters).await?;
        Ok(self.table.push(cursor)?)
    }

    async fn columns(&mut self, this: Resource<Statement>) -> Result<Vec<wit::Column>> {
        self.table.get(&this)?.columns().await
    }

    async fn source_sql(&mut self, this: Resource<Statement>) -> Result<String> {
        Ok(self.table.get(&this)?.prepared()?.sql.clone())
    }

    async fn expanded_sql(&mut self, this: Resource<Statement>) -> Result<String> {
        self.table.get(&this)?.opened()?;
        Err(Failure::unavailable("expandedSQL is"))
    }

    async fn set_read_big_ints(&mut self, this: Resource<Statement>, enabled: bool) -> Result<()> {
        let statement = self.table.get_mut(&this)?;
        statement.opened()?;
        statement.options.read_big_ints = enabled;
        Ok(())
    }

    async fn set_return_arrays(&mut self, this: Resource<Statement>, enabled: bool) -> Result<()> {
        let statement = self.table.get_mut(&this)?;
        statement.opened()?;
        statement.options.return_arrays = enabled;
        Ok(())
    }

    async fn set_allow_bare_named_parameters(
        &mut self,
        this: Resource<Statement>,
        enabled: bool,
    ) -> Result<()> {
        let statement = self.table.get_mut(&this)?;
        statement.opened()?;
        statement.options.allow_bare = enabled;
        Ok(())
    }

    async fn set_allow_unknown_named_parameters(
        &mut self,
        this: Resource<Statement>,
        enabled: bool,
    ) -> Result<()> {
        let statement = self.table.get_mut(&this)?;
        statement.opened()?;
        statement.options.allow_unknown = enabled;
        Ok(())
    }

    async fn drop(&mut self, this: Resource<Statement>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl wit::HostCursor for SqliteCtxView<'_> {
    async fn next(&mut self, this: Resource<Cursor>) -> Result<Option<wit::Row>> {
        self.table.get_mut(&this)?.next().await
    }

    async fn close(&mut self, this: Resource<Cursor>) -> Result<()> {
        self.table.get_mut(&this)?.close();
        Ok(())
    }

    async fn drop(&mut self, this: Resource<Cursor>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

/// No guest has one: `create-session` makes none.
impl wit::HostSession for SqliteCtxView<'_> {
    async fn changeset(&mut self, _: Resource<wit::Session>) -> Result<Vec<u8>> {
        Err(Failure::unavailable("createSession is"))
    }

    async fn patchset(&mut self, _: Resource<wit::Session>) -> Result<Vec<u8>> {
        Err(Failure::unavailable("createSession is"))
    }

    async fn close(&mut self, _: Resource<wit::Session>) -> Result<()> {
        Err(Failure::unavailable("createSession is"))
    }

    async fn drop(&mut self, this: Resource<wit::Session>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

fn positional(positional: Vec<wit::Value>) -> wit::Bindings {
    wit::Bindings {
        named: None,
        positional,
    }
}

impl wit::HostTagStore for SqliteCtxView<'_> {
    async fn all(
        &mut self,
        this: Resource<TagStore>,
        parts: Vec<String>,
        values: Vec<wit::Value>,
    ) -> Result<Vec<wit::Row>> {
        let statement = self.table.get_mut(&this)?.statement(&parts).await?;
        statement.all(positional(values)).await
    }

    async fn get(
        &mut self,
        this: Resource<TagStore>,
        parts: Vec<String>,
        values: Vec<wit::Value>,
    ) -> Result<Option<wit::Row>> {
        let statement = self.table.get_mut(&this)?.statement(&parts).await?;
        statement.get(positional(values)).await
    }

    async fn run(
        &mut self,
        this: Resource<TagStore>,
        parts: Vec<String>,
        values: Vec<wit::Value>,
    ) -> Result<wit::Changes> {
        let statement = self.table.get_mut(&this)?.statement(&parts).await?;
        statement.run(positional(values)).await
    }

    async fn iterate(
        &mut self,
        this: Resource<TagStore>,
        parts: Vec<String>,
        values: Vec<wit::Value>,
    ) -> Result<Resource<Cursor>> {
        let statement = self.table.get_mut(&this)?.statement(&parts).await?;
        let cursor = statement.iterate(self.ctx, positional(values)).await?;
        Ok(self.table.push(cursor)?)
    }

    async fn size(&mut self, this: Resource<TagStore>) -> Result<f64> {
        Ok(self.table.get(&this)?.size())
    }

    async fn capacity(&mut self, this: Resource<TagStore>) -> Result<f64> {
        Ok(self.table.get(&this)?.capacity())
    }

    async fn clear(&mut self, this: Resource<TagStore>) -> Result<()> {
        self.table.get_mut(&this)?.clear();
        Ok(())
    }

    async fn drop(&mut self, this: Resource<TagStore>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
