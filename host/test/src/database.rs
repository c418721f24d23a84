//! A test's databases: each is migrated and seeded once for the process, and copied for each test.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use millpond_pool::{Access, Pool, block_on};
use millpond_sqlite::PoolBuilder;
use millpond_sqlite::migrations::Migrations;

use crate::engine::Recording;
use crate::error::Mistake;
use crate::recorder::Calls;

/// A database to create for each test: a file with the host's default settings. Without
/// migrations and seeds it is empty.
#[derive(Clone, Debug, Default)]
pub struct Database {
    plan: Plan,
    read_only: bool,
}

/// How to create a database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Plan {
    migrations: Option<PathBuf>,
    seeds: Vec<Seed>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Seed {
    File(PathBuf),
    Sql(String),
}

impl Database {
    /// An empty database.
    pub fn new() -> Database {
        Database::default()
    }

    /// Apply the migrations in this folder: files `NNN-name.sql`.
    #[must_use]
    pub fn migrations(mut self, folder: impl Into<PathBuf>) -> Database {
        self.plan.migrations = Some(folder.into());
        self
    }

    /// Then run the SQL in this file. May be repeated.
    #[must_use]
    pub fn seed(mut self, file: impl Into<PathBuf>) -> Database {
        self.plan.seeds.push(Seed::File(file.into()));
        self
    }

    /// Then run this SQL. May be repeated.
    #[must_use]
    pub fn seed_sql(mut self, sql: impl Into<String>) -> Database {
        self.plan.seeds.push(Seed::Sql(sql.into()));
        self
    }

    /// Grant it read-only. Defaults to reading and writing.
    #[must_use]
    pub fn read_only(mut self) -> Database {
        self.read_only = true;
        self
    }

    /// Create the file at `path`, and open it.
    pub(crate) fn open(
        &self,
        name: &str,
        path: PathBuf,
        calls: &Arc<Calls>,
    ) -> Result<Opened, Mistake> {
        let mistake =
            |error: &dyn std::fmt::Display| Mistake::new(format!("the database `{name}`: {error}"));
        let template = template(&self.plan).map_err(|error| mistake(&error))?;
        fs::write(&path, &template[..]).map_err(|error| mistake(&error))?;
        let pool = PoolBuilder::new()
            .read_only(self.read_only)
            .open_wrapped(&path, |engine| {
                Arc::new(Recording {
                    engine,
                    database: name.into(),
                    calls: Arc::clone(calls),
                })
            })
            .map_err(|error| mistake(&error))?;
        Ok(Opened {
            name: name.to_owned(),
            path,
            pool,
            access: match self.read_only {
                true => Access::ReadOnly,
                false => Access::ReadWrite,
            },
        })
    }
}

/// An open database.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) pool: Pool,
    pub(crate) access: Access,
}

/// The bytes of a database file.
type Template = Arc<OnceLock<Result<Arc<[u8]>, Mistake>>>;

/// The migrated and seeded database, made now or before in this process. In memory, because a
/// process cannot remove a file when it ends.
fn template(plan: &Plan) -> Result<Arc<[u8]>, Mistake> {
    static TEMPLATES: Mutex<Option<HashMap<Plan, Template>>> = Mutex::new(None);
    let once = {
        let mut templates = TEMPLATES.lock().unwrap_or_else(PoisonError::into_inner);
        let templates = templates.get_or_insert_default();
        Arc::clone(templates.entry(plan.clone()).or_default())
    };
    once.get_or_init(|| make(plan)).clone()
}

fn make(plan: &Plan) -> Result<Arc<[u8]>, Mistake> {
    let folder = tempfile::tempdir().map_err(|error| Mistake::new(error.to_string()))?;
    let path = folder.path().join("template.db");
    if let Some(migrations) = &plan.migrations {
        let report = Migrations::open(migrations).and_then(|migrations| migrations.run(&path));
        let report = report.map_err(|error| Mistake::new(error.to_string()))?;
        if report.applied.is_empty() {
            return Err(Mistake::about(
                migrations,
                "there are no migrations in this folder: their names are NNN-name.sql",
            ));
        }
    }
    let pool = PoolBuilder::new().open(&path);
    let pool = pool.map_err(|error| Mistake::new(error.to_string()))?;
    let seeded = plan.seeds.iter().try_for_each(|seed| run(&pool, seed));
    // Everything is in the file afterwards.
    pool.close_blocking(Duration::ZERO);
    seeded?;
    let bytes = fs::read(&path).map_err(|error| Mistake::new(error.to_string()))?;
    Ok(bytes.into())
}

fn run(pool: &Pool, seed: &Seed) -> Result<(), Mistake> {
    let (name, sql) = match seed {
        Seed::File(path) => {
            let sql = fs::read_to_string(path);
            (&**path, sql.map_err(|error| Mistake::about(path, error))?)
        }
        Seed::Sql(sql) => (Path::new("the seed"), sql.clone()),
    };
    let done = pool
        .get_blocking(Access::ReadWrite)
        .and_then(|connection| block_on(connection.execute_script(&sql)));
    done.map_err(|error| {
        let before = &sql[..(error.offset().unwrap_or(0) as usize).min(sql.len())];
        let line = before.matches('\n').count() + 1;
        Mistake::about(name, format_args!("line {line}: {error}"))
    })
}
