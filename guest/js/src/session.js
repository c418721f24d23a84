// A connection, which it gets from the host when first needed.

import { getConnection, returnConnection } from 'millpond:sqlite/pool@0.1.0';
import { StatementCache } from './cache.js';
import { wrap } from './errors.js';

const NO_PARAMETERS = new Uint8Array(0);

/**
 * What a `Database` and its statements share. A module's top level runs when the component is built
 * (a snapshot of its memory is the component), so no handle may be taken there.
 */
export class Session {
  #connection;
  #statements;
  #iterators = new Set();

  constructor(name, readonly) {
    this.name = name;
    this.readonly = readonly;
    this.open = true;
    this.safeIntegers = false;
  }

  get connection() {
    if (this.#connection === undefined) this.#connect();
    return this.#connection;
  }

  get statements() {
    if (this.#connection === undefined) this.#connect();
    return this.#statements;
  }

  get isConnected() {
    return this.#connection !== undefined;
  }

  get inTransaction() {
    return this.#connection !== undefined && this.#connection.inTransaction();
  }

  /**
   * Compile a statement now if there is a connection, so that `prepare` reports its mistakes.
   * Without one this may be build time: the first use compiles it.
   */
  compileNow(sql) {
    this.#statements?.get(sql);
  }

  /** Run one statement that has no parameters, for its effect. */
  execute(sql) {
    try {
      this.connection.execute(sql, NO_PARAMETERS);
    } catch (thrown) {
      throw wrap(thrown);
    }
  }

  /** Iterators hold cursors, which end with the session. */
  addIterator(iterator) {
    this.#iterators.add(iterator);
  }

  removeIterator(iterator) {
    this.#iterators.delete(iterator);
  }

  close() {
    if (!this.open) return;
    for (const iterator of this.#iterators) iterator.return();
    this.open = false;
    this.#statements?.clear();
    if (this.#connection !== undefined) returnConnection(this.#connection);
    this.#statements = this.#connection = undefined;
  }

  #connect() {
    if (!this.open) throw new TypeError('The database connection is not open');
    try {
      this.#connection = getConnection(this.name, this.readonly ? 'read-only' : 'read-write');
    } catch (thrown) {
      throw wrap(thrown);
    }
    this.#statements = new StatementCache(this.#connection);
  }
}
