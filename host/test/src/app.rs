//! A component and its databases, for one test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Method, Request, Uri};
use millpond_pool::PoolStats;
use tempfile::TempDir;

use crate::call::{Call, Run};
use crate::component::{self, Compiled};
use crate::database::{Database, Opened};
use crate::error::Mistake;
use crate::recorder::Calls;

/// The name of the database that guest libraries use by default.
const DEFAULT: &str = "default";

/// A component, and databases of its own for one test. Clones share the same databases.
///
/// Every call runs in a new instance, like a request to `millpond serve`, but in this process and
/// without a port. Calls need a multi-thread tokio runtime; [`test`](macro@crate::test) starts one.
#[derive(Clone, Debug)]
pub struct App {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) component: Arc<Compiled>,
    /// Dropped before the folder of their files.
    pub(crate) databases: Vec<Opened>,
    pub(crate) calls: Arc<Calls>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) now: Option<SystemTime>,
    pub(crate) timeout: Duration,
    _folder: TempDir,
}

impl App {
    /// Prepare to test the component in the file at `path`.
    pub fn builder(path: impl Into<PathBuf>) -> AppBuilder {
        AppBuilder {
            component: path.into(),
            databases: BTreeMap::from([(DEFAULT.to_owned(), Database::new())]),
            env: Vec::new(),
            now: None,
            timeout: Duration::from_secs(30),
        }
    }

    /// Like [`builder`](App::builder), with the path in an environment variable.
    ///
    /// # Errors
    ///
    /// The variable is not set.
    pub fn from_env(variable: &str) -> Result<AppBuilder, Mistake> {
        match std::env::var_os(variable) {
            Some(path) => Ok(App::builder(path)),
            None => Err(Mistake::new(format!(
                "{variable} is not set: it must be the path of the component"
            ))),
        }
    }

    /// Prepare an HTTP request to the guest. Awaiting it sends it. Without an authority in its URI
    /// it is for `localhost`.
    pub fn call<B: Into<Bytes>>(&self, request: Request<B>) -> Call {
        Call::new(self.clone(), request.map(Into::into))
    }

    /// Prepare a `GET` request for a path such as `/notes?page=2`.
    ///
    /// # Panics
    ///
    /// It is not a valid path.
    #[track_caller]
    pub fn get(&self, path: &str) -> Call {
        self.with_body(Method::GET, path, Bytes::new())
    }

    /// Prepare a `POST` request with a body in JSON.
    ///
    /// # Panics
    ///
    /// It is not a valid path.
    #[track_caller]
    pub fn post_json(&self, path: &str, body: &serde_json::Value) -> Call {
        let call = self.with_body(Method::POST, path, body.to_string().into());
        call.header("content-type", "application/json")
    }

    #[track_caller]
    fn with_body(&self, method: Method, path: &str, body: Bytes) -> Call {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        match path.parse::<Uri>() {
            Ok(uri) if path.starts_with('/') => *request.uri_mut() = uri,
            _ => panic!("{path:?} is not a path: write one such as /notes"),
        }
        Call::new(self.clone(), request)
    }

    /// Prepare to run the guest as a command with these arguments, after its name. Awaiting it runs
    /// it.
    pub fn run<A: Into<String>>(&self, args: impl IntoIterator<Item = A>) -> Run {
        Run::new(self.clone(), args.into_iter().map(Into::into).collect())
    }

    /// A database's file, to look into it with another library, such as rusqlite.
    ///
    /// # Panics
    ///
    /// There is no database of that name.
    #[track_caller]
    pub fn path(&self, database: &str) -> &Path {
        &self.opened(database).path
    }

    /// A database's pool counters now.
    ///
    /// # Panics
    ///
    /// There is no database of that name.
    #[track_caller]
    pub fn stats(&self, database: &str) -> PoolStats {
        self.opened(database).pool.stats()
    }

    #[track_caller]
    fn opened(&self, name: &str) -> &Opened {
        let mut databases = self.inner.databases.iter();
        let opened = databases.find(|opened| opened.name == name);
        opened.unwrap_or_else(|| panic!("the test has no database `{name}`"))
    }
}

/// Builds an [`App`].
///
/// There is a database `default`, empty unless the builder says otherwise. Relative paths are
/// relative to the current folder, which for `cargo test` is that of the package.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it builds the app"]
pub struct AppBuilder {
    component: PathBuf,
    databases: BTreeMap<String, Database>,
    env: Vec<(String, String)>,
    now: Option<SystemTime>,
    timeout: Duration,
}

impl AppBuilder {
    fn default_database(mut self, change: impl FnOnce(Database) -> Database) -> Self {
        let database = self.databases.remove(DEFAULT).unwrap_or_default();
        self.databases.insert(DEFAULT.to_owned(), change(database));
        self
    }

    /// Apply the migrations in this folder to the database `default`.
    pub fn migrations(self, folder: impl Into<PathBuf>) -> Self {
        self.default_database(|database| database.migrations(folder))
    }

    /// Run the SQL in this file on the database `default`, after its migrations.
    pub fn seed(self, file: impl Into<PathBuf>) -> Self {
        self.default_database(|database| database.seed(file))
    }

    /// Run this SQL on the database `default`, after its migrations.
    pub fn seed_sql(self, sql: impl Into<String>) -> Self {
        self.default_database(|database| database.seed_sql(sql))
    }

    /// Grant the guest a database under this name. Replaces one of the same name.
    pub fn database(mut self, name: impl Into<String>, database: Database) -> Self {
        self.databases.insert(name.into(), database);
        self
    }

    /// Set an environment variable of the guest. It has no others.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Freeze the guest's wall clock at this time. Not affected: its monotonic clock, so that
    /// timeouts still work, and `now` in SQL, which is the host's.
    pub fn now(mut self, now: SystemTime) -> Self {
        self.now = Some(now);
        self
    }

    /// Set how long a call may take. After that its statements fail with `deadline-exceeded`, and
    /// the guest is ended with the status 504. Defaults to 30 s, as for `millpond serve`.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Compile the component, if that has not been done in this process, and create the databases.
    /// Blocks meanwhile.
    ///
    /// # Errors
    ///
    /// A file is missing or unusable. The component imports what Millpond does not provide. A
    /// migration or a seed fails.
    pub fn build(self) -> Result<App, Mistake> {
        let component = component::compiled(&self.component)?;
        let folder = tempfile::tempdir().map_err(|error| Mistake::new(error.to_string()))?;
        let calls = Arc::new(Calls::default());
        let mut databases = Vec::new();
        for (number, (name, database)) in self.databases.iter().enumerate() {
            let path = folder.path().join(format!("{number}.db"));
            databases.push(database.open(name, path, &calls)?);
        }
        Ok(App {
            inner: Arc::new(Inner {
                component,
                databases,
                calls,
                env: self.env,
                now: self.now,
                timeout: self.timeout,
                _folder: folder,
            }),
        })
    }
}
