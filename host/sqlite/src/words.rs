//! Keywords in SQL text, outside of quotes, comments and parameters, as SQLite divides it into tokens
//! (`sqlite3GetToken` in its source).

use std::borrow::Cow;

use crate::text::blank;

/// Whether the text contains one of these keywords, outside of quotes and comments.
pub(crate) fn has_word(sql: &str, words: &[&str]) -> bool {
    let mut rest = sql;
    while let Some((word, after)) = next_word(rest) {
        if words.iter().any(|known| word.eq_ignore_ascii_case(known)) {
            return true;
        }
        rest = after;
    }
    false
}

/// Like [`has_word`], for `OR`. First rules out texts without its letters, which is faster.
pub(crate) fn has_or(sql: &str) -> bool {
    let letters = |(o, r): (u8, u8)| o | 0x20 == b'o' && r | 0x20 == b'r';
    sql.bytes().zip(sql.bytes().skip(1)).any(letters) && has_word(sql, &["OR"])
}

/// Whether a statement, or one in the trigger that it creates, resolves conflicts by deleting
/// existing rows (<https://sqlite.org/lang_conflict.html>): `REPLACE INTO` or `OR REPLACE`, but not
/// a call of the function `replace`.
pub(crate) fn replaces(sql: &str) -> bool {
    let mut before = "";
    let mut rest = sql;
    while let Some((word, after)) = next_word(rest) {
        let calls = after[blank(after)..].starts_with('(');
        let is = |word: &str, keyword| str::eq_ignore_ascii_case(word, keyword);
        if is(before, "REPLACE") && is(word, "INTO")
            || is(before, "OR") && is(word, "REPLACE") && !calls
        {
            return true;
        }
        (before, rest) = (word, after);
    }
    false
}

/// The tables that the foreign keys of a `CREATE TABLE` or `ALTER TABLE` refer to.
pub(crate) fn referenced_tables(sql: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let mut rest = sql;
    std::iter::from_fn(move || {
        loop {
            let (word, after) = next_word(rest)?;
            rest = after;
            if word.eq_ignore_ascii_case("REFERENCES") {
                return Some(first_name(after));
            }
        }
    })
}

/// The name at the beginning of `sql`, without its quotes. Empty if there is none.
fn first_name(sql: &str) -> Cow<'_, str> {
    let sql = &sql[blank(sql)..];
    let quote = match sql.chars().next() {
        Some(quote @ ('\'' | '"' | '`')) => quote,
        Some('[') => return Cow::from(sql[1..].split(']').next().unwrap_or_default()),
        _ => return Cow::from(&sql[..sql.find(ends_word).unwrap_or(sql.len())]),
    };
    let mut name = String::new();
    let mut parts = sql[1..].split(quote);
    loop {
        name.push_str(parts.next().unwrap_or_default());
        // A doubled quote stands for one.
        match (parts.next(), parts.clone().next()) {
            (Some(""), Some(_)) => name.push(quote),
            _ => return Cow::from(name),
        }
    }
}

/// Whether the text has a `NATURAL JOIN`, or a `USING` that is not that of a virtual table.
pub(crate) fn joins_by_name(sql: &str) -> bool {
    const BETWEEN: &[&str] = &["LEFT", "RIGHT", "FULL", "INNER", "OUTER", "CROSS"];
    let is = |word: &str, keywords: &[&str]| keywords.iter().any(|k| word.eq_ignore_ascii_case(k));
    let mut is_virtual = false;
    let mut is_natural = false;
    let mut before = "";
    let mut rest = sql;
    while let Some((word, after)) = next_word(rest) {
        // `VIRTUAL` is a name elsewhere, but `CREATE` is never one.
        is_virtual |= is(before, &["CREATE"]) && is(word, &["VIRTUAL"]);
        if is(word, &["USING"]) && !is_virtual || is_natural && is(word, &["JOIN"]) {
            return true;
        }
        is_natural = is(word, &["NATURAL"]) || is_natural && is(word, BETWEEN);
        (before, rest) = (word, after);
    }
    false
}

/// Whether a statement creates a virtual table.
pub(crate) fn creates_virtual_table(sql: &str) -> bool {
    let begins = |(word, _): &(&str, &str)| word.eq_ignore_ascii_case("CREATE");
    let verb = next_word(sql).filter(begins);
    let second = verb.and_then(|(_, after)| next_word(after));
    second.is_some_and(|(word, _)| word.eq_ignore_ascii_case("VIRTUAL"))
}

/// The names, also in quotes, that parentheses follow: of functions, and others, but not of tables
/// that foreign keys refer to.
pub(crate) fn parenthesized_names(sql: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let mut before = None;
    let mut rest = sql;
    std::iter::from_fn(move || {
        loop {
            let begun = &rest[blank(rest)..];
            let (word, after) = next_token(begun)?;
            let refers = before.is_some_and(|word: &str| word.eq_ignore_ascii_case("REFERENCES"));
            (before, rest) = (word, after);
            if !refers && after[blank(after)..].starts_with('(') {
                return Some(first_name(begun));
            }
        }
    })
}

/// The name `true` or `false` of something that an `ALTER TABLE` adds, alters, drops, or renames
/// from or to.
pub(crate) fn alters_truth_value(sql: &str) -> Option<Cow<'_, str>> {
    const BEFORE_NAMES: &[&str] = &["ADD", "ALTER", "COLUMN", "DROP", "RENAME", "TO"];
    let mut rest = sql;
    while let Some((word, after)) = next_word(rest) {
        let name = first_name(after);
        let is_truth = || {
            ["true", "false"]
                .iter()
                .any(|t| name.eq_ignore_ascii_case(t))
        };
        if BEFORE_NAMES
            .iter()
            .any(|known| word.eq_ignore_ascii_case(known))
            && is_truth()
        {
            return Some(name);
        }
        rest = after;
    }
    None
}

/// Whether an `ALTER TABLE` adds a column that may not be null, with a default that computes a null.
pub(crate) fn adds_null(sql: &str) -> bool {
    let is = |word: &str, keywords: &[&str]| keywords.iter().any(|k| word.eq_ignore_ascii_case(k));
    let (mut adds, mut forbids, mut has_null) = (false, false, false);
    // Within parentheses, `NOT NULL` is an operator.
    let mut depth = 0_i32;
    let mut before = "";
    let mut rest = sql;
    loop {
        let begun = &rest[blank(rest)..];
        let Some((word, after)) = next_token(begun) else {
            return adds && forbids && has_null;
        };
        rest = after;
        match word {
            None if begun.starts_with('(') => depth += 1,
            None if begun.starts_with(')') => depth -= 1,
            None => {}
            Some(word) => {
                adds |= is(word, &["ADD"]);
                if is(word, &["NULL"]) {
                    forbids |= depth == 0 && is(before, &["NOT"]);
                    // As in `CHECK (a IS NULL)` and `ON DELETE SET NULL`.
                    has_null |= !is(before, &["NOT", "IS", "SET"]);
                }
                before = word;
            }
        }
    }
}

/// The beginning of the comment that the text ends in, and that would go on with a text after it:
/// `--` or `/*`. Space and semicolons at the end do not count.
pub(crate) fn open_comment(sql: &str) -> Option<&'static str> {
    let mut rest = sql;
    loop {
        let (comments, begun) = rest.split_at(blank(rest));
        match next_token(begun) {
            Some((_, after)) => rest = after,
            // The last comments, or those in front of a quoted text that does not end.
            None => return open_of(comments),
        }
    }
}

/// Like [`open_comment`], for a text without tokens.
fn open_of(comments: &str) -> Option<&'static str> {
    let mut open = None;
    let mut rest = comments;
    loop {
        let begun = rest.trim_start_matches(|c: char| !matches!(c, '-' | '/'));
        if let Some(text) = begun.strip_prefix("/*") {
            let Some((_, after)) = text.split_once("*/") else {
                return Some("/*");
            };
            rest = after;
        } else if begun.starts_with("--") {
            open = Some("--");
            rest = begun.split_once('\n').map_or("", |(_, after)| after);
        } else {
            return open;
        }
    }
}

/// The next keyword or plain name in `sql`, and the text after it. Skips comments, quoted text and
/// parameters.
fn next_word(sql: &str) -> Option<(&str, &str)> {
    let mut rest = sql;
    loop {
        rest = &rest[blank(rest)..];
        let (word, after) = next_token(rest)?;
        if let Some(word) = word {
            return Some((word, after));
        }
        rest = after;
    }
}

/// The token that `sql` begins with, if that is a keyword or a plain name, and the text after the
/// token. `None` if the text ends, or a quoted text does not.
fn next_token(sql: &str) -> Option<(Option<&str>, &str)> {
    let first = sql.chars().next()?;
    let after = match first {
        // A doubled quote looks like another quoted text right after this one.
        '\'' | '"' | '`' => sql[1..].split_once(first)?.1,
        '[' => sql[1..].split_once(']')?.1,
        '$' | '@' | ':' | '#' => &sql[parameter(sql)..],
        // A word may follow its number immediately.
        '?' => sql[1..].trim_start_matches(|c: char| c.is_ascii_digit()),
        _ => match sql.find(ends_word).unwrap_or(sql.len()) {
            0 => &sql[first.len_utf8()..],
            end => return Some((Some(&sql[..end]), &sql[end..])),
        },
    };
    Some((None, after))
}

/// The length of the parameter that `sql` begins with. Its name may have a part in parentheses, in
/// which quotes are part of the name (`sqlite3GetToken` in SQLite's source).
fn parameter(sql: &str) -> usize {
    let bytes = sql.as_bytes();
    let mut at = 1;
    let mut has_name = false;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b':' if bytes.get(at + 1) == Some(&b':') => at += 2,
            b'(' if has_name => {
                let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, 0x0b | b')');
                let length = bytes[at..].iter().position(ends);
                return length.map_or(bytes.len(), |length| {
                    at + length + usize::from(bytes[at + length] == b')')
                });
            }
            _ if !byte.is_ascii() || !ends_word(char::from(byte)) => {
                has_name = true;
                at += 1;
            }
            _ => break,
        }
    }
    at
}

fn ends_word(c: char) -> bool {
    c.is_ascii() && !c.is_ascii_alphanumeric() && c != '_' && c != '$'
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

    use super::*;

    #[test]
    fn joins_by_the_names_of_columns() {
        for sql in [
            "SELECT * FROM a JOIN b USING (c)",
            "SELECT * FROM a natural/**/join b",
            "SELECT * FROM a NATURAL LEFT OUTER JOIN b",
            "SELECT * FROM a LEFT NATURAL JOIN b",
            "SELECT $a(') FROM a JOIN b USING (c) WHERE d = $b(')",
            "SELECT @a::b('x'), :c(\") FROM a JOIN b USING (c) WHERE d = :e(\")",
            "CREATE VIEW v AS SELECT * FROM a JOIN b USING (c)",
            "WITH virtual AS (SELECT 1) SELECT * FROM a JOIN b USING (c)",
            "SELECT 'x' virtual FROM a JOIN b USING (c)",
            "SELECT * FROM a JOIN b ON ?1NATURAL JOIN c",
            "SELECT * FROM a JOIN b ON ?NATURAL JOIN c",
        ] {
            assert!(joins_by_name(sql), "{sql}");
        }
        for sql in [
            "CREATE VIRTUAL TABLE t USING fts5(a)",
            "create /* a */ virtual table if not exists t using fts5(a)",
            "EXPLAIN CREATE VIRTUAL TABLE t USING fts5(a)",
            "SELECT natural, 'USING' FROM a JOIN b ON a.c = b.c -- USING (c)",
            "SELECT $a FROM a JOIN b ON a.\"using\" = b.c AND a.d = :USING",
            "SELECT $a(USING) FROM a",
        ] {
            assert!(!joins_by_name(sql), "{sql}");
        }
    }

    /// SQLite asks about every table that a statement reads, unless it is joined by name. Random
    /// texts, so that no way to write such a join goes unnoticed.
    #[test]
    fn a_table_that_sqlite_does_not_ask_about_is_joined_by_name() {
        const BEGINS: &[&str] = &[
            "{}SELECT{} a.y{} FROM a ",
            "WITH virtual AS(SELECT 1){}SELECT{} a.y{} FROM a ",
            "EXPLAIN QUERY PLAN{} SELECT a.y{} FROM a ",
        ];
        const JOINS: &[&str] = &[
            "JOIN b ",
            "LEFT{}JOIN b ",
            "NATURAL{}JOIN b ",
            "NATURAL{}LEFT{}JOIN b ",
            "JOIN c ON {}NATURAL{}JOIN b ",
            "JOIN c ON {}1{}NATURAL JOIN b ",
        ];
        const ENDS: &[&str] = &["", "{}USING{}(x)", "ON {}USING{}(x)", "ON 1{}"];
        // All that makes SQLite's tokenizer, or this one, begin or end a token.
        #[rustfmt::skip]
        const PARTS: &[&str] = &[
            "/**/", "--\n", "'", "\"", "[", "]", "`", "?", "?1", "1", "$a", "$a(')", ":b", "@c::d(\")",
            "#", "x", "''", "\"x\"", "[x]", "x'00'", "1.", ".5e1", "0x1f", "_", "\u{feff}", "é", "\u{b}",
            "(", ")", ",", "=", "->>", " AS virtual", " CREATE ", " VIRTUAL ", " USING ", " NATURAL ",
            " LEFT ", " AND ", "a", "*", ";",
        ];
        fn fill(templates: &[&str], bytes: &mut dyn Iterator<Item = u8>) -> String {
            let mut next = || bytes.next().map_or(0, usize::from);
            let template = templates[next() % templates.len()];
            let mut text = String::new();
            for (at, piece) in template.split("{}").enumerate() {
                if at > 0 {
                    // In half of the places none.
                    text += PARTS.get(next() % (2 * PARTS.len())).unwrap_or(&"");
                }
                text += piece;
            }
            text
        }

        let mut conn = rusqlite::Connection::open_in_memory().expect("a connection");
        conn.execute_batch("CREATE TABLE a(x, y); CREATE TABLE b(x, z); CREATE TABLE c(w)")
            .expect("tables");
        let root = "SELECT rootpage FROM sqlite_schema WHERE name = 'b'";
        let root: i64 = conn.query_row(root, [], |row| row.get(0)).expect("a page");
        let asked = Arc::new(AtomicBool::new(false));
        let asks = Arc::clone(&asked);
        conn.authorizer(Some(move |context: AuthContext<'_>| {
            if let AuthAction::Read {
                table_name: "b", ..
            } = context.action
            {
                asks.store(true, Ordering::Relaxed);
            }
            Authorization::Allow
        }))
        .expect("an authorizer");
        let reads_b = |sql: &str| -> rusqlite::Result<bool> {
            let mut program = conn.prepare(&format!("EXPLAIN {sql}"))?;
            // Without values for its parameters.
            let opens = program.raw_query().mapped(|row| {
                Ok(row.get_ref(1)?.as_str()? == "OpenRead" && row.get::<_, i64>(3)? == root)
            });
            Ok(opens.flatten().any(|opens| opens))
        };
        let reads_b = AssertUnwindSafe(reads_b);
        let found = AtomicU32::new(0);
        bolero::check!()
            .with_iterations(100_000)
            .with_type::<[u8; 16]>()
            .for_each(|bytes| {
                let mut bytes = bytes.iter().copied();
                let sql = [BEGINS, JOINS, ENDS].map(|templates| fill(templates, &mut bytes));
                let sql = sql.concat();
                asked.store(false, Ordering::Relaxed);
                if reads_b(&sql).unwrap_or(false) && !asked.load(Ordering::Relaxed) {
                    found.fetch_add(1, Ordering::Relaxed);
                    assert!(joins_by_name(&sql), "{sql}");
                }
            });
        let found = found.into_inner();
        assert!(found > 100, "only {found} such joins were tried");
    }

    #[test]
    fn a_comment_at_the_end_goes_on() {
        for (sql, open) in [
            ("ALTER TABLE t ADD c --", Some("--")),
            ("ALTER TABLE t ADD c -- why\n;\n", Some("--")),
            ("ALTER TABLE t ADD c /* why", Some("/*")),
            ("ALTER TABLE t ADD c /*/;", Some("/*")),
            ("ALTER TABLE t ADD c -- why\n /* ;", Some("/*")),
            ("ALTER TABLE t ADD c /* a */ -- b\n /* c */ ; ", Some("--")),
            ("ALTER TABLE t ADD c DEFAULT '/*' /* '", Some("/*")),
            ("", None),
            ("ALTER TABLE t ADD c", None),
            ("ALTER TABLE t ADD c /* a */ ; /**/", None),
            ("ALTER TABLE t ADD c -- why\n INTEGER;", None),
            ("ALTER TABLE t ADD c DEFAULT '-- no'", None),
            ("ALTER TABLE t ADD c DEFAULT (1 - -1)", None),
            ("ALTER TABLE t ADD [c -- d]", None),
        ] {
            assert_eq!(open_comment(sql), open, "{sql}");
        }
    }

    #[test]
    fn names_that_parentheses_follow() {
        let sql = "ALTER TABLE t ADD c DECIMAL(5) CHECK (\"f\" /* a */ (c) OR [g](1, 'h') < :p(i) + h\n())";
        assert!(parenthesized_names(sql).eq(["DECIMAL", "CHECK", "f", "g", "h"]));
        assert!(
            parenthesized_names("ALTER TABLE t ADD c REFERENCES subtype(id)").eq::<[&str; 0]>([])
        );
    }

    #[test]
    fn alterations_after_which_sqlite_reads_a_table_differently() {
        for sql in [
            "ALTER TABLE t ADD true",
            "ALTER TABLE t ADD COLUMN 'TRUE' DEFAULT 0",
            "ALTER TABLE t RENAME \"false\" TO b",
            "ALTER TABLE t RENAME COLUMN b TO/**/[true]",
            "ALTER TABLE t DROP `False`",
        ] {
            assert!(alters_truth_value(sql).is_some(), "{sql}");
        }
        for sql in [
            "ALTER TABLE t ADD done BOOLEAN NOT NULL DEFAULT true",
            "ALTER TABLE t ADD done CHECK (done IN (true, false))",
            "ALTER TABLE t RENAME truth TO falsehood",
        ] {
            assert!(
                alters_truth_value(sql).is_none() && !adds_null(sql),
                "{sql}"
            );
        }
        for sql in [
            "ALTER TABLE t ADD d NOT NULL DEFAULT (+NULL)",
            "ALTER TABLE t ADD d DEFAULT -NULL NOT/**/NULL",
            "ALTER TABLE t ADD d NOT NULL DEFAULT (CAST(NULL AS TEXT))",
            "ALTER TABLE t ADD d CHECK (a IS 'x') NOT NULL DEFAULT (+NULL)",
        ] {
            assert!(adds_null(sql), "{sql}");
        }
        for sql in [
            "ALTER TABLE t ADD d NOT NULL DEFAULT 'NULL'",
            "ALTER TABLE t ADD d DEFAULT (+NULL)",
            "ALTER TABLE t ADD d REFERENCES u ON DELETE SET NULL CHECK (d IS NOT NULL)",
            "ALTER TABLE t ALTER d SET NOT NULL",
            "ALTER TABLE t ADD d TEXT AS (CASE WHEN a IS NOT NULL THEN a ELSE NULL END)",
            "ALTER TABLE t ADD d INTEGER DEFAULT NULL CHECK (d IS NOT NULL OR a > 0)",
            "ALTER TABLE t ADD d INTEGER NULL CHECK (a IS NOT NULL OR d = 1)",
        ] {
            assert!(!adds_null(sql), "{sql}");
        }
    }

    #[test]
    fn the_tables_that_foreign_keys_refer_to() {
        for (sql, tables) in [
            ("CREATE TABLE t(a REFERENCES b)", &["b"] as &[&str]),
            (
                "CREATE TABLE t(a REFERENCES b(c), d references/**/ [e f] (g))",
                &["b", "e f"],
            ),
            (
                "CREATE TABLE t(a, FOREIGN KEY (a) REFERENCES\n-- x\n\"b\"\"c\"(d))",
                &["b\"c"],
            ),
            ("CREATE TABLE t(a DEFAULT(1)REFERENCES'b''''c')", &["b''c"]),
            ("ALTER TABLE t ADD COLUMN a REFERENCES `b`", &["b"]),
            (
                "CREATE TABLE t(\"REFERENCES\" TEXT DEFAULT 'REFERENCES b', c REFERENCES \"\")",
                &[""],
            ),
            ("CREATE TABLE t(a REFERENCES 'b", &["b"]),
            ("CREATE TABLE t(a REFERENCES", &[""]),
            ("CREATE TABLE t(a REFERENCES \x0b\"b\"(c))", &["b"]),
            ("CREATE TABLE t(a REFERENCES \x01\"b\"(c))", &[""]),
            ("CREATE TABLE t(a REFERENCES été)", &["été"]),
            ("CREATE TABLE references_of(a) -- REFERENCES b", &[]),
        ] {
            assert!(referenced_tables(sql).eq(tables.iter().copied()), "{sql}");
        }
    }

    #[test]
    fn replacing_rows_is_distinguished_from_the_function_replace() {
        for sql in [
            "REPLACE INTO t VALUES (1)",
            "replace/**/into t VALUES (1)",
            "INSERT OR -- why\n REPLACE INTO t VALUES (1)",
            "UPDATE OR REPLACE t SET a = 1",
            "WITH x AS (SELECT ')') REPLACE INTO t SELECT * FROM x",
            "EXPLAIN REPLACE INTO t VALUES (1)",
            "CREATE TRIGGER g AFTER INSERT ON t BEGIN REPLACE INTO u VALUES (1); END",
            "INSERT INTO t VALUES ('it''s'); INSERT OR REPLACE INTO t VALUES (1)",
            "WITH c AS (SELECT $a(') AS z) REPLACE INTO t SELECT 1, 'mine'",
        ] {
            assert!(replaces(sql), "{sql}");
        }
        for sql in [
            "INSERT INTO t VALUES (replace('a', 'b', 'c'))",
            "UPDATE t SET a = 1 WHERE b OR replace (a, 'b', 'c')",
            "INSERT INTO t VALUES ('OR REPLACE INTO t')",
            "INSERT INTO t /* OR REPLACE */ VALUES (1) -- REPLACE INTO t",
            "INSERT INTO \"OR\" (\"REPLACE\") VALUES ([REPLACE INTO])",
            "SELECT 'never ends OR REPLACE INTO",
            "INSERT OR IGNORE INTO replaced VALUES (1)",
        ] {
            assert!(!replaces(sql), "{sql}");
        }
    }
}
