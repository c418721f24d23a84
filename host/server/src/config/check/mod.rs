//! Contradictions: settings that are right alone, but not together.

mod component;
mod database;
mod paths;
mod route;
mod server;
mod tenant;

use crate::config::Config;
use crate::config::report::Report;

pub(crate) use database::FILE_KEYS;

/// Report everything that does not fit together.
pub(crate) fn config(config: &Config, report: &mut Report) {
    report.under("server", |report| server::check(&config.server, report));
    server::check_listeners(config, report);
    report.under("telemetry", |report| {
        server::check_telemetry(&config.telemetry, report);
    });
    for (name, component) in &config.components {
        report.under("components", |report| {
            report.under(name.as_str(), |report| {
                component::check(component, &config.databases, report);
            });
        });
    }
    for (name, database) in &config.databases {
        report.under("databases", |report| {
            report.under(name.as_str(), |report| database::check(database, report));
        });
    }
    paths::check(&config.databases, report);
    route::check(config, report);
}
