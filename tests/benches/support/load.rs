//! Servers, and the load on them, which `wrk` generates (Debian: `apt-get install wrk`).

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

pub(crate) fn is_installed(program: &str) -> bool {
    let mut command = Command::new(program);
    command
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok()
}

/// A server that has printed its address. Dropping it kills it.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    pub(crate) fn start(mut command: Command) -> Server {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut lines = BufReader::new(child.stderr.take().expect("its stderr")).lines();
        let address = loop {
            let line = lines
                .next()
                .expect("a server that listens")
                .expect("a line");
            if let Some((_, address)) = line.split_once("http://") {
                break address.trim_end_matches('/').parse().expect("an address");
            }
        };
        // Read to the end: a full pipe would stop the server.
        std::thread::spawn(move || lines.for_each(drop));
        Server { child, address }
    }

    /// In bytes.
    pub(crate) fn peak_memory(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = peak.and_then(|peak| peak.trim().split(' ').next()?.parse::<f64>().ok());
        kibibytes.unwrap_or(0.0) * 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The results of wrk, times in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) per_second: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// Request what `script` says, for this many seconds. Every response must be a 2xx or a 3xx.
pub(crate) fn run(address: SocketAddr, clients: u32, script: &Path, seconds: u32) -> Load {
    let output = Command::new("wrk")
        .args([
            "--threads",
            "1",
            "--latency",
            "--timeout",
            "30s",
            "--connections",
        ])
        .arg(clients.to_string())
        .args(["--duration", &format!("{seconds}s"), "--script"])
        .arg(script)
        .arg(format!("http://{address}/"))
        .output()
        .expect("wrk");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        !text.contains("Non-2xx") && !text.contains("Socket errors"),
        "{text}"
    );
    let after = |label: &str| {
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix(label));
        line.unwrap_or_else(|| panic!("wrk did not say {label}: {text}"))
            .trim()
            .to_owned()
    };
    Load {
        per_second: after("Requests/sec:").parse().expect("a number"),
        p50: nanos(&after("50%")),
        p99: nanos(&after("99%")),
    }
}

/// A time as wrk prints it: `1.25ms`.
fn nanos(text: &str) -> f64 {
    let unit = text
        .find(|c: char| c.is_ascii_alphabetic())
        .expect("a unit");
    let (number, unit) = text.split_at(unit);
    let number: f64 = number.parse().expect("a number");
    match unit {
        "us" => number * 1e3,
        "ms" => number * 1e6,
        _ => number * 1e9,
    }
}
