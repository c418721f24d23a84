// Serves the component of `npm run build`, on a real file. MILLPOND is the path of the command.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';

const MILLPOND = process.env.MILLPOND ?? 'millpond';
const folder = mkdtempSync(join(tmpdir(), 'millpond-'));
let server;
let address;

before(async () => {
  const databases = ['--db', join(folder, 'links.db'), '--migrations', 'migrations'];
  server = spawn(
    MILLPOND,
    ['serve', '--listen', '127.0.0.1:0', '--no-access-log', ...databases, 'build/links.wasm'],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const [line] = await once(createInterface({ input: server.stderr }), 'line');
  address = /http:\S+/.exec(line)?.[0];
  assert.ok(address, line);
});

after(async () => {
  server.kill();
  await once(server, 'exit');
  rmSync(folder, { recursive: true });
});

const shorten = async (url) => {
  const response = await fetch(address, { method: 'POST', body: url });
  assert.equal(response.status, 201);
  return new URL((await response.text()).trim(), address);
};

test('concurrent visits are all counted', async () => {
  const link = await shorten('https://example.com/busy');
  const visits = Array.from({ length: 40 }, () => fetch(link, { redirect: 'manual' }));
  for (const response of await Promise.all(visits)) assert.equal(response.status, 302);
  assert.equal(await (await fetch(`${link}/visits`)).text(), '40\n');
});

test('the same URL gets the same code', async () => {
  const links = await Promise.all(Array.from({ length: 10 }, () => shorten('https://example.com/')));
  for (const link of links) assert.equal(link.href, links[0].href);
});

// What each request answers, and which statements it runs.
test('the requests of links.toml are answered', () => {
  const run = spawnSync(MILLPOND, ['test', 'build/links.wasm', 'test'], { encoding: 'utf8' });
  assert.equal(run.status, 0, run.stdout + run.stderr);
});
