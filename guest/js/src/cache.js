// The compiled statements of one connection. The host allows a request 64 of them, and garbage
// collection would forget to drop their handles: this cache drops the least recently used.

import { kindOf, wrap } from './errors.js';

const CAPACITY = 32;

/** A compiled statement and what never changes about it. */
export class Compiled {
  #facts;

  constructor(raw) {
    this.raw = raw;
  }

  /** The columns as of now, parameter names, and whether it only reads. */
  describe() {
    try {
      this.#facts = this.raw.describe();
    } catch (thrown) {
      throw wrap(thrown);
    }
    return this.#facts;
  }

  /** As `describe`, but the columns may be out of date. */
  get facts() {
    return this.#facts ?? this.describe();
  }

  dispose() {
    this.raw[Symbol.dispose]();
  }
}

/** Compiled statements by their text. */
export class StatementCache {
  #connection;
  #compiled = new Map(); // The least recently used is first.

  constructor(connection) {
    this.#connection = connection;
  }

  /** The compiled statement, which stays in the cache: use it at once. */
  get(sql) {
    const compiled = this.take(sql);
    this.#compiled.set(sql, compiled);
    if (this.#compiled.size > CAPACITY) this.#evict();
    return compiled;
  }

  /** The compiled statement, for a caller that calls `give` when done with it. */
  take(sql) {
    const compiled = this.#compiled.get(sql);
    if (compiled === undefined) return this.#compile(sql);
    this.#compiled.delete(sql);
    return compiled;
  }

  give(sql, compiled) {
    if (this.#compiled.has(sql)) compiled.dispose();
    else {
      this.#compiled.set(sql, compiled);
      if (this.#compiled.size > CAPACITY) this.#evict();
    }
  }

  clear() {
    for (const compiled of this.#compiled.values()) compiled.dispose();
    this.#compiled.clear();
  }

  #compile(sql) {
    for (;;) {
      try {
        return new Compiled(this.#connection.prepare(sql));
      } catch (thrown) {
        // Another database of this request may hold the rest.
        if (kindOf(thrown) === 'too-many-handles' && this.#compiled.size > 0) this.#evict();
        else throw wrap(thrown);
      }
    }
  }

  #evict() {
    const [sql, compiled] = this.#compiled.entries().next().value;
    this.#compiled.delete(sql);
    compiled.dispose();
  }
}
