//! A plugin host under attack, in its own process, which the attack may crash: serves one guest,
//! and prints the guest's outcome and what it left.
//!
//! `attacked <database> <grant> <access> <via>`, with the SQL and then each parameter on standard
//! input, each terminated by a byte that is never in UTF-8 (0xFF).

use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use millpond_pool::{Access, Grant, Parameters, TableGrant};
use millpond_sqlite::{PoolBuilder, Synchronous};
use millpond_tests::Lab;

/// The time limit of a statement.
const STATEMENT_TIME: Duration = Duration::from_millis(500);
/// SQLite's memory limit for a connection.
const MEMORY: u64 = 16 << 20;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [database, grant, access, via] = args.as_slice() else {
        panic!("attacked <database> <grant> <access> <via>");
    };
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input).expect("the SQL");
    let texts = input.split(|byte| *byte == 0xFF);
    let texts: Vec<&str> = texts
        .map(|text| str::from_utf8(text).expect("UTF-8"))
        .collect();

    let builder = PoolBuilder::new()
        .max_size(1)
        .max_memory_bytes(MEMORY)
        .max_database_bytes(16 << 20)
        .synchronous(Synchronous::Normal);
    let lab = Lab::at(Path::new(database), builder);
    let granted = granted(&lab, grant, access);
    let mut run = lab
        .run("attacks_run_what_they_are_given")
        .ctx(|ctx| ctx.grant("default", granted))
        .memory(64 << 20)
        .arg(access)
        .arg(via);
    // Without the part after the last terminator, which is empty.
    for text in &texts[..texts.len().saturating_sub(1)] {
        run = run.arg(text);
    }
    let since = Instant::now();
    let ended = run.await.succeeds();
    println!("{}", ended.output);
    println!("took {}", since.elapsed().as_millis());

    // The next borrower gets the same connection, or a new one, and can use it.
    let next = lab
        .pool()
        .get(Access::ReadWrite)
        .await
        .expect("a connection");
    assert!(!next.in_transaction(), "a transaction is left");
    next.execute_script(
        "CREATE TABLE after_all(a); INSERT INTO after_all VALUES (1); DROP TABLE after_all",
    )
    .await
    .expect("the next borrower writes");
    let left = "SELECT last_insert_rowid(), (SELECT count(*) FROM note)";
    next.query(left, &Parameters::NONE)
        .await
        .expect("and reads");
    drop(next);
    lab.pool().close(Duration::ZERO).await;
    println!("whole");
}

fn granted(lab: &Lab, grant: &str, access: &str) -> Grant {
    let access = match access {
        "read-only" => Access::ReadOnly,
        _ => Access::ReadWrite,
    };
    let all = || TableGrant::new().read().insert().update().delete();
    let granted = Grant::new(lab.pool(), access).max_statement_time(STATEMENT_TIME);
    match grant {
        "everything" => granted.temporary(true),
        "whole" => granted,
        // Its own tables, and a little of the others.
        "tables" => granted
            .table("note", all())
            .table("words", all().shadow_tables())
            .table("boxes", all().shadow_tables())
            .table("person", TableGrant::new().read().insert().hide("secret"))
            .table("outbox", TableGrant::new().insert()),
        other => panic!("no grant is called {other}"),
    }
}
