//! The crate `millpond-test` passes a good guest, and fails guests with the mistakes that it must
//! find.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, SystemTime};

use millpond_test::{App, AppBuilder, Database, Failure, Fault};
use millpond_tests::{component, foreach_kit};
use serde_json::json;

use crate::assert_test_exists;

mod faults;
mod files;
#[path = "../../kit/readme.rs"]
mod readme;
mod scans;

foreach_kit!(assert_test_exists);

const NOTES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../guest/notes/migrations");

const SCHEMA: &str = "
    CREATE TABLE note(id INTEGER PRIMARY KEY, title TEXT NOT NULL);
    CREATE TABLE comment(note INTEGER NOT NULL REFERENCES note, body TEXT NOT NULL);
    INSERT INTO note VALUES (1, 'one'), (2, 'two'), (3, 'three');
    INSERT INTO comment VALUES (1, 'first'), (1, 'second'), (3, 'third');
";

fn app(program: &str) -> AppBuilder {
    App::builder(component(program)).seed_sql(SCHEMA)
}

/// The message of an assertion that must fail.
fn refused<T>(assertion: impl FnOnce() -> T) -> String {
    let panic = catch_unwind(AssertUnwindSafe(|| _ = assertion())).expect_err("a failed assertion");
    *panic.downcast::<String>().expect("a message")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_guest_passes_every_assertion() {
    let notes = App::builder(component("millpond_notes")).migrations(NOTES);
    let notes = notes.build().expect("an app");
    let draft = json!({"title": "Millpond", "body": "Still water, lent out."});
    let made = notes.post_json("/api/notes", &draft).await;
    made.is(201)
        .leaves_nothing()
        .at_most_statements(1)
        .no_full_scan();
    made.json_is(&json!({
        "id": 1, "title": "Millpond", "body": "Still water, lent out.", "created": "…",
        "updated": "…", "version": 1,
    }));
    assert_eq!(made.header("location"), Some("/api/notes/1"));

    let listed = notes.get("/api/notes").await;
    listed
        .is(200)
        .leaves_nothing()
        .at_most_statements(2)
        .no_full_scan();
    listed.journal_is(
        "1 get default read-write
         1 begin deferred
         1 prepare SELECT id, title, body, created, updated, version FROM notes \
             ORDER BY updated DESC, id DESC LIMIT ?1 OFFSET ?2
         1 query SELECT id, title, body, created, updated, version FROM notes \
             ORDER BY updated DESC, id DESC LIMIT ?1 OFFSET ?2 (2 parameters) -> 1 row
         1 prepare SELECT count(*) FROM notes
         1 query SELECT count(*) FROM notes -> 1 row
         1 commit
         1 return",
    );
    assert_eq!(
        (listed.record.journal.rows(), listed.record.journal.waits()),
        (2, 0)
    );
    assert_eq!(listed.record.stats["default"].in_use, 0);

    // Each test has its own copy of the database.
    let other = App::builder(component("millpond_notes")).migrations(NOTES);
    let other = other.build().expect("an app").get("/api/notes").await;
    other.is(200);
    assert_eq!(other.json()["total"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn kit_leaks() {
    let app = app("kit_leaks").build().expect("an app");
    for (path, sql) in [
        ("/statement", "SELECT title FROM note WHERE id = ?1"),
        ("/cursor", "SELECT id, hex(zeroblob(400000)) FROM note"),
        ("/transaction", "UPDATE note SET title = title || '!'"),
    ] {
        let answer = app.get(path).await;
        let message = refused(|| answer.is(200).leaves_nothing());
        assert!(message.contains(sql), "{message}");
        let left = &answer.record.left;
        let of = |list: &Vec<String>| list.len();
        assert_eq!(of(&left.transactions), usize::from(path == "/transaction"));
        assert_eq!(of(&left.cursors), usize::from(path == "/cursor"));
    }
    let nothing = app.get("/nothing").await;
    nothing.is(200).leaves_nothing();
    // `db()` leaves its connection to the end of the request.
    refused(|| nothing.returns_connections());
}

#[tokio::test(flavor = "multi_thread")]
async fn kit_asks_often() {
    let app = app("kit_asks_often").build().expect("an app");
    let answer = app.get("/").await;
    answer.is(200).leaves_nothing().at_most_statements(4);
    let message = refused(|| answer.at_most_statements(3));
    assert!(
        message.contains("3 times: SELECT body FROM comment WHERE note = ?1"),
        "{message}"
    );
    let message = refused(|| answer.no_full_scan_except(&["note"]));
    assert!(message.contains("SCAN comment"), "{message}");
    answer.no_full_scan_except(&["note", "comment"]);
    let message = refused(|| answer.json_is(&json!([{"id": 1, "title": "…"}])));
    assert!(message.contains("\n+"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kit_renames() {
    let conflict = || Fault::error(Failure::BusySnapshot).on_sql("UPDATE note");
    let app = app("kit_renames").build().expect("an app");
    let once = app.get("/").fault(conflict()).await;
    let message = refused(|| once.is(200));
    // What the guest printed helps to understand it.
    assert!(message.contains("renaming, 1 tries"), "{message}");
    once.leaves_nothing();

    let retried = app.get("/retry").fault(conflict()).await;
    retried.is(200).leaves_nothing().body_is("one, renamed\n");
    retried.journal_is(
        "1 get default read-write
         1 begin deferred
         1 prepare SELECT title FROM note WHERE id = 1
         1 query SELECT title FROM note WHERE id = 1 -> 1 row
         1 execute UPDATE note SET title = ?1 WHERE id = 1 (1 parameter) -> busy-snapshot (fault)
         1 drop transaction
         1 begin deferred
         1 prepare SELECT title FROM note WHERE id = 1
         1 query SELECT title FROM note WHERE id = 1 -> 1 row
         1 execute UPDATE note SET title = ?1 WHERE id = 1 (1 parameter) -> 1 change
         1 commit
         1 return by the end of the request",
    );
    // Three times is once too often.
    app.get("/retry").fault(conflict().times(3)).await.is(503);
}

#[tokio::test(flavor = "multi_thread")]
async fn kit_answers() {
    let app = app("kit_answers").build().expect("an app");
    // It traps after its status, which the client has.
    for (path, word) in [("/half", "in the middle"), ("/late", "at the end")] {
        let answer = app.get(path).await;
        assert_eq!(answer.status, 200);
        for message in [
            refused(|| answer.is(200)),
            refused(|| answer.body_is("")),
            refused(|| answer.leaves_nothing()),
        ] {
            assert!(message.contains(word), "{message}");
        }
    }
    for (path, word) in [("/exit", "exit(1)"), ("/early", "103")] {
        let answer = app.get(path).await;
        let failure = answer.is(500).record.failure.as_deref().unwrap_or_default();
        assert!(failure.contains(word), "{path}: {failure}");
    }
    app.get("/length").await.body_is("none\n");
    let note = app.post_json("/length", &json!({"id": 1}));
    note.await.is(200).body_is("8\n");
    let empty = app.get("/length").body("");
    empty.header("content-length", "0").await.body_is("0\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn kit_runs() {
    let app = app("kit_runs").build().expect("an app");
    let script = "script INSERT INTO note(title) VALUES ('a;b'); -- c;\n
        CREATE TRIGGER renamed AFTER UPDATE ON note BEGIN
            DELETE FROM comment WHERE note = old.id; SELECT 1; END;
        DELETE FROM comment /* ; */ ; ;";
    let steps = [
        "BEGIN",
        script,
        "SAVEPOINT s",
        "ROLLBACK TO s",
        "RELEASE s",
        "COMMIT",
    ];
    let exit = app.run(steps).await;
    exit.is(0)
        .stdout_is(&"ok\n".repeat(6))
        .at_most_statements(3);
    let message = refused(|| exit.at_most_statements(2));
    assert!(message.contains("ran 3 statements"), "{message}");

    let empty = app.run(["script "]).await;
    empty.journal_is(
        "1 get default read-write
         1 script
         1 return",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_comes_back_late_is_recorded() {
    let app = self::app("kit_runs").timeout(Duration::from_millis(100));
    let app = app.build().expect("an app");
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
        SELECT count(*) FROM n";
    let exit = app.run([endless]).await;
    let journal = exit.record.journal.to_string();
    assert!(journal.contains("\n1 return"), "{journal}");
    assert_eq!(exit.record.left.unreturned, [""; 0]);
    assert_eq!(app.stats("default").in_use, 0);
}

/// As `millpond run` does.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_versions_of_wasi_the_older_is_run() {
    let both = wat::parse_str(
        r#"(component
            (core module $m
                (func (export "ok") (result i32) i32.const 0)
                (func (export "failed") (result i32) i32.const 1))
            (core instance $i (instantiate $m))
            (func $older (result (result)) (canon lift (core func $i "ok")))
            (func $newer (result (result)) (canon lift (core func $i "failed")))
            (instance $run-2 (export "run" (func $older)))
            (instance $run-3 (export "run" (func $newer)))
            (export "wasi:cli/run@0.2.0" (instance $run-2))
            (export "wasi:cli/run@0.3.0" (instance $run-3)))"#,
    );
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("both.wasm");
    std::fs::write(&path, both.expect("a component")).expect("it is written");
    let app = App::builder(&path).build().expect("an app");
    app.run([""; 0]).await.is(0);
}

/// The title of the first note, read by another library.
fn title(app: &App) -> String {
    let database = rusqlite::Connection::open(app.path("default")).expect("the file");
    let title = database.query_row("SELECT title FROM note WHERE id = 1", (), |row| row.get(0));
    title.expect("a title")
}

#[tokio::test(flavor = "multi_thread")]
async fn kit_speaks() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let app = app("kit_speaks").now(now);
    let geo = Database::new().seed_sql("CREATE TABLE note(x)").read_only();
    let app = app.database("geo", geo).build().expect("an app");
    let spoken = app.run([""; 0]).stdin("some text").await;
    spoken
        .is(0)
        .stdout_is("[] \"some text\" 1700000000 3\nNone\n")
        .stderr_is("done\n");
    spoken.leaves_nothing().returns_connections();
    let spoken = app.run(["geo"]).await;
    spoken
        .is(0)
        .stdout_is("[\"geo\"] \"\" 1700000000 0\nSome(NotAuthorized)\n");
    app.run(["fail"]).await.is(1);
    let trapped = app.run(["panic"]).await;
    trapped.is(134);
    let message = refused(|| trapped.is(0));
    assert!(
        message.contains("as told") && message.contains("wasm backtrace"),
        "{message}"
    );
    let message = refused(|| spoken.stdout_is("other\n"));
    assert!(message.contains("-other"), "{message}");
}

/// With the attribute, and a component for WASI 0.3, which is a command and a handler.
#[millpond_test::test(
    component = component("wasi03_visits"),
    seed = concat!(env!("CARGO_MANIFEST_DIR"), "/kit/kit_leaks/seed.sql"),
)]
async fn a_test_by_attribute(app: App) -> Result<(), std::num::ParseIntError> {
    app.run([""; 0]).await.is(0).stdout_is("1 visits\n");
    let visits: i64 = app.get("/visits").await.is(200).text().parse()?;
    assert_eq!(visits, 2);
    assert_eq!(title(&app), "one");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn anything_is_any_value_in_expected_json() {
    let app = app("kit_asks_often").build().expect("an app");
    let answer = app.get("/").await;
    let mut expected = answer.json();
    expected[0]["title"] = json!("…");
    expected[2]["comments"] = json!(["…"]);
    answer.json_is(&expected);
    for (pointer, other) in [
        ("/0/id", json!(2)),
        ("/0/comments", json!(["first"])),
        ("/2/comments", json!(["…", "…"])),
        ("/1", json!({"id": 2, "title": "two"})),
        (
            "/1",
            json!({"id": 2, "title": "two", "comments": [], "more": "…"}),
        ),
    ] {
        let mut wrong = expected.clone();
        *wrong.pointer_mut(pointer).expect("a value") = other;
        refused(|| answer.json_is(&wrong));
    }
}

/// Cargo writes what it has built a component of next to it.
#[test]
fn a_component_older_than_its_source_is_a_mistake() {
    let folder = tempfile::tempdir().expect("a folder");
    let (built, source) = (
        folder.path().join("a.wasm"),
        folder.path().join("my source.rs"),
    );
    std::fs::copy(component("kit_renames"), &built).expect("a component");
    let file = std::fs::File::create(&source).expect("a file");
    let escaped = source.display().to_string().replace(' ', "\\ ");
    let rule = format!("{}: /gone.rs {escaped}\n", built.display());
    std::fs::write(built.with_extension("d"), rule).expect("a file");
    let of_built = std::fs::metadata(&built).and_then(|built| built.modified());
    let of_built = of_built.expect("a time");
    let later = of_built + Duration::from_secs(1);
    file.set_modified(later).expect("a newer file");
    App::builder(&built).build().expect_err("it is older");
    file.set_modified(of_built).expect("an older file");
    // A component is only compiled once, at its path.
    let again = folder.path().join("b.wasm");
    std::fs::rename(&built, &again).expect("another name");
    std::fs::rename(built.with_extension("d"), again.with_extension("d")).expect("another name");
    App::builder(&again).build().expect("an app");
}

#[test]
fn a_mistake_says_what_to_do() {
    let missing = App::builder("missing.wasm").build().expect_err("a mistake");
    assert!(
        missing
            .to_string()
            .contains("cargo build --target wasm32-wasip2")
    );
    let bad = component("kit_renames");
    for app in [
        App::builder(bad).seed_sql("SELECT 1;\nSELEKT 2"),
        App::builder(bad).migrations(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")),
        App::builder(bad).seed("missing.sql"),
    ] {
        app.build().expect_err("a mistake");
    }
    assert!(App::from_env("MILLPOND_NOT_SET").is_err());
    let unknown = "bussy".parse::<Failure>().expect_err("a mistake");
    assert!(
        unknown.to_string().contains("did you mean `busy`"),
        "{unknown}"
    );
}
