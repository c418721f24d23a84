//! Pool counters as a table and as JSON, and `millpond stats`, which reads them from a server.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::operator::Operator;
use crate::output::print;

/// Print the pool counters of a running server
#[derive(Args)]
#[command(after_help = "\
Examples:
  millpond serve --stats 127.0.0.1:9090 --db notes.db notes.wasm
  millpond stats 127.0.0.1:9090
  curl http://127.0.0.1:9090/stats   (the same as JSON)")]
pub(crate) struct Stats {
    /// The address given to `serve --stats`, or of `[admin]` in its configuration, with or without
    /// `http://`.
    #[arg(value_name = "ADDR")]
    address: String,
}

impl Stats {
    pub(crate) fn execute(self) -> Result<ExitCode, Failure> {
        let server = Operator::new(&self.address)?;
        let counters = server.get("/stats")?;
        let counters = counters.and_then(databases);
        let counters = counters.ok_or_else(|| server.is_another())?;
        print(&table(&counters));
        Ok(ExitCode::SUCCESS)
    }
}

fn databases(mut answer: Value) -> Option<Map<String, Value>> {
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
    fn what_a_server_sends_is_a_table() {
        let stats = json!({ "databases": {
            "default": { "hits": 7, "wait_time_ms": 12 },
            "geo": { "hits": 0, "wait_time_ms": 0 },
        } });
        let read = databases(stats.clone()).expect("counters");
        assert_eq!(table(&read), to_table(&stats));
        assert_eq!(table(&read).lines().count(), 3);
        assert_eq!(databases(json!({ "databases": 3 })), None);
    }
}
