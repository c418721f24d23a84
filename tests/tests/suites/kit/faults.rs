//! Injected faults: what the guest sees, and what state they leave.

use std::time::Duration;

use millpond_test::{App, Exit, Failure, Fault};

use super::{app, refused, title};

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_what_the_guest_sees() {
    for (failure, rolled_back) in [
        (Failure::Busy, false),
        (Failure::BusySnapshot, false),
        (Failure::DeadlineExceeded, true),
        (Failure::QuotaExceeded, true),
        (Failure::RolledBack, true),
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

/// What `kit_runs` does with its default database, under faults.
async fn runs<const N: usize>(app: &App, steps: &[&str], faults: [Fault; N]) -> Exit {
    let run = app.run(steps.iter().copied());
    faults
        .into_iter()
        .fold(run, |run, fault| run.fault(fault))
        .await
}

/// Assert how each step ended, under one fault.
async fn ended(app: &App, fault: Fault, steps: &[(&str, &str)]) {
    let (sql, outcomes): (Vec<&str>, Vec<&str>) = steps.iter().copied().unzip();
    let exit = runs(app, &sql, [fault]).await;
    exit.is(0).stdout_is(&(outcomes.join("\n") + "\n"));
}

const CHANGE: &str = "UPDATE note SET title = 'x' WHERE id = 1";
const READ: &str = "SELECT title FROM note";

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_that_never_happens_is_a_mistake() {
    let app = app("kit_renames").build().expect("an app");
    let answer = app
        .get("/")
        .fault(Fault::error(Failure::Io).on_sql("DELETE FROM"))
        .fault(Fault::error(Failure::PoolTimeout).at_call(2))
        .fault(Fault::client_leaves().at_call(7))
        .await;
    for message in [
        refused(|| answer.is(200)),
        refused(|| answer.leaves_nothing()),
    ] {
        for unused in ["`DELETE FROM`", "pool-timeout at get 2", "at call 7"] {
            assert!(message.contains(unused), "{message}");
        }
    }
    // It may happen less often than it could.
    let rare = Fault::delay(Duration::from_millis(1)).on_sql("UPDATE");
    app.get("/").fault(rare.times(9)).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_new_transaction_cures_an_outdated_snapshot() {
    let app = app("kit_runs").build().expect("an app");
    let conflict = || Fault::error(Failure::BusySnapshot).on_sql("UPDATE note");
    let transaction = [
        ("begin deferred", "ok"),
        (READ, "ok"),
        (CHANGE, "BusySnapshot"),
        (CHANGE, "BusySnapshot"),
        ("DELETE FROM comment", "BusySnapshot"),
        (READ, "ok"),
        ("rollback", "ok"),
        (CHANGE, "ok"),
    ];
    ended(&app, conflict(), &transaction).await;
    let as_text = [
        ("BEGIN", "ok"),
        (READ, "ok"),
        (CHANGE, "BusySnapshot"),
        ("COMMIT", "ok"),
        ("begin immediate", "ok"),
        (CHANGE, "ok"),
    ];
    ended(&app, conflict(), &as_text).await;
    let with_cursor = [
        ("open SELECT id FROM note", "ok"),
        (CHANGE, "BusySnapshot"),
        (CHANGE, "BusySnapshot"),
        ("begin immediate", "BusySnapshot"),
        ("next", "ok"),
        ("next", "ok"),
        ("next", "ok"),
        (CHANGE, "ok"),
    ];
    ended(&app, conflict(), &with_cursor).await;

    // Where it cannot be, it does not happen.
    for steps in [
        &[CHANGE][..],
        &["begin deferred", CHANGE],
        &["begin immediate", READ, CHANGE],
        &["BEGIN IMMEDIATE", READ, CHANGE, "COMMIT"],
        &["begin deferred", READ, "DELETE FROM comment", CHANGE],
        &[
            "script BEGIN; SELECT 1; UPDATE comment SET note = 1",
            CHANGE,
        ],
    ] {
        let exit = runs(&app, steps, [conflict()]).await;
        assert_eq!(exit.record.stdout, "ok\n".repeat(steps.len()), "{steps:?}");
        let message = refused(|| exit.is(0));
        assert!(message.contains("deferred transaction"), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_is_unknown_only_of_a_write() {
    let lost = |sql: &str| Fault::error(Failure::OutcomeUnknown).on_sql(sql);
    for steps in [
        &[(CHANGE, "OutcomeUnknown")][..],
        &[
            ("BEGIN", "ok"),
            (CHANGE, "ok"),
            ("COMMIT", "OutcomeUnknown"),
        ],
    ] {
        let app = app("kit_runs").build().expect("an app");
        ended(&app, lost(steps[steps.len() - 1].0), steps).await;
        assert_eq!(title(&app), "x");
    }
    let app = app("kit_runs").build().expect("an app");
    for steps in [&[READ][..], &["begin immediate", READ, CHANGE, "rollback"]] {
        let exit = runs(&app, steps, [lost("note")]).await;
        assert_eq!(exit.record.stdout, "ok\n".repeat(steps.len()), "{steps:?}");
        refused(|| exit.is(0));
    }
    // Its cursor is lost too, and does not keep a later transaction from its end.
    let several = "open INSERT INTO note(title) VALUES ('a'), ('b'), ('c') RETURNING id";
    let steps = [
        (several, "OutcomeUnknown"),
        ("begin immediate", "ok"),
        ("commit", "ok"),
    ];
    ended(&app, lost("INSERT"), &steps).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_as_text_is_a_commit() {
    for (commit, failure) in [
        ("COMMIT", Failure::Io),
        ("commit;", Failure::QuotaExceeded),
        ("-- all\nEND", Failure::DeadlineExceeded),
    ] {
        let app = app("kit_runs").build().expect("an app");
        let outcome = format!("{failure:?}, rolled back");
        let steps = [
            ("BEGIN", "ok"),
            (CHANGE, "ok"),
            (commit, &outcome),
            ("UPDATE note SET title = title || '!'", "ok"),
        ];
        ended(&app, Fault::error(failure).at_call(3), &steps).await;
        assert_eq!(title(&app), "one!");
    }
    let app = app("kit_runs").build().expect("an app");
    let steps = [
        ("BEGIN", "ok"),
        (CHANGE, "ok"),
        ("COMMIT", "Busy"),
        ("COMMIT", "ok"),
    ];
    ended(&app, Fault::error(Failure::Busy).on_sql("COMMIT"), &steps).await;
    assert_eq!(title(&app), "x");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_write_loses_its_transaction() {
    let app = app("kit_runs").build().expect("an app");
    let io = || Fault::error(Failure::Io);
    for sql in [
        "WITH n AS (SELECT 'UPDATE') SELECT * FROM n",
        "-- DELETE\n/* UPDATE */ SELECT 1",
        "PRAGMA table_info(note)",
        "VALUES (1)",
    ] {
        let steps = [
            ("begin immediate", "ok"),
            (sql, "Io"),
            (CHANGE, "ok"),
            ("rollback", "ok"),
        ];
        ended(&app, io().at_call(2), &steps).await;
    }
    for sql in [
        "/* SELECT */ WITH n AS (SELECT 'y' AS y) UPDATE note SET title = (SELECT y FROM n)",
        "script SELECT 1; UPDATE note SET title = 'y'",
    ] {
        let steps = [
            ("begin immediate", "ok"),
            (sql, "Io, rolled back"),
            (READ, "StaleHandle, rolled back"),
            ("rollback", "ok"),
        ];
        ended(&app, io().at_call(2), &steps).await;
    }
    let steps = [
        ("begin immediate", "ok"),
        ("open UPDATE note SET title = 'y' RETURNING id", "ok"),
        ("next", "Io, rolled back"),
    ];
    ended(&app, io().at_call(3), &steps).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_meet_at_one_call() {
    let app = app("kit_runs").build().expect("an app");
    let busy = || Fault::error(Failure::Busy);
    let second = Fault::error(Failure::Io).at_call(1);
    let exit = runs(&app, &[CHANGE, CHANGE], [busy().at_call(1), second]).await;
    assert_eq!(exit.record.stdout, "Busy\nok\n");
    assert_eq!(exit.record.unused_faults, ["io at call 1"]);

    let delay = Duration::from_millis(30);
    let before = std::time::Instant::now();
    let faults = [
        Fault::delay(delay).on_sql("UPDATE"),
        busy(),
        Fault::delay(delay),
    ];
    runs(&app, &[CHANGE], faults)
        .await
        .is(0)
        .stdout_is("Busy\n");
    assert!(before.elapsed() >= 2 * delay);

    let steps = [
        (CHANGE, "ok"),
        (CHANGE, "Busy"),
        (CHANGE, "Busy"),
        (CHANGE, "ok"),
    ];
    ended(&app, busy().at_call(2).times(2), &steps).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_given_up_leaves_no_record() {
    let app = app("kit_runs").build().expect("an app");
    let slow = Fault::delay(Duration::from_secs(60));
    let call = app.run([CHANGE]).fault(slow).into_future();
    let given_up = tokio::time::timeout(Duration::from_millis(50), call).await;
    assert!(given_up.is_err());
    assert!(!format!("{app:?}").contains("Recorder"));
}
