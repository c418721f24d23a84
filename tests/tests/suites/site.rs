//! A server with a configuration file, and its clients: curl, one that speaks HTTP/2 as a test
//! tells it, and one that speaks TLS.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use millpond_tests::component;

use crate::process::{PATIENCE, Server, millpond};

/// A server, with its folder.
pub(crate) struct Site {
    pub(crate) server: Server,
    pub(crate) folder: tempfile::TempDir,
}

/// Begins a folder with a configuration that serves a component with a database.
pub(crate) fn write(guest: &str, server: &str, listener: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("millpond.toml");
    let component = component(guest).display();
    let config = format!(
        "[server]\n{server}\n\
         [[listeners]]\naddress = \"127.0.0.1:0\"\n{listener}\n\
         [admin]\naddress = \"127.0.0.1:0\"\n\
         [components.app]\nfile = \"{component}\"\ngrants.default = {{ database = \"default\" }}\n\
         [databases.default]\nfile = \"app.db\"\n"
    );
    std::fs::write(&file, config).expect("the configuration");
    (folder, file)
}

/// The command that serves a configuration.
pub(crate) fn command(file: &Path) -> Command {
    let mut command = millpond();
    command.args(["serve", "--config"]).arg(file);
    command
}

impl Site {
    /// Serves a component, with these settings of the server and of its listener.
    pub(crate) fn new(guest: &str, server: &str, listener: &str) -> Site {
        let (folder, file) = write(guest, server, listener);
        let server = Server::start(command(&file));
        Site { server, folder }
    }

    /// The output of curl for a path, which is given with further arguments. HTTP, or HTTPS.
    pub(crate) fn curl(&self, scheme: &str, path: &str, args: &[&str]) -> Curled {
        let url = format!("{scheme}://{}{path}", self.server.address);
        Curled(curl(args, &url))
    }
}

/// What curl prints for `-i`.
pub(crate) struct Curled(pub(crate) Output);

impl Curled {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    /// The final response's version and status, such as `HTTP/2 200`.
    pub(crate) fn status(&self) -> String {
        let text = self.text();
        let mut lines = text.lines().filter(|line| line.starts_with("HTTP/"));
        let line = lines.next_back().unwrap_or_else(|| panic!("{:?}", self.0));
        let mut words = line.split_whitespace();
        let (version, status) = (words.next(), words.next());
        format!("{} {}", version.unwrap_or(""), status.unwrap_or(""))
    }

    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let text = self.text();
        let mut lines = text.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim().to_owned())
    }

    /// The bytes after the head.
    pub(crate) fn body(&self) -> &[u8] {
        let bytes = &self.0.stdout;
        let end = bytes.windows(4).position(|end| end == b"\r\n\r\n");
        &bytes[end.expect("a head") + 4..]
    }
}

fn curl(args: &[&str], url: &str) -> Output {
    let mut command = Command::new("curl");
    // Without the settings and the proxies of the user who runs the tests.
    command.args([
        "--disable",
        "--noproxy",
        "*",
        "--silent",
        "--show-error",
        "--include",
    ]);
    command
        .args(["--max-time", &PATIENCE.as_secs().to_string()])
        .args(args)
        .arg(url)
        .output()
        .expect("curl is installed")
}

/// Runs a client of HTTP/2 on its own runtime.
pub(crate) fn talk<F: Future>(client: F) -> F::Output {
    // The connection must go on while the test waits for something else.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let talk = tokio::time::timeout(PATIENCE, client);
        talk.await.expect("the server responds")
    })
}

/// An HTTP/2 connection, and the task that drives it. That ends with the connection.
pub(crate) type Http2 = (
    h2::client::SendRequest<bytes::Bytes>,
    tokio::task::JoinHandle<Result<(), h2::Error>>,
);

/// Connects with prior knowledge.
pub(crate) async fn http2(address: SocketAddr) -> Http2 {
    let stream = tokio::net::TcpStream::connect(address).await;
    let stream = stream.expect("a connection");
    let (requests, connection) = h2::client::handshake(stream).await.expect("a handshake");
    (requests, tokio::spawn(connection))
}

/// A request's head.
pub(crate) fn head(address: SocketAddr, method: &str, path: &str) -> http::Request<()> {
    http::Request::builder()
        .version(http::Version::HTTP_2)
        .method(method)
        .uri(format!("http://{address}{path}"))
        .body(())
        .expect("a request")
}

/// Sends a request without a body.
pub(crate) fn ask(
    requests: &mut h2::client::SendRequest<bytes::Bytes>,
    address: SocketAddr,
    path: &str,
) -> h2::client::ResponseFuture {
    let sent = requests.send_request(head(address, "GET", path), true);
    sent.expect("a request").0
}

/// Sends nothing more, and waits until the server closes the connection.
pub(crate) fn is_closed(mut stream: impl Read + Write) {
    let mut rest = Vec::new();
    if let Err(error) = stream.read_to_end(&mut rest) {
        // A reset closes it too.
        assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}");
    }
}

/// A plain connection whose reads end in time.
pub(crate) fn connect(address: SocketAddr) -> std::net::TcpStream {
    let stream = std::net::TcpStream::connect_timeout(&address, PATIENCE).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// Waits until there are so many connections of the pool in use.
pub(crate) fn until_in_use(server: &Server, expected: u64) {
    while server.counters()["in_use"] != expected {
        std::thread::sleep(Duration::from_millis(5));
    }
}
