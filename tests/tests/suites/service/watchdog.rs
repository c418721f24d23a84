//! The watchdog is told only while the server can answer requests and end them.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::{Systemd, socket, value};
use crate::process::{PATIENCE, Server};

/// Of the watchdog: it is told twice in this time.
const INTERVAL: Duration = Duration::from_millis(200);

/// Waits until the watchdog is not told for much longer than its interval.
#[track_caller]
fn until_silent(systemd: &Systemd, what: &str) {
    let until = Instant::now() + PATIENCE;
    while systemd.next_within(10 * INTERVAL).is_some() {
        assert!(Instant::now() < until, "it is told although {what}");
    }
}

/// The next messages are for the watchdog.
#[track_caller]
fn is_told(systemd: &Systemd, times: usize) {
    for _ in 0..times {
        systemd.is_told("WATCHDOG", "1");
    }
}

/// It ends a service that does not tell it anything for that long.
#[test]
fn it_is_told_well_within_its_timeout() {
    const TIMEOUT: Duration = Duration::from_secs(12);
    let systemd = Systemd::new();
    let file = systemd.configure("127.0.0.1:0", "127.0.0.1:0", "");
    let mut command = systemd.command(&file);
    command.env("WATCHDOG_USEC", TIMEOUT.as_micros().to_string());
    let server = Server::start(command);
    while value(&systemd.next(), "READY").is_none() {}
    let told = systemd
        .next_within(TIMEOUT * 3 / 4)
        .expect("a message in time");
    assert_eq!(value(&told, "WATCHDOG"), Some("1"));
    server.terminate();
    assert!(server.wait().success());
}

/// A server whose log is blocked answers no requests. Here the log's reader hangs.
#[test]
fn it_is_not_told_while_the_log_is_stuck() {
    let systemd = Systemd::new();
    let ((http, address), (admin, operator)) = (socket(), socket());
    drop((http, admin));
    let file = systemd.configure(&address.to_string(), &operator.to_string(), "");
    let mut command = systemd.command(&file);
    let interval = INTERVAL.as_micros().to_string();
    command.env("WATCHDOG_USEC", interval);
    let (mut log, end) = std::io::pipe().expect("a pipe");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(end)
        .spawn();
    let child = child.as_mut().expect("it starts");
    drop(command);
    while value(&systemd.next(), "READY").is_none() {}
    is_told(&systemd, 3);

    // It blocks when the pipe is full, continues when that is read, and stops when the server ends.
    let client = std::thread::spawn(move || {
        let path = format!("/{}", "x".repeat(500));
        while crate::process::ask(address, "GET", &path, "", b"").is_ok() {}
    });
    until_silent(&systemd, "the log is stuck");
    let reader = std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    is_told(&systemd, 1);
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a signal");
    assert!(child.wait().expect("its end").success());
    client.join().expect("no panic");
    reader.join().expect("no panic").expect("the log");
}

/// Stops one thread of another process, until its input ends.
#[cfg(target_os = "linux")]
const STOP_THREAD: &str = "
import ctypes, os, sys
ptrace = ctypes.CDLL(None, use_errno=True).ptrace
ptrace.argtypes = [ctypes.c_long] * 4
ptrace.restype = ctypes.c_long
SEIZE, INTERRUPT, WALL = 0x4206, 0x4207, 0x40000000
thread = int(sys.argv[1])
for request in (SEIZE, INTERRUPT):
    if ptrace(request, thread, 0, 0) != 0:
        sys.exit(os.strerror(ctypes.get_errno()))
os.waitpid(thread, WALL)
print('stopped', flush=True)
sys.stdin.read()
";

/// Nothing would interrupt a guest that computes, so its request would not end.
#[cfg(target_os = "linux")]
#[test]
fn it_is_not_told_while_guests_cannot_be_interrupted() {
    use std::io::{BufRead, BufReader, Write};
    use std::process::Command;

    use crate::process::{Server, has};

    if !has("python3") {
        return;
    }
    let systemd = Systemd::new();
    let file = systemd.configure("127.0.0.1:0", "127.0.0.1:0", "");
    let mut command = systemd.command(&file);
    command.env("WATCHDOG_USEC", INTERVAL.as_micros().to_string());
    let server = Server::start(command);
    while value(&systemd.next(), "READY").is_none() {}
    is_told(&systemd, 3);

    let threads = server.thread_ids("millpond-epochs");
    assert_eq!(threads.len(), 1, "{threads:?}");
    let stopper = Command::new("python3")
        .args(["-c", STOP_THREAD, &threads[0]])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut stopper = stopper.expect("it runs");
    let mut line = String::new();
    let stdout = BufReader::new(stopper.stdout.take().expect("its stdout")).read_line(&mut line);
    stdout.expect("a line");
    if line.is_empty() {
        // Some systems allow this only to a debugger that started the process.
        let _ = writeln!(
            std::io::stderr(),
            "no thread can be stopped: a test does not run"
        );
        stopper.wait().expect("its end");
        return;
    }
    server.line_with("watchdog");
    until_silent(&systemd, "guests cannot be interrupted");
    server.ask("GET", "/api/notes", None).is(200);

    drop(stopper.stdin.take());
    assert!(stopper.wait().expect("its end").success());
    is_told(&systemd, 3);
    server.terminate();
    assert!(server.wait().success());
}
