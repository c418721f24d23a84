//! Full scans of tables.

use super::app;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_scan_is_one_of_a_table() {
    let app = app("attacks_run_what_they_are_given");
    let index = "CREATE INDEX by_body ON comment(body COLLATE NOCASE)";
    let trigger = "CREATE TRIGGER renamed AFTER UPDATE OF title ON note BEGIN
        DELETE FROM comment WHERE note = old.id; END";
    let app = app.seed_sql(index).seed_sql(trigger);
    let app = app.build().expect("an app");
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
        // SQLite builds an index for this statement alone.
        (
            "SELECT title FROM note LEFT JOIN comment ON comment.note = note.id WHERE note.id < 9",
            Some("comment"),
        ),
        // Functions of the host.
        (
            "SELECT body FROM comment WHERE note = sqrt(4)",
            Some("comment"),
        ),
        (
            "SELECT body FROM comment, generate_series(1, 2) WHERE note = value",
            Some("comment"),
        ),
        // A trigger's, and a foreign key's.
        ("UPDATE note SET title = 'x' WHERE id = 7", Some("comment")),
        ("DELETE FROM note WHERE id = 7", Some("comment")),
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
async fn every_statement_of_a_script_is_checked() {
    let app = app("kit_runs").build().expect("an app");
    let script = "script CREATE TABLE t(x); INSERT INTO t VALUES (1);
        DELETE FROM comment WHERE body = 'x'; DROP TABLE t";
    let exit = app.run([script]).await;
    exit.is(0)
        .stdout_is("ok\n")
        .no_full_scan_except(&["comment"]);
    let scans = exit.record.full_scans().expect("plans");
    assert_eq!(scans.len(), 1, "{scans:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_without_a_plan_is_a_mistake() {
    let app = app("kit_runs").build().expect("an app");
    let exit = app.run(["SELECT title FROM note WHERE id = 1"]).await;
    exit.no_full_scan();
    let database = rusqlite::Connection::open(app.path("default")).expect("the file");
    let narrow = "PRAGMA foreign_keys = OFF; DROP TABLE note; CREATE VIEW note AS SELECT missing(1) AS title, 1 AS id";
    database.execute_batch(narrow).expect("a view");
    assert!(exit.record.full_scans().is_err());
}
