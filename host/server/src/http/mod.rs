//! An HTTP server that handles each request in an instance of a guest: a new one, unless
//! [`max_instance_reuse`](crate::config::Server::max_instance_reuse) allows more requests.
//!
//! Each guest runs on its own thread (see `handler`), which is also its connection's, unless there
//! are many connections (see `listener`): statements, and a guest's own computing, block no other
//! client.

mod access_log;
mod admin;
mod answer;
mod bounds;
mod call;
mod compression;
mod connection;
mod disconnect;
mod epochs;
mod exchange;
mod guest_output;
mod handler;
mod http2;
mod instances;
mod listener;
mod movable;
mod operator;
mod refusal;
mod request;
mod rest;
mod server;
mod serving;
mod sockets;
mod task;
mod tls;
mod upload;
mod wire;

pub use self::epochs::EpochProgress;
pub use self::server::Server;
pub use self::serving::Serving;
pub use self::sockets::Sockets;

use std::sync::Arc;

use crate::config::Config;
use crate::error::Result;
use crate::log::Log;

/// Read the certificates of the listeners.
pub(crate) fn check_certificates(config: &Config, log: &Arc<dyn Log>) -> Result<()> {
    server::identities(config, log).map(drop)
}
