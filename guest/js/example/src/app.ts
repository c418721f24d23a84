// A URL shortener: POST a URL, get a short code.

import { Hono } from 'hono';
import { SqliteError } from 'millpond';
import { find, follow, shorten } from './links.js';

const PAGE = `<!doctype html>
<title>Links</title>
<form method="post" action="/"><input name="url" type="url" required autofocus>
<button>Shorten</button></form>
`;

const app = new Hono();

function webAddress(text: string): string | undefined {
  try {
    const url = new URL(text.trim());
    return url.protocol === 'https:' || url.protocol === 'http:' ? url.href : undefined;
  } catch {
    return undefined;
  }
}

app.get('/', (c) => c.html(PAGE));

app.post('/', async (c) => {
  const body = await c.req.text();
  const isForm = c.req.header('content-type')?.startsWith('application/x-www-form-urlencoded');
  // `curl -d` sends a URL with this type too.
  const url = webAddress((isForm ? new URLSearchParams(body).get('url') : null) ?? body);
  if (url === undefined) return c.text('Send an http or https URL\n', 400);
  const { code } = shorten(url);
  return c.text(`/${code}\n`, 201, { location: `/${code}` });
});

app.get('/:code', (c) => {
  const url = follow(c.req.param('code'));
  return url === undefined ? c.notFound() : c.redirect(url);
});

app.get('/:code/stats', (c) => {
  const link = find(c.req.param('code'));
  return link === undefined ? c.notFound() : c.json(link);
});

app.onError((error, c) => {
  console.error(error);
  const busy = error instanceof SqliteError && error.code.startsWith('SQLITE_BUSY');
  return c.text('The service failed\n', busy ? 503 : 500);
});

interface FetchEvent {
  request: Request;
  respondWith(response: Response | Promise<Response>): void;
}

addEventListener('fetch', (event) => {
  const fetch = event as unknown as FetchEvent;
  fetch.respondWith(app.fetch(fetch.request));
});
