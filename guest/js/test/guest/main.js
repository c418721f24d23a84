import './values.js';
import './parameters.js';
import './statements.js';
import './iterators.js';
import './transactions.js';
import './many.js';
import './databases.js';
import './node.js';
import { runAll } from './harness.js';

export const run = { run: runAll };
