// Positional and named parameters, and bind.

import { equal, test, throws } from './harness.js';

test('positional parameters, as arguments and arrays', (db) => {
  const statement = db.prepare('SELECT ?, ?, ?').raw();
  equal(statement.get(1, 'a', null), [1, 'a', null]);
  equal(statement.get([1, 'a', null]), [1, 'a', null]);
  equal(statement.get([1, 'a'], [null]), [1, 'a', null]);
  equal(statement.get(1, ['a'], null), [1, 'a', null]);
});

test('numbered parameters', (db) => {
  equal(db.prepare('SELECT ?2, ?1, ?2').raw().get('a', 'b'), ['b', 'a', 'b']);
  equal(db.prepare('SELECT ?1').pluck().get({ 1: 'a' }), 'a');
});

test('named parameters, with each prefix and without', (db) => {
  const statement = db.prepare('SELECT :a, @b, $c, :a').raw();
  equal(statement.get({ a: 1, b: 2, c: 3 }), [1, 2, 3, 1]);
  equal(statement.get({ ':a': 1, '@b': 2, $c: 3 }), [1, 2, 3, 1]);
  equal(statement.get({ a: 1, b: 2, c: 3, unknown: 4 }), [1, 2, 3, 1]);
  equal(statement.get(Object.assign(Object.create(null), { a: 1, b: 2, c: undefined })),
    [1, 2, null, 1]);
});

test('named and positional parameters together', (db) => {
  const statement = db.prepare('SELECT ?, @a, @a, ?').raw();
  equal(statement.get({ a: 25 }, ['x'], 'y'), ['x', 25, 25, 'y']);
  equal(statement.get('x', { a: 25 }, 'y'), ['x', 25, 25, 'y']);
  throws(() => statement.get({ a: 25 }, 'x'), RangeError);
  throws(() => statement.get({ a: 25 }, 'x', 'y', 'z'), RangeError);
  throws(() => statement.get({}, 'x', 'y'), RangeError);
  equal(db.prepare('SELECT ?').raw().get('x', {}), ['x']);
});

test('a wrong number is refused', (db) => {
  const statement = db.prepare('SELECT ?, ?');
  throws(() => statement.get(), RangeError);
  throws(() => statement.get(1), RangeError);
  throws(() => statement.get(1, 2, 3), RangeError);
  throws(() => statement.all({ length: 2, 0: 1, 1: 2 }), RangeError);
  throws(() => db.prepare('SELECT 1').get(1), RangeError);
  throws(() => db.prepare('SELECT @a').get(), TypeError);
  throws(() => db.prepare('SELECT @a').get({}), RangeError);
  throws(() => db.prepare('SELECT @a').get({ a: 1 }, {}), TypeError);
  throws(() => db.prepare('SELECT @a').iterate({}), RangeError);
  equal(statement.raw().get(1, 2), [1, 2]);
});

test('instances of classes are not named parameters', (db) => {
  const statement = db.prepare('SELECT @a');
  class Named {
    a = 1;
  }
  throws(() => statement.get(new Named()), TypeError);
  throws(() => statement.get(Object.assign(new Date(), { a: 1 })), TypeError);
  throws(() => statement.get(Object.assign(() => {}, { a: 1 })), TypeError);
});

test('errors of getters pass through', (db) => {
  const error = new TypeError('from the getter');
  const object = Object.defineProperty({}, 'a', { get() { throw error; } });
  throws(() => db.prepare('SELECT @a').get(object), TypeError, { message: 'from the getter' });
});

test('bind is permanent', (db) => {
  db.exec('CREATE TABLE t (a, b, c)');
  const statement = db.prepare('INSERT INTO t VALUES (?, ?, ?)');
  const bytes = new Uint8Array([1, 2]);
  equal(statement.bind('x', 25, bytes), statement);
  statement.run();
  bytes.fill(9);
  statement.run();
  equal(db.prepare('SELECT a, b, hex(c) FROM t').raw().all(),
    [['x', 25, '0102'], ['x', 25, '0102']]);
  throws(() => statement.run(null), TypeError);
  throws(() => statement.runMany([[1, 2, 3]]), TypeError);
  throws(() => statement.bind(1, 2, 3), TypeError);
});

test('bind checks its parameters', (db) => {
  const statement = db.prepare('SELECT ?, ?');
  throws(() => statement.bind('x'), RangeError);
  throws(() => statement.bind('x', 1, 2), RangeError);
  throws(() => statement.bind(), RangeError);
  throws(() => statement.bind('x', true), TypeError);
  equal(statement.bind('x', null).raw().get(), ['x', null]);
  const none = db.prepare('SELECT 1').bind();
  throws(() => none.bind(), TypeError);
  equal(db.prepare('SELECT @a').pluck().bind({ a: 7 }).all(), [7]);
});
