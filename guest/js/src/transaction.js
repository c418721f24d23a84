// `Database.transaction`: functions that run in a transaction, or in a savepoint of one.

const SAVEPOINT = '`_millpond`';

/** Run `body` between `begin` and `commit`; if it throws, undo what it wrote. */
export function within(session, mode, body) {
  const nested = session.inTransaction;
  session.execute(nested ? `SAVEPOINT ${SAVEPOINT}` : `BEGIN ${mode}`);
  session.enter();
  try {
    const result = body();
    if (result !== null && typeof result === 'object' && typeof result.then === 'function') {
      throw new TypeError('Transaction function cannot return a promise');
    }
    session.execute(nested ? `RELEASE ${SAVEPOINT}` : 'COMMIT');
    return result;
  } catch (thrown) {
    undo(session, nested);
    throw thrown;
  } finally {
    session.leave();
  }
}

/** The error that led here matters more than one of the rollback. */
function undo(session, nested) {
  try {
    if (!session.inTransaction) return;
    if (nested) {
      session.execute(`ROLLBACK TO ${SAVEPOINT}`);
      session.execute(`RELEASE ${SAVEPOINT}`);
    } else session.execute('ROLLBACK');
  } catch {
    // The whole transaction has been rolled back already: its owner's next statement fails.
  }
}

/** The function for each mode, each with the others as properties. */
export function transactional(session, database, body) {
  const wrapped = (mode) =>
    function transaction(...args) {
      return within(session, mode, () => body.apply(this, args));
    };
  const deferred = wrapped('DEFERRED');
  const immediate = wrapped('IMMEDIATE');
  // A transaction that reads first and then writes can fail with `busy-snapshot`.
  const properties = {
    default: session.readonly ? deferred : immediate,
    deferred,
    immediate,
    exclusive: immediate,
    database,
  };
  for (const variant of [deferred, immediate]) Object.assign(variant, properties);
  return properties.default;
}
