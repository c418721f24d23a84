//! The admin server, which answers an operator's requests.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::admin::ForOperator;
use super::bounds::Connections;
use super::listener::{self, Phase, Settings};
use crate::admin::{Admin, Watch};
use crate::config::{Address, Config};
use crate::error::{Error, Result};
use crate::log::Log;

/// The admin server, if there is one. It serves until a shutdown is complete.
pub(super) struct Operator {
    pub(super) address: Option<SocketAddr>,
    pub(super) phase: watch::Sender<Phase>,
    pub(super) serving: JoinSet<()>,
}

impl Operator {
    pub(super) fn serve(
        socket: Option<TcpListener>,
        config: &Config,
        watch: &Arc<Watch>,
    ) -> Result<Operator> {
        let (phase, phases) = watch::channel(Phase::Serving);
        let mut operator = Operator {
            address: None,
            phase,
            serving: JoinSet::new(),
        };
        let Some(socket) = socket else {
            return Ok(operator);
        };
        let name = config.admin.address.as_ref().map_or("", Address::host);
        let admin = ForOperator(Arc::new(Admin::new(Arc::clone(watch), name)));
        let listen = || {
            let address = socket.local_addr()?;
            socket.set_nonblocking(true)?;
            // Its own, so that clients cannot take them.
            let connections = Connections::new(1, Arc::clone(watch) as Arc<dyn Log>);
            let settings = Settings::new(&config.server, false, None, connections);
            let serving = listener::serve(socket, phases, settings, admin)?;
            operator.serving.spawn(serving);
            Ok(address)
        };
        operator.address =
            Some(listen().map_err(|error: io::Error| Error::new(error).passing_if(true))?);
        Ok(operator)
    }
}
