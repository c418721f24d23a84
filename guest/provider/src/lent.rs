//! A connection between the calls of its guest: returned, lost, or at work.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::bindings::connections as wit;
use crate::database::Database;
use crate::error::{Error, Result};
use crate::session::Session;

/// A connection that is lent.
pub(crate) struct Lent {
    /// `None` once it was returned.
    session: RefCell<Option<Session>>,
    /// Why it was abandoned, if it was.
    lost: RefCell<Option<Error>>,
    database: Rc<Database>,
}

impl Lent {
    pub(crate) fn new(session: Session, database: Rc<Database>) -> Lent {
        Lent {
            session: RefCell::new(Some(session)),
            lost: RefCell::default(),
            database,
        }
    }

    pub(crate) fn in_transaction(&self) -> bool {
        let session = self.session.borrow();
        session.as_ref().is_some_and(Session::in_transaction)
    }

    /// Run a call on the session.
    pub(crate) fn call<T>(
        &self,
        work: impl FnOnce(&mut Session) -> Result<T>,
    ) -> Result<T, wit::Error> {
        self.abandon_if_lost();
        let mut session = self.session.borrow_mut();
        let Some(session) = session.as_mut() else {
            let lost = self.lost.borrow().clone();
            return Err(lost.unwrap_or_else(Error::stale_connection).into());
        };
        session.start_call();
        Ok(work(session)?)
    }

    /// Run `work`, which nothing stops, unless the connection was returned.
    pub(crate) fn unless_returned(&self, work: impl FnOnce(&mut Session)) {
        self.abandon_if_lost();
        if let Some(session) = self.session.borrow_mut().as_mut() {
            work(session);
        }
    }

    pub(crate) fn give_back(&self) {
        self.abandon_if_lost();
        if let Some(session) = self.session.take() {
            self.count(session.end());
        }
    }

    /// Everything that could make SQLite use the file asks this first.
    fn abandon_if_lost(&self) {
        let is_lost = self.session.borrow().as_ref().is_some_and(Session::is_lost);
        if is_lost && let Some(session) = self.session.take() {
            let (error, rolled_back) = session.abandon(&self.database);
            self.lost.replace(Some(error));
            self.count(rolled_back);
        }
    }

    /// Count a connection that is closed.
    fn count(&self, rolled_back: bool) {
        let add = |counter: &Cell<u64>, times| counter.set(counter.get() + times);
        add(&self.database.rolled_back, rolled_back.into());
        add(&self.database.closed, 1);
    }
}
