//! Reads what a running server shows its operator.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use serde_json::Value;

use crate::failure::Failure;

/// How long the server may take to respond.
const PATIENCE: Duration = Duration::from_secs(5);
/// Larger than any answer: the texts in it are bounded.
const MAX_ANSWER_BYTES: u64 = 8 << 20;

/// A server, by the address of its admin listener.
#[derive(Debug)]
pub(crate) struct Operator {
    pub(crate) address: String,
}

impl Operator {
    /// A server at this address, with or without `http://`.
    pub(crate) fn new(address: &str) -> Result<Operator, Failure> {
        let address = address.strip_prefix("http://").unwrap_or(address);
        let address = address.trim_end_matches('/');
        if address.contains("://") || !address.contains(':') {
            return Err(Failure::mistake(format_args!(
                "`{address}` is no address: write the one given to `serve --stats`, with its port, \
                 as 127.0.0.1:9090"
            )));
        }
        // `serve` listens on every address.
        let address = match address.strip_prefix(':') {
            Some(port) => format!("localhost:{port}"),
            None => address.to_owned(),
        };
        Ok(Operator { address })
    }

    /// The JSON at a path; `None` if the server answers otherwise.
    pub(crate) fn get(&self, path: &str) -> Result<Option<Value>, Failure> {
        let answer = self.ask(path).map_err(|error| {
            Failure::mistake(format_args!("cannot reach {}: {error}", self.address))
        })?;
        Ok(parse(&answer))
    }

    /// HTTP/1.0, so that the response ends with the connection.
    fn ask(&self, path: &str) -> io::Result<Vec<u8>> {
        let mut server = Err(io::ErrorKind::NotFound.into());
        for address in self.address.to_socket_addrs()? {
            server = TcpStream::connect_timeout(&address, PATIENCE);
            if server.is_ok() {
                break;
            }
        }
        let mut server: TcpStream = server?;
        server.set_read_timeout(Some(PATIENCE))?;
        server.set_write_timeout(Some(PATIENCE))?;
        write!(server, "GET {path} HTTP/1.0\r\n\r\n")?;
        let mut answer = Vec::new();
        server.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)?;
        Ok(answer)
    }

    /// The server is none of ours, or too old.
    pub(crate) fn is_another(&self) -> Failure {
        Failure::mistake(format_args!(
            "{} does not answer like the admin server of `millpond serve`: is it the address given \
             to --stats?",
            self.address
        ))
    }
}

fn parse(answer: &[u8]) -> Option<Value> {
    let body = answer.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let answer: Value = serde_json::from_slice(&answer[body..]).ok()?;
    answer.is_object().then_some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_object_is_an_answer() {
        assert!(parse(b"HTTP/1.0 200 OK\r\nx: y\r\n\r\n{\"databases\":{}}").is_some());
        for answer in [
            "",
            "hello",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n[]",
        ] {
            assert!(parse(answer.as_bytes()).is_none(), "{answer}");
        }
    }
}
