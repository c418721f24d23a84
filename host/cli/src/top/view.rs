//! A server's snapshot as lines of text.

mod storage;

use std::cmp::Reverse;

use millpond_server::printable::{one_line, printable};
use serde_json::{Map, Value};

/// What the rows are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Name,
    Rate,
    Time,
}

impl Order {
    pub(super) fn next(self) -> Order {
        match self {
            Order::Name => Order::Rate,
            Order::Rate => Order::Time,
            Order::Time => Order::Name,
        }
    }
}

/// How many tenants and slow statements are shown.
const SHOWN: usize = 10;

/// Two snapshots, and the time between them; only one, and the time since the server's start.
#[derive(Clone, Copy)]
struct Pair<'a> {
    now: &'a Value,
    before: &'a Value,
    seconds: f64,
    /// The upper bounds of the buckets, in milliseconds, but for the last.
    bounds: &'a [f64],
}

/// A row with what it is sorted by.
struct Row {
    rate: f64,
    time: f64,
    text: String,
}

pub(super) fn view(
    address: &str,
    now: &Value,
    before: Option<&Value>,
    order: Order,
) -> Vec<String> {
    let up = |snapshot: &Value| snapshot["uptime_ms"].as_f64().unwrap_or_default();
    // A server that was started again counts from the beginning.
    let before = before
        .filter(|before| up(before) < up(now))
        .unwrap_or(&Value::Null);
    let bounds = now["bounds_ms"].as_array().map_or(&[][..], Vec::as_slice);
    let bounds: Vec<f64> = bounds.iter().filter_map(Value::as_f64).collect();
    let pair = Pair {
        now,
        before,
        seconds: ((up(now) - up(before)) / 1e3).max(1e-3),
        bounds: &bounds,
    };
    let (places, seconds) = (&now["places"], up(now) / 1e3);
    let mut lines = vec![
        format!(
            "millpond {}  {address}  {}  up {}  running {} of {}",
            text(&now["version"]),
            text(&now["state"]),
            time(seconds),
            places["in_use"],
            places["max"],
        ),
        String::new(),
        format!(
            "{:<20} {:>9} {:>9} {:>7} {:>7} {:>7} {:>8} {:>8} {:>9} {:>10}",
            "COMPONENT",
            "REQ/S",
            "2XX/3XX",
            "4XX",
            "5XX",
            "NONE",
            "P50",
            "P99",
            "INSTANCES",
            "BYTES/S"
        ),
    ];
    lines.extend(pair.rows("components", order, |name, pair| pair.component(name)));
    lines.push(String::new());
    lines.push(format!(
        "{:<20} {:>9} {:>7} {:>8} {:>9} {:>8} {:>8} {:>9} {:>9} {:>8} {:>8}",
        "DATABASE",
        "IN USE",
        "WAITING",
        "WRITERS",
        "STMT/S",
        "P50",
        "P99",
        "WAIT P99",
        "TURN P99",
        "TIMEOUTS",
        "FAILED"
    ));
    lines.extend(pair.rows("databases", order, |name, pair| pair.database(name)));
    lines.extend(storage::storage(now));
    lines.extend(tenants(now));
    lines.extend(slow(now));
    lines
}

impl Pair<'_> {
    /// The rows of a member whose members have names.
    fn rows(
        &self,
        member: &str,
        order: Order,
        row: impl Fn(&str, &Pair<'_>) -> Row,
    ) -> Vec<String> {
        let none = Map::new();
        let names = self.now[member].as_object().unwrap_or(&none).keys();
        let mut rows: Vec<Row> = names
            .map(|name| {
                let of = Pair {
                    now: &self.now[member][name],
                    before: &self.before[member][name],
                    ..*self
                };
                row(name, &of)
            })
            .collect();
        match order {
            Order::Name => {}
            Order::Rate => rows.sort_by_key(|row| Reverse(row.rate.to_bits())),
            Order::Time => rows.sort_by_key(|row| Reverse(row.time.to_bits())),
        }
        rows.into_iter().map(|row| row.text).collect()
    }

    fn component(&self, name: &str) -> Row {
        let class = |class: &str| self.more(&["classes", class]);
        let classes = ["none", "2xx", "3xx", "4xx", "5xx"].map(class);
        let [none, ok, moved, client, server] = classes;
        let rate = classes.iter().sum::<f64>() / self.seconds;
        let (p50, p99) = (self.quantile("times", 0.5), self.quantile("times", 0.99));
        let name = if name.is_empty() { "(none)" } else { name };
        let instances = self.now["instances"].to_string();
        let bytes = self.more(&["bytes"]) / self.seconds;
        let text = format!(
            "{name:<20} {rate:>9.1} {:>9} {client:>7} {server:>7} {none:>7} {:>8} {:>8} \
             {instances:>9} {bytes:>10.0}",
            ok + moved,
            shown(p50),
            shown(p99),
        );
        Row {
            rate,
            time: p99.unwrap_or_default(),
            text,
        }
    }

    fn database(&self, name: &str) -> Row {
        let counters = &self.now["counters"];
        let of = match self.now["tenants"] == true {
            true => format!("{} open", counters["open"]),
            false => format!("{} of {}", counters["in_use"], counters["max_size"]),
        };
        let or_none = |value: &Value| match value {
            Value::Null => "-".to_owned(),
            value => value.to_string(),
        };
        let rate = self.count("statements") / self.seconds;
        let p99 = self.quantile("statements", 0.99);
        let text = format!(
            "{name:<20} {of:>9} {:>7} {:>8} {rate:>9.1} {:>8} {:>8} {:>9} {:>9} {:>8} {:>8}",
            or_none(&counters["waiting"]),
            or_none(&counters["writers_waiting"]),
            shown(self.quantile("statements", 0.5)),
            shown(p99),
            shown(self.quantile("waits", 0.99)),
            shown(self.quantile("turn_waits", 0.99)),
            or_none(&counters["timeouts"]),
            self.more(&["failed"]),
        );
        Row {
            rate,
            time: p99.unwrap_or_default(),
            text,
        }
    }

    /// By how much a count has grown.
    fn more(&self, path: &[&str]) -> f64 {
        let find = |from: &Value| {
            let found = path.iter().fold(from, |value, key| &value[*key]);
            found.as_f64().unwrap_or_default()
        };
        (find(self.now) - find(self.before)).max(0.0)
    }

    /// How many more times each bucket of `member` has.
    fn buckets(&self, member: &str) -> Vec<f64> {
        let count = |from: &Value, index: usize| from[member]["counts"][index].as_f64();
        let all = self.now[member]["counts"].as_array().map_or(0, Vec::len);
        let more = (0..all).map(|index| {
            let before = count(self.before, index).unwrap_or_default();
            (count(self.now, index).unwrap_or_default() - before).max(0.0)
        });
        more.collect()
    }

    fn count(&self, member: &str) -> f64 {
        self.buckets(member).iter().sum()
    }

    /// The index of the bucket with this quantile of the times.
    fn quantile(&self, member: &str, quantile: f64) -> Option<f64> {
        let buckets = self.buckets(member);
        let wanted = quantile * buckets.iter().sum::<f64>();
        let mut sum = 0.0;
        let bucket = buckets.iter().position(|count| {
            sum += count;
            sum > 0.0 && sum >= wanted
        })?;
        Some(self.bounds.get(bucket).copied().unwrap_or(f64::INFINITY))
    }
}

fn tenants(now: &Value) -> Vec<String> {
    let all = now["tenants"].as_array().map_or(&[][..], Vec::as_slice);
    let rows = all.iter().take(SHOWN).map(|tenant| {
        let open = if tenant["open"] == true { "open" } else { "" };
        format!(
            "{:<20} {:<28} {:>10} {:>5} {:>8}",
            text(&tenant["database"]),
            cut(&text(&tenant["tenant"]), 28),
            tenant["statements"].to_string(),
            open,
            time(tenant["idle_s"].as_f64().unwrap_or_default()),
        )
    });
    let head = format!(
        "{:<20} {:<28} {:>10} {:>5} {:>8}",
        "DATABASE", "TENANT", "STATEMENTS", "", "IDLE"
    );
    titled(head, rows.collect())
}

fn slow(now: &Value) -> Vec<String> {
    let all = now["slow"]["recent"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let rows = all.iter().take(SHOWN).map(|slow| {
        format!(
            "{:>8} {:>7} {:<16} {:<16} {}",
            shown(slow["ms"].as_f64()),
            slow["rows"].to_string(),
            cut(&text(&slow["database"]), 16),
            cut(&text(&slow["component"]), 16),
            text(&slow["sql"]),
        )
    });
    let total = &now["slow"]["total"];
    let head = format!(
        "{:>8} {:>7} {:<16} {:<16} SLOW STATEMENTS ({total} in all)",
        "TIME", "ROWS", "DATABASE", "COMPONENT"
    );
    titled(head, rows.collect())
}

fn titled(head: String, rows: Vec<String>) -> Vec<String> {
    if rows.is_empty() {
        return rows;
    }
    [vec![String::new(), head], rows].concat()
}

/// A text of the server, part of which a guest or a client can choose.
fn text(value: &Value) -> String {
    one_line(&printable(value.as_str().unwrap_or_default()))
}

fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

/// A time in milliseconds.
fn shown(ms: Option<f64>) -> String {
    match ms {
        None => "-".to_owned(),
        Some(ms) if ms.is_infinite() => ">10s".to_owned(),
        Some(ms) if ms < 1000.0 => format!("{}ms", (ms * 100.0).round() / 100.0),
        Some(ms) => format!("{}s", (ms / 10.0).round() / 100.0),
    }
}

/// A long time in seconds.
fn time(seconds: f64) -> String {
    // Never negative, and exact for longer than a server runs.
    let seconds = seconds as u64;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn snapshot(uptime_ms: u64, requests: u64, slow: &str) -> Value {
        let mut counts = vec![0; 7];
        (counts[5], counts[6]) = (requests, 1);
        json!({
            "version": "1", "state": "serving", "uptime_ms": uptime_ms,
            "bounds_ms": [0.1, 0.25, 0.5, 1, 2.5, 5],
            "places": { "in_use": 1, "max": 8 },
            "components": { "app": {
                "classes": { "2xx": requests, "5xx": 1 }, "times": { "counts": counts },
                "instances": 1,
            } },
            "databases": { "db": { "counters": { "in_use": 2, "max_size": 5, "waiting": 0 } } },
            "slow": { "total": 1, "recent": [{ "ms": 12.5, "rows": 3, "sql": slow }] },
        })
    }

    #[test]
    fn rates_are_those_since_the_snapshot_before() {
        let (before, now) = (snapshot(1000, 100, ""), snapshot(3000, 120, ""));
        let lines = view("here", &now, Some(&before), Order::Name);
        let row = lines
            .iter()
            .find(|line| line.starts_with("app"))
            .expect("a row");
        let cells: Vec<_> = row.split_whitespace().collect();
        assert_eq!(
            cells[..8],
            ["app", "10.0", "20", "0", "0", "0", "5ms", "5ms"]
        );
        // After a restart, all of it is new.
        let lines = view("here", &before, Some(&now), Order::Name);
        let row = lines
            .iter()
            .find(|line| line.starts_with("app"))
            .expect("a row");
        assert!(row.contains(" 101.0 "), "{row}");
    }

    #[test]
    fn a_text_cannot_control_the_terminal() {
        let lines = view("here", &snapshot(1, 1, "a\u{1b}[2J\nb"), None, Order::Rate);
        assert!(
            lines.iter().any(|line| line.contains("a\u{fffd}[2J")),
            "{lines:?}"
        );
        assert!(!lines.concat().contains(['\u{1b}', '\n']));
    }
}
