//! What a component is granted of the open databases.

use std::sync::Arc;
use std::time::{Duration, Instant};

use millpond_wasmtime::pool::{self, Pool, TableGrant};
use millpond_wasmtime::{Grant, SqliteCtx, SqliteCtxBuilder};

use super::{Databases, OpenDatabase, Source};
use crate::config::{self, Component, Operation};
use crate::error::{Error, Result};

/// What a component is granted: a context for each of its requests.
#[derive(Debug)]
pub struct Grants {
    /// The names by which the component asks, and what it gets.
    granted: Vec<(String, Granted)>,
    max_statements: u32,
    max_cursors: u32,
    max_transactions: u32,
    /// The component's name, for observers.
    component: Arc<str>,
    is_observed: bool,
}

#[derive(Debug)]
enum Granted {
    /// The same for each request.
    Fixed(Grant),
    /// The database of the request's tenant.
    Tenants(config::Grant, Arc<OpenDatabase>),
}

impl Grants {
    /// The grants of a component. Its name is that of the guest in events.
    ///
    /// # Errors
    ///
    /// A database cannot enforce something that its grant says.
    pub fn new(name: &str, component: &Component, databases: &Databases) -> Result<Grants> {
        let guest: Arc<str> = name.into();
        let mut granted = Vec::new();
        for (name, settings) in &component.grants {
            let about = |error: &dyn std::fmt::Display| {
                Error::new(format_args!("the grant `{name}`: {error}"))
            };
            let database = databases.get(&settings.database);
            let database = database.ok_or_else(|| about(&"there is no such database"))?;
            let grant = match &database.source {
                Source::One(pool) => {
                    let grant = grant(settings, pool).guest(Arc::clone(&guest));
                    grant.check().map_err(|error| about(&error))?;
                    Granted::Fixed(grant)
                }
                Source::Tenants(_) => Granted::Tenants(settings.clone(), Arc::clone(database)),
            };
            granted.push((name.to_string(), grant));
        }
        Ok(Grants {
            granted,
            max_statements: component.max_statements,
            max_cursors: component.max_cursors,
            max_transactions: component.max_transactions,
            component: guest,
            is_observed: databases.is_observed(),
        })
    }

    /// The context of the request with this number, of this tenant if the component's databases
    /// have tenants. Its statements and waits end at `deadline`.
    ///
    /// Waits, if the tenant's database is not open: for room, and until it is open.
    ///
    /// # Errors
    ///
    /// Those of [`Pools::get`](pool::Pools::get).
    pub async fn context(
        &self,
        request: u64,
        deadline: Option<Instant>,
        tenant: Option<&str>,
    ) -> pool::Result<SqliteCtx> {
        let mut context = self.builder(deadline);
        if self.is_observed {
            context = context.label(request.to_string());
        }
        for (name, granted) in &self.granted {
            let grant = match granted {
                Granted::Fixed(grant) => grant.clone(),
                Granted::Tenants(settings, database) => {
                    let guest = Arc::clone(&self.component);
                    // Boxed: it is large, and most requests have no need of it.
                    let pool = Box::pin(database.pool(tenant)).await?;
                    grant(settings, &pool).guest(guest)
                }
            };
            context = context.grant(name, grant);
        }
        Ok(context.build())
    }

    fn builder(&self, deadline: Option<Instant>) -> SqliteCtxBuilder {
        let context = SqliteCtx::builder()
            .max_statements(self.max_statements)
            .max_cursors(self.max_cursors)
            .max_transactions(self.max_transactions);
        match deadline {
            Some(deadline) => context.deadline(deadline),
            None => context,
        }
    }
}

/// The grant of a pool with these settings.
fn grant(settings: &config::Grant, pool: &Pool) -> Grant {
    let mut grant = Grant::new(pool, settings.access)
        .temporary(settings.temporary)
        .max_connections(settings.max_connections)
        // The request's own timeout ends its statements, and its end returns its connections.
        .max_statement_time(settings.max_statement_time.unwrap_or(Duration::MAX))
        .max_transaction_time(settings.max_transaction_time)
        .max_hold_time(settings.max_hold_time.unwrap_or(Duration::MAX))
        .stats(settings.stats);
    for (name, table) in &settings.tables {
        grant = grant.table(name, table_grant(table));
    }
    if let Some(allowed) = settings.schema {
        grant = grant.schema(allowed);
    }
    if let Some(steps) = settings.max_statement_steps {
        grant = grant.max_statement_steps(steps);
    }
    if let Some(connections) = settings.share {
        grant = grant.share(connections);
    }
    grant
}

fn table_grant(table: &config::Table) -> TableGrant {
    let mut grant = TableGrant::new();
    for operation in &table.allow {
        grant = match operation {
            Operation::Read => grant.read(),
            Operation::Insert => grant.insert(),
            Operation::Update => grant.update(),
            Operation::Delete => grant.delete(),
        };
    }
    if table.shadow_tables {
        grant = grant.shadow_tables();
    }
    table
        .hidden
        .iter()
        .fold(grant, |grant, name| grant.hide(name))
}
