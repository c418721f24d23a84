// Values of every type, to SQLite and back.

import { SqliteError } from 'millpond';
import { equal, test, throws } from './harness.js';

test('values of every type survive', (db) => {
  const statement = db.prepare('SELECT ?').pluck();
  const values = [null, 0, 1, -1, 4294967295, 4294967296, -4294967297, 0.5, -0.25, 1e300, Infinity,
    -Infinity, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, '', 'text', 'naïve ☃ 𝄞',
    'a\0b', '\ufeffmark', 'x'.repeat(100000), new Uint8Array(0), new Uint8Array([0, 255, 1])];
  for (const value of values) equal(statement.get(value), value);
});

test('undefined and NaN bind null, -0 a real', (db) => {
  const statement = db.prepare('SELECT ?, typeof(?1)').raw();
  equal(statement.get(undefined), [null, 'null']);
  equal(statement.get(NaN), [null, 'null']);
  equal(statement.get(-0)[1], 'real');
  equal(statement.get(3), [3, 'integer']);
  equal(statement.get(3.5), [3.5, 'real']);
  equal(statement.get([,]), [null, 'null']);
});

test('buffers and views bind blobs', (db) => {
  const statement = db.prepare('SELECT hex(?)').pluck();
  const bytes = new Uint8Array([1, 2, 3, 4]);
  equal(statement.get(bytes.subarray(1, 3)), '0203');
  equal(statement.get(bytes.buffer), '01020304');
  equal(statement.get(new DataView(bytes.buffer, 2)), '0304');
});

test('what cannot be bound is refused', (db) => {
  const statement = db.prepare('SELECT ?');
  for (const value of [true, false, Symbol('s'), () => {}, new Date(), new Number(5), new Map()]) {
    throws(() => statement.get(value), TypeError);
    throws(() => statement.get([value]), TypeError);
  }
  throws(() => statement.get(2n ** 63n), RangeError);
  throws(() => statement.get(-(2n ** 63n) - 1n), RangeError);
});

test('bigints are exact', (db) => {
  db.exec('CREATE TABLE t (a INTEGER, b REAL, c TEXT)');
  const big = 1006028374637854687n;
  db.prepare('INSERT INTO t VALUES (?, ?, ?)').run(big, big, big);
  const a = db.prepare('SELECT a FROM t').pluck();
  throws(() => a.get(), RangeError, { code: 'ERR_OUT_OF_RANGE' });
  equal(a.safeIntegers().get(), big);
  equal(a.safeIntegers(true).all(), [big]);
  throws(() => a.safeIntegers(false).get(), RangeError);
  equal(db.prepare('SELECT b FROM t').pluck().get(), 1006028374637854700);
  equal(db.prepare('SELECT c FROM t').pluck().get(), '1006028374637854687');
  const both = db.prepare('SELECT ?').pluck().safeIntegers();
  for (const value of [2n ** 63n - 1n, -(2n ** 63n), 9007199254740993n, 0n]) {
    equal(both.get(value), value);
  }
  throws(() => db.prepare('SELECT -9007199254740992').get(), RangeError);
  equal(db.prepare('SELECT -9007199254740991 AS n').get(), { n: -9007199254740991 });
});

test('the default of safeIntegers applies to later statements', (db) => {
  const before = db.prepare('SELECT 1').pluck();
  db.defaultSafeIntegers();
  const after = db.prepare('SELECT 1').pluck();
  equal(before.get(), 1);
  equal(after.get(), 1n);
  equal(after.safeIntegers(false).get(), 1);
  db.defaultSafeIntegers(false);
  equal(db.prepare('SELECT 1').pluck().get(), 1);
});

test('text that is not UTF-8 is an error', (db) => {
  throws(() => db.prepare("SELECT CAST(x'ff' AS TEXT)").get(), SqliteError, { kind: 'not-utf8' });
});

test('numbers keep their value at every boundary', (db) => {
  const statement = db.prepare('SELECT ?').pluck();
  for (let power = 0; power < 53; ++power) {
    for (const value of [2 ** power, 2 ** power - 1, -(2 ** power), -(2 ** power) - 1]) {
      equal(statement.get(value), value);
    }
  }
});
