// Builds the rows of a result in the form that the statement was asked for.

import { Decoder } from './decode.js';

const INDEXES = [];

/** The keys of an array row: its indexes. */
function indexes(width) {
  while (INDEXES.length < width) INDEXES.push(INDEXES.length);
  return INDEXES;
}

/** How rows look: `object`, `array` (raw) or `value` (pluck). */
export class RowReader {
  #shape;
  #keys;
  #safeIntegers;
  #hasProto = false;

  constructor(shape, columns, safeIntegers) {
    this.#shape = shape;
    this.#safeIntegers = safeIntegers;
    if (shape === 'object') {
      this.#keys = columns.map((column) => column.name);
      // Assigning to `__proto__` of an ordinary object would set its prototype.
      this.#hasProto = this.#keys.includes('__proto__');
    }
  }

  page(bytes) {
    return new Decoder(bytes, this.#safeIntegers);
  }

  next(page) {
    switch (this.#shape) {
      case 'object':
        return page.next(this.#hasProto ? Object.create(null) : {}, this.#keys);
      case 'array':
        return page.next([], indexes(page.width));
      default:
        return page.next([], indexes(page.width))[0];
    }
  }

  /** Append all rows of a page to `rows`. */
  readAll(bytes, rows) {
    const page = this.page(bytes);
    while (!page.done) rows.push(this.next(page));
  }
}
