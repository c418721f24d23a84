//! The observer with spans and events for `tracing`.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use millpond_pool::observe::prometheus::PrometheusObserver;
use millpond_pool::observe::tracing::TracingObserver;
use millpond_pool::{Access, Grant, Request, TransactionMode, block_on};
use millpond_sqlite::PoolBuilder;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Instrument, Metadata, Subscriber};

use crate::NONE;

/// Writes events as lines, without times.
#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<String>>);

#[derive(Debug)]
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
            let observer = TracingObserver::new().query_text(query_text);
            let metrics = Arc::new(PrometheusObserver::new());
            let pool = PoolBuilder::new()
                .name("app")
                .tenant("acme")
                .observer(Arc::new((observer, metrics.clone())))
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
            let failed = "guest=\"guest\",result=\"sql\"} 1";
            assert!(metrics.text().contains(failed), "both are told");
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

/// Follows spans as a subscriber that writes them down must: it counts their handles, and knows
/// which is the current one on this thread.
#[derive(Clone, Debug, Default)]
struct Tree(Arc<Mutex<Vec<Node>>>, Arc<Mutex<Vec<u64>>>);

#[derive(Debug)]
struct Node {
    name: &'static str,
    parent: Option<u64>,
    fields: Fields,
    handles: usize,
    opened: Instant,
    closed: Option<Instant>,
}

impl Tree {
    fn node<T>(&self, id: &Id, work: impl FnOnce(&mut Node) -> T) -> T {
        work(&mut self.0.lock().expect("no panic")[id.into_u64() as usize - 1])
    }
}

impl Subscriber for Tree {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span()
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let current = self.1.lock().expect("no panic").last().copied();
        let mut fields = Fields(String::new());
        attributes.record(&mut fields);
        let mut nodes = self.0.lock().expect("no panic");
        nodes.push(Node {
            name: attributes.metadata().name(),
            parent: attributes.parent().map(Id::into_u64).or(current),
            fields,
            handles: 1,
            opened: Instant::now(),
            closed: None,
        });
        Id::from_u64(nodes.len() as u64)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        self.node(id, |node| values.record(&mut node.fields));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, id: &Id) {
        self.1.lock().expect("no panic").push(id.into_u64());
    }

    fn exit(&self, id: &Id) {
        let left = self.1.lock().expect("no panic").pop();
        assert_eq!(left, Some(id.into_u64()), "the innermost");
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.node(id, |node| node.handles += 1);
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        self.node(&id, |node| {
            node.handles -= 1;
            node.closed = (node.handles == 0).then(Instant::now);
            node.handles == 0
        })
    }
}

#[tokio::test]
async fn statements_have_spans_in_those_of_their_connections_and_callers() {
    let folder = tempfile::tempdir().expect("a folder");
    let tree = Tree::default();
    let subscriber = tracing::subscriber::set_default(tree.clone());
    let pool = PoolBuilder::new()
        .name("app")
        .observer(Arc::new(TracingObserver::new().query_text(true)))
        .open(folder.path().join("app.db"))
        .expect("a pool");
    let grant = Grant::new(&pool, Access::ReadWrite);
    let get = async || {
        let request = Request::new().label("17");
        let connection = grant.get(Access::ReadWrite, &request).await;
        connection.expect("a connection")
    };
    let first = async {
        let connection = get().await;
        let begun = connection.begin(TransactionMode::Immediate).await;
        // The other waits for its turn.
        while pool.stats().writers_waiting == 0 {
            tokio::task::yield_now().await;
        }
        begun.expect("begun").commit().await.expect("done");
    };
    let second = async {
        let connection = get().await;
        let created = connection.execute("CREATE TABLE t(a)", &NONE).await;
        created.expect("a table");
        connection
            .execute("SELEC", &NONE)
            .await
            .expect_err("no SQL");
        let statement = connection.prepare("VALUES (1), (2)").await;
        let statement = statement.expect("a statement");
        let page = statement.query(&NONE, 1, false).await.expect("a page");
        page.rest.expect("more").next(0).await.expect("rows");
    };
    tokio::join!(
        first.instrument(tracing::info_span!("first")),
        second.instrument(tracing::info_span!("second")),
    );
    drop(pool);
    drop((grant, subscriber));

    assert!(
        tree.1.lock().expect("no panic").is_empty(),
        "none is entered"
    );
    let nodes = tree.0.lock().expect("no panic");
    let mut paths = Vec::new();
    for node in &*nodes {
        assert!(node.closed.is_some(), "{node:?}");
        let mut path = format!("{}{}", node.name, node.fields.0);
        let mut within = node;
        while let Some(parent) = within.parent {
            let parent = &nodes[parent as usize - 1];
            assert!(parent.opened <= node.opened && node.closed <= parent.closed);
            path.insert_str(0, &format!("{} > ", parent.name));
            within = parent;
        }
        paths.push(path);
    }
    paths.sort();
    let connection = " db.system.name=\"sqlite\" db.namespace=\"app\"";
    let statement = |caller: &str, sql: &str, rows: u32, changes: &str| {
        format!(
            "{caller} > connection > statement otel.kind=\"client\"{connection} \
             db.query.text=\"{sql}\" db.response.returned_rows={rows} millpond.turn_wait \
             {changes}"
        )
    };
    let did = |wrote: bool| format!("millpond.changes=0 millpond.wrote={wrote}");
    let failed = format!("{} error.type=\"sql\"", did(false));
    let mut wanted = vec![
        "first".to_owned(),
        format!("first > connection{connection} millpond.request=\"17\""),
        statement("first", "BEGIN IMMEDIATE", 0, &did(true)),
        statement("first", "COMMIT", 0, &did(false)),
        "second".to_owned(),
        format!("second > connection{connection} millpond.request=\"17\""),
        statement("second", "CREATE TABLE t(a)", 0, &did(true)),
        statement("second", "SELEC", 0, &failed),
        statement("second", "VALUES (1), (2)", 2, &did(false)),
    ];
    wanted.sort();
    assert_eq!(paths, wanted);
}
