// `Statement.runMany`: many rows of parameters in few calls to the host.

import { values, checkCount } from './arguments.js';
import { Encoder } from './encode.js';
import { wrap } from './errors.js';
import { within } from './transaction.js';

const BLOCK_BYTES = 256 * 1024;

/** Add rows to `block` until it is full. Returns whether there may be more. */
function fill(block, rows, compiled) {
  const width = compiled.facts.parameterNames.length;
  block.begin(width);
  while (block.length < BLOCK_BYTES) {
    const { value: row, done } = rows.next();
    if (done) return false;
    const bound = values([row], compiled);
    if (bound.length !== width) checkCount(bound, compiled);
    for (let i = 0; i < width; ++i) block.value(bound[i]);
  }
  return true;
}

/** Run once for each row, all or none. */
export function runMany(session, compiled, rows) {
  if (compiled.facts.parameterNames.length === 0) {
    throw new RangeError('The statement has no parameters to run it with');
  }
  const iterator = rows[Symbol.iterator]();
  const block = new Encoder();
  let more = fill(block, iterator, compiled);
  const summary = { changes: 0n, lastInsertRowid: 0n };
  const send = () => {
    for (;;) {
      if (block.length > 4) {
        try {
          const part = compiled.raw.executeMany(block.finish());
          summary.changes += part.changes;
          summary.lastInsertRowid = part.lastInsertRowid;
        } catch (thrown) {
          throw wrap(thrown);
        }
      }
      if (!more) return;
      more = fill(block, iterator, compiled);
    }
  };
  try {
    if (more) within(session, 'IMMEDIATE', send);
    else send();
  } catch (thrown) {
    iterator.return?.();
    throw thrown;
  }
  return summary;
}
