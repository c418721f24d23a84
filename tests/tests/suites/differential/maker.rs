//! Generates statements from a seed. They only use what a guest may run.

/// Generates statements.
pub(super) struct Maker {
    state: u64,
    /// Only with what is the same in every version of SQLite that a server has.
    stable: bool,
}

impl Maker {
    pub(super) fn new(seed: u64, stable: bool) -> Maker {
        Maker {
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            stable,
        }
    }

    fn below(&mut self, end: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) as usize % end
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    /// One of those that are the same in every version, or of the others too.
    fn either<'a>(&mut self, stable: &[&'a str], others: &[&'a str]) -> &'a str {
        let others = if self.stable { &[] } else { others };
        let at = self.below(stable.len() + others.len());
        match at.checked_sub(stable.len()) {
            None => stable[at],
            Some(at) => others[at],
        }
    }

    pub(super) fn statement(&mut self) -> String {
        match self.below(20) {
            0..=5 => format!("SELECT {}", self.list()),
            6..=9 => self.select(),
            10..=12 => self.insert(),
            13 => format!(
                "UPDATE {}a SET {} = {} WHERE {}",
                self.conflict(),
                self.column(),
                self.expression(2),
                self.expression(2)
            ),
            14 => format!(
                "DELETE FROM {} WHERE {}",
                self.one(&["a", "c", "log"]),
                self.one(&["id % 3 = 0", "id > 20", "0", "id = (SELECT max(id) FROM a)"])
            ),
            15 => self
                .one(&[
                    "BEGIN",
                    "COMMIT",
                    "ROLLBACK",
                    "BEGIN IMMEDIATE",
                    "SAVEPOINT p",
                    "RELEASE p",
                    "ROLLBACK TO p",
                ])
                .to_owned(),
            16 => self.define(),
            17 | 19 if self.stable => self.insert(),
            17 => format!(
                "SELECT text, rank < 0 FROM words WHERE words MATCH '{}' ORDER BY rowid",
                self.one(&[
                    "water",
                    "still OR lent",
                    "wat*",
                    "\"lent out\"",
                    "NEAR(lent water)",
                    "(",
                    "nothing"
                ])
            ),
            18 => format!(
                "SELECT {} FROM a GROUP BY {} ORDER BY 1",
                self.aggregate(),
                self.column()
            ),
            _ => format!("SELECT id, {} FROM a ORDER BY id", self.window()),
        }
    }

    fn list(&mut self) -> String {
        let list: Vec<_> = (0..=self.below(4)).map(|_| self.expression(3)).collect();
        list.join(", ")
    }

    fn select(&mut self) -> String {
        let from = self.one(&[
            "a",
            "both",
            "a JOIN c ON c.a = a.id",
            "w",
            "s",
            "c",
            "a LEFT JOIN log ON log.id = a.id",
        ]);
        let columns = if self.below(2) == 0 || matches!(from, "w" | "s" | "c") {
            "*".to_owned()
        } else {
            format!("{}, {}", self.expression_of(2, "a.id"), self.expression(1))
        };
        let filter = match from {
            "a" => self.expression_of(2, "n"),
            _ => self.expression(2),
        };
        let rest = match self.below(4) {
            0 => " LIMIT 3",
            1 => " LIMIT 2 OFFSET 1",
            2 => " ORDER BY 1 DESC",
            _ => "",
        };
        format!("SELECT {columns} FROM {from} WHERE {filter}{rest}")
    }

    fn insert(&mut self) -> String {
        let conflict = self.conflict();
        // An insert into the table without rowids tells an older rowid on a server.
        let of = if self.stable { 5 } else { 6 };
        match self.below(of) {
            0 | 1 => {
                let rest = self.one(&[
                    "",
                    "",
                    " RETURNING id, n, typeof(n)",
                    " ON CONFLICT(id) DO UPDATE SET n = excluded.n + 1",
                    " ON CONFLICT DO NOTHING",
                ]);
                format!(
                    "INSERT INTO a(id, n, t, x) VALUES ({}, {}, {}, {}){rest}",
                    self.one(&["NULL", "1", "7", "30"]),
                    self.expression(1),
                    self.expression(1),
                    self.expression(2)
                )
            }
            2 => format!(
                "INSERT {conflict}INTO c(a, u, k) VALUES ({}, {}, {})",
                self.one(&["1", "2", "NULL", "99"]),
                self.one(&["'u1'", "'u9'", "NULL", "hex(5)"]),
                self.one(&["1", "0", "NULL", "'x'", "3"])
            ),
            3 => format!(
                "INSERT {conflict}INTO s VALUES ({}, {})",
                self.expression(1),
                self.expression(1)
            ),
            5 => format!(
                "INSERT {conflict}INTO w VALUES ({}, {}) RETURNING *",
                self.one(&["'key'", "'KEY'", "'new'", "NULL"]),
                self.expression(2)
            ),
            _ => "INSERT INTO log SELECT 'copy', id FROM a WHERE id < 3".to_owned(),
        }
    }

    fn define(&mut self) -> String {
        self.either(
            &[
                "CREATE TABLE IF NOT EXISTS made(a, b DEFAULT 5)",
                "DROP TABLE IF EXISTS made",
                "CREATE INDEX IF NOT EXISTS made_i ON a(x)",
                "DROP INDEX IF EXISTS made_i",
                "ALTER TABLE made ADD COLUMN c DEFAULT 'c'",
                "INSERT INTO made(a) VALUES (1), (2)",
                "SELECT * FROM made",
                "CREATE TABLE a(again)",
                "DROP TABLE nosuch",
                "PRAGMA table_info(a)",
                "PRAGMA foreign_key_list(c)",
            ],
            &["ANALYZE", "EXPLAIN QUERY PLAN SELECT * FROM a WHERE n = 1"],
        )
        .to_owned()
    }

    fn conflict(&mut self) -> &'static str {
        self.one(&["", "", "OR IGNORE ", "OR REPLACE ", "OR FAIL ", "OR ABORT "])
    }

    fn column(&mut self) -> &'static str {
        self.one(&["n", "r", "t", "b", "x"])
    }

    fn aggregate(&mut self) -> String {
        let of = self.column();
        let function = self.one(&[
            "count(*)",
            "count",
            "sum",
            "total",
            "avg",
            "min",
            "max",
            "group_concat",
            "json_group_array",
            "count(DISTINCT n), sum",
        ]);
        match (function, of) {
            ("count(*)", _) => function.to_owned(),
            ("json_group_array", _) => "json_group_array(n)".to_owned(),
            (function, of) => format!("{function}({of})"),
        }
    }

    fn window(&mut self) -> String {
        let function = self.one(&[
            "row_number()",
            "rank()",
            "dense_rank()",
            "ntile(2)",
            "lag(n)",
            "lead(t, 2, 'none')",
            "first_value(t)",
            "nth_value(n, 2)",
            "sum(n)",
            "count(*)",
            "group_concat(t)",
            "percent_rank()",
            "cume_dist()",
        ]);
        let over = self.one(&[
            "()",
            "(ORDER BY id)",
            "(PARTITION BY n > 1 ORDER BY id DESC)",
            "(ORDER BY t COLLATE NOCASE, id)",
            "(ORDER BY id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING)",
        ]);
        format!("{function} OVER {over}")
    }

    fn literal(&mut self) -> &'static str {
        const STABLE: &[&str] = &[
            "NULL",
            "0",
            "1",
            "-1",
            "2",
            "7",
            "1.5",
            "-2.5e-3",
            "''",
            "'a'",
            "'abc'",
            "'ABC'",
            "'aXbXc'",
            "'%b%'",
            "'a_c'",
            "'12'",
            "'1.5e1'",
            "' 7 '",
            "'ünïcödé'",
            "'日本語'",
            "x''",
            "x'616263'",
            "'2024-02-29'",
            "'6a6B'",
            "'\\'",
        ];
        // Numbers at the limits, and what is not UTF-8.
        const OTHERS: &[&str] = &[
            "9223372036854775807",
            "-9223372036854775808",
            "0.0",
            "-0.0",
            "1e300",
            "9e999",
            "'[a-c]*'",
            "x'00'",
            "x'ff'",
            "x'f09f98'",
            "'a' || char(0) || 'b'",
            "CAST(x'ff61' AS TEXT)",
            "'{\"a\":[1,2,{\"b\":null}]}'",
            "'[1,2.5,\"x\"]'",
            "'$.a[1]'",
        ];
        self.either(STABLE, OTHERS)
    }

    fn expression(&mut self, depth: usize) -> String {
        let literal = self.literal();
        self.expression_of(depth, literal)
    }

    /// An expression of a given depth, which contains `leaf` in places.
    fn expression_of(&mut self, depth: usize, leaf: &str) -> String {
        if depth == 0 || self.below(6) == 0 {
            return match self.below(3) {
                0 => leaf.to_owned(),
                _ => self.literal().to_owned(),
            };
        }
        let mut part = || self.expression_of(depth - 1, leaf);
        let (x, y, z) = (part(), part(), part());
        match self.below(9) {
            0 | 1 => {
                let operator = self.either(
                    &[
                        "+", "-", "*", "||", "<", "<=", "=", "<>", "IS", "IS NOT", "AND", "OR",
                        "&", "|", "<<", ">>", "LIKE", "GLOB",
                    ],
                    &["%", "/", "->", "->>"],
                );
                format!("({x} {operator} {y})")
            }
            2 => {
                let operator = self.one(&["-", "+", "~", "NOT "]);
                format!("({operator}{x})")
            }
            3 => match self.below(6) {
                0 => format!("CASE WHEN {x} THEN {y} ELSE {z} END"),
                1 => format!("({x} BETWEEN {y} AND {z})"),
                2 => format!("({x} IN ({y}, {z}))"),
                3 => format!(
                    "CAST({x} AS {})",
                    self.one(&["INTEGER", "REAL", "TEXT", "BLOB", "NUMERIC"])
                ),
                4 => format!("({x} COLLATE NOCASE = {y})"),
                _ => format!("(SELECT {x} WHERE {y})"),
            },
            4 | 5 => {
                let function = self.either(
                    &["hex", "length", "lower", "upper", "typeof"],
                    &[
                        "abs",
                        "quote",
                        "unicode",
                        "sign",
                        "round",
                        "trim",
                        "ltrim",
                        "rtrim",
                        "octet_length",
                        "unhex",
                        "json_valid",
                        "json_type",
                        "json_quote",
                        "json_array_length",
                        "date",
                        "julianday",
                        "char",
                    ],
                );
                format!("{function}({x})")
            }
            6 | 7 => {
                let function = self.either(
                    &["instr", "ifnull", "nullif", "max", "min", "coalesce"],
                    &[
                        "substr",
                        "trim",
                        "ltrim",
                        "rtrim",
                        "round",
                        "glob",
                        "like",
                        "unhex",
                        "concat",
                        "json_extract",
                        "json_array",
                        "printf",
                        "format",
                        "datetime",
                        "json_remove",
                    ],
                );
                format!("{function}({x}, {y})")
            }
            _ => {
                let function = self.either(
                    &["coalesce"],
                    &[
                        "replace",
                        "substr",
                        "iif",
                        "concat_ws",
                        "json_set",
                        "json_insert",
                        "json_object",
                        "like",
                        "char",
                        "strftime",
                    ],
                );
                match function {
                    "json_object" => format!("json_object('k', {y})"),
                    function => format!("{function}({x}, {y}, {z})"),
                }
            }
        }
    }
}
