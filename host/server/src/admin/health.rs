//! Whether the server can do its work now.

use std::time::{Duration, Instant};

use http::StatusCode;
use millpond_wasmtime::Grant;
use millpond_wasmtime::pool::{self, Access, Parameters, Pool, Request, block_on};
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::watch::{State, Watch};
use crate::databases::Source;

/// How long a database may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long all may take.
const ALL_PATIENCE: Duration = Duration::from_millis(1500);
/// How long an answer is good for, so that asking often costs nothing.
const GOOD_FOR: Duration = Duration::from_millis(500);

/// Asks each database, when that is due.
#[derive(Debug, Default)]
pub(crate) struct Health {
    last: Mutex<Option<(Instant, Map<String, Value>)>>,
}

impl Health {
    /// Wait until the server is ready. Asks twice a second.
    pub(crate) async fn ready(&self, watch: &Watch) {
        while self.answer(watch).await.0 != StatusCode::OK {
            tokio::time::sleep(GOOD_FOR).await;
        }
    }

    /// The names of the databases that are not ready. Takes up to [`ALL_PATIENCE`].
    pub(crate) async fn unready(&self, watch: &Watch) -> Vec<String> {
        let databases = self.databases(watch).await.into_iter();
        let unready = databases.filter(|(_, database)| database["ready"] != true);
        unready.map(|(name, _)| name).collect()
    }

    /// Whether the server is ready, as the status 200 or 503, and why not.
    ///
    /// Takes up to [`ALL_PATIENCE`].
    pub(super) async fn answer(&self, watch: &Watch) -> (StatusCode, Value) {
        let state = watch.state();
        let databases = match state {
            State::Serving => with_disks(self.databases(watch).await, watch),
            State::Starting | State::ShuttingDown => Map::new(),
        };
        let is_ready =
            state == State::Serving && databases.values().all(|database| database["ready"] == true);
        let status = match is_ready {
            true => StatusCode::OK,
            false => StatusCode::SERVICE_UNAVAILABLE,
        };
        let answer = json!({ "ready": is_ready, "state": state.name(), "databases": databases });
        (status, answer)
    }

    async fn databases(&self, watch: &Watch) -> Map<String, Value> {
        // Who comes meanwhile waits for the same answer.
        let mut last = self.last.lock().await;
        if let Some((when, answer)) = &*last
            && when.elapsed() < GOOD_FOR
        {
            return answer.clone();
        }
        let answer = check(watch).await;
        *last = Some((Instant::now(), answer.clone()));
        answer
    }
}

/// Add the disks with too little space. They do not make the server unready: reads work, and so do
/// writes until the disk is full.
fn with_disks(mut databases: Map<String, Value>, watch: &Watch) -> Map<String, Value> {
    for (name, database) in &mut databases {
        if watch.disks.is_low(name) {
            database["disk"] = "low".into();
        }
    }
    databases
}

async fn check(watch: &Watch) -> Map<String, Value> {
    let mut answers = Map::new();
    let mut checks = JoinSet::new();
    for (name, database) in watch.databases().iter() {
        let pending = json!({ "ready": false, "reason": "timeout" });
        answers.insert(name.to_string(), pending);
        let name = name.to_string();
        // Opening a connection may block.
        checks.spawn_blocking(move || {
            let answer = match database.source() {
                Source::One(pool) => match ask(pool) {
                    Ok(()) => json!({ "ready": true }),
                    Err(error) => json!({ "ready": false, "reason": error.kind().name() }),
                },
                // Each opens when it is asked for.
                Source::Tenants(pools) => json!({ "ready": true, "open": pools.stats().open }),
            };
            (name, answer)
        });
    }
    let all = async {
        while let Some(Ok((name, answer))) = checks.join_next().await {
            answers.insert(name, answer);
        }
    };
    let _ = tokio::time::timeout(ALL_PATIENCE, all).await;
    answers
}

/// Whether a pool lends a connection that answers, in time.
fn ask(pool: &Pool) -> pool::Result<()> {
    let grant = Grant::new(pool, Access::ReadOnly).max_statement_time(PATIENCE);
    let request = Request::new().deadline(Instant::now() + PATIENCE);
    block_on(async {
        let connection = grant.get(Access::ReadOnly, &request).await?;
        connection
            .query_rows("SELECT 1 FROM sqlite_schema LIMIT 1", &Parameters::NONE)
            .await?;
        Ok(())
    })
}
