//! Before a pool is used, tries on its first connection what no guest may run.
//!
//! The policy relies on an authorizer that SQLite calls, and on the linked library, whose build can
//! differ silently. A library that runs any of these is not used.

use rusqlite::Connection;

use crate::error::{Error, ErrorKind, Result};

/// Each would let a guest reach a file, the host, or SQLite's own tables. All are harmless if they
/// succeed here.
const DANGEROUS: &[&str] = &[
    "ATTACH ':memory:' AS other",
    "VACUUM",
    "VACUUM INTO ':memory:'",
    "SELECT load_extension('millpond')",
    "SELECT fts3_tokenizer('simple')",
    "SELECT readfile('')",
    "SELECT writefile('', '')",
    "SELECT edit('')",
    "SELECT sqlite_version()",
    "SELECT * FROM sqlite_dbpage",
    "SELECT * FROM dbstat",
    "SELECT * FROM sqlite_stmt",
    "SELECT * FROM pragma_database_list",
    "CREATE VIRTUAL TABLE temp.millpond_self_test USING csv(filename='')",
    "CREATE TABLE millpond_self_test(a)",
    "PRAGMA writable_schema = ON",
    "PRAGMA trusted_schema = ON",
    "PRAGMA journal_mode = DELETE",
    "PRAGMA temp_store_directory = ''",
    "PRAGMA max_page_count = 1073741823",
    "PRAGMA database_list",
    "UPDATE sqlite_schema SET sql = sql WHERE false",
    "DELETE FROM sqlite_schema WHERE false",
];

pub(crate) fn run(conn: &Connection) -> Result<()> {
    for sql in DANGEROUS {
        if conn.execute_batch(sql).is_ok() {
            return Err(Error::new(
                ErrorKind::CannotOpen,
                format!("the SQLite that this program is linked with lets a guest run: {sql}"),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_without_the_policy_does_not_pass() {
        let conn = Connection::open_in_memory().expect("a connection");
        let error = run(&conn).expect_err("ATTACH works there");
        assert_eq!(error.kind(), ErrorKind::CannotOpen);
    }
}
