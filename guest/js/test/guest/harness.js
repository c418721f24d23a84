// A small test framework for inside a component: it prints a line of JSON for each test.

import { Database } from 'millpond';

const tests = [];

/** Register a test. `body` gets a database whose tables have been dropped. */
export function test(name, body) {
  tests.push({ name, body });
}

function emptied() {
  const db = new Database();
  const tables = db
    .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB 'millpond_*'")
    .pluck()
    .all();
  for (const table of tables) db.exec(`DROP TABLE "${table}"`);
  return db;
}

export function runAll() {
  for (const { name, body } of tests) {
    let failure = null;
    try {
      const db = emptied();
      try {
        body(db);
      } finally {
        db.close();
      }
    } catch (error) {
      failure = `${error?.name}: ${error?.message}\n${error?.stack}`;
    }
    console.log(JSON.stringify({ name, failure }));
  }
}

function show(value) {
  return JSON.stringify(value, (_, part) => {
    if (typeof part === 'bigint') return `${part}n`;
    if (part instanceof Uint8Array) return `bytes ${[...part]}`;
    return part === undefined ? 'undefined' : part;
  });
}

function same(a, b) {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (a instanceof Uint8Array !== b instanceof Uint8Array) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length &&
    keys.every((key, i) => Object.keys(b)[i] === key && same(a[key], b[key]))
  );
}

export function equal(actual, expected) {
  if (!same(actual, expected)) throw new Error(`${show(actual)} is not ${show(expected)}`);
}

/** `expected`: a class, and properties that the error must have. */
export function throws(body, expected, properties = {}) {
  let thrown;
  try {
    body();
  } catch (error) {
    thrown = error;
  }
  if (thrown === undefined) throw new Error(`nothing was thrown, not a ${expected.name}`);
  if (!(thrown instanceof expected)) {
    throw new Error(`threw ${thrown?.name}: ${thrown?.message}, not a ${expected.name}`);
  }
  for (const [key, value] of Object.entries(properties)) {
    if (!same(thrown[key], value)) {
      throw new Error(`${key} is ${show(thrown[key])}, not ${show(value)}: ${thrown.message}`);
    }
  }
}
