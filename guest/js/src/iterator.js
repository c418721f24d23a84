// The iterator of `Statement.iterate`: reads a result page by page.

import { wrap } from './errors.js';

// A loop often ends early: the first page is small.
const FIRST_ROWS = 64;
const LATER_ROWS = 4096;

export class RowIterator {
  #reader;
  #page;
  #rest;
  #end;
  #failure;

  /** `end` is called once: at the last row, after an error, or by `return`. */
  constructor(reader, page, end) {
    this.#reader = reader;
    this.#page = reader.page(page.rows);
    this.#rest = page.rest;
    this.#end = end;
  }

  static get firstRows() {
    return FIRST_ROWS;
  }

  next() {
    if (this.#failure !== undefined) {
      const failure = this.#failure;
      this.#failure = undefined;
      throw failure;
    }
    if (this.#end === undefined) return { value: undefined, done: true };
    try {
      if (this.#page.done && !this.#turn()) return this.return();
      return { value: this.#reader.next(this.#page), done: false };
    } catch (thrown) {
      this.return();
      throw wrap(thrown);
    }
  }

  return() {
    const end = this.#end;
    this.#end = undefined;
    this.#rest?.[Symbol.dispose]();
    this.#rest = undefined;
    end?.(this);
    return { value: undefined, done: true };
  }

  /** The connection is gone: the next call of `next` throws. */
  fail(thrown) {
    this.return();
    this.#failure = wrap(thrown);
  }

  [Symbol.iterator]() {
    return this;
  }

  [Symbol.dispose]() {
    this.return();
  }

  #turn() {
    if (this.#rest === undefined) return false;
    this.#page = this.#reader.page(this.#rest.next(LATER_ROWS));
    return !this.#page.done;
  }
}
