// Runs the tests of `guest` inside a component, on a real file. MILLPOND is the path of the command.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { build } from './build.js';

const millpond = process.env.MILLPOND ?? 'millpond';

test('inside a component', async (t) => {
  const component = build('main');
  const folder = mkdtempSync(join(tmpdir(), 'millpond-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const output = execFileSync(
    millpond,
    ['run', '--db', join(folder, 'app.db'), component],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const results = output.trim().split('\n').map((line) => JSON.parse(line));
  for (const { name, failure } of results) {
    await t.test(name, () => assert.equal(failure, null, failure ?? undefined));
  }
  assert.ok(results.length >= 60, `only ${results.length} tests ran`);
});
