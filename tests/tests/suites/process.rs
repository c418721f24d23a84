//! Runs the command as a process: to its end, or as a server that gets HTTP requests.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long a test waits for anything. Only a failing test waits that long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The command's exit status for a mistake in the command line, a file or a setting.
pub(crate) const MISTAKE: i32 = 2;

/// The exit status of a server that does not start for a reason that may pass.
pub(crate) const NOT_NOW: i32 = 1;

/// Waits until this is so.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + PATIENCE;
    while !is_so() {
        assert!(std::time::Instant::now() < end, "in vain: {what}");
        std::thread::yield_now();
    }
}

/// The demo's migrations.
pub(crate) const MIGRATIONS: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../guest/notes/migrations");

/// A folder, and a path for a database in it.
pub(crate) fn here() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("app.db");
    (folder, database)
}

/// Whether a program that not every machine has is installed. Without it, a test that needs it says
/// so, and does not run, unless `MILLPOND_REQUIRE_` and its name is set.
pub(crate) fn has(program: &str) -> bool {
    if Command::new(program).arg("--version").output().is_ok() {
        return true;
    }
    let name = program.to_ascii_uppercase().replace('-', "_");
    let variable = format!("MILLPOND_REQUIRE_{name}");
    let is_required = std::env::var_os(&variable).is_some();
    assert!(!is_required, "{variable} is set, and there is no {program}");
    // Not with a macro: the harness captures the output of a passing test.
    let _ = writeln!(
        std::io::stderr(),
        "there is no {program}: a test that needs it does not run"
    );
    false
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

/// The `millpond` command, without the settings and the cache of the user who runs the tests.
pub(crate) fn millpond() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millpond-under-test"));
    for variable in [
        "DATABASE_PATH",
        "DB_POOL_SIZE",
        "DB_TIMEOUT",
        "MILLPOND_DB_TOKEN",
    ] {
        command.env_remove(variable);
    }
    command.env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
    command
}

/// The output of a `run` without input.
pub(crate) fn output_of_run(flags: &[&str], guest: &Path, args: &[&str]) -> Output {
    let mut command = millpond();
    command.arg("run").args(flags).arg(guest).args(args);
    command
        .stdin(Stdio::null())
        .output()
        .expect("the command runs")
}

/// A `millpond serve`. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    counters: SocketAddr,
    /// Behind a lock, so that clients on many threads may share the server.
    lines: Mutex<Receiver<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves the demo with the database at `path`, and further arguments.
    pub(crate) fn notes(path: &Path, args: &[&str]) -> Server {
        let args = [&["--migrations", MIGRATIONS], args].concat();
        Server::of("millpond_notes", path, &args)
    }

    /// Serves a component with the database at `path`, and further arguments.
    pub(crate) fn of(name: &str, path: &Path, args: &[&str]) -> Server {
        let mut command = millpond();
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--stats", "127.0.0.1:0"])
            .arg("--db")
            .arg(path)
            .args(args)
            .arg(millpond_tests::component(name));
        Server::start(command)
    }

    /// Starts a command that serves, with its counters.
    pub(crate) fn start(mut command: Command) -> Server {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Server::start_as_it_is(command)
    }

    /// Like `start`, but does not change the command's standard input and output.
    pub(crate) fn start_as_it_is(mut command: Command) -> Server {
        let mut child = command
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        let stderr = BufReader::new(child.stderr.take().expect("its stderr"));
        let (line, lines) = channel();
        // Read to the end, even if no test waits for a line: a full pipe would block the server.
        let reader = std::thread::spawn(move || {
            for text in stderr.lines().map_while(Result::ok) {
                let _ = line.send(text);
            }
        });
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut server = Server {
            child,
            address: nowhere,
            counters: nowhere,
            lines: Mutex::new(lines),
            reader: Some(reader),
        };
        server.address = address_in(&server.line_with("Serving HTTP on"));
        server.counters = address_in(&server.line_with("operator's page on"));
        server
    }

    /// Waits for a line on standard error.
    pub(crate) fn line_with(&self, text: &str) -> String {
        self.lines_until(text).pop().expect("the line")
    }

    /// Waits for a line on standard error. Returns all lines up to it, with it.
    pub(crate) fn lines_until(&self, text: &str) -> Vec<String> {
        let lines = self.lines.lock().expect("a test that did not panic");
        let mut seen = Vec::new();
        loop {
            match lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(text) => {
                    seen.push(line);
                    return seen;
                }
                Ok(line) => seen.push(line),
                Err(_) => panic!("no line with {text:?} came, but {seen:#?}"),
            }
        }
    }

    /// The next line on standard error; `None` once the server has ended.
    pub(crate) fn next_line(&self) -> Option<String> {
        let lines = self.lines.lock().expect("a test that did not panic");
        lines.recv_timeout(PATIENCE).ok()
    }

    /// Sends a request, with an optional JSON body.
    pub(crate) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let (kind, body) = match body {
            Some(body) => ("content-type: application/json\r\n", body.to_string()),
            None => ("", String::new()),
        };
        self.ask_raw(method, path, kind, body.as_bytes())
    }

    /// Sends a request with these header lines and this body.
    pub(crate) fn ask_raw(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        ask(self.address, method, path, headers, body).expect("an answer")
    }

    /// Sends a request to the admin server.
    pub(crate) fn ask_admin(&self, path: &str, headers: &str) -> Answer {
        ask(self.counters, "GET", path, headers, b"").expect("an answer")
    }

    /// Where the server serves its counters.
    pub(crate) fn counters_address(&self) -> String {
        self.counters.to_string()
    }

    /// The port of its counters.
    pub(crate) fn counters_port(&self) -> u16 {
        self.counters.port()
    }

    /// The counters of the pool behind the database `default`.
    pub(crate) fn counters(&self) -> Value {
        let answer = ask(self.counters, "GET", "/stats", "", b"").expect("the counters");
        answer.json()["databases"]["default"].clone()
    }

    /// Signals the server to shut down.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Signals the server to read its configuration again.
    pub(crate) fn reload(&self) {
        self.signal(Signal::HUP);
    }

    /// Kills the server at once.
    pub(crate) fn kill(mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }

    /// How many of its threads have this name, of up to 15 bytes.
    #[cfg(target_os = "linux")]
    pub(crate) fn threads(&self, name: &str) -> usize {
        self.nice(name).len()
    }

    /// The size of its address space, in KiB. Nearly all of that is reserved for the instances of
    /// its components, as much for each component.
    #[cfg(target_os = "linux")]
    pub(crate) fn address_space(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("its status");
        let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
        let size = size.and_then(|size| size.split_whitespace().next());
        size.and_then(|size| size.parse().ok()).expect("a size")
    }

    /// The nice values of its threads with this name, of up to 15 bytes.
    #[cfg(target_os = "linux")]
    pub(crate) fn nice(&self, name: &str) -> Vec<i32> {
        /// Of the fields after the name (proc_pid_stat(5)).
        const NICE: usize = 16;
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id()));
        let stats = threads
            .expect("its threads")
            .flatten()
            .filter_map(|thread| {
                // One may end meanwhile.
                std::fs::read_to_string(thread.path().join("stat")).ok()
            });
        let nice = stats.filter_map(|stat| {
            let (before, after) = stat.rsplit_once(") ")?;
            let (_, found) = before.split_once(" (")?;
            let nice = after.split(' ').nth(NICE)?.parse().ok()?;
            (found == name).then_some(nice)
        });
        nice.collect()
    }

    /// Where this process finds a path as the server sees it: that may have mounted something
    /// there.
    #[cfg(target_os = "linux")]
    pub(crate) fn view_of(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.child.id()));
        root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The ids of its threads with this name, of up to 15 bytes.
    #[cfg(target_os = "linux")]
    pub(crate) fn thread_ids(&self, name: &str) -> Vec<String> {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id()));
        let named = threads.expect("its threads").flatten().filter(|thread| {
            // One may end meanwhile.
            let found = std::fs::read_to_string(thread.path().join("comm"));
            found.is_ok_and(|found| found.trim_end() == name)
        });
        let ids = named.map(|thread| thread.file_name().to_string_lossy().into_owned());
        ids.collect()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a signal");
    }

    /// Shuts the server down and asserts that nothing is in use. A connection is returned before
    /// its request's last byte is sent, or soon after: the end of the server waits for that.
    #[track_caller]
    pub(crate) fn ends_with_nothing_in_use(self) {
        self.terminate();
        let line = self.line_with("in_use");
        assert_eq!(line.split_whitespace().last(), Some("0"), "{line}");
        assert!(self.wait().success());
    }

    /// Waits for the end of the server, after [`terminate`](Server::terminate).
    pub(crate) fn wait(mut self) -> ExitStatus {
        // Its standard error ends when the process does.
        self.reader.take().map(JoinHandle::join);
        self.child.wait().expect("an exit status")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn address_in(line: &str) -> SocketAddr {
    let (_, address) = line.split_once("://").expect("an address");
    let (address, _) = address.split_once('/').expect("its end");
    address.parse().expect("an address")
}

/// A server's response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// By name in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Asserts the status.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Answer {
        let body = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{body}");
        self
    }

    fn parse(bytes: &[u8]) -> Option<Answer> {
        let end = bytes.windows(4).position(|end| end == b"\r\n\r\n")?;
        let mut lines = std::str::from_utf8(&bytes[..end]).ok()?.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
        Some(Answer {
            status,
            headers: headers.collect(),
            body: bytes[end + 4..].to_vec(),
        })
    }
}

/// Sends an HTTP/1.0 request, so that the response ends with the connection.
///
/// # Errors
///
/// The connection is refused, or ends before the response is complete.
pub(crate) fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &[u8],
) -> std::io::Result<Answer> {
    let mut request = Request::begin(address, method, path, "1.0", headers, body.len())?;
    request.send(body)?;
    request.answer()
}

/// A request that is sent in parts, to keep a guest running.
#[derive(Debug)]
pub(crate) struct Request {
    stream: TcpStream,
}

impl Request {
    fn begin(
        address: SocketAddr,
        method: &str,
        path: &str,
        version: &str,
        headers: &str,
        length: usize,
    ) -> std::io::Result<Request> {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "{method} {path} HTTP/{version}\r\nhost: {address}\r\nconnection: close\r\n\
             {headers}content-length: {length}\r\n\r\n"
        )?;
        Ok(Request { stream })
    }

    /// Sends the head of a request with a JSON body of `length` bytes, and waits until the server
    /// asks for the body: then its handler is running, and waits for it.
    ///
    /// # Errors
    ///
    /// The server responds otherwise.
    pub(crate) fn hold(
        address: SocketAddr,
        method: &str,
        path: &str,
        length: usize,
    ) -> std::io::Result<Request> {
        let headers = "content-type: application/json\r\nexpect: 100-continue\r\n";
        let mut request = Request::begin(address, method, path, "1.1", headers, length)?;
        let mut asked = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
        request.stream.read_exact(&mut asked)?;
        match &asked {
            b"HTTP/1.1 100 Continue\r\n\r\n" => Ok(request),
            other => Err(std::io::Error::other(
                String::from_utf8_lossy(other).into_owned(),
            )),
        }
    }

    /// Sends the body.
    pub(crate) fn send(&mut self, body: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(body)
    }

    /// Waits for the response. The body of a response to a held request may be chunked.
    ///
    /// # Errors
    ///
    /// The connection ends before the response is complete.
    pub(crate) fn answer(mut self) -> std::io::Result<Answer> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes)?;
        let broken = || std::io::Error::other(String::from_utf8_lossy(&bytes).into_owned());
        let answer = Answer::parse(&bytes).ok_or_else(broken)?;
        match answer.headers.get("content-length") {
            Some(length) if *length != answer.body.len().to_string() => Err(broken()),
            _ => Ok(answer),
        }
    }
}
