//! How long a quick request takes alone, and beside two guests that never stop: `cargo bench --bench
//! neighbours`.
//!
//! One `millpond serve`. A client asks 200 times a second for a row; two others ask, again and again, for
//! what loops, in the guest's own code and in SQL, until the server ends it.

#[expect(dead_code, reason = "shared with the suites")]
#[path = "../tests/suites/process.rs"]
mod process;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use self::process::{Server, ask};

const EVERY: Duration = Duration::from_millis(5);
const REQUESTS: u32 = 2_000;

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.db");
    let args = ["--no-access-log", "--request-timeout", "2s"];
    let server = Server::of("hostile_serves", &path, &args);
    measure(&server, "warm-up");
    measure(&server, "alone");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for path in ["/loop", "/sql"] {
            let (server, over) = (&server, &over);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let _ = ask(server.address, "GET", path, "", b"");
                }
            });
        }
        measure(&server, "beside two that never stop");
        over.store(true, Ordering::Relaxed);
    });
}

/// Ask at fixed times, whatever the last answer took, and print how long answers took from when they
/// were due.
fn measure(server: &Server, name: &str) {
    let start = Instant::now();
    let mut times: Vec<Duration> = (0..REQUESTS)
        .map(|number| {
            let due = start + EVERY * number;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            server.ask("GET", "/quick", None).is(200);
            due.elapsed()
        })
        .collect();
    times.sort();
    let at = |part: usize| times[times.len() * part / 100].as_secs_f64() * 1e3;
    println!(
        "{name}: p50 {:.2} ms, p99 {:.2} ms, longest {:.2} ms",
        at(50),
        at(99),
        times[times.len() - 1].as_secs_f64() * 1e3
    );
}
