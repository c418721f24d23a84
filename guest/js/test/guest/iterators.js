// iterate, and what an open iterator means for other statements.

import { equal, test, throws } from './harness.js';

const SERIES = 'SELECT value FROM generate_series(1, ?)';

test('iterate yields every row, over several pages', (db) => {
  const statement = db.prepare(SERIES).pluck();
  for (const count of [0, 1, 63, 64, 65, 10000]) {
    let expected = 0;
    for (const value of statement.iterate(count)) equal(value, ++expected);
    equal(expected, count);
    equal(statement.busy, false);
  }
});

test('a statement with an open iterator is busy', (db) => {
  const statement = db.prepare(SERIES);
  const iterator = statement.iterate(100);
  equal(iterator[Symbol.iterator]() === iterator, true);
  equal(statement.busy, true);
  for (const method of ['run', 'get', 'all', 'iterate']) throws(() => statement[method](1), TypeError);
  equal(iterator.next(), { value: { value: 1 }, done: false });
  equal(iterator.return(), { value: undefined, done: true });
  equal(iterator.next(), { value: undefined, done: true });
  equal(statement.busy, false);
  equal(statement.all(2).length, 2);
});

test('break and throw end it', (db) => {
  const statement = db.prepare(SERIES).pluck();
  for (const value of statement.iterate(1000)) if (value === 500) break;
  equal(statement.busy, false);
  throws(() => {
    for (const _ of statement.iterate(1000)) throw new RangeError('stop');
  }, RangeError, { message: 'stop' });
  equal(statement.busy, false);
});

test('two statements of the same text', (db) => {
  const [first, second] = [db.prepare(SERIES).pluck(), db.prepare(SERIES).pluck()];
  const values = [];
  const other = second.iterate(200);
  for (const value of first.iterate(200)) values.push(value - other.next().value);
  equal(values.length, 200);
  equal(values.every((value) => value === 0), true);
  other.return();
});

test('other statements may write meanwhile', (db) => {
  db.exec('CREATE TABLE t (a); CREATE TABLE u (a)');
  db.prepare('INSERT INTO t VALUES (?)').runMany(Array.from({ length: 300 }, (_, i) => [i]));
  const insert = db.prepare('INSERT INTO u VALUES (?)');
  db.transaction(() => {
    for (const a of db.prepare('SELECT a FROM t').pluck().iterate()) insert.run(a);
  })();
  equal(db.prepare('SELECT count(*) FROM u').pluck().get(), 300);
});

test('many iterators, dropped early, leave no handles', (db) => {
  const statement = db.prepare(SERIES);
  for (let i = 0; i < 200; ++i) {
    statement.iterate(100).return();
    statement.get(100);
  }
});

test('errors end it', (db) => {
  const statement = db.prepare(
    'SELECT abs(CASE value WHEN 80 THEN -9223372036854775808 ELSE value END) FROM generate_series(1, 90)');
  let rows = 0;
  throws(() => {
    for (const _ of statement.iterate()) ++rows;
  }, Error);
  equal(rows < 80, true);
  equal(statement.busy, false);
});

test('close ends it', (db) => {
  const iterator = db.prepare(SERIES).iterate(1000);
  iterator.next();
  db.close();
  equal(iterator.next(), { value: undefined, done: true });
});
