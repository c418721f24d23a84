//! The contract on a libSQL server: every guest program that names no file runs on a real one,
//! where the variable `MILLPOND_SQLD` names its program.
//!
//! Programs report where they expect something else than on a file. The table in
//! `host/libsql/DIFFERENCES.md` has exactly those rows, each with its reason. `MILLPOND_BLESS=1`
//! rewrites the table: then write the reasons.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use millpond_libsql::PoolBuilder;
use millpond_pool::{Access, Parameters, Pool, Value};
use millpond_tests::{
    Ended, Lab, foreach_clean, foreach_contract, foreach_endings, foreach_guest, foreach_handles,
    foreach_transactions,
};
use millpond_wasmtime::Grant;

use crate::admin::Admin;
use crate::clean;
use crate::sqld::Sqld;

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../host/libsql/DIFFERENCES.md");

static NONE: Parameters = Parameters::NONE;

/// The programs of the contract's suites.
fn programs() -> Vec<&'static str> {
    let mut programs = Vec::new();
    macro_rules! add {
        ($name:ident) => {
            programs.push(stringify!($name));
        };
    }
    foreach_contract!(add);
    foreach_handles!(add);
    foreach_transactions!(add);
    foreach_guest!(add);
    foreach_endings!(add);
    foreach_clean!(add);
    // It has every import, and does not run.
    programs.retain(|program| *program != "contract_imports_everything");
    programs
}

/// A server, and a database of its own for each lab.
pub(crate) struct Server {
    server: Sqld,
    admin: Admin,
    databases: usize,
}

impl Server {
    pub(crate) fn start() -> Option<Server> {
        let (server, admin) = Admin::start()?;
        Some(Server {
            server,
            admin,
            databases: 0,
        })
    }

    async fn pool(&mut self, builder: PoolBuilder) -> Pool {
        self.databases += 1;
        let name = format!("db{}", self.databases);
        self.admin.create(&name);
        self.server.pool_of(builder.namespace(name)).await
    }

    pub(crate) async fn lab(&mut self) -> Lab {
        Lab::on_server(self.pool(PoolBuilder::new()).await)
    }
}

#[tokio::test]
async fn every_program_of_the_contract_on_a_server() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let mut found = Differences::default();
    let mut failed = Vec::new();
    for program in programs() {
        match run(&mut server, program).await {
            Ok(output) => found.read(program, &output),
            Err(output) => failed.push(format!("{program}:\n{output}")),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    found.compare();
}

/// What a program that has succeeded has printed; or how it failed, and what it printed.
fn printed(ended: Ended) -> Result<String, String> {
    match ended.result {
        Ok(Ok(())) => Ok(ended.output),
        other => Err(format!("{other:?}\n{}", ended.output)),
    }
}

/// Run a program to its end, as its own suite does on a file.
async fn run(server: &mut Server, program: &str) -> Result<String, String> {
    match program {
        "transactions_read_only" => {
            let lab = server.lab().await;
            let first = printed(lab.run(program).await)?;
            let again = lab.run(program).read_only().arg("granted read-only").await;
            Ok(first + &printed(again)?)
        }
        "guest_held_too_long" => {
            let lab = server.lab().await;
            let grant =
                Grant::new(lab.pool(), Access::ReadWrite).max_hold_time(Duration::from_secs(1));
            let run = lab.run(program).ctx(|ctx| ctx.grant("default", grant));
            printed(run.await)
        }
        "guest_second_request" | "handles_of_earlier_requests" => {
            let lab = server.lab().await;
            let (answers, output) = lab.run(program).answers(3).await;
            match answers == [Ok(1), Ok(2), Ok(3)] {
                true => Ok(output),
                false => Err(format!("{answers:?}\n{output}")),
            }
        }
        "endings_hold_everything" => Ok(endings(server).await),
        // Each time with both.
        "clean_look" => Ok(String::new()),
        "clean_plant" => leaks(server).await,
        _ => printed(server.lab().await.run(program).await),
    }
}

/// However a guest ends, what it held comes back, and what it wrote is undone.
async fn endings(server: &mut Server) -> String {
    let mut output = String::new();
    let lab = server.lab().await;
    execute(&lab, "CREATE TABLE t(a)").await;
    for (ending, rolled_back) in [
        ("return", 0),
        ("forget", 1),
        ("exit with 0", 1),
        ("exit with 1", 1),
        ("panic", 1),
        ("unreachable", 1),
        ("recursion", 1),
    ] {
        let before = lab.pool().stats();
        let ended: Ended = lab.run("endings_hold_everything").arg(ending).await;
        assert!(ended.output.contains("ready"), "{ending}: {}", ended.output);
        let after = lab.pool().stats();
        assert_eq!((after.in_use, after.discarded), (0, 0), "{ending}");
        assert_eq!(
            after.rolled_back,
            before.rolled_back + rolled_back,
            "{ending}"
        );
        assert_eq!(count(&lab).await, Value::Integer(0), "{ending}");
        execute(&lab, "INSERT INTO t VALUES (1)").await;
        execute(&lab, "DELETE FROM t").await;
        output.push_str(&ended.output);
    }
    output
}

async fn execute(lab: &Lab, sql: &str) {
    let connection = lab.pool().get(Access::ReadWrite).await;
    let connection = connection.expect("a connection");
    connection.execute(sql, &NONE).await.expect(sql);
}

async fn count(lab: &Lab) -> Value {
    let connection = lab.pool().get(Access::ReadOnly).await;
    let connection = connection.expect("a connection");
    let table = connection.query("SELECT count(*) FROM t", &NONE).await;
    let rows = table.expect("a row").rows;
    let row = rows.iter().next().expect("a row");
    row.get(0).expect("a value").into()
}

/// The next guest does not find what the last one left. Of what a server refuses, nothing is left.
async fn leaks(server: &mut Server) -> Result<String, String> {
    let mut output = String::new();
    for leak in clean::leaks() {
        let mut seen = Vec::new();
        for plant in [None, Some(&leak.plant)] {
            let lab = Lab::on_server(server.pool(PoolBuilder::new().max_size(1)).await);
            clean::make_tables(&lab).await;
            if let Some(plant) = plant {
                output += &printed(lab.run("clean_plant").arg(plant).await)?;
            }
            seen.push(printed(lab.run("clean_look").arg(&leak.look).await)?);
            assert_eq!(lab.pool().stats().in_use, 0, "{}", leak.name);
        }
        if seen[0] != seen[1] {
            return Err(format!("{} leaks: {seen:#?}", leak.name));
        }
    }
    Ok(output)
}

/// The differences, by program and by what differs: what is expected on a file, and on a server.
#[derive(Debug, Default)]
struct Differences {
    rows: BTreeMap<(String, String), (String, String)>,
}

impl Differences {
    /// Read what a program has printed.
    fn read(&mut self, program: &str, output: &str) {
        for line in output.lines() {
            let Some(line) = line.strip_prefix("differs: ") else {
                continue;
            };
            let cells: Vec<&str> = line.split(" | ").collect();
            let [what, file, server] = cells[..] else {
                panic!("{program} reports {line:?}");
            };
            let row = (file.to_owned(), server.to_owned());
            let key = (program.to_owned(), what.to_owned());
            let earlier = self.rows.insert(key, row.clone());
            assert!(earlier.is_none_or(|earlier| earlier == row), "{line}");
        }
    }

    /// Compare with the table, or rewrite it.
    fn compare(&self) {
        let text = std::fs::read_to_string(TABLE).expect(TABLE);
        let (head, rows) = text.split_once("|---|---|---|---|---|\n").expect("a table");
        let mut reasons = BTreeMap::new();
        for row in rows.lines() {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let ["", program, what, _, _, reason, ""] = cells[..] else {
                panic!("a row has five cells: {row}");
            };
            let code = |cell: &str| cell.trim_matches('`').to_owned();
            reasons.insert((code(program), code(what)), reason.to_owned());
        }
        let mut expected = format!("{head}|---|---|---|---|---|\n");
        for (key, (file, server)) in &self.rows {
            let reason = reasons.get(key).map_or("", String::as_str);
            let (program, what) = key;
            // Writing to a string cannot fail.
            _ = writeln!(
                expected,
                "| `{program}` | `{what}` | `{file}` | `{server}` | {reason} |"
            );
        }
        if std::env::var_os("MILLPOND_BLESS").is_some() {
            std::fs::write(TABLE, &expected).expect(TABLE);
        }
        assert!(!expected.contains("|  |"), "write the reasons into {TABLE}");
        assert_eq!(
            text, expected,
            "the programs report other differences than {TABLE} has: run again with MILLPOND_BLESS=1"
        );
    }
}
