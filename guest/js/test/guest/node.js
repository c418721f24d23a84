// `node:sqlite`, which jco compiles into an import that the host answers: as Node 25 behaves, or as the
// README of millpond-compat says.

import { DatabaseSync, StatementSync } from 'node:sqlite';
import { equal, test, throws } from './harness.js';

/** A test with a database that has a table. It is another connection than the harness's. */
function nodeTest(name, body, options = {}) {
  test(`node:sqlite: ${name}`, (other) => {
    const db = new DatabaseSync('default', options);
    try {
      db.exec('CREATE TABLE t(id INTEGER PRIMARY KEY, value); CREATE TABLE u(a UNIQUE)');
      body(db, other);
    } finally {
      if (db.isOpen) db.close();
    }
  });
}

const invalidState = { code: 'ERR_INVALID_STATE' };
const invalidType = { code: 'ERR_INVALID_ARG_TYPE' };

nodeTest('rows are as in Node', (db, other) => {
  const insert = db.prepare('INSERT INTO t VALUES (?, ?)');
  equal(insert instanceof StatementSync, true);
  equal(insert.run(1, 'one'), { changes: 1, lastInsertRowid: 1 });
  equal(insert.run(7, null), { changes: 1, lastInsertRowid: 7 });
  equal(insert.get(8, 'eight'), undefined);
  equal(insert.all(9, 'nine'), []);
  const select = db.prepare('SELECT * FROM t WHERE id < 8');
  equal(select.all(), [{ id: 1, value: 'one' }, { id: 7, value: null }]);
  equal(Object.getPrototypeOf(select.get()), null);
  equal(db.prepare('SELECT * FROM t WHERE id = 100').get(), undefined);
  equal(db.prepare('SELECT 1 AS __proto__, 2 AS a, 3 AS a').get().a, 3);
  equal(db.prepare('UPDATE t SET value = 0 WHERE id < 8').run().changes, 2);
  equal(db.prepare('DELETE FROM t RETURNING id').get(), { id: 1 });
  equal(other.prepare('SELECT count(*) FROM t').pluck().get(), 0);
  equal(insert.sourceSQL, 'INSERT INTO t VALUES (?, ?)');
});

nodeTest('values of every type', (db) => {
  const echo = db.prepare('SELECT ? AS value');
  const bytes = new Uint8Array([0, 1, 255]);
  for (const value of [null, 0, -1, 0.5, Infinity, 2 ** 53, '', 'a\0b', '☃', bytes]) {
    equal(echo.get(value).value, value);
  }
  equal(echo.get(new DataView(bytes.buffer, 1)).value, bytes.subarray(1));
  equal(echo.get(7n).value, 7);
  const type = db.prepare('SELECT typeof(?) AS type');
  for (const [value, name] of [[1, 'real'], [1n, 'integer'], [NaN, 'null'], ['1', 'text']]) {
    equal(type.get(value).type, name);
  }
  for (const value of [undefined, true, () => {}, Symbol(), [1]]) {
    throws(() => echo.get(1, value), TypeError, invalidType);
  }
  throws(() => echo.get(2n ** 63n), TypeError, { code: 'ERR_INVALID_ARG_VALUE' });
  throws(() => db.prepare('SELECT CAST(x\'ff\' AS TEXT)').get(), Error, { errcode: 20 });
});

nodeTest('integers that are no safe numbers', (db) => {
  const big = db.prepare('SELECT 9007199254740992 AS value');
  throws(() => big.get(), RangeError, { code: 'ERR_OUT_OF_RANGE' });
  throws(() => big.all(), RangeError, { code: 'ERR_OUT_OF_RANGE' });
  equal(db.prepare('SELECT -9007199254740991 AS v').get(), { v: -9007199254740991 });
  big.setReadBigInts(true);
  equal(big.get(), { value: 9007199254740992n });
  big.setReadBigInts(false);
  throws(() => big.get(), RangeError);
  const insert = db.prepare('INSERT INTO t(id) VALUES (?)', { readBigInts: true });
  const most = 9223372036854775807n;
  equal(insert.run(most), { changes: 1n, lastInsertRowid: most });
  equal(db.prepare('SELECT max(id) AS m FROM t', { readBigInts: true }).get(), { m: most });
  throws(() => big.setReadBigInts(), TypeError, invalidType);
  const all = new DatabaseSync('default', { readBigInts: true });
  equal(all.prepare('SELECT 1 AS one').get(), { one: 1n });
  all.close();
});

nodeTest('rows as arrays', (db) => {
  const select = db.prepare("VALUES (1, 'a'), (2, 'b')");
  select.setReturnArrays(true);
  equal(select.get(), [1, 'a']);
  equal(select.all(), [[1, 'a'], [2, 'b']]);
  equal([...select.iterate()], [[1, 'a'], [2, 'b']]);
  select.setReturnArrays(false);
  equal(select.get(), { column1: 1, column2: 'a' });
  equal(db.prepare('SELECT 1, 1', { returnArrays: true }).get(), [1, 1]);
});

nodeTest('parameters by name and by position', (db) => {
  const named = db.prepare('SELECT $a AS a, :b AS b, @c AS c');
  equal(named.get({ a: 1, $a: 4, ':b': 2, '@c': 3 }), { a: 4, b: 2, c: 3 });
  equal(named.get({ b: 2 }), { a: null, b: 2, c: null });
  throws(() => named.get({ $a: 1, $z: 2 }), Error, invalidState);
  throws(() => named.get(1), Error, { errcode: 25, errstr: 'column index out of range' });
  named.setAllowUnknownNamedParameters(true);
  equal(named.get({ a: 1, z: 2 }).a, 1);
  named.setAllowBareNamedParameters(false);
  equal(named.get({ a: 1 }).a, null);
  named.setAllowUnknownNamedParameters(false);
  throws(() => named.get({ a: 1 }), Error, invalidState);
  const same = db.prepare('SELECT $a + $a AS sum');
  equal(same.get({ a: 2 }).sum, 4);
  const mixed = db.prepare('SELECT ? AS x, $a AS a, ? AS y');
  equal(mixed.get({ a: 1 }, 2, 3), { x: 2, a: 1, y: 3 });
  equal(mixed.get(2, 3), { x: 2, a: null, y: 3 });
  equal(mixed.get(), { x: null, a: null, y: null });
  throws(() => mixed.get(1, 2, 3), Error, { code: 'ERR_SQLITE_ERROR', errcode: 25 });
  equal(db.prepare('SELECT ?1 + ?1 + ?3 AS sum').get(1, 0, 5), { sum: 7 });
  throws(() => db.prepare('SELECT $a, @a').get({ a: 1 }), Error, invalidState);
});

nodeTest('iterators', (db) => {
  db.exec("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')");
  const select = db.prepare('SELECT id FROM t WHERE id >= ? ORDER BY id');
  equal([...select.iterate(2)], [{ id: 2 }, { id: 3 }]);
  equal([...select.iterate(9)], []);
  const update = db.prepare('UPDATE t SET value = ? WHERE id = ?');
  for (const { id } of select.iterate(1)) update.run(id * 10, id);
  equal(db.prepare('SELECT sum(value) AS sum FROM t').get(), { sum: 60 });
  for (const { id } of select.iterate(1)) if (id === 2) break;
  const rows = select.iterate(1);
  equal(rows[Symbol.iterator]() === rows, true);
  equal(rows.next(), { done: false, value: { id: 1 } });
  equal(rows.return().done, true);
  equal(rows.next().done, true);
  for (const run of ['get', 'all', 'run', 'iterate']) {
    const interrupted = select.iterate(1);
    interrupted.next();
    select[run](1);
    throws(() => interrupted.next(), Error, invalidState);
  }
  const inserted = db.prepare('INSERT INTO t VALUES (4, 0), (5, 0) RETURNING id').iterate();
  equal([...inserted], [{ id: 4 }, { id: 5 }]);
});

nodeTest('transactions by text', (db, other) => {
  const count = () => other.prepare('SELECT count(*) FROM t').pluck().get();
  equal(db.isTransaction, false);
  db.exec('BEGIN; INSERT INTO t VALUES (1, 1)');
  equal([db.isTransaction, count()], [true, 0]);
  db.exec('ROLLBACK');
  equal([db.isTransaction, count()], [false, 0]);
  db.prepare('BEGIN IMMEDIATE').run();
  db.exec('SAVEPOINT s; INSERT INTO t VALUES (1, 1); ROLLBACK TO s; INSERT INTO t VALUES (2, 2)');
  db.prepare('COMMIT').run();
  equal([db.isTransaction, count()], [false, 1]);
  db.exec('BEGIN; DELETE FROM t');
  db.close();
  equal(count(), 1);
});

nodeTest('errors of SQLite', (db) => {
  const sqlite = (errcode, errstr) => ({ code: 'ERR_SQLITE_ERROR', errcode, errstr });
  const insert = db.prepare('INSERT INTO t(id) VALUES (?)');
  insert.run(1);
  const message = 'UNIQUE constraint failed: t.id';
  throws(() => insert.run(1), Error, { message, ...sqlite(1555, 'constraint failed') });
  throws(() => db.exec('INSERT INTO u VALUES (1), (1)'), Error, sqlite(2067, 'constraint failed'));
  throws(() => db.exec('SELECT 1; NO'), Error, sqlite(1, 'SQL logic error'));
  for (const sql of ['SELECT', 'SELECT * FROM none', '']) {
    throws(() => db.prepare(sql), Error, { code: 'ERR_SQLITE_ERROR', errcode: 1 });
  }
  throws(() => db.exec('ATTACH \'x\' AS y'), Error, sqlite(23, 'authorization denied'));
  throws(() => db.prepare('SELECT 1; SELECT 2'), Error, { errcode: 1 });
  throws(() => db.prepare(), TypeError, invalidType);
  throws(() => db.exec(5), TypeError, invalidType);
  equal(db.exec(''), undefined);
});

nodeTest('opening and closing', (db) => {
  const select = db.prepare('SELECT 1 AS one');
  equal(db.isOpen, true);
  throws(() => db.open(), Error, invalidState);
  db.close();
  equal(db.isOpen, false);
  for (const use of [
    () => db.close(), () => db.exec('SELECT 1'), () => db.prepare('SELECT 1'), () => db.location(),
    () => db.isTransaction, () => select.get(), () => select.columns(), () => select.sourceSQL,
  ]) throws(use, Error, invalidState);
  db.open();
  equal(db.prepare('SELECT 1 AS one').get(), { one: 1 });
  db[Symbol.dispose]();
  db[Symbol.dispose]();
  const closed = new DatabaseSync('default', { open: false });
  equal(closed.isOpen, false);
  throws(() => closed.exec('SELECT 1'), Error, invalidState);
  const reader = new DatabaseSync('default', { readOnly: true });
  equal(reader.prepare('SELECT count(*) AS n FROM t').get(), { n: 0 });
  throws(() => reader.exec('DELETE FROM t'), Error, { errcode: 8 });
  reader.close();
});

nodeTest('paths name granted databases', () => {
  for (const path of [
    './data/default.db', 'file:default.db', new URL('file:///data/default.sqlite'),
    new TextEncoder().encode('default'),
  ]) {
    const db = new DatabaseSync(path);
    equal(db.prepare('SELECT count(*) AS n FROM t').get(), { n: 0 });
    db.close();
  }
  const db = new DatabaseSync('file:/x/default.db?mode=ro');
  equal(db.location(), 'file:/x/default.db?mode=ro');
  throws(() => db.exec('DELETE FROM t'), Error, { errcode: 8 });
  db.close();
  const errstr = 'unable to open database file';
  for (const path of [':memory:', '', 'other.db']) {
    throws(() => new DatabaseSync(path), Error, { code: 'ERR_SQLITE_ERROR', errcode: 14, errstr });
  }
  throws(() => new DatabaseSync(), TypeError, invalidType);
  throws(() => new DatabaseSync('a\0b'), TypeError, invalidType);
  const http = new URL('http://example.com');
  throws(() => new DatabaseSync(http), TypeError, { code: 'ERR_INVALID_URL_SCHEME' });
});

nodeTest('statements by their template', (db) => {
  const sql = db.createTagStore(2);
  for (const value of ['a', 'b']) equal(sql.run`INSERT INTO t(value) VALUES (${value})`.changes, 1);
  equal(sql.size, 1);
  equal(sql.get`SELECT id FROM t WHERE value = ${'b'}`, { id: 2 });
  equal(sql.all`SELECT value FROM t`, [{ value: 'a' }, { value: 'b' }]);
  equal([...sql.iterate`SELECT id FROM t`].length, 2);
  equal([sql.size, sql.capacity, sql.db === db], [2, 2, true]);
  sql.clear();
  equal(sql.size, 0);
});

nodeTest('columns', (db) => {
  const nothing = { column: null, database: null, table: null };
  equal(db.prepare('SELECT id, value AS v, 1 + 1 FROM t').columns(), [
    { name: 'id', ...nothing, type: 'INTEGER' },
    { name: 'v', ...nothing, type: null },
    { name: '1 + 1', ...nothing, type: null },
  ]);
  equal(db.prepare('DELETE FROM t').columns(), []);
});

nodeTest('what is not there says so', (db) => {
  const unavailable = { code: 'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM' };
  for (const use of [
    () => db.createSession(), () => db.applyChangeset(new Uint8Array()), () => db.serialize(),
    () => db.deserialize(new Uint8Array()), () => db.loadExtension('x'), () => db.limits.length,
    () => db.prepare('SELECT 1').expandedSQL, () => db.enableDefensive(false),
    () => new DatabaseSync('default', { enableForeignKeyConstraints: false }),
    () => new DatabaseSync('default', { enableDoubleQuotedStringLiterals: true }),
    () => new DatabaseSync('default', { allowExtension: true }),
    () => new DatabaseSync('default', { limits: { length: 100 } }),
  ]) throws(use, Error, unavailable);
  const callback = { code: 'ERR_JCO_SQLITE_CALLBACK_UNSUPPORTED' };
  throws(() => db.function('f', () => 1), Error, callback);
  throws(() => db.aggregate('f', {}), Error, callback);
  throws(() => new DatabaseSync('default', { timeout: 0.5 }), TypeError, invalidType);
  db.enableDefensive(true);
  db.enableLoadExtension(false);
  throws(() => db.enableLoadExtension(true), Error, invalidState);
}, { timeout: 100, defensive: true, enableForeignKeyConstraints: true });
