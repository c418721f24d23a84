// Prepared statements.

import { checkCount, values } from './arguments.js';
import { encodeRow } from './encode.js';
import { kindOf, wrap } from './errors.js';
import { RowIterator } from './iterator.js';
import { runMany } from './many.js';
import { RowReader } from './rows.js';

const SELECTS = /^\s*(?:select|values)\b/i;
const WHOLE_PAGE = 0;

function flag(value) {
  if (value === undefined) return true;
  if (typeof value !== 'boolean') throw new TypeError('Expected first argument to be a boolean');
  return value;
}

export class Statement {
  #session;
  #database;
  #sql;
  #bound;
  #busy = false;
  #shape = 'object';
  #safeIntegers;
  #reader;

  constructor(session, database, sql) {
    this.#session = session;
    this.#database = database;
    this.#sql = sql;
    this.#safeIntegers = session.safeIntegers;
    if (SELECTS.test(sql)) this.#reader = true;
    session.compileNow(sql);
  }

  get database() {
    return this.#database;
  }

  get source() {
    return this.#sql;
  }

  /** Whether it yields rows. */
  get reader() {
    return (this.#reader ??= this.#facts().columns.length > 0);
  }

  get readonly() {
    return this.#facts().readOnly;
  }

  /** Whether an iterator of it is open. */
  get busy() {
    return this.#busy;
  }

  run(...args) {
    const summary = this.#session.retry(() => {
      const compiled = this.#ready();
      return this.#call(compiled, args, (row) => compiled.raw.execute(row));
    });
    this.#session.ran(this.#sql);
    return this.#info(summary);
  }

  /** Run once for each row of parameters, an array or an object: all or none. */
  runMany(rows) {
    if (this.#bound !== undefined) throw new TypeError('This statement already has bound parameters');
    this.#session.refresh();
    return this.#info(runMany(this.#session, this.#ready(), rows));
  }

  get(...args) {
    const [compiled, page] = this.#session.retry(() => {
      const compiled = this.#ready();
      return [compiled, this.#query(compiled, args, 1)];
    });
    if (page.rest !== undefined) this.#finish(compiled, page.rest);
    if (page.rows.length === 0) return undefined;
    const reader = this.#rowReader(page);
    return reader.next(reader.page(page.rows));
  }

  all(...args) {
    const page = this.#session.retry(() => this.#query(this.#ready(), args, WHOLE_PAGE));
    const reader = this.#rowReader(page);
    const rows = [];
    const rest = page.rest;
    try {
      reader.readAll(page.rows, rows);
      if (rest === undefined) return rows;
      for (;;) {
        const bytes = rest.next(WHOLE_PAGE);
        if (bytes.length === 0) return rows;
        reader.readAll(bytes, rows);
      }
    } catch (thrown) {
      throw wrap(thrown);
    } finally {
      rest?.[Symbol.dispose]();
    }
  }

  iterate(...args) {
    return this.#session.retry(() => this.#iterate(args));
  }

  #iterate(args) {
    this.#ready();
    // Another statement of the same text must not run this compiled one meanwhile.
    const statements = this.#session.statements;
    const compiled = statements.take(this.#sql);
    const end = (iterator) => {
      this.#busy = false;
      this.#session.removeIterator(iterator);
      statements.give(this.#sql, compiled);
    };
    try {
      const page = this.#query(compiled, args, RowIterator.firstRows);
      const iterator = new RowIterator(this.#rowReader(page), page, end);
      this.#busy = true;
      this.#session.addIterator(iterator);
      return iterator;
    } catch (thrown) {
      end();
      throw thrown;
    }
  }

  /** Bind the parameters of every later run. */
  bind(...args) {
    if (this.#bound !== undefined) {
      throw new TypeError('The bind() method can only be invoked once per statement object');
    }
    this.#bound = this.#session.retry(() => {
      const compiled = this.#ready();
      const bound = values(args, compiled);
      checkCount(bound, compiled);
      return encodeRow(bound).slice();
    });
    return this;
  }

  /** Only the first column of each row. */
  pluck(on) {
    return this.#setShape('value', flag(on));
  }

  /** Rows as arrays. */
  raw(on) {
    return this.#setShape('array', flag(on));
  }

  /** Integers as bigints. */
  safeIntegers(on) {
    this.#safeIntegers = flag(on);
    return this;
  }

  columns() {
    this.#mustRead();
    return this.#session
      .retry(() => this.#compiled().describe())
      .columns.map(({ name, declaredType }) => ({ name, type: declaredType ?? null }));
  }

  #setShape(shape, on) {
    // Without a connection this may be build time: the first use checks it.
    if (this.#session.isConnected) this.#mustRead();
    if (on) this.#shape = shape;
    else if (this.#shape === shape) this.#shape = 'object';
    return this;
  }

  #mustRead() {
    if (!this.reader) {
      throw new TypeError('This statement does not return data. Use run() instead');
    }
  }

  #compiled() {
    return this.#session.statements.get(this.#sql);
  }

  #facts() {
    return this.#session.retry(() => this.#compiled().facts);
  }

  #ready() {
    if (this.#busy) throw new TypeError('This statement is busy executing a query');
    return this.#compiled();
  }

  #query(compiled, args, maxRows) {
    if (this.#reader === undefined) this.#reader = compiled.facts.columns.length > 0;
    if (!this.#reader) this.#mustRead();
    const named = this.#shape === 'object';
    return this.#call(compiled, args, (row) => compiled.raw.query(row, maxRows, named));
  }

  /** Bind `args` and call the host. */
  #call(compiled, args, call) {
    if (this.#bound !== undefined) {
      if (args.length > 0) throw new TypeError('This statement already has bound parameters');
      try {
        return call(this.#bound);
      } catch (thrown) {
        throw wrap(thrown);
      }
    }
    const bound = values(args, compiled);
    const row = encodeRow(bound);
    try {
      return call(row);
    } catch (thrown) {
      if (kindOf(thrown) === 'parameters') checkCount(bound, compiled);
      throw wrap(thrown);
    }
  }

  /** Read the rest of a statement that writes, which commits at its end; drop any other. */
  #finish(compiled, rest) {
    try {
      if (SELECTS.test(this.#sql) || compiled.facts.readOnly) return;
      while (rest.next(WHOLE_PAGE).length > 0);
    } catch (thrown) {
      throw wrap(thrown);
    } finally {
      rest[Symbol.dispose]();
    }
  }

  #rowReader(page) {
    return new RowReader(this.#shape, page.columns, this.#safeIntegers);
  }

  #info({ changes, lastInsertRowid }) {
    if (this.#safeIntegers) return { changes: Number(changes), lastInsertRowid };
    const rowid = Number(lastInsertRowid);
    return {
      changes: Number(changes),
      lastInsertRowid: Number.isSafeInteger(rowid) ? rowid : lastInsertRowid,
    };
  }
}
