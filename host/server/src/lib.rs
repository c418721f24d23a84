//! A server of WebAssembly components that use pooled SQLite connections.
//!
//! A [`Config`](config::Config) names components, databases, which requests go where, and what each
//! component may do. [`Server`] serves it: each request gets a new instance and its own grants of
//! the databases. When it ends, however it ends, everything that it holds is returned.

mod admin;
mod backtrace;
mod changes;
mod check;
mod component;
pub mod config;
mod databases;
mod error;
mod failure;
mod guest;
mod http;
mod interfaces;
mod log;
pub mod printable;
mod route;
mod site;
mod telemetry;
pub mod tenant;

pub use self::changes::FileChanges;
pub use self::check::check;
pub use self::component::{Instances, LoadedComponent, check_header, load};
pub use self::databases::{Databases, Grants, Stats, migrate};
pub use self::error::{Error, Result};
pub use self::failure::{Reached, guest_failure};
pub use self::guest::{Guest, GuestSettings};
pub use self::http::{EpochProgress, Server, Serving, Sockets};
pub use self::interfaces::{Import, Role, Support};
pub use self::log::{Access, Event, JsonLog, Log, Sent, SlowStatement, TextLog};
