// Encodes rows of values in the contract's flat form (`rows` in connections.wit).

const INTEGER = 1;
const REAL = 2;
const TEXT = 3;
const BLOB = 4;
const NULL = 5;
const TWO_32 = 4294967296;
const MAX_I64 = 9223372036854775807n;
const MIN_I64 = -9223372036854775808n;
const NOTHING = new Uint8Array(0);

const encoder = new TextEncoder();

/** Grows as needed. Its memory is reused for every call. */
export class Encoder {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  get length() {
    return this.#length;
  }

  /** Begin a list of rows of `width` values each. */
  begin(width) {
    this.#view.setUint32(0, width, true);
    this.#length = 4;
  }

  /** The encoded bytes, valid until the next `begin`. */
  finish() {
    return this.#bytes.subarray(0, this.#length);
  }

  value(value) {
    switch (typeof value) {
      case 'number':
        this.#number(value);
        return;
      case 'string':
        this.#text(value);
        return;
      case 'bigint':
        this.#bigint(value);
        return;
      case 'undefined':
        this.#null();
        return;
      case 'object':
        if (value === null) {
          this.#null();
          return;
        }
        if (ArrayBuffer.isView(value)) {
          this.#blob(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
          return;
        }
        if (value instanceof ArrayBuffer) {
          this.#blob(new Uint8Array(value));
          return;
        }
    }
    throw new TypeError('SQLite can only bind numbers, strings, bigints, Uint8Arrays, and null');
  }

  #number(value) {
    this.#reserve(9);
    const at = this.#length;
    this.#length = at + 9;
    if (Number.isSafeInteger(value) && !Object.is(value, -0)) {
      this.#bytes[at] = INTEGER;
      this.#view.setUint32(at + 1, value >>> 0, true);
      this.#view.setInt32(at + 5, Math.floor(value / TWO_32), true);
    } else {
      this.#bytes[at] = REAL;
      this.#view.setFloat64(at + 1, value, true);
    }
  }

  #bigint(value) {
    if (value > MAX_I64 || value < MIN_I64) {
      throw new RangeError('The bigint does not fit in the 64 bits of an SQLite integer');
    }
    this.#reserve(9);
    this.#bytes[this.#length] = INTEGER;
    this.#view.setBigInt64(this.#length + 1, value, true);
    this.#length += 9;
  }

  #text(value) {
    // A UTF-16 unit takes at most 3 bytes of UTF-8.
    this.#reserve(5 + value.length * 3);
    const at = this.#length;
    const written = encoder.encodeInto(value, this.#bytes.subarray(at + 5)).written;
    this.#bytes[at] = TEXT;
    this.#view.setUint32(at + 1, written, true);
    this.#length = at + 5 + written;
  }

  #blob(bytes) {
    this.#reserve(5 + bytes.length);
    const at = this.#length;
    this.#bytes[at] = BLOB;
    this.#view.setUint32(at + 1, bytes.length, true);
    this.#bytes.set(bytes, at + 5);
    this.#length = at + 5 + bytes.length;
  }

  #null() {
    this.#reserve(1);
    this.#bytes[this.#length++] = NULL;
  }

  #reserve(more) {
    const needed = this.#length + more;
    if (needed <= this.#bytes.length) return;
    const bytes = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    bytes.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
  }
}

const shared = new Encoder();

/** One row of values. The result is valid until the next call. */
export function encodeRow(values) {
  const width = values.length;
  if (width === 0) return NOTHING;
  shared.begin(width);
  for (let i = 0; i < width; ++i) shared.value(values[i]);
  return shared.finish();
}
