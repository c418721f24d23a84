// A URL shortener:
//
// - POST /: the body is a URL; answers with its code
// - GET /CODE: redirects to the URL, and counts
// - GET /CODE/visits: how often that happened
// - GET /: the most visited links

import { Hono } from 'hono';
import { SqliteError } from 'millpond';
import { follow, mostVisited, shorten, visits } from './links.js';

const app = new Hono();

app.get('/', (c) => {
  const lines = mostVisited().map(({ code, url, visits }) => `${code}\t${visits}\t${url}\n`);
  return c.text(lines.join(''));
});

app.post('/', async (c) => {
  const url = (await c.req.text()).trim();
  const isUrl = /^https?:\/\/[!-~]+$/.test(url) && url.length <= 2000;
  if (!isUrl) return c.text('Send one URL, https: or http:, as the body of the request\n', 400);
  return c.text(`${shorten(url)}\n`, 201);
});

app.get('/:code', (c) => {
  const url = follow(c.req.param('code'));
  return url === undefined ? c.notFound() : c.redirect(url);
});

app.get('/:code/visits', (c) => {
  const count = visits(c.req.param('code'));
  return count === undefined ? c.notFound() : c.text(`${count}\n`);
});

app.all('*', (c) => c.text('Only GET, and POST to /\n', 405));

app.notFound((c) => c.text('No such link\n', 404));

app.onError((error, c) => {
  console.error(error);
  const busy = error instanceof SqliteError && error.code.startsWith('SQLITE_BUSY');
  return busy ? c.text('Busy: try again\n', 503) : c.text('Internal error\n', 500);
});

interface FetchEvent {
  request: Request;
  respondWith(response: Response | Promise<Response>): void;
}

addEventListener('fetch', (event) => {
  const fetch = event as unknown as FetchEvent;
  fetch.respondWith(app.fetch(fetch.request));
});
