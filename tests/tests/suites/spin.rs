//! Guests of Spin's SQLite.

use std::time::Duration;

use millpond_pool::{Access, Parameters};
use millpond_sqlite::PoolBuilder;
use millpond_tests::{Lab, component, foreach_spin};
use millpond_wasmtime::Grant;

use crate::assert_test_exists;
use crate::libsql;
use crate::process::{Request, Server, here, millpond};

foreach_spin!(assert_test_exists);

#[tokio::test]
async fn spin_values() {
    Lab::new().run("spin_values").await.succeeds();
}

#[tokio::test]
async fn spin_connections() {
    let ended = Lab::new().run("spin_connections").await.succeeds();
    assert_eq!(ended.stats.rolled_back, 1);
}

#[tokio::test]
async fn spin_three() {
    Lab::new().run("spin_three").await.succeeds();
}

#[tokio::test]
async fn spin_refused() {
    let lab = Lab::new();
    let connection = lab.pool().get(Access::ReadWrite).await.expect("one");
    for sql in ["CREATE TABLE t(a)", "INSERT INTO t VALUES (1)"] {
        let done = connection.execute(sql, &Parameters::NONE).await;
        done.expect("a table with a row");
    }
    drop(connection);
    lab.run("spin_refused").read_only().await.succeeds();
}

#[tokio::test]
async fn spin_full() {
    let lab = Lab::with(PoolBuilder::new().max_database_bytes(2 << 20));
    lab.run("spin_full").await.succeeds();
}

#[tokio::test]
async fn spin_held() {
    let lab = Lab::new();
    let grant = Grant::new(lab.pool(), Access::ReadWrite).max_hold_time(Duration::from_millis(200));
    let run = lab.run("spin_held").ctx(|ctx| ctx.grant("default", grant));
    run.await.succeeds();
}

#[tokio::test]
async fn a_database_may_be_on_a_server() {
    let Some(mut server) = libsql::Server::start() else {
        return;
    };
    for program in ["spin_values", "spin_three"] {
        server.lab().await.run(program).await.succeeds();
    }
}

#[test]
fn spin_streams() {
    let (_folder, database) = here();
    let mut command = millpond();
    command.arg("run").arg("--db").arg(&database);
    let output = command.arg(component("spin_streams")).output();
    let output = output.expect("it runs");
    assert!(output.status.success(), "{output:?}");
}

/// A guest's call may get the turn to write while the guest computes.
#[test]
fn a_guest_that_computes_does_not_hold_up_writers() {
    let (_folder, database) = here();
    let server = Server::of("spin_streams", &database, &["--no-access-log"]);
    let mut holder = Request::hold(server.address, "POST", "/hold", 1).expect("a guest");
    std::thread::scope(|scope| {
        let computing = scope.spawn(|| server.ask("GET", "/compute", None).is(200));
        while server.counters()["writers_waiting"] != 1 {
            assert!(!computing.is_finished());
        }
        holder.send(b".").expect("it reads");
        server.ask("GET", "/add", None).is(200);
        assert!(!computing.is_finished());
        drop(computing.join().expect("an answer"));
    });
    drop(holder.answer());
    server.ends_with_nothing_in_use();
}

/// A command that imports a function of each of these interfaces, and calls the first of them.
fn caller(imports: &[&str]) -> Vec<u8> {
    let instance = |(index, name)| {
        format!("(import \"{name}\" (instance $import{index} (export \"get\" (func))))\n")
    };
    let imports: String = imports.iter().enumerate().map(instance).collect();
    let text = format!(
        r#"(component
            {imports}
            (core func $get (canon lower (func $import0 "get")))
            (core module $module
                (import "host" "get" (func $get))
                (func (export "run") (result i32) call $get i32.const 0))
            (core instance $code (instantiate $module
                (with "host" (instance (export "get" (func $get))))))
            (func $run (result (result)) (canon lift (core func $code "run")))
            (instance $command (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $command)))"#
    );
    wat::parse_str(text).expect("a component")
}

/// The exit status and the output of a subcommand.
fn command(subcommand: &str, component: &[u8]) -> (Option<i32>, String) {
    let (folder, _) = here();
    let path = folder.path().join("guest.wasm");
    std::fs::write(&path, component).expect("a file");
    let output = millpond()
        .arg(subcommand)
        .arg(path)
        .output()
        .expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).expect("text"))
}

#[test]
fn the_rest_of_spin_traps_when_it_is_called() {
    const VARIABLES: &str = "spin:variables/variables@3.0.0";
    const CONFIG: &str = "wasi:config/store@0.2.0-draft-2024-09-27";
    let guest = caller(&[VARIABLES, CONFIG, "fermyon:spin/llm@2.0.0"]);
    let (code, text) = command("inspect", &guest);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(text.matches("  traps     ").count(), 3, "{text}");
    let (code, text) = command("run", &guest);
    assert_eq!(code, Some(134), "{text}");
    assert!(text.contains(VARIABLES), "{text}");

    // Nothing else traps: it is missing.
    for others in [&[CONFIG][..], &[VARIABLES, "acme:spin/llm@2.0.0"]] {
        for subcommand in ["inspect", "run"] {
            let (code, text) = command(subcommand, &caller(others));
            assert_eq!(code, Some(2), "{text}");
            let missing = others.last().expect("a name");
            assert!(text.contains(missing), "{text}");
        }
    }
}
