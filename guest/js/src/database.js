// Databases.

import { Session } from './session.js';
import { Statement } from './statement.js';
import { transactional } from './transaction.js';
import { wrap } from './errors.js';

function flag(options, name) {
  const value = options[name] ?? false;
  if (typeof value !== 'boolean') throw new TypeError(`Expected the "${name}" option to be a boolean`);
  return value;
}

function checkOptions(options) {
  if (options === undefined || options === null) return {};
  if (typeof options !== 'object') {
    throw new TypeError('Expected second argument to be an options object');
  }
  if ('readOnly' in options) {
    throw new TypeError('Misspelled option "readOnly" should be "readonly"');
  }
  return options;
}

function text(value) {
  if (typeof value !== 'string') throw new TypeError('Expected first argument to be a string');
  return value;
}

/** A database that the host granted to this guest, by its name. */
export class Database {
  #session;

  constructor(name = 'default', options = undefined) {
    this.#session = new Session(text(name), flag(checkOptions(options), 'readonly'));
  }

  get name() {
    return this.#session.name;
  }

  get readonly() {
    return this.#session.readonly;
  }

  get open() {
    return this.#session.open;
  }

  get inTransaction() {
    return this.#session.inTransaction;
  }

  prepare(sql) {
    return new Statement(this.#opened(), this, text(sql));
  }

  /** Run every statement of a script. */
  exec(sql) {
    const session = this.#opened();
    session.refresh();
    try {
      session.connection.executeScript(text(sql));
    } catch (thrown) {
      throw wrap(thrown);
    } finally {
      session.ran(sql);
    }
    return this;
  }

  pragma(source, options) {
    const simple = flag(checkOptions(options), 'simple');
    const statement = this.prepare(`PRAGMA ${text(source)}`);
    if (!statement.reader) {
      statement.run();
      return simple ? undefined : [];
    }
    return simple ? statement.pluck().get() : statement.all();
  }

  /** A function that runs `body` in a transaction. */
  transaction(body) {
    if (typeof body !== 'function') {
      throw new TypeError('Expected first argument to be a function');
    }
    return transactional(this.#opened(), this, body);
  }

  /** What `safeIntegers` is for statements prepared from now on. */
  defaultSafeIntegers(on = true) {
    if (typeof on !== 'boolean') throw new TypeError('Expected first argument to be a boolean');
    this.#session.safeIntegers = on;
    return this;
  }

  /** Return the connection to the host. An open transaction is rolled back. */
  close() {
    this.#session.close();
    return this;
  }

  [Symbol.dispose]() {
    this.close();
  }

  #opened() {
    if (!this.#session.open) throw new TypeError('The database connection is not open');
    return this.#session;
  }
}
