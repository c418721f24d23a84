//! The crate `millpond-test` passes a good guest, and fails guests with the mistakes that it must
//! find.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use millpond_test::{App, AppBuilder, Database, Failure, Fault};
use millpond_tests::{component, foreach_kit};
use serde_json::json;

use crate::assert_test_exists;
use crate::process::millpond;

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
         1 return by the end of the request",
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

/// The title of the first note, read by another library.
fn title(app: &App) -> String {
    let database = rusqlite::Connection::open(app.path("default")).expect("the file");
    let title = database.query_row("SELECT title FROM note WHERE id = 1", (), |row| row.get(0));
    title.expect("a title")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_what_the_guest_sees() {
    for (failure, rolled_back) in [
        (Failure::Busy, false),
        (Failure::BusySnapshot, false),
        (Failure::DeadlineExceeded, true),
        (Failure::QuotaExceeded, true),
        (Failure::RolledBack, true),
        (Failure::OutcomeUnknown, false),
        (Failure::Unavailable, false),
        (Failure::Io, true),
        (Failure::Corrupt, false),
    ] {
        let app = app("kit_renames").build().expect("an app");
        let answer = app
            .get("/")
            .fault(Fault::error(failure).on_sql("UPDATE"))
            .await;
        answer.is(503).leaves_nothing();
        let journal = answer.record.journal.to_string();
        let name = match failure {
            Failure::RolledBack => "stale-handle".to_owned(),
            failure => failure.to_string(),
        };
        let expected = format!(
            "-> {name}{} (fault)",
            if rolled_back { ", rolled back" } else { "" }
        );
        assert!(journal.contains(&expected), "{expected}: {journal}");
        assert_eq!(title(&app), "one", "{failure}");
        // The fault is over.
        app.get("/").await.is(200);
        assert_eq!(title(&app), "one, renamed", "{failure}");
    }
    let app = app("kit_renames").build().expect("an app");
    app.get("/")
        .fault(Fault::error(Failure::PoolTimeout))
        .await
        .is(503);
    // A commit that fails has been rolled back; one whose result is lost has not.
    app.get("/")
        .fault(Fault::error(Failure::Io).on_sql("COMMIT"))
        .await
        .is(503);
    assert_eq!(title(&app), "one");
    let lost = Fault::error(Failure::OutcomeUnknown).at_call(4);
    app.get("/").fault(lost).await.is(503);
    assert_eq!(title(&app), "one, renamed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_leaves_nothing_behind() {
    let app = app("kit_renames").build().expect("an app");
    let gone = Fault::client_leaves().on_sql("UPDATE");
    let answer = app.get("/").fault(gone).await;
    answer.is(499);
    assert_eq!(app.stats("default").in_use, 0);
    assert_eq!(app.stats("default").rolled_back, 1);
    let slow = Fault::delay(Duration::from_millis(30)).on_sql("UPDATE");
    let before = std::time::Instant::now();
    app.get("/")
        .fault(slow)
        .await
        .is(200)
        .body_is("one, renamed\n");
    assert!(before.elapsed() >= Duration::from_millis(30));
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
async fn a_full_scan_is_one_of_a_table() {
    let app = app("attacks_run_what_they_are_given");
    let index = "CREATE INDEX by_body ON comment(body COLLATE NOCASE)";
    let app = app.seed_sql(index).build().expect("an app");
    for (sql, scanned) in [
        ("SELECT title FROM note WHERE id = 1", None),
        (
            "SELECT * FROM comment WHERE body = 'x' COLLATE NOCASE",
            None,
        ),
        // The host's `LIKE` uses no index.
        (
            "SELECT * FROM comment WHERE body LIKE 'x%'",
            Some("comment"),
        ),
        ("SELECT c.note FROM comment AS c", Some("c")),
        ("UPDATE comment SET body = body || '!'", Some("comment")),
        (
            "WITH n AS MATERIALIZED (SELECT id FROM note WHERE id < 3) SELECT * FROM n",
            None,
        ),
        (
            "WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT i FROM n",
            None,
        ),
        ("SELECT value FROM json_each('[1, 2]')", None),
        ("VALUES (1)", None),
    ] {
        let ran = app.run(["read-write", "query", sql]).await;
        assert!(
            ran.record.stdout.ends_with("ended ok\n"),
            "{sql}: {}",
            ran.record.stdout
        );
        let scans = ran.record.full_scans().expect("plans");
        let tables: Vec<&str> = scans.iter().map(|scan| &*scan.table).collect();
        assert_eq!(tables, scanned.as_slice(), "{sql}: {scans:?}");
    }
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

#[test]
fn the_readme_is_a_test_file() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../host/test/README.md");
    let readme = std::fs::read_to_string(readme).expect("the README");
    let mut blocks = readme.split("```toml\n").skip(1);
    let block = blocks.find(|block| block.starts_with("[[test]]"));
    let toml = block
        .and_then(|block| block.split("```").next())
        .expect("a test file");
    let toml = format!("databases.default.migrations = {NOTES:?}\n{toml}");
    let folder = copied("kit_leaks", &toml);
    let (code, tap, stderr) = test("millpond_notes", folder.path(), &["--update"]);
    assert_eq!(code, Some(0), "{tap}");
    // Only the journal was missing.
    assert!(
        stderr.ends_with("list.txt\n") && stderr.lines().count() == 1,
        "{stderr}"
    );
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

/// The test files for a guest, in `tests/kit`.
fn files(of: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/kit")).join(of)
}

/// Run `millpond test`. Returns its exit code, what it writes to stdout, and to stderr.
fn test(guest: &str, tests: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = millpond();
    command
        .arg("test")
        .arg(component(guest))
        .arg(tests)
        .args(args);
    let output = command.output().expect("the command runs");
    let of = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code(), of(output.stdout), of(output.stderr))
}

/// `MILLPOND_BLESS=1` rewrites the files `expected.tap`: review the changes before committing them.
#[test]
fn the_command_finds_the_same_mistakes() {
    for (guest, code) in [
        ("millpond_notes", 0),
        ("kit_speaks", 0),
        ("kit_leaks", 1),
        ("kit_asks_often", 1),
        ("kit_renames", 1),
    ] {
        let folder = files(guest.strip_prefix("millpond_").unwrap_or(guest));
        let golden = folder.join("expected.tap");
        let (ended, tap, stderr) = test(guest, &folder, &[]);
        assert_eq!((ended, &*stderr), (Some(code), ""), "{guest}: {tap}");
        if std::env::var_os("MILLPOND_BLESS").is_some() {
            std::fs::write(&golden, &tap).expect("it is written");
        }
        let expected = std::fs::read_to_string(&golden).expect("expected.tap");
        assert_eq!(tap, expected, "{guest}: run again with MILLPOND_BLESS=1");
    }
}

/// A folder with the test file of `guest`, and what lies beside it.
fn copied(guest: &str, toml: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let seed = folder.path().join("seed.sql");
    std::fs::copy(files(guest).join("seed.sql"), seed).expect("the seed");
    std::fs::write(folder.path().join("t.toml"), toml).expect("the file");
    folder
}

#[test]
fn what_was_answered_is_written_and_comments_stay() {
    let before = "\
# The first.
[[test]]
name = 'one'
[[test.step]]
request = 'GET /' # as it is
[[test.step]]
request = 'GET /'
expect.status = 404 # what it was
expect.json = '[{\"id\": 1, \"title\": \"…\", \"comments\": 7}]'
expect.journal = 'j/list.txt'
";
    let folder = copied("kit_asks_often", before);
    let file = folder.path().join("t.toml");
    assert_eq!(test("kit_asks_often", folder.path(), &[]).0, Some(1));
    let (code, _, stderr) = test("kit_asks_often", folder.path(), &["--update"]);
    assert_eq!(code, Some(0), "{stderr}");
    let after = std::fs::read_to_string(&file).expect("the file");
    assert!(after.starts_with(
        "# The first.\n[[test]]\nname = 'one'\n[[test.step]]\nrequest = 'GET /' # as it is\n\
         expect.status = 200\nexpect.json = "
    ));
    assert!(
        after.contains("\nexpect.status = 200 # what it was\n"),
        "{after}"
    );
    assert!(after.contains("\"title\": \"…\""), "{after}");
    let journal = std::fs::read_to_string(folder.path().join("j/list.txt")).expect("a journal");
    assert_eq!(journal.lines().count(), 10, "{journal}");
    // Now it passes as it is, and a second update changes nothing.
    for args in [&[][..], &["--update"]] {
        let (code, tap, stderr) = test("kit_asks_often", &file, args);
        assert_eq!((code, &*stderr), (Some(0), ""), "{tap}");
    }
    assert_eq!(std::fs::read_to_string(&file).expect("the file"), after);
}

#[test]
fn results_can_be_chosen_and_written_as_junit() {
    let folder = tempfile::tempdir().expect("a folder");
    let junit = folder.path().join("junit.xml");
    let args = [
        "--jobs",
        "1",
        "--filter",
        "client goes",
        "--junit",
        junit.to_str().expect("a path"),
    ];
    let (code, tap, _) = test("kit_renames", &files("kit_renames"), &args);
    assert_eq!((code, tap.lines().count()), (Some(0), 3), "{tap}");
    let xml = std::fs::read_to_string(&junit).expect("the report");
    assert!(
        xml.contains("<testsuites tests=\"1\" failures=\"0\">"),
        "{xml}"
    );
    let (code, ..) = test("kit_leaks", &files("kit_leaks"), &args[4..]);
    let xml = std::fs::read_to_string(&junit).expect("the report");
    assert_eq!(code, Some(1));
    assert!(
        xml.contains("<testsuites tests=\"3\" failures=\"3\">"),
        "{xml}"
    );
}

#[test]
fn a_mistake_in_a_file_names_its_place() {
    let step = "[[test]]\nname = 'x'\n[[test.step]]\n";
    for (toml, place, words) in [
        (
            "request = 'GET /'\nexpect.stauts = 2",
            "t.toml:5:8: ",
            "did you mean `status`",
        ),
        ("request = '/'", "t.toml:4:11: ", "GET /path"),
        (
            "request = 'GET /'\nexpect.json = '{'",
            "t.toml:5:15: ",
            "JSON",
        ),
        (
            "request = 'GET /'\nexpect.matches = '('",
            "t.toml:5:18: ",
            "",
        ),
        (
            "request = 'GET /'\nexpect.exit_code = 1",
            "t.toml:4:11: ",
            "status",
        ),
        (
            "request = 'GET /'\nfault = [{ error = 'bussy' }]",
            "t.toml:5:20: ",
            "`busy`",
        ),
        (
            "request = 'GET /'\nfault = [{ call = 1 }]",
            "t.toml:5:10: ",
            "delay_ms",
        ),
        ("request = 'GET /'\nrun = []", "t.toml:5:7: ", "not both"),
        ("expect.status = 200", "t.toml:2:8: ", "request"),
        ("request = 'GET /", "t.toml:4:", ""),
        (
            "request = 'GET /'\n[[test]]\nname = 'x'",
            "t.toml:6:8: ",
            "another",
        ),
    ] {
        let folder = copied("kit_leaks", &format!("{step}{toml}"));
        let (code, tap, stderr) = test("kit_leaks", folder.path(), &[]);
        assert_eq!((code, &*tap), (Some(2), ""), "{toml}: {stderr}");
        assert!(
            stderr.starts_with("millpond: ") && stderr.lines().count() == 1,
            "{stderr}"
        );
        assert!(
            stderr.contains(place) && stderr.contains(words),
            "{toml}: {stderr}"
        );
    }
    for tests in ["missing", "src"] {
        let (code, tap, stderr) = test("kit_leaks", Path::new(tests), &[]);
        assert_eq!(
            (code, &*tap, stderr.lines().count()),
            (Some(2), "", 1),
            "{stderr}"
        );
    }
    // A seed that fails is found only when its test runs.
    let folder = copied(
        "kit_leaks",
        &format!("{step}request = 'GET /'\nexpect.status = 200"),
    );
    std::fs::write(folder.path().join("seed.sql"), "CREATE TABLE t(x);\nSELEKT").expect("a seed");
    let (code, tap, _) = test("kit_leaks", folder.path(), &[]);
    assert_eq!(code, Some(2));
    assert!(tap.contains("seed.sql: line 2"), "{tap}");
}
