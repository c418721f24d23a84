// runMany.

import { SqliteError } from 'millpond';
import { equal, test, throws } from './harness.js';

function* numbers(count) {
  for (let i = 1; i <= count; ++i) yield [i, `row ${i}`];
}

function table(db) {
  db.exec('CREATE TABLE t (a INTEGER PRIMARY KEY, b)');
  return db.prepare('INSERT INTO t VALUES (:a, :b)');
}
const count = (db) => db.prepare('SELECT count(*) FROM t').pluck().get();

test('runMany runs once for each row', (db) => {
  const insert = table(db);
  equal(insert.runMany([[1, 'x'], { a: 2, b: null }, { ':a': 3, b: new Uint8Array(1) }]),
    { changes: 3, lastInsertRowid: 3 });
  equal(db.prepare('SELECT a, typeof(b) FROM t').raw().all(),
    [[1, 'text'], [2, 'null'], [3, 'blob']]);
  equal(insert.runMany([]).changes, 0);
});

test('runMany takes more rows than one call holds', (db) => {
  const insert = table(db);
  equal(insert.runMany(numbers(50000)), { changes: 50000, lastInsertRowid: 50000 });
  equal(count(db), 50000);
  equal(db.inTransaction, false);
});

test('runMany undoes every row if one fails', (db) => {
  const insert = table(db);
  function* twice() {
    yield* numbers(30000);
    yield [1, 'again'];
  }
  throws(() => insert.runMany(twice()), SqliteError, { kind: 'constraint-primary-key' });
  equal(count(db), 0);
  db.transaction(() => {
    insert.run(0, 'kept');
    throws(() => insert.runMany(twice()), SqliteError);
  })();
  equal(count(db), 1);
});

test('runMany refuses rows that do not fit', (db) => {
  const insert = table(db);
  throws(() => insert.runMany([[1, 'x'], [2]]), RangeError);
  throws(() => insert.runMany([[1, 'x'], [2, 'y', 3]]), RangeError);
  throws(() => insert.runMany([{ a: 1 }]), RangeError);
  throws(() => insert.runMany([[1, true]]), TypeError);
  throws(() => db.prepare('DELETE FROM t').runMany([[]]), RangeError);
  equal(count(db), 0);
});
