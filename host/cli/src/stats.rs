//! Pool counters as a table and as JSON, and `millpond stats`, which reads them from a server.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::output::print;

/// Print the pool counters of a running `millpond serve --stats ADDR`
#[derive(Args)]
#[command(after_help = "\
Examples:
  millpond serve --stats 127.0.0.1:9090 --db notes.db notes.wasm
  millpond stats 127.0.0.1:9090
  curl http://127.0.0.1:9090/        (the same as JSON)")]
pub(crate) struct Stats {
    /// The address given to --stats, with or without `http://`.
    #[arg(value_name = "ADDR")]
    address: String,
}

/// How long the server may take to respond.
const PATIENCE: Duration = Duration::from_secs(5);
/// The counters of a thousand databases are smaller than this.
const MAX_ANSWER_BYTES: u64 = 1024 * 1024;

impl Stats {
    pub(crate) fn execute(self) -> Result<ExitCode, Failure> {
        let address = self
            .address
            .strip_prefix("http://")
            .unwrap_or(&self.address);
        let address = address.trim_end_matches('/');
        if address.contains("://") || !address.contains(':') {
            return Err(Failure::mistake(format_args!(
                "`{address}` is no address: write the one given to --stats, with its port, as \
                 127.0.0.1:9090"
            )));
        }
        // `serve` listens on every address.
        let address = &match address.strip_prefix(':') {
            Some(port) => format!("localhost:{port}"),
            None => address.to_string(),
        };
        let answer = get(address)
            .map_err(|error| Failure::mistake(format_args!("cannot reach {address}: {error}")))?;
        let counters = parse(&answer).ok_or_else(|| {
            Failure::mistake(format_args!(
                "{address} does not answer with pool counters: is it the address given to --stats?"
            ))
        })?;
        print(&table(&counters));
        Ok(ExitCode::SUCCESS)
    }
}

/// HTTP/1.0, so that the response ends with the connection.
fn get(address: &str) -> std::io::Result<Vec<u8>> {
    let mut server = TcpStream::connect(address)?;
    server.set_read_timeout(Some(PATIENCE))?;
    server.set_write_timeout(Some(PATIENCE))?;
    server.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = Vec::new();
    server.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)?;
    Ok(answer)
}

fn parse(answer: &[u8]) -> Option<Map<String, Value>> {
    let body = answer.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let mut answer: Value = serde_json::from_slice(&answer[body..]).ok()?;
    match answer.get_mut("databases")?.take() {
        Value::Object(databases) => Some(databases),
        _ => None,
    }
}

/// One line per counter, one column per database, of `{"databases": {NAME: {COUNTER: NUMBER}}}`.
pub(crate) fn to_table(stats: &Value) -> String {
    let none = Map::new();
    table(stats["databases"].as_object().unwrap_or(&none))
}

fn table(databases: &Map<String, Value>) -> String {
    let counters = databases
        .values()
        .filter_map(Value::as_object)
        .max_by_key(|counters| counters.len());
    let Some(counters) = counters else {
        return "no databases\n".to_string();
    };
    let mut text = format!("{:<20}", "");
    // Writing to a string cannot fail.
    for name in databases.keys() {
        _ = write!(text, " {name:>12}");
    }
    text.push('\n');
    for counter in counters.keys() {
        _ = write!(text, "{counter:<20}");
        for database in databases.values() {
            let number = database
                .get(counter)
                .map(Value::to_string)
                .unwrap_or_default();
            _ = write!(text, " {number:>12}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_server_sends_is_read_back() {
        let stats = json!({ "databases": {
            "default": { "hits": 7, "wait_time_ms": 12 },
            "geo": { "hits": 0, "wait_time_ms": 0 },
        } });
        let answer = format!("HTTP/1.0 200 OK\r\nx: y\r\n\r\n{stats}");
        let databases = parse(answer.as_bytes()).expect("the answer is readable");
        assert_eq!(databases["default"]["hits"], 7);
        assert_eq!(table(&databases), to_table(&stats));
    }

    #[test]
    fn any_other_answer_is_refused() {
        for answer in [
            "",
            "hello",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n[]",
            "x\r\n\r\n{\"databases\":3}",
        ] {
            assert!(parse(answer.as_bytes()).is_none(), "{answer}");
        }
    }
}
