//! What the text of a definition may say, because SQLite stores it and does not ask about all of it.

use millpond_pool::engine::Rights;

use super::refusal::Refusal;
use super::rights::{self, Verb};
use crate::error::{Error, ErrorKind, Result};
use crate::text::{begins_with, is_definition};
use crate::words::{adds_null, alters_truth_value, has_word, open_comment, referenced_tables};

/// Refuse a definition that SQLite would store, and later read differently or not at all.
pub(crate) fn check_definition(sql: &str) -> Result<()> {
    if !is_definition(sql) {
        return Ok(());
    }
    let open = open_comment(sql);
    let refusal = if !begins_with(sql, &["ALTER"]) {
        // SQLite removes a semicolon at the end, also from a comment, and cannot read the rest.
        (open == Some("/*"))
            .then(|| "the statement ends in a comment that is not closed".to_owned())
    } else if open.is_some() && has_word(sql, &["ADD", "SET"]) {
        // It puts the end of the text into the table's definition, and parses that without asking
        // what it means. A comment there would hide a part of the definition, and could show what
        // was in a comment of it.
        Some("ALTER TABLE ends in a comment: put the semicolon in front of it".to_owned())
    } else if let Some(name) = alters_truth_value(sql) {
        // It does not check the indexes and constraints in which the word then means something
        // else.
        Some(format!("ALTER TABLE cannot change something named {name}"))
    } else if adds_null(sql) {
        // It only compares the default with a plain null.
        Some("a column that is NOT NULL needs a default that is not null".to_owned())
    } else {
        None
    };
    match refusal {
        Some(message) => Err(Error::new(ErrorKind::Sql, message)),
        None => Ok(()),
    }
}

/// Whether the foreign keys of `sql`, which creates or alters `table`, may refer to their tables.
/// They can make others' changes to one fail: they do not match a key of it, or rows refer to its.
pub(super) fn check_foreign_keys(
    rights: &Rights,
    table: &str,
    sql: &str,
) -> std::result::Result<(), Refusal> {
    let may = |verb, parent: &str| rights::may_write(rights, verb, parent);
    let may_refer = |parent: &str| {
        parent.eq_ignore_ascii_case(table) || may(Verb::Update, parent) && may(Verb::Delete, parent)
    };
    match referenced_tables(sql).find(|parent| !may_refer(parent)) {
        Some(parent) => Err(Refusal::needing(
            format!("REFERENCES {parent}"),
            "`update` and `delete` on that table",
        )),
        None => Ok(()),
    }
}
