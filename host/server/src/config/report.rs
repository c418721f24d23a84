//! Collects problems while a configuration is read and checked.

use crate::config::problem::{Key, Problem, ProblemKind, Step};

/// The problems so far, and the setting that is looked at.
#[derive(Debug, Default)]
pub(crate) struct Report {
    here: Key,
    pub(crate) problems: Vec<Problem>,
}

impl Report {
    /// Look at the setting `step` of the current one.
    pub(crate) fn under<T>(
        &mut self,
        step: impl Into<Step>,
        look: impl FnOnce(&mut Report) -> T,
    ) -> T {
        self.here.push(step.into());
        let seen = look(self);
        self.here.pop();
        seen
    }

    /// The value of the current setting is wrong.
    pub(crate) fn value(&mut self, kind: ProblemKind, message: impl Into<String>) {
        self.add(kind, self.here.clone(), message.into(), false);
    }

    /// The current setting should not be there, or has a wrong name.
    pub(crate) fn key(&mut self, kind: ProblemKind, message: impl Into<String>) {
        self.add(kind, self.here.clone(), message.into(), true);
    }

    fn add(&mut self, kind: ProblemKind, key: Key, message: String, about_key: bool) {
        self.problems.push(Problem {
            kind,
            key,
            message,
            place: None,
            quote: None,
            about_key,
        });
    }

    /// The problems, without those that only follow from one of the `earlier`: about a setting that
    /// is already known to be wrong, or about one in it.
    pub(crate) fn besides(self, earlier: &[Problem]) -> impl Iterator<Item = Problem> {
        self.problems.into_iter().filter(|problem| {
            let mut earlier = earlier.iter();
            // Mistakes in the syntax have no key.
            let follows = |earlier: &Problem| {
                earlier.kind != ProblemKind::Syntax && problem.key.is_in(&earlier.key)
            };
            !earlier.any(follows)
        })
    }
}

/// The longest name that is compared with others: that takes time in proportion to both lengths.
const MAX_COMPARED: usize = 100;

/// A suggestion for a name that is not known, or nothing.
pub(crate) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    if name.len() > MAX_COMPARED {
        return String::new();
    }
    let distance = |known: &&str| strsim::damerau_levenshtein(name, known);
    match known.into_iter().min_by_key(distance) {
        Some(best) if distance(&best) <= 1 + name.len() / 4 => {
            format!(" (did you mean `{best}`?)")
        }
        _ => String::new(),
    }
}
