//! An HTTP server that handles each request in an instance of a guest: a new one, unless
//! [`max_instance_reuse`](crate::config::Server::max_instance_reuse) allows more requests.
//!
//! On the way of a request: a [`listener`] accepts its [`connection`]; the [`handler`] finds the
//! component, the tenant, a place and the database, and has a [`task`] run the guest in one of the
//! [`instances`], whose exported handler it [`call`]s. The [`answer`] is the guest's response or
//! the host's.
//!
//! A guest runs on the runtime's workers. If it computes for long, its [work](guest_work) continues
//! in the [`background`]; a slow statement hands its worker over to another thread. So neither
//! holds up other clients.

mod access_log;
mod admin;
mod answer;
mod background;
mod bounds;
mod call;
mod compression;
mod connection;
mod delivery;
mod disconnect;
mod epochs;
mod exchange;
mod growth;
mod guest_output;
mod guest_work;
mod handler;
mod http2;
mod instances;
mod listener;
mod operator;
mod refusal;
mod request;
mod rest;
mod server;
mod serving;
mod sockets;
mod task;
mod thread_time;
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
