//! A server of WebAssembly components that use pooled SQLite connections.
//!
//! [`Server`] loads a component for HTTP and serves it: each request gets a new instance and its own
//! grants of the databases. When it ends, however it ends, everything that it holds is returned.

mod backtrace;
mod component;
mod databases;
mod error;
mod failure;
mod guest;
mod http;
mod interfaces;
mod log;
pub mod printable;
pub mod tenant;

pub use self::component::{Instances, LoadedComponent, check_header, load};
pub use self::databases::Databases;
pub use self::error::{Error, Result};
pub use self::failure::{Reached, guest_failure};
pub use self::guest::{Guest, GuestSettings};
pub use self::http::{HttpSettings, Server, Serving};
pub use self::interfaces::{Import, Role, Support};
pub use self::log::{Access, Event, Log, Sent};
