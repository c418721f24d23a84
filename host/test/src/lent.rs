//! What is known of a connection while it is lent to a guest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millpond_pool::TransactionMode;

use crate::fault::{Effect, Failure, Situation};
use crate::journal::Action;
use crate::recorder::Recorder;
use crate::sql::{Verb, statements};

/// One lending to a guest, and what the guest has open.
#[derive(Debug)]
pub(crate) struct Lent {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) connection: u32,
    /// The call that waits, or runs elsewhere.
    pub(crate) under_way: Option<UnderWay>,
    pub(crate) statements: BTreeMap<usize, String>,
    pub(crate) dropped: BTreeSet<usize>,
    pub(crate) cursors: BTreeMap<(usize, u64), String>,
    pub(crate) transactions: BTreeSet<u64>,
    pub(crate) last_sql: String,
    pub(crate) snapshot: Snapshot,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct UnderWay {
    pub(crate) index: usize,
    /// The result will be replaced by this error.
    pub(crate) loses: Option<Failure>,
    /// The delay of a fault, which the session knows nothing of; and what happens after it.
    pub(crate) delays: Option<Option<Effect>>,
}

/// What the open transaction has done, which decides whether its snapshot can be outdated.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Snapshot {
    is_deferred: bool,
    has_read: bool,
    has_written: bool,
    pub(crate) is_outdated: bool,
}

impl Lent {
    pub(crate) fn new(recorder: Arc<Recorder>) -> Lent {
        Lent {
            connection: recorder.next_connection(),
            recorder,
            under_way: None,
            statements: BTreeMap::new(),
            dropped: BTreeSet::new(),
            cursors: BTreeMap::new(),
            transactions: BTreeSet::new(),
            last_sql: String::new(),
            snapshot: Snapshot::default(),
        }
    }

    /// What a call finds.
    pub(crate) fn situation(&mut self, asked: &Asked<'_>, in_transaction: bool) -> Situation {
        let reads = self.reads();
        if !in_transaction && !reads {
            self.snapshot = Snapshot::default();
        }
        let Snapshot {
            is_deferred,
            has_read,
            has_written,
            is_outdated,
        } = self.snapshot;
        Situation {
            in_transaction,
            holds_snapshot: match in_transaction {
                true => is_deferred && has_read && !has_written,
                false => reads,
            },
            is_outdated,
            writes: asked.has(Verb::Write),
            takes_turn: asked.has(Verb::Write) || asked.has(Verb::Begin { writes: true }),
            commits: asked.commits(),
        }
    }

    /// Whether the cursor of a statement that reads is open, which holds its snapshot.
    fn reads(&self) -> bool {
        let mut cursors = self.cursors.values();
        cursors.any(|sql| Verb::of(sql) == Verb::Read)
    }

    /// A call has succeeded: note what it did to the transaction that is open now.
    pub(crate) fn note(&mut self, asked: &Asked<'_>, is_new: bool) {
        let reads = self.reads();
        let snapshot = &mut self.snapshot;
        if is_new || asked.has(Verb::Commit) || asked.has(Verb::Rollback) {
            *snapshot = Snapshot {
                is_deferred: !asked.has(Verb::Begin { writes: true }),
                has_read: reads,
                has_written: false,
                is_outdated: reads && snapshot.is_outdated,
            };
        }
        snapshot.has_read |= asked.has(Verb::Read);
        snapshot.has_written |= asked.has(Verb::Write);
    }
}

/// What a call asks for, as it is recorded.
pub(crate) struct Asked<'a> {
    pub(crate) action: Action,
    pub(crate) sql: &'a str,
    pub(crate) parameters: usize,
    verbs: Vec<Verb>,
}

impl<'a> Asked<'a> {
    pub(crate) fn new(action: Action, sql: &'a str, parameters: usize) -> Asked<'a> {
        let verbs = match action {
            Action::Script => statements(sql).into_iter().map(Verb::of).collect(),
            Action::Begin(mode) => vec![Verb::Begin {
                writes: mode == TransactionMode::Immediate,
            }],
            Action::Commit => vec![Verb::Commit],
            Action::Next => vec![Verb::of(sql)],
            action if action.runs_statement() => vec![Verb::of(sql)],
            _ => Vec::new(),
        };
        Asked {
            action,
            sql,
            parameters,
            verbs,
        }
    }

    pub(crate) fn has(&self, verb: Verb) -> bool {
        self.verbs.contains(&verb)
    }

    /// Whether it does nothing but commit the open transaction.
    pub(crate) fn commits(&self) -> bool {
        self.verbs == [Verb::Commit]
    }

    /// What faults are matched with.
    pub(crate) fn fault_sql(&self) -> String {
        match self.action {
            Action::Begin(TransactionMode::Deferred) => "BEGIN".to_owned(),
            Action::Begin(TransactionMode::Immediate) => "BEGIN IMMEDIATE".to_owned(),
            Action::Commit => "COMMIT".to_owned(),
            Action::Rollback => "ROLLBACK".to_owned(),
            _ => self.sql.to_owned(),
        }
    }
}
