//! Shared by the guests and the native side of the benches, so that both do the same.

use std::time::Duration;

/// Creates the table to read from, and the table to write to.
pub const SCHEMA: &str = "
    CREATE TABLE item (id INTEGER PRIMARY KEY, code TEXT, size INTEGER, title TEXT, price REAL);
    CREATE TABLE entry (id INTEGER PRIMARY KEY, code TEXT, size INTEGER, title TEXT, price REAL);
    CREATE TABLE file (id INTEGER PRIMARY KEY, content BLOB);
";

/// The number of rows in `item`.
pub const ITEMS: i64 = 1_000_000;
/// The number of rows that a scan reads.
pub const SCANNED: i64 = 100_000;
/// The size of a blob in bytes.
pub const BLOB: usize = 1_000_000;
/// The number of rows written in one transaction.
pub const WRITTEN: i64 = 10_000;
/// The number of point reads in one transaction.
pub const READ_TOGETHER: i64 = 10;

/// One row by its key.
pub const POINT: &str = "SELECT code, size FROM item WHERE id = ?1";
/// Rows in order, up to a key.
pub const SCAN: &str = "SELECT id, code, size, title, price FROM item WHERE id <= ?1";
/// Inserts a row.
pub const INSERT: &str = "INSERT INTO entry (code, size, title, price) VALUES (?1, ?2, ?3, ?4)";
/// Replaces a row's blob, which is then read.
pub const WRITE_BLOB: &str = "INSERT INTO file VALUES (1, ?1)
    ON CONFLICT DO UPDATE SET content = excluded.content";
/// Reads that blob.
pub const READ_BLOB: &str = "SELECT content FROM file WHERE id = 1";

/// How long a slow reader holds its snapshot.
pub const HELD: Duration = Duration::from_millis(50);

/// The text of 12 bytes in every row.
pub const CODE: &str = "code-0123456";
/// The text of 60 bytes in every row.
pub const TITLE: &str = "a title that is sixty bytes long, which is what titles often";

/// Keys throughout `item`, in an order that no cache predicts.
pub fn keys() -> impl Iterator<Item = i64> {
    let mut state = 1_u64;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
        // Rows that fit into a connection's cache, like a database's busiest rows.
        1 + ((state >> 33) % 10_000) as i64
    })
}
