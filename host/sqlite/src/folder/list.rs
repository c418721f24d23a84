//! Lists the databases of a folder.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use cap_std::fs::{Dir, DirEntry, ReadDir};

use super::{Folder, FolderError, TenantKey, files};

/// A database of a [`Folder`], as it was when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tenant {
    /// Its key.
    pub key: TenantKey,
    /// The size of its file, in bytes.
    pub database_bytes: u64,
    /// The size of its write-ahead log, in bytes: 0 if it has none, because it is not open.
    pub log_bytes: u64,
    /// Whether it is suspended.
    pub is_suspended: bool,
    /// When its file or its log was last written.
    pub changed: SystemTime,
}

/// The databases of a [`Folder`], in no particular order: see [`Folder::list`].
#[must_use = "an iterator does nothing until it is used"]
pub struct Tenants {
    dir: Arc<Dir>,
    entries: ReadDir,
}

impl Folder {
    /// The databases in the folder, in no particular order. Each is looked at when the iterator
    /// reaches it, which takes three system calls. The iterator needs no more memory for more of
    /// them. It blocks while reading.
    ///
    /// Other processes may create and delete databases meanwhile: those may be returned or not, all
    /// others are. Only regular files `KEY.db` count: other files, folders and symbolic links are
    /// skipped.
    ///
    /// # Errors
    ///
    /// [`Io`](FolderError::Io), here and from the iterator: the system refuses to read the folder
    /// or to look at a file.
    pub fn list(&self) -> Result<Tenants, FolderError> {
        Ok(Tenants {
            entries: entries(&self.dir)?,
            dir: Arc::clone(&self.dir),
        })
    }

    /// How many databases are in the folder. Blocks while reading it, and looks at no file.
    ///
    /// # Errors
    ///
    /// [`Io`](FolderError::Io): the system refuses to read the folder.
    pub fn count(&self) -> Result<u64, FolderError> {
        let mut count = 0;
        for key in self.keys()? {
            key?;
            count += 1;
        }
        Ok(count)
    }

    /// The database of this key, or `None`. Blocks for three system calls.
    ///
    /// # Errors
    ///
    /// [`Io`](FolderError::Io): the system refuses.
    pub fn look(&self, key: &TenantKey) -> Result<Option<Tenant>, FolderError> {
        look(&self.dir, key)
    }

    /// The keys in the folder.
    pub(crate) fn keys(
        &self,
    ) -> Result<impl Iterator<Item = Result<TenantKey, FolderError>>, FolderError> {
        let keys = entries(&self.dir)?.filter_map(|entry| key_of(&self.dir, entry).transpose());
        Ok(keys)
    }
}

fn entries(dir: &Dir) -> Result<ReadDir, FolderError> {
    dir.entries().map_err(|error| FolderError::io(".", error))
}

/// The key of an entry that is a database.
fn key_of(dir: &Dir, entry: std::io::Result<DirEntry>) -> Result<Option<TenantKey>, FolderError> {
    let entry = entry.map_err(|error| FolderError::io(".", error))?;
    let name = entry.file_name();
    let Some(key) = files::key_of(&name) else {
        return Ok(None);
    };
    let is_file = match entry.file_type() {
        Ok(found) if found.is_file() => true,
        Ok(found) if found.is_dir() || found.is_symlink() => false,
        // Some file systems do not tell the type with the name.
        _ => {
            let file = files::database(key);
            let found = files::find(dir, &file).map_err(|error| FolderError::io(&file, error))?;
            found.is_some_and(|found| found.is_file)
        }
    };
    Ok(is_file.then(|| TenantKey::new(key).ok()).flatten())
}

fn look(dir: &Dir, key: &TenantKey) -> Result<Option<Tenant>, FolderError> {
    let find = |file: String| {
        let found = files::find(dir, &file);
        found.map_err(|error| FolderError::io(&file, error))
    };
    let key_text = key.as_str();
    let Some(database) = find(files::database(key_text))?.filter(|found| found.is_file) else {
        return Ok(None);
    };
    let log = find(files::log(key_text))?.filter(|found| found.is_file);
    Ok(Some(Tenant {
        key: key.clone(),
        database_bytes: database.bytes,
        log_bytes: log.as_ref().map_or(0, |log| log.bytes),
        is_suspended: find(files::marker(key_text))?.is_some(),
        changed: log.map_or(database.changed, |log| log.changed.max(database.changed)),
    }))
}

impl Iterator for Tenants {
    type Item = Result<Tenant, FolderError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let found = match key_of(&self.dir, self.entries.next()?) {
                Ok(Some(key)) => look(&self.dir, &key),
                Ok(None) => continue,
                Err(error) => Err(error),
            };
            // Or it has been deleted since.
            if let Some(found) = found.transpose() {
                return Some(found);
            }
        }
    }
}

impl fmt::Debug for Tenants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tenants")
    }
}
