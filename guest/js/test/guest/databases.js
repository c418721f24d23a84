// Databases, their options, and what is at the top level of a module.

import { Database, SqliteError, Statement, databases, stats } from 'millpond';
import { equal, test, throws } from './harness.js';

const early = new Database();
const statement = early.prepare('SELECT ? + 1').pluck();
const transaction = early.transaction((n) => statement.get(n));
const returning = early.prepare('INSERT INTO early VALUES (?) RETURNING a').pluck();
const writing = early.prepare('INSERT INTO early VALUES (?)').raw();

test('databases and statements may be made at the top level', () => {
  equal(statement.get(1), 2);
  equal(transaction(2), 3);
  early.exec('CREATE TABLE early (a)');
  equal(returning.get(3), 3);
  throws(() => writing.get(4), TypeError);
  equal(writing.run(4).changes, 1);
  early.exec('DROP TABLE early');
  early.close();
});

test('names and options', (db) => {
  equal([db.name, db.open, db.readonly, db.inTransaction], ['default', true, false, false]);
  equal(databases(), ['default']);
  equal(typeof stats().inUse, 'number');
  throws(() => new Database(5), TypeError);
  throws(() => new Database('default', { readOnly: true }), TypeError);
  throws(() => new Database('default', { readonly: 1 }), TypeError);
  throws(() => new Database('default', 'readonly'), TypeError);
  throws(() => new Database('missing').exec('SELECT 1'), SqliteError,
    { code: 'SQLITE_CANTOPEN', kind: 'no-such-database' });
  throws(() => stats('missing'), SqliteError, { kind: 'no-such-database' });
});

test('a closed database', (db) => {
  const prepared = db.prepare('SELECT 1');
  prepared.get();
  equal(db.close() === db, true);
  equal(db.open, false);
  equal(db.inTransaction, false);
  db.close();
  for (const use of [() => db.prepare('SELECT 1'), () => db.exec(''), () => prepared.get(),
    () => db.pragma('user_version'), () => db.transaction(() => {})]) {
    throws(use, TypeError, { message: 'The database connection is not open' });
  }
});

test('closing rolls back', (db) => {
  db.exec('CREATE TABLE t (a)');
  const other = new Database();
  other.exec('BEGIN IMMEDIATE; INSERT INTO t VALUES (1)');
  other[Symbol.dispose]();
  equal(db.prepare('SELECT count(*) FROM t').pluck().get(), 0);
});

test('connections are returned', () => {
  for (let i = 0; i < 20; ++i) {
    const db = new Database();
    equal(db.prepare('SELECT 1').pluck().get(), 1);
    db.close();
  }
});

test('exec runs scripts', (db) => {
  equal(db.exec('CREATE TABLE t (a); INSERT INTO t VALUES (1); -- end\n') === db, true);
  db.exec('');
  throws(() => db.exec('INSERT INTO t VALUES (2); nonsense; INSERT INTO t VALUES (3)'), SqliteError,
    { kind: 'sql', offset: 26 });
  equal(db.prepare('SELECT a FROM t').pluck().all(), [1, 2]);
  throws(() => db.exec(5), TypeError);
});

test('prepare reports mistakes at once on an open connection', (db) => {
  throws(() => db.prepare('nonsense'), SqliteError, { kind: 'sql', offset: 0 });
});

test('pragmas', (db) => {
  equal(db.pragma('foreign_keys', { simple: true }), 1);
  equal(db.pragma('foreign_keys'), [{ foreign_keys: 1 }]);
  equal(db.pragma('user_version = 7'), []);
  equal(db.pragma('user_version', { simple: true }), 7);
  db.pragma('user_version = 0');
  throws(() => db.pragma('locking_mode'), SqliteError, { kind: 'not-authorized' });
  throws(() => db.pragma(5), TypeError);
});

test('SqliteError', () => {
  const error = new SqliteError('message', 'SQLITE_BUSY');
  equal(error instanceof Error, true);
  equal([error.name, error.message, error.code, error.kind],
    ['SqliteError', 'message', 'SQLITE_BUSY', 'other']);
  equal(String(error), 'SqliteError: message');
  throws(() => new SqliteError('message'), TypeError);
});

test('what the host forbids', (db) => {
  throws(() => db.exec("ATTACH 'x' AS x"), SqliteError, { kind: 'not-authorized', code: 'SQLITE_AUTH' });
  throws(() => db.exec('CREATE TABLE sqlite_x (a)'), SqliteError);
});

test('statements are statements', (db) => {
  equal(db.prepare('SELECT 1') instanceof Statement, true);
});
