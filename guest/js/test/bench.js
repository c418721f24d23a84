// `npm run bench`: see guest/bench.js.

import { execFileSync } from 'node:child_process';
import { build } from './build.js';

const arguments_ = ['run', '--db', ':memory:', build('bench')];
execFileSync(process.env.MILLPOND ?? 'millpond', arguments_, { stdio: 'inherit' });
