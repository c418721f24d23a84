//! The table of links.

use millpond_guest::{OptionalExtension, Result, db};

pub struct Link {
    pub code: String,
    pub url: String,
    pub visits: i64,
}

const DIGITS: &[u8] = b"0123456789abcdefghijkmnopqrstuvwxyz"; // without l, which looks like 1

/// The code of `url`: a new one, or the one that it has.
pub fn shorten(url: &str) -> Result<String> {
    let sql = "INSERT INTO links (url) VALUES (?1)
        ON CONFLICT (url) DO UPDATE SET url = excluded.url RETURNING id";
    let id: i64 = db()?.query_row(sql, [url], |row| row.get(0))?;
    Ok(to_code(id))
}

/// Counts a visit. Returns the URL, if there is such a link.
pub fn follow(code: &str) -> Result<Option<String>> {
    let sql = "UPDATE links SET visits = visits + 1 WHERE id = ?1 RETURNING url";
    db()?
        .query_row(sql, [to_id(code)], |row| row.get(0))
        .optional()
}

pub fn visits(code: &str) -> Result<Option<i64>> {
    let sql = "SELECT visits FROM links WHERE id = ?1";
    db()?
        .query_row(sql, [to_id(code)], |row| row.get(0))
        .optional()
}

pub fn most_visited() -> Result<Vec<Link>> {
    let db = db()?;
    let mut links =
        db.prepare("SELECT id, url, visits FROM links ORDER BY visits DESC, id LIMIT 10")?;
    let rows = links.query_map((), |row| {
        Ok(Link {
            code: to_code(row.get(0)?),
            url: row.get(1)?,
            visits: row.get(2)?,
        })
    })?;
    rows.collect()
}

/// A link's id as its code.
fn to_code(mut id: i64) -> String {
    let base = DIGITS.len() as i64;
    let mut code = Vec::new();
    while id > 0 {
        code.push(DIGITS[(id % base) as usize] as char);
        id /= base;
    }
    code.iter().rev().collect()
}

/// A code as a link's id; 0, which no link has, for anything else.
fn to_id(code: &str) -> i64 {
    let id = code.bytes().try_fold(0_i64, |id, byte| {
        let digit = DIGITS.iter().position(|digit| *digit == byte)?;
        id.checked_mul(DIGITS.len() as i64)?
            .checked_add(digit as i64)
    });
    id.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_its_id() {
        for id in [1, 34, 35, 1_000_000, i64::MAX] {
            assert_eq!(to_id(&to_code(id)), id);
        }
        for code in ["", "l", "favicon.ico", "zzzzzzzzzzzzzzzz"] {
            assert_eq!(to_id(code), 0, "{code}");
        }
    }
}
