// A connection, which it gets from the host when first needed.

import { getConnection, returnConnection } from 'millpond:sqlite/pool@0.1.0';
import { StatementCache } from './cache.js';
import { SqliteError, wrap } from './errors.js';

const NO_PARAMETERS = new Uint8Array(0);
const TRANSACTION = /\b(?:begin|savepoint|commit|end|rollback|release)\b/i;

/**
 * What a `Database` and its statements share. A module's top level runs when the component is built
 * (a snapshot of its memory is the component), so no handle may be taken there.
 */
export class Session {
  #connection;
  #statements;
  #iterators = new Set();
  /** How many functions of `Database.transaction` are running. */
  #depth = 0;
  /** SQL text has begun a transaction. */
  #begun = false;

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
    if (this.isConnected) this.retry(() => this.statements.get(sql));
  }

  /** Run one statement that has no parameters, for its effect. */
  execute(sql) {
    this.retry(() => {
      try {
        this.connection.execute(sql, NO_PARAMETERS);
      } catch (thrown) {
        throw wrap(thrown);
      }
    });
  }

  /** A function of `Database.transaction` begins or ends. */
  enter() {
    ++this.#depth;
  }

  leave() {
    --this.#depth;
  }

  /** Note whether SQL text that has run began or ended a transaction. */
  ran(sql) {
    if (this.#depth === 0 && TRANSACTION.test(sql)) this.#begun = this.inTransaction;
  }

  /**
   * Do something, and again on a new connection if the host has taken the old one back: an instance
   * may serve several requests, and a connection is one request's.
   */
  retry(work) {
    try {
      return work();
    } catch (thrown) {
      if (!this.#reconnects(thrown)) throw thrown;
    }
    return work();
  }

  /** Before something that cannot be done again: have a connection that is not stale. */
  refresh() {
    if (this.#connection === undefined) return;
    try {
      // Without a statement the call does nothing: it fails in any case.
      this.#connection.execute('', NO_PARAMETERS);
    } catch (thrown) {
      this.#reconnects(wrap(thrown));
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
    this.#disconnect();
    this.open = false;
  }

  /** Whether there can be a new connection after this error. In a transaction, what it wrote is lost. */
  #reconnects(thrown) {
    if (thrown?.kind !== 'stale-handle' || thrown.rolledBack || this.#connection === undefined) {
      return false;
    }
    // Until the function has ended, every statement in it must fail.
    if (this.#depth > 0) return false;
    const begun = this.#begun;
    // Their rows are not complete.
    for (const iterator of this.#iterators) iterator.fail(thrown);
    this.#disconnect();
    if (!begun) return true;
    const message = 'the open transaction was rolled back, because its request or its time has ended';
    throw new SqliteError(message, thrown.code, thrown.kind);
  }

  #disconnect() {
    for (const iterator of this.#iterators) iterator.return();
    this.#statements?.clear();
    if (this.#connection !== undefined) returnConnection(this.#connection);
    this.#statements = this.#connection = undefined;
    this.#begun = false;
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
