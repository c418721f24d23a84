// Serves the component of `npm run build`, on a real file. MILLPOND is the path of the command.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';

const folder = mkdtempSync(join(tmpdir(), 'millpond-'));
let server;
let address;

before(async () => {
  const databases = ['--db', join(folder, 'links.db'), '--migrations', 'migrations'];
  server = spawn(
    process.env.MILLPOND ?? 'millpond',
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

const post = (body, headers = {}) => fetch(address, { method: 'POST', body, headers });

test('a link is shortened, followed and counted', async () => {
  const created = await post('https://example.com/page?x=1');
  assert.equal(created.status, 201);
  const link = new URL(created.headers.get('location'), address);

  for (let visit = 0; visit < 3; ++visit) {
    const followed = await fetch(link, { redirect: 'manual' });
    assert.equal(followed.status, 302);
    assert.equal(followed.headers.get('location'), 'https://example.com/page?x=1');
  }
  const stats = await (await fetch(`${link}/stats`)).json();
  assert.equal(stats.visits, 3);
  assert.equal(stats.url, 'https://example.com/page?x=1');
});

test('the same URL gets the same code, also from a form', async () => {
  const url = 'https://example.com/same';
  const codes = await Promise.all([
    post(url),
    post(new URLSearchParams({ url })),
    post(url, { 'content-type': 'application/x-www-form-urlencoded' }),
  ]);
  const [first, ...others] = await Promise.all(codes.map((response) => response.text()));
  for (const other of others) assert.equal(other, first);
});

test('what is not a link', async () => {
  assert.equal((await post('no URL')).status, 400);
  assert.equal((await post('javascript:alert(1)')).status, 400);
  assert.equal((await fetch(`${address}missing`)).status, 404);
  assert.equal((await fetch(`${address}missing/stats`)).status, 404);
  assert.match(await (await fetch(address)).text(), /<form/);
});

test('concurrent visits are all counted', async () => {
  const created = await post('https://example.com/busy');
  const link = new URL(created.headers.get('location'), address);
  const visits = Array.from({ length: 40 }, () => fetch(link, { redirect: 'manual' }));
  for (const response of await Promise.all(visits)) assert.equal(response.status, 302);
  assert.equal((await (await fetch(`${link}/stats`)).json()).visits, 40);
});
