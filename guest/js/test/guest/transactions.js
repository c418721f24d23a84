// transaction, its modes, and savepoints.

import { Database, SqliteError } from 'millpond';
import { equal, test, throws } from './harness.js';

const values = (db) => db.prepare('SELECT a FROM t ORDER BY a').pluck().all();
function table(db) {
  db.exec('CREATE TABLE t (a UNIQUE)');
  return db.prepare('INSERT INTO t VALUES (?)');
}

test('a transaction commits', (db) => {
  const insert = table(db);
  const add = db.transaction(function (a, b) {
    equal(db.inTransaction, true);
    insert.run(a);
    insert.run(b);
    return [this.name, a + b];
  });
  equal(add.call({ name: 'this' }, 1, 2), ['this', 3]);
  equal(db.inTransaction, false);
  equal(values(db), [1, 2]);
  const other = new Database();
  equal(values(other), [1, 2]);
  other.close();
});

test('a transaction that throws is rolled back', (db) => {
  const insert = table(db);
  const add = db.transaction((...all) => all.forEach((a) => insert.run(a)));
  throws(() => add(1, 2, 1), SqliteError, { code: 'SQLITE_CONSTRAINT_UNIQUE' });
  equal(db.inTransaction, false);
  equal(values(db), []);
});

test('nested transactions are savepoints', (db) => {
  const insert = table(db);
  const inner = db.transaction((a, fails) => {
    insert.run(a);
    if (fails) throw new RangeError('inner');
  });
  db.transaction(() => {
    inner(1, false);
    throws(() => inner(2, true), RangeError);
    equal(db.inTransaction, true);
    inner.deferred(3, false);
  })();
  equal(values(db), [1, 3]);
  throws(() => db.transaction(() => inner(4, true))(), RangeError);
  equal(values(db), [1, 3]);
});

test('modes', (db) => {
  const insert = table(db);
  const add = db.transaction((a) => insert.run(a).changes);
  equal(add.default(1) + add.deferred(2) + add.immediate(3) + add.exclusive(4), 4);
  equal(add.deferred.immediate === add.immediate, true);
  equal(add.database === db, true);
  equal(values(db), [1, 2, 3, 4]);
});

test('immediate takes its turn at the start', (db) => {
  table(db);
  const other = new Database();
  const insert = other.prepare('INSERT INTO t VALUES (1)');
  db.transaction(() => {
    // A connection of the same request: waiting cannot succeed.
    throws(() => insert.run(), SqliteError, { code: 'SQLITE_BUSY', kind: 'busy' });
  })();
  db.transaction(() => insert.run()).deferred();
  equal(values(db), [1]);
  other.close();
});

test('a snapshot that is too old', (db) => {
  const insert = table(db);
  const other = new Database();
  const late = db.transaction(() => {
    equal(values(db), []);
    other.prepare('INSERT INTO t VALUES (1)').run();
    insert.run(2);
  });
  throws(() => late.deferred(), SqliteError, { kind: 'busy-snapshot', code: 'SQLITE_BUSY_SNAPSHOT' });
  equal(db.inTransaction, false);
  other.close();
});

test('transactions by SQL', (db) => {
  const insert = table(db);
  db.prepare('BEGIN').run();
  equal(db.inTransaction, true);
  db.transaction(() => insert.run(1))();
  equal(db.inTransaction, true);
  db.exec('ROLLBACK');
  equal(db.inTransaction, false);
  equal(values(db), []);
});

test('a body that commits by itself', (db) => {
  const insert = table(db);
  throws(() => db.transaction(() => {
    insert.run(1);
    db.exec('COMMIT');
  })(), SqliteError);
  equal(db.inTransaction, false);
  equal(values(db), [1]);
});

test('deferred constraints fail at the commit', (db) => {
  db.exec('CREATE TABLE p (id INTEGER PRIMARY KEY);' +
    'CREATE TABLE f (p REFERENCES p DEFERRABLE INITIALLY DEFERRED)');
  throws(() => db.transaction(() => db.exec('INSERT INTO f VALUES (1)'))(), SqliteError,
    { kind: 'constraint-foreign-key' });
  equal(db.inTransaction, false);
});

test('a transaction that the database rolled back', (db) => {
  const insert = table(db);
  insert.run(1);
  const conflicts = db.prepare('INSERT OR ROLLBACK INTO t VALUES (1)');
  throws(() => db.transaction(() => {
    insert.run(2);
    db.transaction(() => conflicts.run())();
  })(), SqliteError, { kind: 'constraint-unique', rolledBack: true });
  equal(db.inTransaction, false);
  equal(values(db), [1]);
});

test('promises are refused', (db) => {
  const insert = table(db);
  throws(() => db.transaction(async () => insert.run(1))(), TypeError);
  equal(values(db), []);
  throws(() => db.transaction('COMMIT'), TypeError);
});

test('read-only databases', (db) => {
  table(db).run(1);
  const reader = new Database('default', { readonly: true });
  equal(reader.transaction(() => values(reader))(), [1]);
  throws(() => reader.prepare('INSERT INTO t VALUES (2)').run(), SqliteError,
    { kind: 'not-authorized' });
  reader.close();
});
