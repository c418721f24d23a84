//! Generates SQL from parts that take long.

/// Random choices: which of several, and how often.
pub(crate) struct Choices<'a>(pub(crate) std::slice::Iter<'a, (u8, u16)>);

impl Choices<'_> {
    fn one<'s>(&mut self, of: &[&'s str]) -> &'s str {
        let (which, _) = self.0.next().copied().unwrap_or_default();
        of[usize::from(which) % of.len()]
    }

    /// One of several, repeatedly. `#` in it is replaced by the number of the repetition.
    fn many(&mut self, of: &[&str], most: usize, between: &str) -> String {
        let what = self.one(of);
        let (few, count) = self.0.next().copied().unwrap_or_default();
        let most = if few % 4 == 0 { most } else { most.min(12) };
        let count = 1 + usize::from(count) % most;
        let all: Vec<_> = (0..count)
            .map(|at| what.replace('#', &at.to_string()))
            .collect();
        all.join(between)
    }

    fn value(&mut self) -> &'static str {
        self.one(&[
            "1",
            "'a b c'",
            "replace(hex(zeroblob(400000)), '0', '1')",
            "replace(hex(zeroblob(400000)), '00', 'a ')",
            "'[' || replace(hex(zeroblob(200000)), '0', '1,') || '1]'",
            "zeroblob(1000000)",
            "randomblob(1000)",
            "random()",
        ])
    }

    fn expression(&mut self) -> String {
        let of = [
            "c#",
            "x+#",
            "x+0",
            "t.x || '#'",
            "length(x)",
            "json_extract(x, '$[#]')",
            "json_valid(x)",
            "x < 'b' COLLATE NOCASE",
            "substr(x, #, 9)",
            "sum(x+#)",
            "sum(1) OVER (ORDER BY x+#)",
            "(SELECT max(x) FROM t WHERE x > #)",
            "CAST(x AS INTEGER)",
            "upper(x)",
            "hex(x)",
            "quote(x)",
            "printf('%s %d', x, #)",
            "strftime('%Y%V', x)",
            "json_set(x, '$[#]', 1)",
            "soundex(x)",
            "snippet(f, 0, '[', ']', '…', 64)",
            "highlight(f, 0, '<', '>')",
            "bm25(f)",
            "x LIKE '%#%'",
            "json_pretty(x)",
            "x IN (1, #)",
            "abs(x)",
            "date(x)",
            "unicode(x)",
            "x = c#",
            ":p#",
            "trim(x, 'a1')",
        ];
        self.many(&of, 6_000, ",")
    }

    fn tables(&mut self) -> String {
        let of = [
            "t",
            "t AS t#",
            "f",
            "f('a')",
            "f('a OR b# OR c')",
            "r",
            "json_each('[1,2,3]') AS j#",
            "v",
        ];
        let between = self.one(&[",", " NATURAL JOIN ", " LEFT JOIN "]);
        self.many(&of, 70, between)
    }

    pub(crate) fn statement(&mut self) -> String {
        let kind = self.one(&[
            "table",
            "table",
            "fts",
            "rtree",
            "view",
            "index",
            "trigger",
            "insert",
            "insert",
            "update",
            "delete",
            "select",
            "select",
            "select",
            "in",
            "match",
            "alter",
            "pragma",
            "fts command",
        ]);
        match kind {
            "table" => {
                let of = [
                    "c#",
                    "c# NUMERIC",
                    "c# TEXT COLLATE NOCASE",
                    "c# UNIQUE",
                    "c# AS (x+#) STORED",
                ];
                format!("CREATE TABLE t(x, {})", self.many(&of, 998, ","))
            }
            "fts" => {
                let tokenizer = self.one(&["unicode61", "porter", "ascii", "trigram"]);
                format!("CREATE VIRTUAL TABLE f USING fts5(x, tokenize='{tokenizer}')")
            }
            "rtree" => "CREATE VIRTUAL TABLE r USING rtree(id, x, y)".to_owned(),
            "view" => format!(
                "CREATE VIEW v AS SELECT {} FROM {}",
                self.expression(),
                self.tables()
            ),
            "index" => format!(
                "CREATE INDEX i{} ON t({})",
                self.value().len(),
                self.expression()
            ),
            "trigger" => {
                let body = self.expression();
                format!("CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT {body} FROM t; END")
            }
            "insert" => {
                let (table, value) = (self.one(&["t(x)", "f(x)", "r"]), self.value());
                let count = self.one(&["1", "3", "9", "1000", "100000"]);
                format!(
                    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {count}) \
                     INSERT INTO {table} SELECT {value} FROM n"
                )
            }
            "update" => format!("UPDATE t SET x = {}", self.value()),
            "delete" => format!("DELETE FROM {}", self.one(&["t", "f", "r"])),
            "in" => format!("SELECT 1 IN ({}) FROM {}", self.expression(), self.tables()),
            "match" => {
                let query = self.many(
                    &[
                        "a",
                        "a OR ",
                        "a AND ",
                        "\"a a\" ",
                        "a* ",
                        "NEAR(a a) ",
                        "-a ",
                    ],
                    20_000,
                    " ",
                );
                format!(
                    "SELECT {} FROM f WHERE f MATCH '{query} a'",
                    self.expression()
                )
            }
            "alter" => self
                .one(&[
                    "ALTER TABLE t RENAME TO u",
                    "ALTER TABLE t RENAME x TO y",
                    "ALTER TABLE t DROP COLUMN c1",
                ])
                .to_owned(),
            "pragma" => format!(
                "PRAGMA {}",
                self.one(&[
                    "table_list",
                    "integrity_check",
                    "quick_check",
                    "foreign_key_check"
                ])
            ),
            "fts command" => format!(
                "INSERT INTO f(f) VALUES ('{}')",
                self.one(&["optimize", "rebuild", "integrity-check", "merge"])
            ),
            _ => {
                let (select, from) = (self.expression(), self.tables());
                let end = self.one(&[
                    "",
                    " ORDER BY 1",
                    " GROUP BY 1",
                    " WHERE x > 1",
                    " WHERE f MATCH 'a'",
                ]);
                format!("SELECT {select} FROM {from}{end}")
            }
        }
    }
}
