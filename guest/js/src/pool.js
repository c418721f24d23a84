// What the host says about the guest's databases.

import * as pool from 'millpond:sqlite/pool@0.1.0';
import { wrap } from './errors.js';

/** The names of the databases granted to this guest. */
export const databases = () => pool.databases();

/** The counters of a database's pool. */
export function stats(name = 'default') {
  try {
    return pool.stats(name);
  } catch (thrown) {
    throw wrap(thrown);
  }
}
