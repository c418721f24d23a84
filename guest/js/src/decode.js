// Decodes the contract's flat rows (`rows` in connections.wit). The engine has no JIT: work is
// measured in operations per value, so this is one loop without a call for each value but text.

const TWO_32 = 4294967296;
const SAFE_HIGH = 0x200000;
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

function tooLarge(bytes, at) {
  const value = new DataView(bytes.buffer, bytes.byteOffset).getBigInt64(at, true);
  const error = new RangeError(
    `The integer ${value} does not fit in a JavaScript number: use safeIntegers()`,
  );
  error.code = 'ERR_OUT_OF_RANGE';
  return error;
}

/** Reads the rows of one page. */
export class Decoder {
  #bytes;
  #view;
  #at = 4;
  #width;
  #safeIntegers;

  constructor(bytes, safeIntegers) {
    // The bindings have a realm of their own: without this, blobs were not `instanceof Uint8Array`.
    this.#bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#width = bytes.length === 0 ? 0 : this.#view.getUint32(0, true);
    this.#safeIntegers = safeIntegers;
  }

  get width() {
    return this.#width;
  }

  get done() {
    return this.#at >= this.#bytes.length;
  }

  /** The next row, its values stored in `row` under `keys`. */
  next(row, keys) {
    const bytes = this.#bytes;
    const view = this.#view;
    const width = this.#width;
    let at = this.#at;
    for (let i = 0; i < width; ++i) {
      let value = null;
      switch (bytes[at]) {
        case 1: {
          const high = view.getInt32(at + 5, true);
          if (this.#safeIntegers) value = view.getBigInt64(at + 1, true);
          else if (high < SAFE_HIGH && high >= -SAFE_HIGH) {
            value = high * TWO_32 + view.getUint32(at + 1, true);
            if (value === -9007199254740992) throw tooLarge(bytes, at + 1);
          } else throw tooLarge(bytes, at + 1);
          at += 9;
          break;
        }
        case 2:
          value = view.getFloat64(at + 1, true);
          at += 9;
          break;
        case 3: {
          const start = at + 5;
          at = start + view.getUint32(at + 1, true);
          value = decoder.decode(bytes.subarray(start, at));
          break;
        }
        case 4: {
          const start = at + 5;
          at = start + view.getUint32(at + 1, true);
          value = bytes.slice(start, at);
          break;
        }
        default:
          at += 1;
      }
      row[keys[i]] = value;
    }
    this.#at = at;
    return row;
  }
}
