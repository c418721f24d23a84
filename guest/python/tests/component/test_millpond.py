"""What CPython's tests of sqlite3 do not cover: what is the contract's, and what is newer."""

import datetime
import unittest

import millpond
from millpond import statement


class Case(unittest.TestCase):
    def setUp(self):
        self.db = millpond.connect(":memory:")
        self.addCleanup(self.db.close)
        self.db.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b UNIQUE)")


class Errors(Case):
    def raised(self, sql, parameters=()):
        with self.assertRaises(millpond.Error) as caught:
            self.db.execute(sql, parameters).fetchall()
        return caught.exception

    def test_kinds(self):
        self.db.execute("INSERT INTO t VALUES (1, 'x')")
        error = self.raised("INSERT INTO t VALUES (2, 'x')")
        self.assertIsInstance(error, millpond.IntegrityError)
        self.assertEqual(error.kind, "constraint-unique")
        self.assertEqual(error.sqlite_errorcode, millpond.SQLITE_CONSTRAINT_UNIQUE)
        self.assertEqual(error.sqlite_errorname, "SQLITE_CONSTRAINT_UNIQUE")
        self.assertEqual(self.raised("INSERT INTO t VALUES (1, 'y')").kind, "constraint-primary-key")
        self.assertEqual(self.raised("ATTACH 'x' AS y").kind, "not-authorized")
        error = self.raised("SELECT nothing FROM t")
        self.assertEqual((error.kind, error.offset), ("sql", 7))
        self.assertIsNone(error.__context__)

    def test_no_such_database(self):
        db = millpond.connect("absent")
        with self.assertRaises(millpond.OperationalError) as caught:
            db.execute("SELECT 1")
        self.assertEqual(caught.exception.kind, "no-such-database")
        self.assertEqual(caught.exception.sqlite_errorname, "SQLITE_CANTOPEN")

    def test_surrogates_never_reach_the_host(self):
        for sql, parameters in (
            ("SELECT '\ud800'", ()),
            ("SELECT ?", ("\udfff",)),
            ("SELECT :a", {"a": "\ud800"}),
        ):
            with self.assertRaises(UnicodeEncodeError):
                self.db.execute(sql, parameters)
        with self.assertRaises(UnicodeEncodeError):
            self.db.executemany("INSERT INTO t(b) VALUES (?)", [("\ud800",)])
        with self.assertRaises(UnicodeEncodeError):
            millpond.connect("\ud800")
        with self.assertRaises(UnicodeEncodeError):
            self.db.executescript("SELECT '\ud800'")

    def test_too_large(self):
        error = self.raised("SELECT ?", ("x" * (1 << 21),))
        self.assertIsInstance(error, millpond.DataError)
        self.assertEqual(error.kind, "too-large")

    def test_read_only(self):
        self.db.commit()
        with millpond.connect("file", read_only=True) as db:
            with self.assertRaises(millpond.DatabaseError) as caught:
                db.execute("CREATE TABLE x(y)")
            self.assertEqual(caught.exception.kind, "not-authorized")
        db.close()
        with millpond.connect("file:file?mode=ro", uri=True) as db:
            self.assertRaises(millpond.DatabaseError, db.execute, "CREATE TABLE x(y)")
        db.close()


class Values(Case):
    def test_round_trip(self):
        values = (None, 0, -1, 2**63 - 1, -(2**63), 0.5, float("inf"), "", "zwölf\0", b"", b"\0\xff")
        sql = "SELECT " + ", ".join("?" * len(values))
        self.assertEqual(self.db.execute(sql, values).fetchone(), values)
        self.assertEqual(self.db.execute("SELECT ?", (float("nan"),)).fetchone(), (None,))

    def test_names(self):
        sql = "SELECT :b, @a, $c, :b"
        self.assertEqual(self.db.execute(sql, {"a": 1, "b": 2, "c": 3}).fetchone(), (2, 1, 3, 2))
        self.assertEqual(self.db.execute("SELECT ?2, ?1", (1, 2)).fetchone(), (2, 1))

    def test_converted_real(self):
        db = millpond.connect(":memory:", detect_types=millpond.PARSE_COLNAMES)
        millpond.register_converter("seen", lambda data: data)
        sql = """SELECT 1.0 AS "a [seen]", 1e100 AS "b [seen]", -7 AS "c [seen]", NULL AS "d [seen]" """
        self.assertEqual(db.execute(sql).fetchone(), (b"1.0", b"1.0e+100", b"-7", None))
        db.close()

    def test_timestamp(self):
        db = millpond.connect(":memory:", detect_types=millpond.PARSE_DECLTYPES)
        db.execute("CREATE TABLE d(at TIMESTAMP, day DATE)")
        now = datetime.datetime(2026, 11, 27, 8, 56, 1, 5)
        db.execute("INSERT INTO d VALUES (?, ?)", (now, now.date()))
        self.assertEqual(db.execute("SELECT * FROM d").fetchone(), (now, now.date()))
        db.close()


class Results(Case):
    def test_pages(self):
        """More than one page, read in all ways, while the connection does other things."""
        sql = "SELECT value, printf('%.200c', 'x') FROM generate_series(1, 20000)"
        cursor = self.db.execute(sql)
        self.assertEqual(cursor.fetchone()[0], 1)
        self.assertEqual([row[0] for row in cursor.fetchmany(3)], [2, 3, 4])
        again = self.db.execute(sql)
        self.db.execute("INSERT INTO t VALUES (1, 1)")
        self.db.commit()
        self.assertEqual(sum(row[0] for row in cursor), sum(range(5, 20001)))
        self.assertEqual(len(again.fetchall()), 20000)
        self.assertIsNone(cursor.fetchone())

    def test_returning_is_committed_before_it_is_read(self):
        self.db.isolation_level = None
        cursor = self.db.execute("INSERT INTO t(b) VALUES (1), (2), (3) RETURNING a")
        self.assertEqual((cursor.rowcount, cursor.lastrowid), (3, 3))
        self.db.execute("INSERT INTO t(b) VALUES (4)")
        self.assertEqual(cursor.fetchall(), [(1,), (2,), (3,)])

    def test_many_statements_and_cursors(self):
        cursors = [self.db.execute(f"SELECT {n} UNION ALL SELECT 0") for n in range(300)]
        for n, cursor in enumerate(cursors):
            self.assertEqual(cursor.fetchone(), (n,))

    def test_statements_of_two_connections(self):
        other = millpond.connect(":memory:")
        for n in range(100):
            self.assertEqual(self.db.execute(f"SELECT {n}").fetchone(), (n,))
            self.assertEqual(other.execute(f"SELECT {n}").fetchone(), (n,))
        other.close()

    def test_row(self):
        self.db.row_factory = millpond.Row
        row = self.db.execute("SELECT 1 AS one, 'é' AS É").fetchone()
        self.assertEqual((row["ONE"], row["É"], dict(row)), (1, "é", {"one": 1, "É": "é"}))
        self.assertRaises(IndexError, lambda: row["é"])

    def test_columns_of_a_cached_statement(self):
        self.db.execute("INSERT INTO t VALUES (1, 2)")
        self.assertEqual([c[0] for c in self.db.execute("SELECT * FROM t").description], ["a", "b"])
        self.db.execute("ALTER TABLE t RENAME b TO c")
        self.assertEqual([c[0] for c in self.db.execute("SELECT * FROM t").description], ["a", "c"])


class Many(Case):
    def test_batches(self):
        text = "x" * 1000
        cursor = self.db.executemany("INSERT INTO t VALUES (?, ? || ?)", ((n, text, n) for n in range(5000)))
        self.assertEqual(cursor.rowcount, 5000)
        self.assertTrue(self.db.in_transaction)
        self.db.rollback()
        self.assertEqual(self.db.execute("SELECT count(*) FROM t").fetchone(), (0,))

    def test_failure_in_a_transaction(self):
        with self.assertRaises(millpond.IntegrityError), self.db:
            self.db.executemany("INSERT INTO t VALUES (?, 1)", [(1,), (2,)])
        self.assertFalse(self.db.in_transaction)
        self.assertEqual(self.db.execute("SELECT count(*) FROM t").fetchone(), (0,))

    def test_named(self):
        self.db.executemany("INSERT INTO t VALUES (:a, :b)", [{"a": 1, "b": 2}, {"b": 4, "a": 3}])
        self.assertEqual(self.db.execute("SELECT * FROM t").fetchall(), [(1, 2), (3, 4)])

    def test_without_parameters(self):
        cursor = self.db.executemany("INSERT INTO t(b) VALUES (NULL)", [(), (), ()])
        self.assertEqual(cursor.rowcount, 3)


class Transactions(Case):
    def test_autocommit_off(self):
        db = millpond.connect("file", autocommit=False)
        self.addCleanup(db.close)
        with db:
            db.execute("DROP TABLE IF EXISTS u")
            db.execute("CREATE TABLE u(v)")
            self.assertTrue(db.in_transaction)
        db.execute("DROP TABLE u")
        db.rollback()
        self.assertEqual(db.execute("SELECT count(*) FROM u").fetchone(), (0,))
        db.rollback()
        db.execute("DROP TABLE u")
        db.commit()

    def test_autocommit_on(self):
        db = millpond.connect(":memory:", autocommit=True)
        db.execute("CREATE TABLE u(v)")
        db.execute("INSERT INTO u VALUES (1)")
        self.assertFalse(db.in_transaction)
        self.assertRaises(ValueError, setattr, db, "autocommit", 5)
        db.close()

    def test_close_rolls_back_and_returns(self):
        name = self.db._name
        for _ in range(20):
            db = millpond.Connection("file", isolation_level="IMMEDIATE")
            db.execute("CREATE TABLE IF NOT EXISTS u(v)")
            db.execute("INSERT INTO u VALUES (1)")
            db.close()
            self.assertRaises(millpond.ProgrammingError, db.execute, "SELECT 1")
        db = millpond.Connection("file")
        self.assertEqual(db.execute("SELECT count(*) FROM u").fetchone(), (0,))
        db.execute("DROP TABLE u")
        db.close()
        self.assertNotEqual(name, "file")

    def test_savepoints(self):
        self.db.execute("INSERT INTO t VALUES (1, 1)")
        self.db.execute("SAVEPOINT s")
        self.db.execute("INSERT INTO t VALUES (2, 2)")
        self.db.execute("ROLLBACK TO s")
        self.db.commit()
        self.assertEqual(self.db.execute("SELECT a FROM t").fetchall(), [(1,)])

    def test_total_changes(self):
        self.db.executemany("INSERT INTO t(b) VALUES (?)", [(1,), (2,)])
        self.assertEqual(self.db.total_changes, 2)
        self.assertEqual(millpond.connect("absent").total_changes, 0)


class Dump(Case):
    def test_full_text_table(self):
        self.db.executescript("""
            CREATE VIRTUAL TABLE note USING fts5(title, body);
            INSERT INTO note VALUES ('Millpond', 'Still water'), ('Mill', 'It''s loud');
            INSERT INTO t VALUES (1, x'00ff');
        """)
        script = "\n".join(self.db.iterdump())
        with millpond.connect(":memory:") as copy:
            copy.executescript(script)
            self.assertEqual(copy.execute("SELECT * FROM t").fetchall(), [(1, b"\0\xff")])
            found = copy.execute("SELECT title FROM note WHERE note MATCH 'water'").fetchall()
            self.assertEqual(found, [("Millpond",)])
        copy.close()


class Unsupported(Case):
    def test_says_why(self):
        for call in (
            lambda: self.db.create_function("f", 1, len),
            lambda: self.db.create_aggregate("f", 1, object),
            lambda: self.db.create_window_function("f", 1, object),
            lambda: self.db.create_collation("c", lambda a, b: 0),
            lambda: self.db.set_authorizer(lambda *a: 0),
            lambda: self.db.set_progress_handler(lambda: 0, 1),
            lambda: self.db.backup(self.db),
        ):
            with self.assertRaisesRegex(millpond.NotSupportedError, "^millpond does not support .+: .+"):
                call()


class Text(unittest.TestCase):
    def test_complete(self):
        for sql, complete in (
            ("", False), (";", False), ("SELECT 1", False), ("SELECT 1;", True), ("SELECT ';", False),
            ("CREATE TRIGGER a AFTER INSERT ON t BEGIN SELECT 1;", False),
            ("CREATE TRIGGER a AFTER INSERT ON t BEGIN SELECT 1; END;", True),
            ("SELECT 1; -- end", True), ("SELECT 1 /* ; */", False),
        ):
            self.assertIs(millpond.complete_statement(sql), complete, sql)

    def test_cache_is_smaller_than_the_limit(self):
        self.assertLess(statement._MOST * 2, 64)
