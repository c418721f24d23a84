// The table of links.

import { Database } from 'millpond';

export interface Link {
  code: string;
  url: string;
  visits: number;
  created: string;
}

const ALPHABET = '23456789abcdefghjkmnpqrstuvwxyz';
const CODE_LENGTH = 7;

// This runs when the component is built: the connection is opened by the first statement that runs.
const db = new Database('default');

const insert = db.prepare<[code: string, url: string]>(
  'INSERT INTO links (code, url) VALUES (?, ?) ON CONFLICT DO NOTHING',
);
const byCode = db.prepare<[code: string], Link>('SELECT * FROM links WHERE code = ?');
const byUrl = db.prepare<[url: string], Link>('SELECT * FROM links WHERE url = ?');
const visit = db.prepare<[code: string], { url: string }>(
  'UPDATE links SET visits = visits + 1 WHERE code = ? RETURNING url',
);

function randomCode(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(CODE_LENGTH));
  return Array.from(bytes, (byte) => ALPHABET[byte % ALPHABET.length]).join('');
}

/** The link to `url`: a new one, or the one that exists. */
export const shorten = db.transaction((url: string): Link => {
  for (;;) {
    const existing = byUrl.get(url);
    if (existing !== undefined) return existing;
    insert.run(randomCode(), url);
  }
});

export function find(code: string): Link | undefined {
  return byCode.get(code);
}

/** Count a visit. Returns the URL, if there is such a link. */
export function follow(code: string): string | undefined {
  return visit.get(code)?.url;
}
