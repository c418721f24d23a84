//! Another process that serves the same folder: this program again.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::*;

const FOLDER: &str = "MILLPOND_TENANTS";

/// Does what it is told, line by line.
pub(crate) struct OtherProcess {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl OtherProcess {
    pub(crate) fn start(folder: &Path) -> OtherProcess {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "other_process::child_serves", "--nocapture"])
            .env(FOLDER, folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts");
        OtherProcess {
            stdin: child.stdin.take(),
            stdout: BufReader::new(child.stdout.take().expect("piped")),
            child,
        }
    }

    /// `get KEY` gets a pool, and writes by it; `close KEY` closes it. Returns `done`, or the kind
    /// of the error.
    pub(crate) fn tell(&mut self, what: &str) -> String {
        let stdin = self.stdin.as_mut().expect("it runs");
        writeln!(stdin, "{what}").expect("it reads");
        let mut line = String::new();
        loop {
            line.clear();
            let read = self.stdout.read_line(&mut line).expect("it writes");
            assert!(read > 0, "it ended");
            if let Some((_, answer)) = line.trim_end().split_once("answer=") {
                return answer.to_owned();
            }
        }
    }
}

impl Drop for OtherProcess {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.stdin.take());
        self.child.wait().expect("it ends");
    }
}

/// Does something only in a child process.
#[tokio::test]
async fn child_serves() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let pools = Folder::open(folder)
        .and_then(|folder| folder.pools(PoolsSettings::default()))
        .expect("pools");
    for line in std::io::stdin().lines() {
        let line = line.expect("text");
        let (what, key) = line.split_once(' ').expect("two words");
        let done = match what {
            "get" => get(&pools, key).await,
            _ => {
                pools.close_one(key, Duration::ZERO).await;
                Ok(())
            }
        };
        match done {
            Ok(()) => println!("answer=done"),
            Err(error) => println!("answer={:?}", error.kind()),
        }
    }
}

async fn get(pools: &Pools, key: &str) -> millpond_pool::Result<()> {
    let connection = pools.get(key).await?.get(Access::ReadWrite).await?;
    let sql = "CREATE TABLE IF NOT EXISTS other(n); INSERT INTO other VALUES (1)";
    connection.execute_script(sql).await.map(drop)
}
