//! `millpond serve` as a service: what it tells systemd, the sockets that systemd passes, and the
//! units. The tests speak systemd's side of the protocol, over real sockets. `tests/systemd/run`
//! uses the real systemd.

mod away;
mod units;
mod watchdog;

use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::process::{MIGRATIONS, MISTAKE, PATIENCE, Request, Server, millpond, text};
use millpond_tests::component;

/// The other end of `NOTIFY_SOCKET`.
struct Systemd {
    folder: tempfile::TempDir,
    socket: UnixDatagram,
    /// The variable's value.
    address: OsString,
}

/// The assignments of one message.
type Message = Vec<(String, String)>;

fn value<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    let mut found = message.iter().filter(|(found, _)| found == name);
    found.next().map(|(_, value)| value.as_str())
}

impl Systemd {
    fn new() -> Systemd {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        Systemd {
            folder,
            socket,
            address: path.into(),
        }
    }

    /// With a socket that is in no file system.
    #[cfg(target_os = "linux")]
    fn with_abstract_socket() -> Systemd {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::net::SocketAddr;
        let folder = tempfile::tempdir().expect("a folder");
        // No other process has this one.
        let name = folder.path().to_str().expect("text").to_owned();
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        Systemd {
            folder,
            socket: UnixDatagram::bind_addr(&address).expect("a socket"),
            address: format!("@{name}").into(),
        }
    }

    /// The next message, if one comes in time.
    fn next_within(&self, time: Duration) -> Option<Message> {
        self.socket.set_read_timeout(Some(time)).expect("a timeout");
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).ok()?;
        let lines = text(&bytes[..length]).lines();
        let message = lines.map(|line| {
            let (name, value) = line.split_once('=').expect("an assignment");
            (name.to_owned(), value.to_owned())
        });
        Some(message.collect())
    }

    fn next(&self) -> Message {
        self.next_within(PATIENCE).expect("a message")
    }

    /// The next message has this assignment.
    #[track_caller]
    fn is_told(&self, name: &str, expected: &str) -> Message {
        let message = self.next();
        assert_eq!(value(&message, name), Some(expected), "{message:?}");
        message
    }

    /// Writes a configuration with these addresses.
    fn configure(&self, listener: &str, admin: &str, server: &str) -> PathBuf {
        let file = self.folder.path().join("millpond.toml");
        let guest = component("millpond_notes").to_str().expect("a path");
        let config = format!(
            "listeners = [{{ address = \"{listener}\" }}]
            admin.address = \"{admin}\"
            server = {{ {server} }}
            [components.notes]
            file = {guest:?}
            grants.default = {{ database = \"notes\" }}
            [databases.notes]
            file = \"notes.db\"
            migrations = {MIGRATIONS:?}\n"
        );
        std::fs::write(&file, config).expect("a file");
        file
    }

    /// The command that serves a configuration, told of this.
    fn command(&self, file: &PathBuf) -> Command {
        let mut command = millpond();
        command.args(["serve", "--config"]).arg(file);
        command.env("NOTIFY_SOCKET", &self.address);
        command
    }
}

/// `command` with these descriptors as 3 and 4, as systemd passes them. A shell moves them there,
/// because only it knows the process ID for `LISTEN_PID`.
fn passing(command: &Command, names: &str, descriptors: [OwnedFd; 2]) -> Command {
    const MOVE: &str =
        "exec 3<&0 4<&1 </dev/null >/dev/null; export LISTEN_PID=$$ LISTEN_FDS=2; exec \"$@\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", MOVE, "sh"]).arg(command.get_program());
    shell.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let [first, second] = descriptors;
    shell
        .env("LISTEN_FDNAMES", names)
        .stdin(first)
        .stdout(second);
    shell
}

fn socket() -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = socket.local_addr().expect("its address");
    (socket, address)
}

const NOTE: &[u8] = br#"{"title":"Tea"}"#;

#[test]
fn systemd_is_told_of_the_start_of_reloads_and_of_the_stop() {
    let systemd = Systemd::new();
    let ((http, address), (admin, operator)) = (socket(), socket());
    let file = systemd.configure(&address.to_string(), &operator.to_string(), "");
    // Like systemd, the test keeps its copies open, so nothing else can listen there.
    let copies = [&http, &admin].map(|socket| socket.try_clone().expect("a copy").into());
    let command = passing(&systemd.command(&file), "http:admin", copies);
    let server = Server::start_as_it_is(command);
    assert_eq!(server.address, address);

    let compiling = systemd.next();
    assert!(value(&compiling, "STATUS").is_some(), "{compiling:?}");
    assert!(value(&compiling, "READY").is_none(), "{compiling:?}");
    let ready = systemd.is_told("READY", "1");
    assert!(value(&ready, "STATUS").is_some_and(|status| status.contains(&address.to_string())));
    server.ask_admin("/readyz", "").is(200);
    server.ask("GET", "/api/notes", None).is(200);

    // A reload, and one that fails.
    for broken in [false, true] {
        if broken {
            std::fs::write(&file, "components = 1").expect("a file");
        }
        server.reload();
        let reloading = systemd.is_told("RELOADING", "1");
        let time = value(&reloading, "MONOTONIC_USEC").expect("a time");
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let now = now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000;
        let time: u64 = time.parse().expect("a number");
        assert!((1..=now).contains(&time), "{time}");
        let ready = systemd.is_told("READY", "1");
        assert!(value(&ready, "STATUS").is_some(), "{ready:?}");
        server.ask("GET", "/api/notes", None).is(200);
    }

    let mut held = Request::hold(address, "POST", "/api/notes", NOTE.len()).expect("a guest");
    server.terminate();
    systemd.is_told("STOPPING", "1");
    // A connection waits for the next start, because the socket is systemd's.
    TcpStream::connect(address).expect("a connection");
    held.send(NOTE).expect("the rest");
    held.answer().expect("an answer").is(201);
    assert!(server.wait().success());
    assert_eq!(systemd.next_within(Duration::from_millis(1)), None);
}

#[cfg(target_os = "linux")]
#[test]
fn systemd_is_told_over_an_abstract_socket() {
    let systemd = Systemd::with_abstract_socket();
    let file = systemd.configure("127.0.0.1:0", "127.0.0.1:0", "");
    let server = Server::start(systemd.command(&file));
    while value(&systemd.next(), "READY").is_none() {}
    server.terminate();
    systemd.is_told("STOPPING", "1");
    assert!(server.wait().success());
}

/// Without a handler, the first process of a container would ignore the signal.
#[test]
fn a_signal_ends_a_server_that_starts() {
    let systemd = Systemd::new();
    let file = systemd.configure("127.0.0.1:0", "127.0.0.1:0", "");
    let mut command = systemd.command(&file);
    // Without compiled components: it compiles.
    command.env("XDG_CACHE_HOME", systemd.folder.path());
    let mut child = command.stderr(Stdio::null()).spawn().expect("it starts");
    let compiling = systemd.next();
    assert!(value(&compiling, "READY").is_none(), "{compiling:?}");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a signal");
    assert_eq!(child.wait().expect("its end").code(), Some(0));
}

#[test]
fn a_stop_finishes_what_runs_and_refuses_new_connections() {
    let systemd = Systemd::new();
    let file = systemd.configure("127.0.0.1:0", "127.0.0.1:0", "grace = \"1h\"");
    let server = Server::start(systemd.command(&file));
    let mut held =
        Request::hold(server.address, "POST", "/api/notes", NOTE.len()).expect("a guest");
    server.terminate();
    while value(&systemd.next(), "STOPPING").is_none() {}
    // The acceptor is told at the same time.
    let refused = loop {
        match TcpStream::connect(server.address) {
            // One that came while the socket was being closed.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            Err(error) => break error.kind(),
            Ok(_) => {}
        }
    };
    assert_eq!(refused, std::io::ErrorKind::ConnectionRefused);
    held.send(NOTE).expect("the rest");
    held.answer().expect("an answer").is(201);
    assert!(server.wait().success());
}

#[test]
fn sockets_that_contradict_the_configuration_are_refused() {
    let systemd = Systemd::new();
    let other = || OwnedFd::from(socket().0);
    let ((http, address), (admin, operator)) = (socket(), socket());
    let file = systemd.configure(&address.to_string(), &operator.to_string(), "");
    let own = || [&http, &admin].map(|socket| OwnedFd::from(socket.try_clone().expect("a copy")));
    let [same, _] = own();
    let connected = OwnedFd::from(TcpStream::connect(address).expect("a connection"));
    let null = OwnedFd::from(std::fs::File::open("/dev/null").expect("it is there"));
    let [first, second] = own();
    for (what, names, descriptors) in [
        ("the name of a unit", "millpond.socket:admin", own()),
        ("exchanged", "admin:http", own()),
        ("another address", "http:admin", [first, other()]),
        ("an address twice", "http:http", [second, same]),
        (
            "no socket",
            "http:admin",
            [own().into_iter().next().expect("one"), null],
        ),
        (
            "a connection",
            "http:admin",
            [own().into_iter().next().expect("one"), connected],
        ),
    ] {
        let mut command = passing(&systemd.command(&file), names, descriptors);
        let output = command
            .stderr(Stdio::piped())
            .spawn()
            .and_then(|child| child.wait_with_output());
        let output = output.expect("it runs");
        assert_eq!(output.status.code(), Some(MISTAKE), "{what}: {output:?}");
        assert_eq!(
            text(&output.stderr).lines().count(),
            1,
            "{what}: {output:?}"
        );
    }
}
