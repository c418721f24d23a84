//! The observer that passes events on to `tracing`.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};

use millpond_pool::observe::tracing::TracingObserver;
use millpond_pool::{Access, Grant, Request, block_on};
use millpond_sqlite::PoolBuilder;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::NONE;

/// Writes events as lines, without times.
#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<String>>);

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let name = field.name();
        let is_time = ["duration", "_time", "_wait"]
            .iter()
            .any(|end| name.ends_with(end));
        match name {
            "message" => self.0.insert_str(0, &format!("{value:?}")),
            _ if is_time => write!(self.0, " {name}").expect("a text"),
            _ => write!(self.0, " {name}={value:?}").expect("a text"),
        }
    }
}

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        if event.metadata().target() != "millpond" {
            return;
        }
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        let mut lines = self.0.lock().expect("no panic");
        writeln!(lines, "{} {}", event.metadata().level(), fields.0).expect("a text");
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn events_have_levels_and_fields() {
    let folder = tempfile::tempdir().expect("a folder");
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), || {
        for query_text in [false, true] {
            let pool = PoolBuilder::new()
                .name("app")
                .tenant("acme")
                .observer(Arc::new(TracingObserver::new().query_text(query_text)))
                .open(folder.path().join("app.db"))
                .expect("a pool");
            block_on(async {
                let grant = Grant::new(&pool, Access::ReadWrite).guest("guest");
                let request = Request::new().label("17");
                let connection = grant.get(Access::ReadWrite, &request).await;
                let connection = connection.expect("a connection");
                connection
                    .execute("BEGIN IMMEDIATE", &NONE)
                    .await
                    .expect("begun");
                connection
                    .execute("SELEC", &NONE)
                    .await
                    .expect_err("no SQL");
            });
            drop(pool);
        }
    });
    let of_pool = " db.system.name=\"sqlite\" db.namespace=\"app\" millpond.tenant=\"acme\"";
    let of_guest = " millpond.guest=\"guest\" millpond.request=\"17\"";
    let mut wanted = String::new();
    for text in [
        ["", ""],
        [
            " db.query.text=\"BEGIN IMMEDIATE\"",
            " db.query.text=\"SELEC\"",
        ],
    ] {
        let [begin, selec] = text;
        let time = " db.client.operation.duration db.response.returned_rows=0";
        let did =
            |wrote: bool| format!(" millpond.turn_wait millpond.changes=0 millpond.wrote={wrote}");
        let (wrote, not) = (did(true), did(false));
        write!(
            wanted,
            "DEBUG connection opened{of_pool} db.client.connection.create_time\n\
             INFO pool opened{of_pool} duration\n\
             TRACE connection got{of_pool}{of_guest} db.client.connection.wait_time is_new=false\n\
             DEBUG statement{of_pool}{of_guest}{begin}{time}{wrote}\n\
             DEBUG statement{of_pool}{of_guest}{selec}{time} error.type=\"sql\"{not}\n\
             TRACE connection returned{of_pool}{of_guest} db.client.connection.use_time reason=\"returned\"\n\
             DEBUG transaction ended{of_pool}{of_guest} reason=\"returned\"\n\
             TRACE connection reset{of_pool}{of_guest} duration is_clean=true rolled_back=true\n\
             DEBUG connection closed{of_pool} reason=\"pool_closed\"\n\
             INFO pool closed{of_pool}\n"
        )
        .expect("a text");
    }
    assert_eq!(*lines.0.lock().expect("no panic"), wanted);
}
