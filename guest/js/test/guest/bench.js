// Measures the cost of calls inside a component. `npm run bench` prints it.

import { Database } from 'millpond';

const db = new Database();

function measure(what, runs, body) {
  body();
  const times = [];
  for (let round = 0; round < 5; ++round) {
    const start = performance.now();
    body();
    times.push(((performance.now() - start) * 1000) / runs);
  }
  times.sort((a, b) => a - b);
  console.log(`${times[2].toFixed(1).padStart(8)} µs  ${what}`);
}

function repeat(what, body, runs = 4000) {
  measure(what, runs, () => {
    for (let i = 0; i < runs; ++i) body(i);
  });
}

function main() {
  db.exec('DROP TABLE IF EXISTS bench; CREATE TABLE bench (id INTEGER PRIMARY KEY, name TEXT, n REAL)');
  const insert = db.prepare('INSERT INTO bench VALUES (?, ?, ?)');
  insert.runMany(Array.from({ length: 10000 }, (_, i) => [i, `name ${i}`, i / 2]));
  const point = 'SELECT * FROM bench WHERE id = ?';
  const [object, raw, plucked] = [db.prepare(point), db.prepare(point).raw(), db.prepare(point).pluck()];
  repeat('inTransaction (a call to the host)', () => db.inTransaction);
  repeat('get: a point read of 3 columns', (i) => object.get(i));
  repeat('get, raw', (i) => raw.get(i));
  repeat('get, pluck', (i) => plucked.get(i));
  const all = db.prepare('SELECT * FROM bench');
  measure('all: one row of 10,000', 10000, () => all.all());
  measure('iterate: one row of 10,000', 10000, () => {
    for (const _ of all.iterate());
  });
  const remove = db.prepare('DELETE FROM bench WHERE id >= 10000');
  const name = 'a name';
  measure('run: an insert in a transaction', 4000, () => {
    db.transaction(() => {
      remove.run();
      for (let i = 0; i < 4000; ++i) insert.run(10000 + i, name, 0.5);
    })();
  });
  measure('runMany: one row of 10,000', 10000, () => {
    db.transaction(() => {
      remove.run();
      insert.runMany(Array.from({ length: 10000 }, (_, i) => [10000 + i, name, 0.5]));
    })();
  });
}

export const run = { run: main };
