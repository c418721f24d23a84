//! The authorizer callback: asks the [`Authorizer`], and stops compilations that take too long.

use std::sync::Arc;

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use crate::deadline::{Pace, Watch};
use crate::error::Result;
use crate::ffi::statement::Running;
use crate::policy::Authorizer;
use crate::policy::hints::{Hints, reads_statistics};

/// Calls between two checks of the deadline.
const CALLS_PER_CHECK: u32 = 32;

#[derive(Clone, Debug)]
pub(crate) struct AuthorizerCallback {
    authorizer: Arc<Authorizer>,
    hints: Arc<Hints>,
    watch: Arc<Watch>,
    running: Arc<Running>,
}

impl AuthorizerCallback {
    pub(super) fn new(
        authorizer: &Arc<Authorizer>,
        hints: &Arc<Hints>,
        watch: &Arc<Watch>,
        running: &Arc<Running>,
    ) -> AuthorizerCallback {
        AuthorizerCallback {
            authorizer: Arc::clone(authorizer),
            hints: Arc::clone(hints),
            watch: Arc::clone(watch),
            running: Arc::clone(running),
        }
    }

    /// Let the connection call this from now on. Expires all of its statements: SQLite compiles
    /// each again when it runs next (`sqlite3_set_authorizer`).
    pub(crate) fn install(&self, conn: &mut Connection) -> Result<()> {
        let callback = self.clone();
        let mut calls = 0_u32;
        conn.authorizer(Some(move |context: AuthContext<'_>| {
            calls = calls.wrapping_add(1);
            callback.call(&context, calls)
        }))?;
        Ok(())
    }

    fn call(&self, context: &AuthContext<'_>, calls: u32) -> Authorization {
        let AuthorizerCallback {
            authorizer,
            hints,
            watch,
            running,
        } = self;
        hints.see(context);
        // SQLite is compiling a statement again, during a call: run it on the connection's own
        // thread.
        let again = !authorizer.trusts() && running.is_beginning();
        if again {
            hints.set_schema_changed(true);
        }
        if again
            && watch.pace() == Pace::Runs
            && (running.is_long() || !reads_statistics(&context.action))
            && watch.defer_start()
        {
            return Authorization::Deny;
        }
        // While SQLite resolves names, it calls nothing else of ours. Few statements take long, and
        // checking costs as much as the rest, so check only now and then.
        if !calls.is_multiple_of(CALLS_PER_CHECK) {
            return authorizer.authorize(context, running, again);
        }
        let ends = matches!(
            context.action,
            AuthAction::Transaction { .. } | AuthAction::Savepoint { .. }
        );
        match watch.look() && !ends && !authorizer.trusts() {
            true => Authorization::Deny,
            false => authorizer.authorize(context, running, again),
        }
    }
}
