/** A value of a row, or a parameter. `bigint` for integers only with `safeIntegers`. */
export type SqlValue = null | number | bigint | string | Uint8Array;

/** What can be bound. `undefined` binds null. Safe integers bind as integers, other numbers as reals. */
export type Bindable = SqlValue | undefined | ArrayBuffer | ArrayBufferView;

/** Named parameters, with or without their `:`, `@` or `$`. */
export type NamedParameters = { readonly [name: string]: Bindable };

/** An argument of a run: a value, several values, or at most one object of named parameters. */
export type Parameter = Bindable | readonly Bindable[] | NamedParameters;

export type Row = Record<string, SqlValue>;

/** The contract's kinds of errors (`error-kind` in connections.wit). */
export type ErrorKind =
  | 'no-such-database'
  | 'not-authorized'
  | 'too-many-handles'
  | 'pool-timeout'
  | 'pool-closed'
  | 'busy'
  | 'busy-snapshot'
  | 'deadline-exceeded'
  | 'too-large'
  | 'quota-exceeded'
  | 'constraint-unique'
  | 'constraint-primary-key'
  | 'constraint-foreign-key'
  | 'constraint-not-null'
  | 'constraint-check'
  | 'constraint-other'
  | 'sql'
  | 'parameters'
  | 'not-utf8'
  | 'stale-handle'
  | 'corrupt'
  | 'io'
  | 'unsupported'
  | 'unavailable'
  | 'outcome-unknown'
  | 'other';

export class SqliteError extends Error {
  constructor(
    message: string,
    code: string,
    kind?: ErrorKind,
    offset?: number,
    rolledBack?: boolean,
  );
  readonly name: string;
  /** SQLite's extended result code, such as `SQLITE_CONSTRAINT_UNIQUE`. */
  readonly code: string;
  /** What to do about it. Treat kinds that you do not know like `other`. */
  readonly kind: ErrorKind;
  /** The byte offset of the error in the UTF-8 of the SQL text, if SQLite knows it. */
  readonly offset: number | undefined;
  /** Whether the open transaction was rolled back. */
  readonly rolledBack: boolean;
}

export interface RunResult {
  /** Rows inserted, updated or deleted. */
  changes: number;
  /** A bigint with `safeIntegers`, or if it does not fit in a number. */
  lastInsertRowid: number | bigint;
}

export interface Column {
  name: string;
  /** The declared type, if the column comes directly from a table. */
  type: string | null;
}

export interface Options {
  /** Get a connection that only reads. It never waits for a writer. Defaults to false. */
  readonly?: boolean;
}

/** A prepared statement. Created by `Database.prepare`. */
export class Statement<Params extends readonly unknown[] = Parameter[], Result = Row> {
  private constructor();
  readonly database: Database;
  readonly source: string;
  /** Whether it yields rows. */
  readonly reader: boolean;
  /** Whether it does not write. */
  readonly readonly: boolean;
  /** Whether an iterator of it is open. */
  readonly busy: boolean;

  /** Run for its effect. */
  run(...params: Params): RunResult;
  /**
   * Run once for each row of parameters, an array of values or an object of named ones: all or
   * none. Much faster than `run` in a loop.
   */
  runMany(rows: Iterable<readonly Bindable[] | NamedParameters>): RunResult;
  /** The first row. */
  get(...params: Params): Result | undefined;
  /** All rows. */
  all(...params: Params): Result[];
  /** The rows one by one, read from the host in pages. */
  iterate(...params: Params): RowIterator<Result>;
  /** Bind the parameters of every later run. */
  bind(...params: Params): Statement<[], Result>;
  /** Only the first column of each row. */
  pluck<Value = SqlValue>(on?: true): Statement<Params, Value>;
  pluck(on: boolean): Statement<Params, unknown>;
  /** Rows as arrays. */
  raw<Values = SqlValue[]>(on?: true): Statement<Params, Values>;
  raw(on: boolean): Statement<Params, unknown>;
  /** Integers as bigints. Without it, one that does not fit in a number is a `RangeError`. */
  safeIntegers(on?: boolean): this;
  /** The columns of its rows. */
  columns(): Column[];
}

export interface RowIterator<Result> extends IterableIterator<Result> {
  return(): IteratorResult<Result>;
  [Symbol.dispose](): void;
}

export interface Transaction<F extends (...args: any[]) => unknown> {
  (...args: Parameters<F>): ReturnType<F>;
  /** Immediate, or deferred if the database is read-only. */
  default(...args: Parameters<F>): ReturnType<F>;
  /** Takes its turn to write at its first write, which can fail with `busy-snapshot`. */
  deferred(...args: Parameters<F>): ReturnType<F>;
  /** Takes its turn to write at the start. */
  immediate(...args: Parameters<F>): ReturnType<F>;
  /** The same as `immediate`. */
  exclusive(...args: Parameters<F>): ReturnType<F>;
  readonly database: Database;
}

/** A database that the host granted to this guest. */
export class Database {
  /** `name` is the name of the grant. The connection is opened at the first use. */
  constructor(name?: string, options?: Options);
  readonly name: string;
  readonly readonly: boolean;
  readonly open: boolean;
  readonly inTransaction: boolean;

  /** `Result` is the type of a row as you expect it: nothing checks it. */
  prepare<Params extends readonly unknown[] = Parameter[], Result = Row>(
    sql: string,
  ): Statement<Params, Result>;
  /** Run every statement of a script. */
  exec(sql: string): this;
  /** Run a pragma. `simple` returns the first column of its first row. */
  pragma(source: string, options?: { simple?: boolean }): unknown;
  /** A function that runs `body` in a transaction, or in a savepoint if one is open. */
  transaction<F extends (...args: any[]) => unknown>(body: F): Transaction<F>;
  /** What `safeIntegers` is for statements prepared from now on. */
  defaultSafeIntegers(on?: boolean): this;
  /** Return the connection to the host. The end of the request does the same. */
  close(): this;
  [Symbol.dispose](): void;
}

export default Database;

/** The counters of a database's pool (`pool-stats` in pool.wit). */
export interface PoolStats {
  connectionsCreated: bigint;
  connectionsReused: bigint;
  connectionsClosed: bigint;
  hits: bigint;
  misses: bigint;
  idle: number;
  maxSize: number;
  inUse: number;
  waiting: number;
  timeouts: bigint;
  waitTimeNs: bigint;
  rolledBack: bigint;
  discarded: bigint;
  abandoned: bigint;
  writersWaiting: number;
  writerTimeouts: bigint;
  writerWaitTimeNs: bigint;
  groups: bigint;
  groupedStatements: bigint;
}

/** The names of the databases granted to this guest, in alphabetical order. */
export function databases(): string[];

/** The counters of a database's pool. */
export function stats(name?: string): PoolStats;
