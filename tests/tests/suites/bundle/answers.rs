//! What the provider answers where no program of the other suites asks.

use super::late::count;
use super::{Clock, Place, native, run_with};

#[test]
fn a_file_with_two_names_is_one() {
    let Some(place) = Place::new() else { return };
    let guest = place.shared("bundle_does_as_told");
    let folder = place.database("names", "");
    std::os::unix::fs::symlink("default.db", folder.join("link.db")).expect("a link");
    for path in ["data/default.db", "/data/./default.db", "/data/link.db"] {
        let said = run_with(
            &place.engine,
            &guest,
            &folder,
            &["two names", "x"],
            &Clock::default(),
            |wasi, _| _ = wasi.env("MILLPOND_DB_x", path),
        );
        assert_eq!(
            said.as_deref(),
            Ok("ErrorKind::Busy, rolled back: false\n"),
            "{path}"
        );
    }
}

#[test]
fn a_variable_whose_name_is_no_databases_is_ignored() {
    let Some(place) = Place::new() else { return };
    let guest = place.shared("bundle_does_as_told");
    let folder = place.database("variables", "");
    let said = run_with(
        &place.engine,
        &guest,
        &folder,
        &["databases"],
        &Clock::default(),
        |wasi, _| {
            wasi.env("MILLPOND_DB_a b", "x.db")
                .env("MILLPOND_DB_", "x.db");
            wasi.env("MILLPOND_DB_x", "x.db");
        },
    );
    assert_eq!(said.as_deref(), Ok("[\"default\", \"x\"]\n"));
}

#[test]
fn a_script_analyzes_twice() {
    let Some(place) = Place::new() else { return };
    let plant = place.shared("clean_plant");
    let folder = place.database("analyzes", "");
    let script = "CREATE TABLE t(a); CREATE INDEX i ON t(a); INSERT INTO t VALUES (1);
        ANALYZE t;; ; /* again */; ANALYZE t; INSERT INTO t VALUES ('ü'); -- the end";
    let said = place.run(&plant, &folder, &[script]);
    assert_eq!(said.as_deref(), Ok("Ok(())\n"));
    assert_eq!(count(&folder, "ü"), 1);
}

#[test]
fn an_optimization_that_has_something_to_do_does_it() {
    let Some(place) = Place::new() else { return };
    let plant = place.shared("clean_plant");
    let folder = place.database("optimizes", "");
    let script = "CREATE TABLE t(a); CREATE INDEX i ON t(a); INSERT INTO t VALUES (1);
        PRAGMA optimize(0x10002);
        INSERT INTO t SELECT count(*) FROM sqlite_stat1 WHERE idx = 'i'";
    let said = place.run(&plant, &folder, &[script]);
    assert_eq!(said.as_deref(), Ok("Ok(())\n"));
    let rows = native(&folder).query_one("SELECT sum(a) FROM t", (), |row| row.get(0));
    assert_eq!(rows, Ok(2));
}

#[test]
fn a_trigger_does_not_write_the_statistics_while_a_table_is_dropped() {
    let Some(place) = Place::new() else { return };
    let plant = place.shared("clean_plant");
    let folder = place.database("triggers", "");
    let script = "CREATE TABLE t(a PRIMARY KEY); INSERT INTO t VALUES (1); ANALYZE;
        CREATE TABLE child(x REFERENCES t ON DELETE CASCADE); INSERT INTO child VALUES (1);
        CREATE TRIGGER g AFTER DELETE ON child BEGIN UPDATE sqlite_stat1 SET stat = '9'; END;
        DROP TABLE t";
    let said = place.run(&plant, &folder, &[script]).expect("a program");
    assert!(said.contains("NotAuthorized"), "{said}");
}

#[test]
fn a_statement_that_fails_in_a_transaction_leaves_no_row() {
    let Some(place) = Place::new() else { return };
    let guest = place.shared("bundle_does_as_told");
    let alone = "ErrorKind::ConstraintOther, rolled back: false\nok\n[0] rows\n";
    let all = "ErrorKind::ConstraintOther, rolled back: true\n\
               ErrorKind::StaleHandle, rolled back: true\n[0] rows\n";
    for (how, said) in [
        ("execute", alone.to_owned()),
        ("query", alone.to_owned()),
        ("query rows", alone.to_owned()),
        ("statement", alone.to_owned()),
        ("statement rows", all.to_owned()),
        ("beside a cursor", format!("ok\n{all}")),
    ] {
        let folder = place.database(how, "");
        let heard = place.run(&guest, &folder, &["partly", how]);
        assert_eq!(heard, Ok(said), "{how}");
    }
}
