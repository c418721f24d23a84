//! Bounds on a statement's names, tables and joins: the time to compile it grows with their product.
//!
//! For a column that stands without its table, SQLite compares the name with every column of every
//! table in every `FROM` around it. A table can have a thousand columns, a `FROM` 64 tables, and a
//! statement 40,000 names. It compares the expressions of a statement with each other too, and the
//! columns of a natural join. At worst each takes seconds, in which SQLite does not check the deadline,
//! allocates nothing and reads no page. So the text is counted before SQLite compiles it.

use crate::error::{Error, ErrorKind, Result};
use crate::text::{MAX_SQL_BYTES, blank};

/// The most names of a statement, of tables and columns, beside those that it gives itself (`AS`).
const MAX_NAMES: usize = 4_000;
/// The most names of columns without a table, times tables. Each pair takes a microsecond at most, if the
/// table has a thousand columns.
const MAX_LOOKUPS: usize = 20_000;
/// The most natural joins. Each takes a millisecond for each table before it, at most.
const MAX_NATURAL_JOINS: usize = 8;

/// A shorter text cannot hold that much.
const SHORT: usize = 120;

/// Words that stand between names, and name nothing.
const KEYWORDS: &[&str] = &[
    "ALL",
    "AND",
    "AS",
    "ASC",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "COLLATE",
    "CROSS",
    "CURRENT_DATE",
    "CURRENT_TIME",
    "CURRENT_TIMESTAMP",
    "DEFAULT",
    "DESC",
    "DISTINCT",
    "ELSE",
    "END",
    "ESCAPE",
    "EXISTS",
    "FALSE",
    "FILTER",
    "FOLLOWING",
    "GLOB",
    "IN",
    "INNER",
    "IS",
    "ISNULL",
    "KEY",
    "LEFT",
    "LIKE",
    "MATCH",
    "NATURAL",
    "NOT",
    "NOTNULL",
    "NULL",
    "OR",
    "OUTER",
    "OVER",
    "PARTITION",
    "PRECEDING",
    "PRIMARY",
    "RANGE",
    "REFERENCES",
    "ROWS",
    "THEN",
    "TRUE",
    "UNBOUNDED",
    "UNIQUE",
    "WHEN",
    "WITH",
];

/// Words that end a `FROM` clause.
const AFTER_FROM: &[&str] = &[
    "WHERE",
    "GROUP",
    "HAVING",
    "WINDOW",
    "ORDER",
    "LIMIT",
    "UNION",
    "EXCEPT",
    "INTERSECT",
    "SELECT",
    "SET",
    "VALUES",
    "RETURNING",
];

/// Refuse the first statement of `sql` if there is too much in it.
pub(crate) fn check(sql: &str) -> Result<()> {
    if sql.len() < SHORT {
        return Ok(());
    }
    // A longer statement is refused anyhow.
    let sql = &sql[..sql.floor_char_boundary(MAX_SQL_BYTES)];
    let Counter {
        names,
        lookups,
        natural_joins,
        ..
    } = Counter::count(sql);
    let message = if names > MAX_NAMES {
        format!("the statement has {names} names, and {MAX_NAMES} at most: divide it")
    } else if lookups > MAX_LOOKUPS {
        format!(
            "the statement has too many column names without a table for as many tables ({lookups}, \
             and {MAX_LOOKUPS} at most): write table.column, or divide it"
        )
    } else if natural_joins > MAX_NATURAL_JOINS {
        format!(
            "the statement has {natural_joins} natural joins, and {MAX_NATURAL_JOINS} at most: join \
             with ON or USING"
        )
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::TooLarge, message))
}

/// Where a comma stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Between tables.
    From,
    /// In the condition of a join, which a comma ends.
    On,
    Elsewhere,
}

/// A `SELECT`, or the statement itself.
#[derive(Clone, Copy, Debug)]
struct Scope {
    /// How many parentheses it stands in, and one.
    depth: usize,
    tables: usize,
    /// The names in it that may be of a column, without its table, and those in what it contains: they are
    /// looked for here too.
    columns: usize,
}

impl Scope {
    fn at(depth: usize) -> Scope {
        Scope {
            depth,
            tables: 0,
            columns: 0,
        }
    }
}

/// What the last token was, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    /// A name: a parenthesis after it holds a function's arguments.
    Name,
    /// `DISTINCT`: a `FROM` after it compares, and names no tables.
    Distinct,
    /// `AS`: what follows is given a name.
    As,
    Other,
}

/// Counts the names and tables of one statement. Where it must guess, it counts too many.
struct Counter<'a> {
    rest: &'a str,
    names: usize,
    /// For each table, the columns' names that are looked for in it.
    lookups: usize,
    natural_joins: usize,
    /// The `SELECT`s that are open, and first the statement itself.
    scopes: Vec<Scope>,
    /// One for each parenthesis that is open, and one for the statement.
    places: Vec<Place>,
    /// The last word may be a column's name: unless `.` or `(` follows.
    pending: bool,
    last: Last,
}

impl<'a> Counter<'a> {
    fn count(sql: &'a str) -> Counter<'a> {
        let mut counter = Counter {
            rest: &sql[blank(sql)..],
            names: 0,
            lookups: 0,
            natural_joins: 0,
            scopes: vec![Scope::at(1)],
            places: vec![Place::Elsewhere],
            pending: false,
            last: Last::Other,
        };
        counter.read();
        counter
    }

    fn read(&mut self) {
        let mut is_trigger = false;
        // How many tokens there have been, where the last `;` was, and whether `END` came right after.
        let (mut token, mut semicolon, mut ends) = (0, usize::MAX, false);
        loop {
            let before = self.rest;
            self.rest = &self.rest[space(self.rest)..];
            let Some(first) = self.rest.chars().next() else {
                break;
            };
            token += 1;
            let last = std::mem::replace(&mut self.last, Last::Other);
            match first {
                ';' => {
                    if !is_trigger || ends {
                        break;
                    }
                    semicolon = token;
                    self.skip(1);
                    while !self.scopes.is_empty() {
                        self.end_scope();
                    }
                    self.scopes = vec![Scope::at(1)];
                    self.places = vec![Place::Elsewhere];
                }
                '\'' | '"' | '`' | '[' => self.quoted(first, last),
                '(' => {
                    // A name before it is a function's or a table's.
                    self.names -= usize::from(std::mem::take(&mut self.pending));
                    let inside = match self.place() {
                        Place::From if last != Last::Name => Place::From,
                        _ => Place::Elsewhere,
                    };
                    self.places.push(inside);
                    self.skip(1);
                }
                ')' => {
                    self.skip(1);
                    if self.places.len() > 1 {
                        let depth = self.places.len();
                        if self.scopes.last().is_some_and(|scope| scope.depth == depth) {
                            self.end_scope();
                        }
                        self.places.pop();
                    }
                }
                ',' => {
                    if self.place() != Place::Elsewhere {
                        self.add_table();
                        self.set_place(Place::From);
                    }
                    self.skip(1);
                }
                '.' => {
                    // What stood before it was a table, and what follows is looked for there alone.
                    self.pending = false;
                    self.skip(1);
                    self.skip(word_length(self.rest));
                    if let Some(quote @ ('"' | '`' | '[')) = self.rest.chars().next() {
                        self.skip(quoted_length(self.rest, quote));
                    }
                }
                '0'..='9' | '?' | ':' | '@' | '$' | '#' => {
                    self.skip(1);
                    self.skip(word_length(self.rest));
                }
                _ => match word_length(self.rest) {
                    0 => self.skip(first.len_utf8()),
                    length => {
                        let word = &self.rest[..length];
                        self.settle();
                        self.rest = &self.rest[length..];
                        is_trigger |= token <= 3 && word.eq_ignore_ascii_case("TRIGGER");
                        ends =
                            token == semicolon.wrapping_add(1) && word.eq_ignore_ascii_case("END");
                        self.word(word, last);
                    }
                },
            }
            debug_assert!(self.rest.len() < before.len());
        }
        self.settle();
        while !self.scopes.is_empty() {
            self.end_scope();
        }
    }

    fn word(&mut self, word: &str, last: Last) {
        let is = |words: &[&str]| words.iter().any(|known| word.eq_ignore_ascii_case(known));
        self.natural_joins += usize::from(is(&["NATURAL"]));
        let is_blob = is(&["X"]) && self.rest.starts_with('\'');
        if is(&["DISTINCT"]) {
            self.last = Last::Distinct;
        } else if is(&["FROM"]) && last == Last::Distinct {
            // `IS DISTINCT FROM`.
        } else if is(&["AS"]) {
            self.last = Last::As;
        } else if is(&["SELECT"]) {
            self.start_scope();
            self.set_place(Place::Elsewhere);
        } else if is(&["FROM", "JOIN"]) {
            self.add_table();
            self.set_place(Place::From);
        } else if is(&["INTO", "UPDATE"]) {
            self.add_table();
        } else if is(&["ON", "USING"]) {
            if self.place() == Place::From {
                self.set_place(Place::On);
            }
        } else if is(AFTER_FROM) {
            self.set_place(Place::Elsewhere);
        } else if !is_blob && last != Last::As && !is(KEYWORDS) {
            self.names += 1;
            self.pending = self.place() != Place::From;
            self.last = Last::Name;
        }
    }

    fn quoted(&mut self, quote: char, last: Last) {
        self.settle();
        if quote != '\'' && last != Last::As {
            self.last = Last::Name;
            self.names += 1;
            self.pending = self.place() != Place::From;
        }
        self.rest = &self.rest[quoted_length(self.rest, quote)..];
    }

    /// Anything but a name, or what belongs to one.
    fn skip(&mut self, length: usize) {
        self.settle();
        self.rest = &self.rest[length..];
    }

    /// Count the name that may have been a column's as one.
    fn settle(&mut self) {
        let columns = usize::from(std::mem::take(&mut self.pending));
        if let Some(scope) = self.scopes.last_mut() {
            scope.columns += columns;
        }
    }

    fn add_table(&mut self) {
        self.settle();
        if let Some(scope) = self.scopes.last_mut() {
            scope.tables += 1;
        }
    }

    /// A `SELECT` begins: in parentheses, or after another one and `UNION`.
    fn start_scope(&mut self) {
        let depth = self.places.len();
        if self.scopes.last().is_some_and(|scope| scope.depth == depth) {
            self.end_scope();
        }
        self.scopes.push(Scope::at(depth));
    }

    fn end_scope(&mut self) {
        self.settle();
        if let Some(scope) = self.scopes.pop() {
            let lookups = scope.columns.saturating_mul(scope.tables);
            self.lookups = self.lookups.saturating_add(lookups);
            if let Some(outer) = self.scopes.last_mut() {
                outer.columns += scope.columns;
            }
        }
    }

    fn place(&self) -> Place {
        self.places.last().copied().unwrap_or(Place::Elsewhere)
    }

    fn set_place(&mut self, place: Place) {
        if let Some(last) = self.places.last_mut() {
            *last = place;
        }
    }
}

/// As [`blank`], up to the end of the statement.
fn space(sql: &str) -> usize {
    let length = blank(sql);
    match sql[..length].find(';') {
        // In a comment it ends nothing, and stopping there is stopping early: look at it closer.
        Some(_) => precise_space(sql),
        None => length,
    }
}

fn precise_space(sql: &str) -> usize {
    let mut at = 0;
    loop {
        let rest = &sql[at..];
        let next = match rest.as_bytes() {
            [b' ' | b'\t' | b'\n' | b'\x0c' | b'\r', ..] => 1,
            [b'-', b'-', ..] => rest.find('\n').unwrap_or(rest.len()),
            [b'/', b'*', ..] => rest[2..].find("*/").map_or(rest.len(), |end| end + 4),
            _ => return at,
        };
        at += next;
    }
}

/// The length in bytes of the quoted text that `sql` begins with. Two quotes within quotes are one: that is
/// another quoted text, right after this one.
fn quoted_length(sql: &str, quote: char) -> usize {
    let end = if quote == '[' { ']' } else { quote };
    sql[1..].find(end).map_or(sql.len(), |at| at + 2)
}

/// The length in bytes of the keyword or plain name that `sql` begins with.
fn word_length(sql: &str) -> usize {
    let is_other = |c: char| c.is_ascii() && !c.is_ascii_alphanumeric() && c != '_' && c != '$';
    sql.find(is_other).unwrap_or(sql.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_a_table_are_counted_for_each_table() {
        for (sql, names, lookups) in [
            ("SELECT a, b, 1, 'c', \"d\", [e], `f` FROM t", 6, 5),
            (
                "SELECT t.a, \"t\".\"b\", f(c) FROM t, u AS v JOIN w ON x = y, z",
                9,
                3 * 4,
            ),
            (
                "SELECT a FROM (SELECT b FROM t, u) WHERE c IN (d, e)",
                7,
                5 + 2,
            ),
            (
                "SELECT a FROM t JOIN u ON b IN (1, 2, 3, c) WHERE d",
                6,
                4 * 2,
            ),
            (
                "SELECT a -- , b; c\n, /* ; */ d FROM t; SELECT e, f FROM u",
                3,
                2,
            ),
            ("SELECT :a, ?1, $b, @c, 1e5, x FROM t", 2, 1),
            ("SELECT a AS b, \"c\".\"d\" AS \"c_d\" FROM t AS u, v", 4, 2),
            ("SELECT a FROM t UNION ALL SELECT b FROM u, v", 5, 1 + 2),
            (
                "SELECT (SELECT a FROM t), (SELECT b FROM u WHERE c) FROM v",
                6,
                1 + 2 + 3,
            ),
            (
                "INSERT INTO t VALUES (1, (SELECT a FROM u WHERE b = 'c')), (2, 'b')",
                5,
                2 + 4,
            ),
            ("SELECT 'it''s', a", 1, 0),
            (
                "SELECT a IS NOT DISTINCT FROM b IN (c, d), e FROM t, u",
                7,
                5 * 2,
            ),
            ("SELECT 1 FROM t, json_each(a IN (b, c)), (u, v)", 7, 3 * 4),
            ("", 0, 0),
        ] {
            let counter = Counter::count(sql);
            assert_eq!((counter.names, counter.lookups), (names, lookups), "{sql}");
        }
        // Each statement of a trigger for itself, and none after it.
        let trigger = "CREATE TRIGGER g AFTER INSERT ON t BEGIN \
                       UPDATE u SET a = b; DELETE FROM v WHERE c; END; SELECT d FROM w, x, y";
        // Its first words are taken for names too.
        assert_eq!(Counter::count(trigger).lookups, 10 + 2);
    }

    #[test]
    fn what_takes_long_to_resolve_is_refused() {
        let tables = |count| vec!["t"; count].join(",");
        let names = |count| vec!["z"; count].join(",");
        for (name, count, refused) in [(3_900, 1, false), (4_100, 1, true), (3_900, 10, true)] {
            let sql = format!("SELECT 1 IN ({}) FROM {}", names(name), tables(count));
            assert_eq!(
                check(&sql).is_err(),
                refused,
                "{name} names, {count} tables"
            );
        }
        let qualified = vec!["t.z AS \"t_z\""; 900].join(",");
        assert!(check(&format!("SELECT {qualified} FROM {}", tables(60))).is_ok());
        let branch = "SELECT a, b, c, d, e, f, g, h, i, j, k, l, m FROM t WHERE n = 1";
        assert!(check(&vec![branch; 50].join(" UNION ALL ")).is_ok());
        let row = "(1, (SELECT id FROM u WHERE name = 'n'), lower('N'), datetime('now'))";
        assert!(
            check(&format!(
                "INSERT INTO t(a, b, c, d) VALUES {}",
                vec![row; 1_200].join(",")
            ))
            .is_ok()
        );
        let natural =
            |count| vec!["t"; count].join(" NATURAL /* as such, not a word in a text */ JOIN ");
        assert!(check(&format!("SELECT 1 FROM {}", natural(9))).is_ok());
        assert!(check(&format!("SELECT 1 FROM {}", natural(10))).is_err());
        // Values are none of it.
        let rows = vec!["(1, 'a b c', x'00', NULL, -1.5, ?)"; 2_000].join(",");
        assert!(check(&format!("INSERT INTO t VALUES {rows}")).is_ok());
    }
}
