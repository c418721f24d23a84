//! Why an action is denied.

use std::fmt::Write;

/// Why an action is denied: the action, and what a grant would have to allow for it.
pub(super) struct Refusal {
    what: String,
    needs: Option<&'static str>,
}

/// How an action is allowed.
pub(super) enum Allowed {
    Yes,
    /// Allowed, but without effect: a column reads as null, a pragma does nothing.
    Ignored,
}

pub(super) type Decision = Result<Allowed, Refusal>;

impl Refusal {
    pub(super) fn always(what: impl Into<String>) -> Refusal {
        Refusal {
            what: what.into(),
            needs: None,
        }
    }

    pub(super) fn needing(what: impl Into<String>, needs: &'static str) -> Refusal {
        Refusal {
            what: what.into(),
            needs: Some(needs),
        }
    }

    pub(super) fn into_message(self) -> String {
        let mut message = format!("not allowed: {}", self.what);
        let _ = match self.needs {
            Some(needs) => write!(message, "; it needs a grant with {needs}"),
            None => write!(message, "; no grant allows it"),
        };
        message
    }
}

pub(super) fn refuse_if(refuse: bool, refusal: impl FnOnce() -> Refusal) -> Decision {
    if refuse {
        Err(refusal())
    } else {
        Ok(Allowed::Yes)
    }
}
