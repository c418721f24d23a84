// The table of links.

import { Database } from 'millpond';

export interface Link {
  code: string;
  url: string;
  visits: number;
}

interface Row {
  id: number;
  url: string;
  visits: number;
}

const DIGITS = '0123456789abcdefghijkmnopqrstuvwxyz'; // without l, which looks like 1

// This runs when the component is built: the connection is opened by the first statement that runs.
const db = new Database('default');

const insert = db
  .prepare<[url: string]>(
    `INSERT INTO links (url) VALUES (?)
     ON CONFLICT (url) DO UPDATE SET url = excluded.url RETURNING id`,
  )
  .pluck<number>();
const visit = db
  .prepare<[id: number]>('UPDATE links SET visits = visits + 1 WHERE id = ? RETURNING url')
  .pluck<string>();
const count = db
  .prepare<[id: number]>('SELECT visits FROM links WHERE id = ?')
  .pluck<number>();
const most = db.prepare<[], Row>(
  'SELECT id, url, visits FROM links ORDER BY visits DESC, id LIMIT 10',
);

/** The code of `url`: a new one, or the one that it has. */
export function shorten(url: string): string {
  return toCode(insert.get(url)!);
}

/** Count a visit. Returns the URL, if there is such a link. */
export function follow(code: string): string | undefined {
  return visit.get(toId(code));
}

export function visits(code: string): number | undefined {
  return count.get(toId(code));
}

export function mostVisited(): Link[] {
  return most.all().map(({ id, url, visits }) => ({ code: toCode(id), url, visits }));
}

/** A link's id as its code. */
function toCode(id: number): string {
  let code = '';
  for (; id > 0; id = Math.floor(id / DIGITS.length)) code = DIGITS[id % DIGITS.length] + code;
  return code;
}

/** A code as a link's id; 0, which no link has, for anything else. */
function toId(code: string): number {
  let id = 0;
  for (const character of code) {
    const digit = DIGITS.indexOf(character);
    id = id * DIGITS.length + digit;
    if (digit < 0 || !Number.isSafeInteger(id)) return 0;
  }
  return id;
}
