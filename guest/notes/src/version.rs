//! The version of a note in HTTP: `ETag` in a response, `If-Match` in a request.

use crate::wasi_http::Request;

/// The versions of a note that a request may change.
#[derive(Debug)]
pub(crate) struct IfMatch {
    /// Lists of entity tags; empty if the request has none, which allows any version.
    lists: Vec<String>,
}

impl IfMatch {
    pub(crate) fn of(request: &Request) -> IfMatch {
        let lists = request.header("if-match");
        IfMatch { lists }
    }

    /// Whether a note with this version may be changed.
    pub(crate) fn allows(&self, version: i64) -> bool {
        let current = tag(version);
        let mut tags = self.lists.iter().flat_map(|list| list.split(','));
        self.lists.is_empty() || tags.any(|tag| ["*", &current].contains(&tag.trim()))
    }
}

/// The entity tag of a version.
pub(crate) fn tag(version: i64) -> String {
    format!("\"{version}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_allowed_where_it_is_named() {
        let allows = |lists: &[&str]| {
            let lists = lists.iter().map(|list| list.to_string()).collect();
            IfMatch { lists }.allows(7)
        };
        for lists in [
            &[][..],
            &["*"],
            &["\"7\""],
            &["\"1\", \"7\""],
            &["\"1\"", "\"7\""],
        ] {
            assert!(allows(lists), "{lists:?}");
        }
        for lists in [
            &[""][..],
            &["7"],
            &["W/\"7\""],
            &["\"77\""],
            &["\"1\",\"2\""],
        ] {
            assert!(!allows(lists), "{lists:?}");
        }
    }
}
