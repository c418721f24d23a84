export { databases, stats } from './pool.js';
export { Database, Database as default } from './database.js';
export { SqliteError } from './errors.js';
export { Statement } from './statement.js';
