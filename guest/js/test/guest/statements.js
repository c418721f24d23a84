// run, get, all, columns, and the forms of rows.

import { SqliteError } from 'millpond';
import { equal, test, throws } from './harness.js';

const TEN = `CREATE TABLE entries (a TEXT, b INTEGER, c REAL, d BLOB, e TEXT);
  INSERT INTO entries SELECT 'foo', value, 3.14, x'dddd', NULL FROM generate_series(1, 10)`;
const entry = (b) => ({ a: 'foo', b, c: 3.14, d: new Uint8Array([0xdd, 0xdd]), e: null });

test('run reports changes and the last rowid', (db) => {
  equal(db.prepare('CREATE TABLE t (a INTEGER PRIMARY KEY, b)').run(),
    { changes: 0, lastInsertRowid: 0 });
  const insert = db.prepare('INSERT INTO t (b) VALUES (?)');
  equal(insert.run('x'), { changes: 1, lastInsertRowid: 1 });
  equal(insert.run('y'), { changes: 1, lastInsertRowid: 2 });
  equal(db.prepare("INSERT INTO t (b) VALUES ('z'), ('z')").run(),
    { changes: 2, lastInsertRowid: 4 });
  equal(db.prepare("UPDATE t SET b = 'w' WHERE a = 1").run().changes, 1);
  equal(db.prepare("DELETE FROM t WHERE b = 'z'").run().changes, 2);
  equal(db.prepare('SELECT 555').run().changes, 0);
  equal(insert.safeIntegers().run('v').lastInsertRowid, 3n);
  const big = db.prepare('INSERT INTO t VALUES (9007199254740993, 1)').run();
  equal(big.lastInsertRowid, 9007199254740993n);
});

test('failed constraints', (db) => {
  db.exec('CREATE TABLE p (id INTEGER PRIMARY KEY, u UNIQUE, n NOT NULL, c CHECK (c > 0));' +
    'CREATE TABLE f (p REFERENCES p);' + "INSERT INTO p VALUES (1, 'u', 1, 1)");
  const fails = (sql, code, kind) =>
    throws(() => db.prepare(sql).run(), SqliteError, { code, kind, name: 'SqliteError' });
  fails("INSERT INTO p VALUES (1, 'v', 1, 1)", 'SQLITE_CONSTRAINT_PRIMARYKEY',
    'constraint-primary-key');
  fails("INSERT INTO p VALUES (2, 'u', 1, 1)", 'SQLITE_CONSTRAINT_UNIQUE', 'constraint-unique');
  fails("INSERT INTO p VALUES (2, 'v', NULL, 1)", 'SQLITE_CONSTRAINT_NOTNULL',
    'constraint-not-null');
  fails("INSERT INTO p VALUES (2, 'v', 1, 0)", 'SQLITE_CONSTRAINT_CHECK', 'constraint-check');
  fails('INSERT INTO f VALUES (9)', 'SQLITE_CONSTRAINT_FOREIGNKEY', 'constraint-foreign-key');
});

test('get returns the first row or undefined', (db) => {
  db.exec(TEN);
  equal(db.prepare('SELECT * FROM entries ORDER BY rowid').get(), entry(1));
  equal(db.prepare('SELECT * FROM entries WHERE b > ? ORDER BY rowid').get(5), entry(6));
  const none = db.prepare('SELECT * FROM entries WHERE b = 999');
  equal(none.get(), undefined);
  equal(none.pluck().get(), undefined);
  equal(none.raw().all(), []);
});

test('all returns every row', (db) => {
  db.exec(TEN);
  const rows = db.prepare('SELECT * FROM entries ORDER BY rowid').all();
  equal(rows.length, 10);
  rows.forEach((row, i) => equal(row, entry(i + 1)));
});

test('all reads results of many pages', (db) => {
  const rows = db.prepare("SELECT value, printf('%01000d', value) AS text FROM generate_series(1, 5000)")
    .all();
  equal(rows.length, 5000);
  equal(rows[4999].value, 5000);
  equal(rows[4999].text.length, 1000);
});

test('statements without rows refuse to yield any', (db) => {
  db.exec('CREATE TABLE t (a)');
  const insert = db.prepare('INSERT INTO t VALUES (1)');
  equal(insert.reader, false);
  for (const method of ['get', 'all', 'iterate', 'pluck', 'raw', 'columns']) {
    throws(() => insert[method](), TypeError);
  }
  throws(() => db.prepare('BEGIN').get(), TypeError);
  equal(db.prepare('SELECT count(*) FROM t').pluck().get(), 0);
});

test('RETURNING', (db) => {
  db.exec('CREATE TABLE t (a INTEGER PRIMARY KEY, b)');
  const insert = db.prepare("INSERT INTO t (b) VALUES ('x'), ('y') RETURNING *");
  equal(insert.reader, true);
  equal(insert.readonly, false);
  equal(insert.get(), { a: 1, b: 'x' });
  equal(insert.all(), [{ a: 3, b: 'x' }, { a: 4, b: 'y' }]);
  equal([...insert.iterate()], [{ a: 5, b: 'x' }, { a: 6, b: 'y' }]);
  equal(insert.run().changes, 2);
  equal(db.prepare('SELECT count(*) FROM t').pluck().get(), 8);
});

test('the forms of rows replace each other', (db) => {
  const statement = db.prepare("SELECT 'x' AS a, 5.5 AS b");
  const [row, raw] = [{ a: 'x', b: 5.5 }, ['x', 5.5]];
  for (const read of [() => statement.get(), () => statement.all()[0], () => [...statement.iterate()][0]]) {
    statement.raw(false).pluck(false);
    equal(read(), row);
    statement.pluck();
    equal(read(), 'x');
    statement.raw();
    equal(read(), raw);
    statement.pluck(false);
    equal(read(), raw);
    statement.raw(false);
    equal(read(), row);
  }
  throws(() => statement.raw('yes'), TypeError);
});

test('columns of any name', (db) => {
  equal(db.prepare('SELECT 1 AS a, 2 AS a').get(), { a: 2 });
  const row = db.prepare('SELECT 1 AS "__proto__", 2 AS "constructor"').get();
  equal(Object.entries(row), [['__proto__', 1], ['constructor', 2]]);
});

test('columns describes them', (db) => {
  db.exec('CREATE TABLE t (a TEXT, b INTEGER, c WHATthe)');
  equal(db.prepare('SELECT 5.0 AS d, * FROM t').columns(), [
    { name: 'd', type: null }, { name: 'a', type: 'TEXT' },
    { name: 'b', type: 'INTEGER' }, { name: 'c', type: 'WHATthe' }]);
});

test('a changed schema changes the rows', (db) => {
  db.exec('CREATE TABLE t (a); INSERT INTO t VALUES (1)');
  const statement = db.prepare('SELECT * FROM t');
  equal(statement.get(), { a: 1 });
  db.exec('ALTER TABLE t RENAME a TO z');
  equal(statement.get(), { z: 1 });
  db.exec('ALTER TABLE t ADD b DEFAULT 2');
  equal(statement.get(), { z: 1, b: 2 });
  equal(statement.columns().length, 2);
});

test('more statements than the host allows handles', (db) => {
  db.exec('CREATE TABLE t (a)');
  const statements = Array.from({ length: 200 }, (_, i) => db.prepare(`SELECT ${i}`).pluck());
  statements.forEach((statement, i) => equal(statement.get(), i));
  statements.forEach((statement, i) => equal(statement.all(), [i]));
});

test('properties of statements', (db) => {
  const statement = db.prepare('SELECT 1');
  equal(statement.source, 'SELECT 1');
  equal(statement.database === db, true);
  equal([statement.reader, statement.readonly, statement.busy], [true, true, false]);
});

test('SQL that does not compile', (db) => {
  throws(() => db.prepare('SELECT * FROM').get(), SqliteError, { code: 'SQLITE_ERROR', kind: 'sql' });
  throws(() => db.prepare('SELECT missing').get(), SqliteError, { kind: 'sql', offset: 7 });
  throws(() => db.prepare('SELECT 1; SELECT 2').get(), SqliteError, { kind: 'sql' });
  throws(() => db.prepare('').get(), SqliteError, { kind: 'sql' });
  throws(() => db.prepare(5), TypeError);
});
