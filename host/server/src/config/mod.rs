//! The configuration of a server: `millpond.toml`, and the same as data.
//!
//! A [`Config`] is read from a file's text by [`Config::parse`], or made of its fields and checked
//! by [`Config::check`]: the checks are the same. Nothing here opens anything; files, servers and
//! addresses are only named.
//!
//! Each setting is declared once, by `settings!` (see `macros`), in `server`, `component`,
//! `database`, `grant` and `route`. From that come the types, [`schema()`], [`commented()`] and
//! [`reference()`].
//!
//! ```
//! use millpond_server::config::Config;
//!
//! let text = r#"
//!     [components.notes]
//!     file = "notes.wasm"
//!     grants.default = { database = "notes" }
//!
//!     [databases.notes]
//!     file = "notes.db"
//!     pol-size = 8
//! "#;
//! let problems = Config::parse(text, "/etc/millpond.toml".as_ref()).unwrap_err();
//! assert!(problems.to_string().contains("did you mean `pool-size`?"));
//!
//! let config = Config::parse(&text.replace("pol-", "pool-"), "/etc/millpond.toml".as_ref())?;
//! assert_eq!(config.components["notes"].file, std::path::Path::new("/etc/notes.wasm"));
//! # Ok::<(), millpond_server::config::Problems>(())
//! ```

mod address;
mod check;
mod collections;
mod commented;
mod component;
mod database;
mod elsewhere;
mod endpoint;
mod grant;
mod macros;
mod name;
mod problem;
mod reference;
mod report;
mod route;
mod schema;
mod secret;
mod server;
mod setting;
mod size;
mod source;
mod text;
mod time;
mod values;
mod write;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::config::macros::settings;
use crate::config::report::Report;
use crate::config::setting::Setting;
use crate::config::source::Source;

pub use address::Address;
pub use commented::commented;
pub use component::Component;
pub use database::{Backup, Database, Location};
pub use endpoint::Endpoint;
pub use grant::{Grant, Operation, Table};
pub use name::Name;
pub use problem::{Key, Place, Problem, ProblemKind, Problems};
pub use reference::reference;
pub use route::{Route, Tenant, TenantFrom, TokenAlgorithm};
pub use schema::schema;
pub use secret::Secret;
pub use server::{Admin, Listener, LogFormat, Reload, Server, Telemetry, Tls};
pub use size::Size;
pub use time::{format_duration, parse_duration};

settings! {
    /// Components, databases, and which requests go where.
    Config {
        /// Limits and timeouts that all listeners, components and databases share.
        server: Server, unset "its defaults", example "{}";

        /// Where clients connect.
        listeners: Vec<Listener>, unset "one, with its defaults",
            example r#"[{ address = "127.0.0.1:8080" }]"#;

        /// A second server for the operator.
        admin: Admin, unset "no such server", example r#"{ address = "127.0.0.1:9090" }"#;

        /// What the server sends to an OpenTelemetry collector.
        telemetry: Telemetry, unset "nothing",
            example r#"{ opentelemetry = "http://127.0.0.1:4318" }"#;

        /// The components, by names that you choose. There must be at least one.
        components: BTreeMap<Name, Component>, required r#"{ app = { file = "app.wasm" } }"#;

        /// The databases, by names that you choose.
        databases: BTreeMap<Name, Database>, unset "none",
            example r#"{ app = { file = "app.db" } }"#;

        /// Which component handles which requests.
        routes: Vec<Route>, unset "all requests go to the only component",
            example r#"[{ path = "/api", component = "app" }]"#;
    }
}

impl Config {
    /// Read the text of the file at `path`. Relative paths in it are relative to the file's folder:
    /// those in the result begin with the folder of `path`.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, each with its place. If the text is not TOML, this lacks what can
    /// only be said of a whole file.
    pub fn parse(text: &str, path: &Path) -> Result<Config, Problems> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let (source, syntax) = Source::parse(text);
        let mut read = Report::default();
        let config = Config::read(source.root(), folder, &mut read).unwrap_or_default();
        let mut problems = syntax;
        let is_whole = problems.is_empty();
        problems.extend(read.problems);
        let checks = config.checks(is_whole).into_iter();
        for report in checks {
            let more: Vec<_> = report.besides(&problems).collect();
            problems.extend(more);
        }
        source.locate(&mut problems);
        problems_or(config, problems, Some(path))
    }

    /// Check that every setting is within its bounds, and that they agree with one another.
    ///
    /// # Errors
    ///
    /// Everything that is wrong.
    pub fn check(&self) -> Result<(), Problems> {
        let mut problems = Vec::new();
        for report in self.checks(true) {
            let more: Vec<_> = report.besides(&problems).collect();
            problems.extend(more);
        }
        problems_or((), problems, None)
    }

    /// The files that it names and that a reload reads: components, keys of tokens, and the folders
    /// of migrations. Not certificates: the server reads those again when they change, without a
    /// reload.
    pub fn reloaded_files(&self) -> impl Iterator<Item = &Path> {
        let components = self.components.values();
        let components = components.map(|component| component.file.as_path());
        let tenants = self.routes.iter().filter_map(|route| route.tenant.as_ref());
        let keys = tenants.flat_map(|tenant| tenant.keys.iter().map(PathBuf::as_path));
        let databases = self.databases.values();
        let migrations = databases.filter_map(|database| database.migrations.as_deref());
        components.chain(keys).chain(migrations)
    }

    /// The text of a file with this configuration: only what differs from the defaults. It shows
    /// environment variables' values and URLs, which can be secret. A path that is not UTF-8 cannot
    /// be written: its other characters are.
    pub fn to_toml(&self) -> String {
        write::document(self)
    }

    /// What each setting alone, and then all of them together, have wrong.
    fn checks(&self, is_whole: bool) -> Vec<Report> {
        let mut alone = Report::default();
        self.check_bounds(is_whole, &mut alone);
        if !is_whole {
            return vec![alone];
        }
        let mut together = Report::default();
        check::config(self, &mut together);
        vec![alone, together]
    }

    fn check_bounds(&self, is_whole: bool, report: &mut Report) {
        Setting::check(self, None, report);
        if !is_whole {
            // The text around a mistake may hold what seems to be missing.
            report
                .problems
                .retain(|problem| problem.kind != ProblemKind::MissingKey);
        }
    }
}

fn problems_or<T>(value: T, all: Vec<Problem>, file: Option<&Path>) -> Result<T, Problems> {
    match all.is_empty() {
        true => Ok(value),
        false => Err(Problems {
            file: file.map(Path::to_owned),
            all,
        }),
    }
}
