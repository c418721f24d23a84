//! A bucket: a table of keys and values, and the statements on it.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use millpond_pool::engine::RequestId;
use millpond_pool::{
    Access, Connection, ErrorKind, Parameters, Rows, TransactionMode, Value, ValueRef,
};
use millpond_wasmtime::SqliteCtx;

use super::failure::Failure;
use crate::yielding::{COPIED_AT_ONCE, Copied, yield_now};

/// The longest name of a bucket.
const MAX_NAME: usize = 64;
/// The most keys in one answer of `list-keys`.
const MAX_LISTED: i64 = 1_000;
/// How many keys one statement of `get-many` reads at most.
const CHUNK: usize = 200;
/// The most bytes of keys and values that `get-many` returns.
const MAX_GET_MANY_BYTES: usize = 16 << 20;

/// A bucket that a guest has opened.
#[derive(Clone, Debug)]
#[expect(unreachable_pub, reason = "generated code exports it")]
pub struct Bucket {
    database: String,
    /// Another request of the same store may be another tenant's.
    request: RequestId,
    /// The table's name, quoted.
    table: String,
}

impl Bucket {
    pub(super) async fn open(ctx: &mut SqliteCtx, identifier: &str) -> Result<Bucket, Failure> {
        let (database, name) = identifier
            .rsplit_once('/')
            .unwrap_or(("default", identifier));
        let table = table(name).ok_or(Failure::NoSuchStore)?;
        // Checked before it is copied: the guest may have sent megabytes.
        ctx.access(database)?;
        let bucket = Bucket {
            database: database.to_owned(),
            request: ctx.request().id(),
            table,
        };
        let (connection, access) = ctx.lend(&bucket.database).await?;
        let columns = bucket.sql("SELECT id, key, value FROM {} LIMIT 0");
        match connection.query_rows(&columns, &Parameters::NONE).await {
            Ok(_) => return Ok(bucket),
            // There is no such table, or it has other columns.
            Err(error) if error.kind() == ErrorKind::Sql => {}
            Err(error) => return Err(error.into()),
        }
        if access == Access::ReadOnly {
            return Err(Failure::NoSuchStore);
        }
        // Another request may have created it meanwhile.
        let create = bucket.sql(
            "CREATE TABLE IF NOT EXISTS {} (
                 id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, value BLOB NOT NULL
             )",
        );
        connection.execute(&create, &Parameters::NONE).await?;
        connection.query_rows(&columns, &Parameters::NONE).await?;
        Ok(bucket)
    }

    /// A statement, with the name of this bucket's table for `{}`.
    fn sql(&self, template: &str) -> String {
        template.replacen("{}", &self.table, 1)
    }

    pub(super) async fn lend(&self, ctx: &mut SqliteCtx) -> Result<Connection, Failure> {
        if self.request != ctx.request().id() {
            return Err(Failure::stale());
        }
        Ok(ctx.lend(&self.database).await?.0)
    }

    pub(super) async fn get(
        &self,
        ctx: &mut SqliteCtx,
        key: &str,
    ) -> Result<Option<Vec<u8>>, Failure> {
        let connection = self.lend(ctx).await?;
        self.value(&connection, key).await
    }

    pub(super) async fn value(
        &self,
        connection: &Connection,
        key: &str,
    ) -> Result<Option<Vec<u8>>, Failure> {
        // A value that SQL has stored may be of another type.
        let sql = self.sql("SELECT CAST(value AS BLOB) FROM {} WHERE key = ?1");
        let rows = connection
            .query_rows(&sql, &Parameters::from([key]))
            .await?;
        Ok(rows.values().next().map(bytes))
    }

    pub(super) async fn set(
        &self,
        ctx: &mut SqliteCtx,
        key: String,
        value: Vec<u8>,
    ) -> Result<(), Failure> {
        let connection = self.lend(ctx).await?;
        self.put(&connection, key, value).await
    }

    pub(super) async fn put(
        &self,
        connection: &Connection,
        key: String,
        value: Vec<u8>,
    ) -> Result<(), Failure> {
        let pair = Parameters::from([Value::Text(key), Value::Blob(value)]);
        connection.execute(&self.set_sql(), &pair).await?;
        Ok(())
    }

    fn set_sql(&self) -> String {
        let insert = self.sql("INSERT INTO {} (key, value) VALUES (?1, ?2)");
        format!("{insert} ON CONFLICT (key) DO UPDATE SET value = excluded.value")
    }

    pub(super) async fn delete(&self, ctx: &mut SqliteCtx, key: String) -> Result<(), Failure> {
        let connection = self.lend(ctx).await?;
        let sql = self.sql("DELETE FROM {} WHERE key = ?1");
        connection.execute(&sql, &Parameters::from([key])).await?;
        Ok(())
    }

    pub(super) async fn exists(&self, ctx: &mut SqliteCtx, key: String) -> Result<bool, Failure> {
        let connection = self.lend(ctx).await?;
        let sql = self.sql("SELECT 1 FROM {} WHERE key = ?1");
        let rows = connection
            .query_rows(&sql, &Parameters::from([key]))
            .await?;
        Ok(!rows.is_empty())
    }

    /// Up to [`MAX_LISTED`] keys with an `id` above `after`, and where to continue.
    pub(super) async fn list_keys(
        &self,
        ctx: &mut SqliteCtx,
        after: Option<i64>,
    ) -> Result<(Vec<String>, Option<i64>), Failure> {
        let connection = self.lend(ctx).await?;
        // SQL may have stored keys of any type and of any bytes, and rows of any `id`.
        let from = match after {
            Some(_) => "id > ?1",
            None => "?1 IS NULL",
        };
        let select = self.sql("SELECT id, CAST(key AS BLOB) FROM {}");
        let sql = format!("{select} WHERE {from} AND typeof(key) = 'text' ORDER BY id LIMIT ?2");
        let statement = connection.prepare(&sql).await?;
        let after = after.map_or(Value::Null, Value::Integer);
        let range = Parameters::from([after, Value::Integer(MAX_LISTED)]);
        // The rows of one page, which the pool bounds in bytes too.
        let page = statement.query(&range, 0, false).await?;
        let (mut keys, mut last) = (Vec::new(), None);
        for row in page.rows.iter() {
            let mut row = row.iter();
            if let (Some(ValueRef::Integer(id)), Some(key)) = (row.next(), row.next()) {
                // One that is not UTF-8 has no name in this interface.
                keys.extend(String::from_utf8(bytes(key)));
                last = Some(id);
            }
        }
        let more = page.rest.is_some() || page.rows.len() as i64 == MAX_LISTED;
        Ok((keys, last.filter(|_| more)))
    }

    /// Add to the number of a key, which must be within `range` before and after.
    pub(super) async fn increment(
        &self,
        ctx: &mut SqliteCtx,
        key: String,
        delta: i128,
        range: RangeInclusive<i128>,
    ) -> Result<i128, Failure> {
        let connection = self.lend(ctx).await?;
        let transaction = connection.begin(TransactionMode::Immediate).await?;
        let before = match self.value(&connection, &key).await? {
            None => 0,
            Some(digits) => str::from_utf8(&digits)
                .ok()
                .and_then(|digits| digits.parse().ok())
                .filter(|number| range.contains(number))
                .ok_or_else(|| {
                    let (least, most) = (range.start(), range.end());
                    let message = format!("the value is no number of {least} to {most}");
                    Failure::Other(message)
                })?,
        };
        // Neither has more than 64 bits.
        let after = before + delta;
        if !range.contains(&after) {
            let (least, most) = (range.start(), range.end());
            let message = format!("the value would not be within {least} to {most}");
            return Err(Failure::Other(message));
        }
        self.put(&connection, key, after.to_string().into_bytes())
            .await?;
        transaction.commit().await?;
        Ok(after)
    }

    pub(super) async fn get_many(
        &self,
        ctx: &mut SqliteCtx,
        keys: Vec<String>,
    ) -> Result<Vec<(String, Option<Vec<u8>>)>, Failure> {
        let too_large = || {
            let message = format!("the answer has more than {MAX_GET_MANY_BYTES} bytes: get fewer");
            Failure::Other(message)
        };
        // The answer repeats the keys.
        if keys.iter().map(String::len).sum::<usize>() > MAX_GET_MANY_BYTES {
            return Err(too_large());
        }
        let connection = self.lend(ctx).await?;
        // All of one snapshot.
        let transaction = connection.begin(TransactionMode::Deferred).await?;
        let mut pairs = Vec::new();
        let mut left = MAX_GET_MANY_BYTES;
        let select = self.sql("SELECT key, CAST(value AS BLOB) FROM {} WHERE key IN");
        let mut copied = Copied::default();
        let mut rest = &*keys;
        while !rest.is_empty() {
            let (chunk, others) = rest.split_at(first_chunk(rest));
            rest = others;
            let marks = vec!["?"; chunk.len()].join(", ");
            let sql = format!("{select} ({marks})");
            let wanted = Parameters::positional(chunk.iter().map(String::as_str));
            let rows = connection.query_rows(&sql, &wanted).await?;
            let mut found = HashMap::new();
            for row in rows.iter() {
                let mut row = row.iter();
                if let (Some(ValueRef::Text(key)), Some(value)) = (row.next(), row.next()) {
                    found.insert(key, value);
                }
            }
            for key in chunk {
                let value = found.get(&**key).map(|value| bytes(*value));
                // Each copy counts: a key may be asked for often.
                let size = key.len() + value.as_ref().map_or(0, Vec::len);
                left = left.checked_sub(size).ok_or_else(too_large)?;
                pairs.push((key.clone(), value));
                copied.add(size).await;
            }
            yield_now().await;
        }
        transaction.rollback().await?;
        Ok(pairs)
    }

    pub(super) async fn set_many(
        &self,
        ctx: &mut SqliteCtx,
        pairs: Vec<(String, Vec<u8>)>,
    ) -> Result<(), Failure> {
        let rows = pairs
            .into_iter()
            .map(|(key, value)| [Value::Text(key), Value::Blob(value)]);
        self.run_for_each(ctx, &self.set_sql(), rows).await
    }

    pub(super) async fn delete_many(
        &self,
        ctx: &mut SqliteCtx,
        keys: Vec<String>,
    ) -> Result<(), Failure> {
        let rows = keys.into_iter().map(|key| [Value::Text(key)]);
        let sql = self.sql("DELETE FROM {} WHERE key = ?1");
        self.run_for_each(ctx, &sql, rows).await
    }

    async fn run_for_each<const N: usize>(
        &self,
        ctx: &mut SqliteCtx,
        sql: &str,
        values: impl Iterator<Item = [Value; N]> + Send,
    ) -> Result<(), Failure> {
        let mut rows = Rows::new();
        let mut copied = Copied::default();
        for row in values {
            let before = rows.size();
            rows.push(row)?;
            copied.add((rows.size() - before) as usize).await;
        }
        let connection = self.lend(ctx).await?;
        connection.prepare(sql).await?.execute_many(&rows).await?;
        Ok(())
    }
}

/// How many of the keys one statement reads: few that are long.
fn first_chunk(keys: &[String]) -> usize {
    let mut bytes = 0;
    let fit = keys.iter().take(CHUNK).take_while(|key| {
        bytes += key.len();
        bytes <= COPIED_AT_ONCE
    });
    fit.count().max(1)
}

/// The table of a bucket, quoted; `None` if that is no bucket's name.
fn table(name: &str) -> Option<String> {
    let name = if name.is_empty() { "default" } else { name };
    let is_valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.len() > MAX_NAME || !name.chars().all(is_valid) {
        return None;
    }
    let mut table = String::from("\"keyvalue_");
    for c in name.chars() {
        // SQLite's names have no case, and those of buckets do.
        if c.is_ascii_uppercase() {
            table.push('^');
        }
        table.push(c.to_ascii_lowercase());
    }
    table.push('"');
    Some(table)
}

/// The value of a column that is cast to a blob.
fn bytes(value: ValueRef<'_>) -> Vec<u8> {
    match value {
        ValueRef::Blob(value) => value.to_vec(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bucket_has_a_table_of_its_own() {
        let of = |name| table(name).expect("a name");
        assert_eq!(of(""), of("default"));
        assert_eq!(of("a.B-c_1"), "\"keyvalue_a.^b-c_1\"");
        for name in ["a b", "a\"", "a/b", "\0", "^a", &"x".repeat(65)] {
            assert_eq!(table(name), None, "{name:?}");
        }
    }
}
