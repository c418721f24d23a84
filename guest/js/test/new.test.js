// Builds and tests an application that `millpond new` has written. MILLPOND is the path of the command.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';

// Without what this npm and this test tell their own children.
const env = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(npm_|NODE_TEST)/i.test(name)),
);
if (env.MILLPOND !== undefined) env.MILLPOND = resolve(env.MILLPOND);

test('a new application is built, and its tests pass', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'millpond-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const run = (cwd, command, ...args) => {
    execFileSync(command, args, { cwd, env, stdio: ['ignore', 'ignore', 'inherit'] });
  };
  run(folder, env.MILLPOND ?? 'millpond', 'new', '--lang', 'js', 'app');
  const app = join(folder, 'app');
  run(app, 'npm', 'ci', '--no-audit', '--no-fund', '--loglevel=error');
  run(app, 'npm', 'run', 'build');
  run(app, 'npm', 'test');
});
