//! What SQLite calls for each action of a statement that it compiles: asks the policy, and notes
//! and stops compilations that take long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use crate::deadline::{Pace, Watch};
use crate::error::Result;
use crate::ffi::statement::Running;
use crate::policy::Seen;
use crate::policy::hints::{Hints, reads_statistics};

/// Calls between two checks of the deadline.
const LOOKS: u32 = 32;

#[derive(Clone, Debug)]
pub(crate) struct Authorizer(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    seen: Arc<Seen>,
    hints: Arc<Hints>,
    watch: Arc<Watch>,
    running: Arc<Running>,
    calls: AtomicU32,
}

impl Authorizer {
    pub(super) fn new(
        seen: &Arc<Seen>,
        hints: &Arc<Hints>,
        watch: &Arc<Watch>,
        running: &Arc<Running>,
    ) -> Authorizer {
        Authorizer(Arc::new(Parts {
            seen: Arc::clone(seen),
            hints: Arc::clone(hints),
            watch: Arc::clone(watch),
            running: Arc::clone(running),
            calls: AtomicU32::new(0),
        }))
    }

    /// Let the connection use this from now on. Outdates all of its statements: SQLite compiles each
    /// again when it runs next (`sqlite3_set_authorizer`).
    pub(crate) fn install(&self, conn: &mut Connection) -> Result<()> {
        let parts = Arc::clone(&self.0);
        conn.authorizer(Some(move |context: AuthContext<'_>| {
            parts.authorize(&context)
        }))?;
        Ok(())
    }
}

impl Parts {
    fn authorize(&self, context: &AuthContext<'_>) -> Authorization {
        let Parts { seen, watch, .. } = self;
        self.hints.see(context);
        // SQLite is compiling a statement again, during a call: run it on the connection's own
        // thread.
        let again = !seen.trusts() && self.running.is_beginning();
        if again {
            self.hints.set_schema_changed(true);
        }
        if again
            && watch.pace() == Pace::Runs
            && (self.running.is_long() || !reads_statistics(&context.action))
            && watch.defer_start()
        {
            return Authorization::Deny;
        }
        // While SQLite resolves names, it calls nothing else of ours. Few statements take long, and
        // checking costs as much as the rest, so check only now and then.
        let calls = self.calls.load(Ordering::Relaxed).wrapping_add(1);
        self.calls.store(calls, Ordering::Relaxed);
        if !calls.is_multiple_of(LOOKS) {
            return seen.authorize(context);
        }
        let ends = matches!(
            context.action,
            AuthAction::Transaction { .. } | AuthAction::Savepoint { .. }
        );
        match watch.look() && !ends && !seen.trusts() {
            true => Authorization::Deny,
            false => seen.authorize(context),
        }
    }
}
