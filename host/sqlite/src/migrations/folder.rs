//! Reads a folder of migrations.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Read;

use cap_std::fs::Dir;
use sha2::{Digest, Sha256};

use super::{MAX_MIGRATION_BYTES, Migration, MigrationError};
use crate::text::comments;

/// Whether a file of this name in a folder of migrations is one: it ends in `.sql`, and is not
/// hidden. A migration whose name has no number is a mistake, which
/// [`Migrations::open`](super::Migrations::open) reports.
pub fn is_migration(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    let is_sql = name.len() >= 4 && name[name.len() - 4..].eq_ignore_ascii_case(b".sql");
    is_sql && !name.starts_with(b".")
}

/// Read the migrations in the folder, by number.
pub(super) fn read(folder: &Dir) -> Result<Vec<Migration>, MigrationError> {
    let unreadable = |error| MigrationError::Read {
        file: ".".to_owned(),
        error,
    };
    let mut migrations = BTreeMap::<i64, Migration>::new();
    for entry in folder.entries().map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        if !is_migration(&name) {
            continue;
        }
        let file = name.to_string_lossy().into_owned();
        let failed = |error| MigrationError::Read {
            file: file.clone(),
            error,
        };
        // Follow symbolic links within the folder: some orchestrators mount files with them.
        if folder.metadata(&name).map_err(failed)?.is_dir() {
            continue;
        }
        let number = number_of(&file).ok_or_else(|| MigrationError::Name { file: file.clone() })?;
        let content = folder.open(&name).map_err(failed)?;
        let mut bytes = Vec::new();
        content
            .take(MAX_MIGRATION_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        add(&mut migrations, migration(number, file, bytes)?)?;
    }
    Ok(migrations.into_values().collect())
}

/// The migrations of these names and texts, by number.
pub(super) fn from_texts(
    texts: impl IntoIterator<Item = (String, Vec<u8>)>,
) -> Result<Vec<Migration>, MigrationError> {
    let mut migrations = BTreeMap::new();
    for (file, text) in texts {
        let number = number_of(&file).ok_or_else(|| MigrationError::Name { file: file.clone() })?;
        add(&mut migrations, migration(number, file, text)?)?;
    }
    Ok(migrations.into_values().collect())
}

fn add(
    migrations: &mut BTreeMap<i64, Migration>,
    migration: Migration,
) -> Result<(), MigrationError> {
    let (number, file) = (migration.number, migration.file.clone());
    match migrations.insert(number, migration) {
        None => Ok(()),
        Some(other) => {
            let mut files = [other.file, file];
            files.sort();
            Err(MigrationError::Duplicate { number, files })
        }
    }
}

fn migration(number: i64, file: String, bytes: Vec<u8>) -> Result<Migration, MigrationError> {
    if bytes.len() as u64 > MAX_MIGRATION_BYTES {
        return Err(MigrationError::TooLarge { file });
    }
    let sql = match String::from_utf8(bytes) {
        Ok(sql) => sql,
        Err(error) => {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
            return Err(MigrationError::NotUtf8 { file, line });
        }
    };
    // Git may convert line endings, and editors may add a byte order mark.
    let sql = sql.replace("\r\n", "\n");
    let sql = sql.trim_start_matches('\u{feff}').to_owned();
    if let Some(line) = comment_of_many_lines(&sql) {
        return Err(MigrationError::LineEnds { file, line });
    }
    let sha256 = Sha256::digest(&sql)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(Migration {
        number,
        file,
        sql,
        sha256,
    })
}

/// The line of a comment that contains a carriage return without a line feed: SQLite only ends a
/// comment at a line feed, unlike the editors of old Macs.
fn comment_of_many_lines(sql: &str) -> Option<usize> {
    if !sql.contains('\r') {
        return None;
    }
    let comment = comments(sql).find(|comment| comment.trim_end().contains('\r'))?;
    let at = comment.as_ptr() as usize - sql.as_ptr() as usize;
    Some(1 + sql[..at].matches(['\r', '\n']).count())
}

/// The number in `NNN-name.sql`.
fn number_of(file: &str) -> Option<i64> {
    let (digits, name) = file.strip_suffix(".sql")?.split_once('-')?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number && !name.is_empty() {
        digits.parse().ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::number_of;

    #[test]
    fn names() {
        assert_eq!(number_of("001-create-note.sql"), Some(1));
        assert_eq!(number_of("20261123-ähnlich.sql"), Some(20_261_123));
        assert_eq!(number_of("0-zero.sql"), Some(0));
        assert_eq!(number_of("20261123120000-a.sql"), Some(20_261_123_120_000));
        for file in [
            "1.sql",
            "1-.sql",
            "-name.sql",
            "+1-name.sql",
            "1_name.sql",
            "v1-name.sql",
            "1-x.SQL",
            "9223372036854775808-too-high.sql",
            "x.sql",
            ".sql",
        ] {
            assert_eq!(number_of(file), None, "{file}");
        }
    }
}
