//! A real server with several databases, each a namespace.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::sqld::{Sqld, free_port};

/// Where a server's administrator asks for things.
#[derive(Debug)]
pub(crate) struct Admin {
    address: SocketAddr,
}

impl Admin {
    /// Start a server with a database for each namespace; `None` where there is no program.
    pub(crate) fn start() -> Option<(Sqld, Admin)> {
        let address = free_port();
        let listen = address.to_string();
        let server = Sqld::start_with(&["--enable-namespaces", "--admin-listen-addr", &listen])?;
        Some((server, Admin { address }))
    }

    /// Create the database of a namespace.
    pub(crate) fn create(&self, namespace: &str) {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        let request = format!(
            "POST /v1/namespaces/{namespace}/create HTTP/1.0\r\n\
             content-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
        );
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        assert!(answer.contains(" 200 "), "{answer}");
    }
}
