//! Checks all that a configuration names, without opening a database or serving anything, and
//! describes what would run.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use millpond_wasmtime::pool::{Access, StatsScope};

use crate::component::Instances;
use crate::config::{
    Component, Config, Database, Grant, Listener, Location, Name, Operation, Route, Table,
};
use crate::databases::migrations;
use crate::error::{Error, Result};
use crate::http;
use crate::log::Log;
use crate::site;

/// Check all that `config` names: compile the components, and read the migrations and other files.
/// Opens and creates nothing. Blocks meanwhile.
///
/// Returns what would run, and what each component may do, as text for an operator.
///
/// # Errors
///
/// Everything that is wrong. A configuration that passes can still fail to be served: an address
/// may be in use, a server may not be reachable, a database may be damaged.
pub fn check(config: &Config, log: &Arc<dyn Log>) -> Result<String, Vec<Error>> {
    let mut mistakes = Vec::new();
    for component in config.components.values() {
        let instances = Instances::Pooled(config.server.max_requests);
        mistakes.extend(site::compile(component, instances, None, log).err());
    }
    mistakes.extend(http::check_certificates(config, log).err());
    mistakes.extend(site::check_tenants(config).err());
    for (name, database) in &config.databases {
        let about = |error: Error| Error::new(format_args!("the database `{name}`: {error}"));
        mistakes.extend(check_database(database).err().map(about));
    }
    match mistakes.is_empty() {
        true => Ok(Description(config).to_string()),
        false => Err(mistakes),
    }
}

/// Check the files that a database needs.
pub(crate) fn check_database(database: &Database) -> Result<()> {
    migrations(database)?;
    if let Some(file) = &database.token_file {
        readable(file)?;
    }
    if let Some(file) = &database.certificate_authorities {
        readable(file)?;
    }
    if let Some(backup) = &database.backup
        && !backup.folder.is_dir()
    {
        let message = "there is no such folder: create it";
        return Err(Error::about(&backup.folder, message));
    }
    match database.location() {
        Some(Location::File(path)) if !path.exists() => {
            let created = database.creates() || database.migrations.is_some();
            let folder = path.parent().filter(|folder| *folder != Path::new(""));
            match folder {
                _ if !created => Err(Error::about(path, "there is no such file")),
                Some(folder) if !folder.is_dir() => {
                    Err(Error::about(folder, "there is no such folder: create it"))
                }
                _ => Ok(()),
            }
        }
        Some(Location::Folder(path)) if !path.is_dir() => {
            Err(Error::about(path, "there is no such folder: create it"))
        }
        _ => Ok(()),
    }
}

fn readable(file: &Path) -> Result<()> {
    let opened = std::fs::File::open(file);
    opened.map(drop).map_err(|error| Error::about(file, error))
}

/// What would run, by sections.
struct Description<'a>(&'a Config);

impl fmt::Display for Description<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = self.0;
        writeln!(f, "listeners")?;
        let default = [Listener::default()];
        let listeners = match config.listeners.as_slice() {
            [] => &default,
            listeners => listeners,
        };
        for listener in listeners {
            let scheme = if listener.tls.is_some() {
                "https"
            } else {
                "http"
            };
            writeln!(f, "  {scheme}://{}", listener.address)?;
        }
        if let Some(address) = &config.admin.address {
            writeln!(f, "  http://{address} (admin)")?;
        }
        writeln!(f, "routes")?;
        for route in &config.routes {
            writeln!(f, "  {}", RouteLine(route))?;
        }
        if config.routes.is_empty() {
            writeln!(f, "  all requests -> the only component")?;
        }
        for (name, component) in &config.components {
            writeln!(f, "component {name}")?;
            describe_component(name, component, config, f)?;
        }
        for (name, database) in &config.databases {
            writeln!(f, "database {name}")?;
            describe_database(database, f)?;
        }
        Ok(())
    }
}

struct RouteLine<'a>(&'a Route);

impl fmt::Display for RouteLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let route = self.0;
        let host = route.host.as_deref().unwrap_or("any host, ");
        write!(f, "{host}{} -> {}", route.path, route.component)?;
        match route.tenant {
            Some(_) => f.write_str(", for the request's tenant"),
            None => Ok(()),
        }
    }
}

fn describe_component(
    component_name: &Name,
    component: &Component,
    config: &Config,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    writeln!(f, "  {}", component.file.display())?;
    let names: Vec<_> = component
        .env
        .keys()
        .chain(&component.inherit_env)
        .map(String::as_str)
        .collect();
    if !names.is_empty() {
        writeln!(f, "  environment: {}", names.join(", "))?;
    }
    writeln!(f, "  memory: up to {}", component.max_memory_size)?;
    if component.grants.is_empty() {
        writeln!(f, "  no database")?;
    }
    for (name, grant) in &component.grants {
        let database = config.databases.get(grant.database.as_str());
        let is_per_tenant = database.is_some_and(Database::is_per_tenant);
        let has_tenants =
            |route: &Route| route.component == component_name.as_str() && route.tenant.is_some();
        let per_tenant = match is_per_tenant {
            true => ", of the request's tenant",
            false if config.routes.iter().any(has_tenants) => ", the same for all tenants",
            false => "",
        };
        writeln!(
            f,
            "  `{name}` is the database {}{per_tenant}",
            grant.database
        )?;
        describe_grant(grant, database, f)?;
    }
    Ok(())
}

fn describe_grant(
    grant: &Grant,
    database: Option<&Database>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let access = match grant.access {
        Access::ReadOnly => "read-only",
        Access::ReadWrite => "read and write",
    };
    let schema = grant.schema.unwrap_or(grant.tables.is_empty());
    let schema = match schema && grant.access == Access::ReadWrite {
        true => "and may change the schema",
        false => "and may not change the schema",
    };
    match grant.tables.is_empty() {
        true => writeln!(f, "    all tables, {access}, {schema}")?,
        false if grant.access == Access::ReadWrite => writeln!(f, "    these tables, {schema}")?,
        false => writeln!(f, "    these tables, {access}, {schema}")?,
    }
    for (name, table) in &grant.tables {
        writeln!(f, "      {name}: {}", TableLine(table))?;
    }
    if grant.temporary {
        writeln!(f, "    temporary tables")?;
    }
    let pool_size = database.map_or(u32::MAX, |database| database.pool_size);
    let connections = grant.max_connections.min(pool_size);
    write!(f, "    up to {connections} connections a request")?;
    if let Some(share) = grant.share {
        write!(f, ", {share} in all")?;
    }
    writeln!(f)?;
    if grant.stats == StatsScope::Pool {
        writeln!(f, "    sees the counters of the whole pool")?;
    }
    Ok(())
}

struct TableLine<'a>(&'a Table);

impl fmt::Display for TableLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let allowed: Vec<_> = self.0.allow.iter().map(name_of).collect();
        match allowed.is_empty() {
            true => f.write_str("nothing")?,
            false => f.write_str(&allowed.join(", "))?,
        }
        match self.0.hidden.is_empty() {
            true => Ok(()),
            false => write!(f, "; hidden: {}", self.0.hidden.join(", ")),
        }
    }
}

fn name_of(operation: &Operation) -> &'static str {
    match operation {
        Operation::Read => "read",
        Operation::Insert => "insert",
        Operation::Update => "update",
        Operation::Delete => "delete",
    }
}

fn describe_database(database: &Database, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let new = |path: &Path| match path.exists() {
        true => "",
        false => " (does not exist yet: it is created)",
    };
    match database.location() {
        Some(Location::File(path)) => writeln!(f, "  {}{}", path.display(), new(path))?,
        Some(Location::Folder(path)) => {
            writeln!(f, "  a file for each tenant in {}", path.display())?;
            if database.creates() {
                writeln!(f, "  a tenant's first request creates its file")?;
            }
        }
        Some(Location::Server(_)) => writeln!(f, "  on a libSQL server")?,
        Some(Location::Memory) => writeln!(f, "  in memory")?,
        None => {}
    }
    if database.read_only {
        writeln!(f, "  read-only")?;
    }
    if let Some(folder) = &database.migrations {
        writeln!(f, "  migrations in {} run first", folder.display())?;
    }
    writeln!(f, "  up to {} connections", database.pool_size)?;
    if let Some(backup) = &database.backup {
        let folder = backup.folder.display();
        writeln!(f, "  backups in {folder}")?;
    }
    Ok(())
}
