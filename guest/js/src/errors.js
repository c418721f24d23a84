// Errors, as better-sqlite3 throws them, from the errors of the contract.

const PRIMARY = [
  'OK', 'ERROR', 'INTERNAL', 'PERM', 'ABORT', 'BUSY', 'LOCKED', 'NOMEM', 'READONLY', 'INTERRUPT',
  'IOERR', 'CORRUPT', 'NOTFOUND', 'FULL', 'CANTOPEN', 'PROTOCOL', 'EMPTY', 'SCHEMA', 'TOOBIG',
  'CONSTRAINT', 'MISMATCH', 'MISUSE', 'NOLFS', 'AUTH', 'FORMAT', 'RANGE', 'NOTADB',
];

// Extended codes: the primary code in the low byte, a number from 1 in the high byte.
const EXTENDED = {
  ERROR: ['MISSING_COLLSEQ', 'RETRY', 'SNAPSHOT', 'RESERVESIZE', 'KEY', 'UNABLE'],
  ABORT: [, 'ROLLBACK'],
  BUSY: ['RECOVERY', 'SNAPSHOT', 'TIMEOUT'],
  LOCKED: ['SHAREDCACHE', 'VTAB'],
  READONLY: ['RECOVERY', 'CANTLOCK', 'ROLLBACK', 'DBMOVED', 'CANTINIT', 'DIRECTORY'],
  IOERR: [
    'READ', 'SHORT_READ', 'WRITE', 'FSYNC', 'DIR_FSYNC', 'TRUNCATE', 'FSTAT', 'UNLOCK', 'RDLOCK',
    'DELETE', 'BLOCKED', 'NOMEM', 'ACCESS', 'CHECKRESERVEDLOCK', 'LOCK', 'CLOSE', 'DIR_CLOSE',
    'SHMOPEN', 'SHMSIZE', 'SHMLOCK', 'SHMMAP', 'SEEK', 'DELETE_NOENT', 'MMAP', 'GETTEMPPATH',
    'CONVPATH', 'VNODE', 'AUTH', 'BEGIN_ATOMIC', 'COMMIT_ATOMIC', 'ROLLBACK_ATOMIC', 'DATA',
    'CORRUPTFS', 'IN_PAGE',
  ],
  CORRUPT: ['VTAB', 'SEQUENCE', 'INDEX'],
  CANTOPEN: ['NOTEMPDIR', 'ISDIR', 'FULLPATH', 'CONVPATH', 'DIRTYWAL', 'SYMLINK'],
  CONSTRAINT: [
    'CHECK', 'COMMITHOOK', 'FOREIGNKEY', 'FUNCTION', 'NOTNULL', 'PRIMARYKEY', 'TRIGGER', 'UNIQUE',
    'VTAB', 'ROWID', 'PINNED', 'DATATYPE',
  ],
  AUTH: ['USER'],
};

// For errors that are not SQLite's own, the nearest code.
const OF_KIND = {
  'no-such-database': 'SQLITE_CANTOPEN',
  'not-authorized': 'SQLITE_AUTH',
  'too-many-handles': 'SQLITE_NOMEM',
  'pool-timeout': 'SQLITE_BUSY',
  'pool-closed': 'SQLITE_CANTOPEN',
  busy: 'SQLITE_BUSY',
  'busy-snapshot': 'SQLITE_BUSY_SNAPSHOT',
  'deadline-exceeded': 'SQLITE_INTERRUPT',
  'too-large': 'SQLITE_TOOBIG',
  'quota-exceeded': 'SQLITE_FULL',
  parameters: 'SQLITE_RANGE',
  'not-utf8': 'SQLITE_MISMATCH',
  'stale-handle': 'SQLITE_MISUSE',
  corrupt: 'SQLITE_CORRUPT',
  io: 'SQLITE_IOERR',
  unavailable: 'SQLITE_CANTOPEN',
};

/** The name of one of SQLite's result codes, such as `SQLITE_CONSTRAINT_UNIQUE`. */
export function codeName(code, kind) {
  if (code === 0) return OF_KIND[kind] ?? 'SQLITE_ERROR';
  const primary = PRIMARY[code & 0xff];
  if (primary === undefined) return `SQLITE_UNKNOWN_${code}`;
  const extension = code > 0xff ? EXTENDED[primary]?.[(code >> 8) - 1] : undefined;
  return extension === undefined ? `SQLITE_${primary}` : `SQLITE_${primary}_${extension}`;
}

/** An error of SQLite or of the host. */
export class SqliteError extends Error {
  constructor(message, code, kind = 'other', offset = undefined, rolledBack = false) {
    if (typeof code !== 'string') throw new TypeError('Expected second argument to be a string');
    super(String(message));
    this.code = code;
    this.kind = kind;
    this.offset = offset;
    this.rolledBack = rolledBack;
  }
}

Object.defineProperty(SqliteError.prototype, 'name', {
  value: 'SqliteError',
  writable: true,
  configurable: true,
});

/** Whether the host raised this error, and of which kind. */
export const kindOf = (thrown) => thrown?.payload?.kind;

/** The error to throw for what a call to the host threw. */
export function wrap(thrown) {
  const error = thrown?.payload;
  if (error === undefined || typeof error.kind !== 'string') return thrown;
  return new SqliteError(
    error.message,
    codeName(error.code, error.kind),
    error.kind,
    error.offset ?? undefined,
    error.rolledBack,
  );
}
