// An HTTP handler built with Spin's tools for JavaScript, with its SQLite (version 2).

import { Connection } from 'fermyon:spin/sqlite@2.0.0';

const ROWS = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)
  SELECT hex(zeroblob(250000)) FROM n`;

addEventListener('fetch', (event) => event.respondWith(handle(event.request)));

async function handle(request) {
  const { pathname, search } = new URL(request.url);
  const route = { add, list, values, errors, unfinished, connections, large }[pathname.slice(1)];
  return new Response(route(search.slice(1)));
}

function execute(db, sql, parameters = []) {
  return db.execute(sql, parameters);
}

const text = (val) => ({ tag: 'text', val });

/** Use a connection, and return it. */
function withConnection(use) {
  const db = Connection.open('default');
  try {
    return use(db);
  } finally {
    db[Symbol.dispose]();
  }
}

function add(name) {
  return withConnection((db) => {
    execute(db, 'CREATE TABLE IF NOT EXISTS names(id INTEGER PRIMARY KEY, name TEXT)');
    execute(db, 'BEGIN');
    execute(db, 'INSERT INTO names(name) VALUES (?)', [text(name)]);
    const { rows } = execute(db, 'SELECT last_insert_rowid(), changes()');
    execute(db, 'COMMIT');
    return rows[0].values.map(({ val }) => val).join(' ');
  });
}

function list() {
  return withConnection((db) => {
    const { columns, rows } = execute(db, 'SELECT name FROM names ORDER BY id');
    return [columns.join(','), ...rows.map(({ values }) => values[0].val)].join(' ');
  });
}

function values() {
  const given = [
    { tag: 'integer', val: -(2n ** 63n) },
    { tag: 'real', val: -0.5 },
    text('né'),
    { tag: 'blob', val: new Uint8Array([0, 255]) },
    { tag: 'null' },
  ];
  return withConnection((db) => {
    const show = (values) => values.map(({ tag, val }) => `${tag} ${val}`).join();
    const { rows } = execute(db, 'SELECT ?, ?, ?, ?, ?', given);
    const types = 'SELECT typeof(?), typeof(?), typeof(?), typeof(?), typeof(?)';
    const [{ values }] = execute(db, types, given).rows;
    return [...values.map(({ val }) => val), show(rows[0].values) === show(given)].join(' ');
  });
}

function kind(call) {
  try {
    call();
    return 'none';
  } catch ({ payload }) {
    return payload.tag === 'io' ? payload.val.split(':')[0] : payload.tag;
  }
}

function errors() {
  const kinds = [kind(() => Connection.open('forbidden'))];
  return withConnection((db) => {
    for (const sql of ['SELECT * FROM missing', "ATTACH 'file' AS other", 'SELECT ?']) {
      kinds.push(kind(() => execute(db, sql)));
    }
    return kinds.join(' ');
  });
}

function unfinished() {
  globalThis.left = Connection.open('default');
  execute(left, 'BEGIN IMMEDIATE');
  execute(left, "INSERT INTO names(name) VALUES ('never')");
  return 'left';
}

function connections() {
  const opened = [];
  const failed = kind(() => {
    for (;;) opened.push(Connection.open('default'));
  });
  return `${opened.length} ${failed}`;
}

function large() {
  return withConnection((db) => kind(() => execute(db, ROWS)));
}
