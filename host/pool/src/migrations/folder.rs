//! Reading a folder of migrations.

use std::collections::BTreeMap;
use std::io::Read;

use cap_std::fs::Dir;
use sha2::{Digest, Sha256};

use super::{MAX_MIGRATION_BYTES, Migration, MigrationError};

/// The migrations of the folder, by number.
pub(super) fn read(folder: &Dir) -> Result<Vec<Migration>, MigrationError> {
    let unreadable = |error| MigrationError::Read {
        file: ".".to_owned(),
        error,
    };
    let mut migrations = BTreeMap::<i64, Migration>::new();
    for entry in folder.entries().map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let file = name.to_string_lossy().into_owned();
        if file.starts_with('.') || !file.to_ascii_lowercase().ends_with(".sql") {
            continue;
        }
        let failed = |error| MigrationError::Read {
            file: file.clone(),
            error,
        };
        // Follows symbolic links within the folder, as some orchestrators mount files by them.
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
        let migration = migration(number, file, bytes)?;
        if let Some(other) = migrations.insert(number, migration) {
            let mut files = [other.file, migrations[&number].file.clone()];
            files.sort();
            return Err(MigrationError::Duplicate { number, files });
        }
    }
    Ok(migrations.into_values().collect())
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
    // As git may convert them on the way to another machine.
    let sql = sql.replace("\r\n", "\n");
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
