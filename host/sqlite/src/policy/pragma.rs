//! The rules for pragmas.

use std::sync::atomic::Ordering;

use millpond_pool::engine::Rights;

use super::names::PragmaScope;
use super::refusal::{Allowed, Decision, Refusal, refuse_if};
use super::{Authorizer, PragmaKind, names, rights};

impl Authorizer {
    pub(super) fn pragma(&self, rights: &Rights, name: &str, value: Option<&str>) -> Decision {
        let what = || match value {
            Some(_) => format!("PRAGMA {name} with a value"),
            None => format!("PRAGMA {name}"),
        };
        if let Some(value) = value
            && let Some(effect) = self.sets_what_holds(name, value)
        {
            return Ok(effect);
        }
        let Some(scope) = names::pragma_scope(name, value) else {
            return Err(Refusal::always(what()));
        };
        if name.eq_ignore_ascii_case("foreign_key_check") {
            // SQLite does not ask about the tables that foreign keys refer to.
            refuse_if(!rights::has_all_tables(rights), || {
                Refusal::needing(what(), "all tables")
            })?;
        } else if name.eq_ignore_ascii_case("optimize") {
            self.pragma
                .store(PragmaKind::Optimizes as u8, Ordering::Relaxed);
        } else if name.eq_ignore_ascii_case("journal_mode") {
            self.pragma
                .store(PragmaKind::Reads as u8, Ordering::Relaxed);
        }
        let in_sight = match scope {
            PragmaScope::Database => true,
            // Turning it off would also forget the violations since.
            PragmaScope::Transaction => {
                let on = value.is_some_and(|value| names::contains(names::ON, value));
                refuse_if(!on, || Refusal::always(what()))?;
                self.set_for_transaction.store(true, Ordering::Relaxed);
                true
            }
            PragmaScope::Schema | PragmaScope::Index => rights.may_change_schema(),
            PragmaScope::Table => {
                rights.may_change_schema()
                    || value.is_some_and(|table| rights::may_read(rights, table))
            }
        };
        refuse_if(!in_sight, || Refusal::needing(what(), "`schema`"))
    }

    /// Drivers and frameworks start with pragmas, most of which set what is already so.
    fn sets_what_holds(&self, name: &str, value: &str) -> Option<Allowed> {
        if name.eq_ignore_ascii_case("query_only") {
            let held = if self.is_query_only() {
                names::ON
            } else {
                names::OFF
            };
            return names::contains(held, value).then_some(Allowed::Ignored);
        }
        let named = |(standing, _): &&(&str, Vec<String>)| standing.eq_ignore_ascii_case(name);
        let (standing, values) = self.standing.iter().find(named)?;
        let holds = values.iter().any(|held| held.eq_ignore_ascii_case(value));
        holds.then_some(match *standing {
            // It returns the current mode, which drivers read.
            "journal_mode" => {
                self.pragma
                    .store(PragmaKind::Reads as u8, Ordering::Relaxed);
                Allowed::Yes
            }
            _ => Allowed::Ignored,
        })
    }
}
