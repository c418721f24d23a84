// Compiled with `tsc --strict`, never run: what the declarations must accept and refuse.
import Database, { SqliteError, databases, stats, type Row, type SqlValue } from '../../index.js';

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<A, B>(_: Same<A, B>): void {}

const db = new Database('default', { readonly: true });
new Database();
// @ts-expect-error: the option is `readonly`
new Database('default', { readOnly: true });

const untyped = db.prepare('SELECT * FROM notes WHERE id = ? AND title = :title');
const row = untyped.get(1, { title: 'a', ':body': null });
same<typeof row, Row | undefined>(true);
untyped.all([1, 'a'], new Uint8Array(1), 1n, undefined);
// @ts-expect-error: booleans cannot be bound
untyped.all(true);
// @ts-expect-error: nor can dates
untyped.all(new Date());

interface Note {
  id: number;
  title: string;
}
const typed = db.prepare<[id: number], Note>('SELECT id, title FROM notes WHERE id = ?');
const note = typed.get(1);
same<typeof note, Note | undefined>(true);
// @ts-expect-error: the parameter is a number
typed.get('1');
const notes: Note[] = typed.all(1);
for (const each of typed.iterate(2)) same<typeof each, Note>(true);
const bound = typed.bind(1).all();
same<typeof bound, Note[]>(true);
// @ts-expect-error: bound already
typed.bind(1).get(1);

const titles: SqlValue[] = db.prepare('SELECT title FROM notes').pluck().all();
const arrays: SqlValue[][] = db.prepare('SELECT 1, 2').raw().all();

const insert = db.prepare('INSERT INTO notes VALUES (?, ?)');
const { changes, lastInsertRowid } = insert.runMany([[1, 'a'], { id: 2, title: 'b' }]);
same<typeof changes, number>(true);
same<typeof lastInsertRowid, number | bigint>(true);
// @ts-expect-error: rows are arrays or objects
insert.runMany([1]);

const add = db.transaction((id: number, title: string) => insert.run(id, title).changes);
const added: number = add(1, 'a') + add.immediate(2, 'b') + add.deferred(3, 'c');
// @ts-expect-error: as the function itself
add('a');

try {
  db.exec('SELECT').pragma('user_version', { simple: true });
} catch (error) {
  if (error instanceof SqliteError && error.kind === 'constraint-unique') error.offset?.toFixed();
  // @ts-expect-error: no such kind
  if (error instanceof SqliteError && error.kind === 'unique') throw error;
}
const names: string[] = databases();
const inUse: number = stats('default').inUse;
db.close();
export { notes, titles, arrays, added, names, inUse };
