//! The example in the README of `millpond-test`, but for the paths of its files.

use millpond_tests::component;

use super::NOTES;

use millpond_test::http::Request;
use millpond_test::serde_json::json;
use millpond_test::{App, Failure, Fault};

#[millpond_test::test(component = component("millpond_notes"), migrations = NOTES)]
async fn a_note_is_listed(app: App) {
    let made = app
        .post_json("/api/notes", &json!({"title": "Tea", "body": ""}))
        .await;
    made.is(201).leaves_nothing();

    let listed = app.get("/api/notes").await;
    listed.is(200).at_most_statements(2).no_full_scan();
    assert_eq!(listed.json()["total"], 1);
}

#[millpond_test::test(component = component("millpond_notes"), migrations = NOTES)]
async fn a_client_is_told_to_try_again(app: App) {
    app.post_json("/api/notes", &json!({"title": "Tea", "body": ""}))
        .await
        .is(201);
    let busy = Fault::error(Failure::Busy).on_sql("UPDATE notes");
    let change = Request::put("/api/notes/1").body(r#"{"title": "Coffee", "body": ""}"#);
    let change = app
        .call(change.unwrap())
        .header("content-type", "application/json");
    let answer = change.fault(busy).await;
    answer.is(503).leaves_nothing();
    assert_eq!(answer.header("retry-after"), Some("1"));

    let note = app.get("/api/notes/1").await;
    assert_eq!(note.is(200).json()["title"], "Tea");
}
