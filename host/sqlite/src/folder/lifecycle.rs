//! Creates, suspends, resumes and deletes a database of a folder.
//!
//! A suspended database has a marker file, which each [`Pools::get`](millpond_pool::Pools::get) looks
//! for, in every process. A database is suspended too while it is created or deleted. If that is cut
//! off, by a crash or a full disk, the marker stays: what is left is not served, and can be deleted.

use std::time::Duration;

use millpond_pool::engine::hand_over;
use millpond_pool::{Error, ErrorKind, Pools};

use super::{Folder, FolderError, TenantKey, files};
use crate::backup::{Alone, BackupError};
use crate::migrations::Migrations;
use crate::open::Location;

/// A database that no other connection can read.
struct Locked {
    _alone: Alone,
    // After the lock, which it must outlive.
    _location: Location,
}

impl Folder {
    /// Create the database of a key, and run the [migrations](Folder::migrations) on it. Durable when
    /// this returns. Blocks meanwhile: some milliseconds, plus the migrations.
    ///
    /// Until it is complete, the database is suspended. If a migration fails, it is removed.
    ///
    /// # Errors
    ///
    /// [`Exists`](FolderError::Exists), [`Migration`](FolderError::Migration),
    /// [`Open`](FolderError::Open), [`Io`](FolderError::Io).
    pub fn create_database(&self, key: &TenantKey) -> Result<(), FolderError> {
        let exists = || FolderError::Exists(key.clone());
        if self.remains(key)? || !self.mark(key)? {
            return Err(exists());
        }
        // Before the marker, another process may have been creating it, and be done.
        if self.remains(key)? {
            self.unmark(key)?;
            return Err(exists());
        }
        let none = Migrations::none();
        let migrations = self.migrations.as_deref().unwrap_or(&none);
        let created = migrations.run_in(&self.dir, &files::database(key.as_str()));
        match created {
            Ok(report) => {
                for warning in report.warnings {
                    log::warn!("{}: {warning}", files::database(key.as_str()));
                }
                self.unmark(key)?;
                Ok(())
            }
            Err(error) => {
                self.delete_marked(key)?;
                Err(FolderError::Migration {
                    key: key.clone(),
                    error: Box::new(error),
                })
            }
        }
    }

    /// Suspend the database of a key: from now on [`Pools::get`] refuses it with
    /// [`Unavailable`](ErrorKind::Unavailable), in this process and in every other that serves this
    /// folder. Durable when this returns; blocks until then. Returns false if it is suspended already.
    ///
    /// Connections that are in use stay usable, and pools that are open are closed once they have been
    /// idle. To end both after a grace, call [`Pools::close_one`] next; that affects this process.
    ///
    /// # Errors
    ///
    /// [`Missing`](FolderError::Missing), [`Io`](FolderError::Io).
    pub fn suspend(&self, key: &TenantKey) -> Result<bool, FolderError> {
        self.must_be_there(key)?;
        let is_new = self.mark(key)?;
        // Also if another process has just created it.
        self.sync()?;
        Ok(is_new)
    }

    /// End the suspension of a database. Durable when this returns; blocks until then. Returns false
    /// if it is not suspended.
    ///
    /// # Errors
    ///
    /// [`Missing`](FolderError::Missing), [`Io`](FolderError::Io).
    pub fn resume(&self, key: &TenantKey) -> Result<bool, FolderError> {
        self.must_be_there(key)?;
        self.unmark(key)
    }

    /// Delete the database of a key, its log, its shared memory and its marker. Durable when this
    /// returns. Blocks until then, and up to half a second while the database is open elsewhere.
    ///
    /// Meanwhile it is suspended, and no process can open it. If it is in use, it is not deleted, and
    /// is suspended only if it was before. So suspend it first, close its pool in this process with
    /// [`Pools::close_one`], and let other processes close theirs, after
    /// [`max_idle_time`](millpond_pool::PoolsSettings::max_idle_time). [`delete`](Folder::delete) does
    /// the first two.
    ///
    /// Afterwards the key is free. With [`create`](Folder::create), its next use creates an empty
    /// database.
    ///
    /// # Errors
    ///
    /// [`Missing`](FolderError::Missing): nothing of the key is there.
    /// [`InUse`](FolderError::InUse), [`Open`](FolderError::Open), [`Io`](FolderError::Io): if some
    /// files have been removed, what is left is suspended, and can be deleted.
    pub fn delete_database(&self, key: &TenantKey) -> Result<(), FolderError> {
        let is_marked = self.is_there(&files::marker(key.as_str()))?;
        if !is_marked && !self.remains(key)? {
            return Err(FolderError::Missing(key.clone()));
        }
        let is_new = self.mark(key)?;
        self.sync()?;
        let deleted = self.delete_marked(key);
        if is_new && matches!(deleted, Err(FolderError::InUse(_) | FolderError::Open(_))) {
            self.unmark(key)?;
        }
        deleted
    }

    /// Suspend a database, close its pool of these `pools`, with `grace` for those that use it, and
    /// [delete it](Folder::delete_database). If another process has it open, it stays suspended.
    ///
    /// # Errors
    ///
    /// Those of [`delete_database`](Folder::delete_database).
    pub async fn delete(
        &self,
        key: &TenantKey,
        pools: &Pools,
        grace: Duration,
    ) -> Result<(), FolderError> {
        hand_over();
        match self.suspend(key) {
            // Or only a rest of it is there.
            Ok(_) | Err(FolderError::Missing(_)) => {}
            Err(error) => return Err(error),
        }
        pools.close_one(key.as_str(), grace).await;
        hand_over();
        self.delete_database(key)
    }

    /// Delete what there is of a key that is suspended.
    fn delete_marked(&self, key: &TenantKey) -> Result<(), FolderError> {
        let file = files::database(key.as_str());
        let _locked = match self.is_there(&file)? {
            true => Some(self.lock(key, &file)?),
            false => None,
        };
        self.remove(&file)?;
        // Now nothing will take the log for that of another database.
        self.sync()?;
        for file in files::side_files(key.as_str()) {
            self.remove(&file)?;
        }
        self.sync()?;
        self.unmark(key)?;
        Ok(())
    }

    /// Lock the database against all connections, of this process and others.
    fn lock(&self, key: &TenantKey, file: &str) -> Result<Locked, FolderError> {
        let open = |error: crate::error::Error| FolderError::Open(error.into());
        let location = Location::in_dir(&self.dir, file).map_err(open)?;
        let location = location.must_exist(true);
        location.create(false).map_err(open)?;
        match Alone::with(&location) {
            Ok(alone) => Ok(Locked {
                _alone: alone,
                _location: location,
            }),
            Err(BackupError::InUse { .. }) => Err(FolderError::InUse(key.clone())),
            Err(BackupError::Database(error)) => Err(FolderError::Open(error)),
            Err(other) => {
                let error = Error::new(ErrorKind::CannotOpen, other.to_string());
                Err(FolderError::Open(error))
            }
        }
    }

    fn must_be_there(&self, key: &TenantKey) -> Result<(), FolderError> {
        match self.look(key)? {
            Some(_) => Ok(()),
            None => Err(FolderError::Missing(key.clone())),
        }
    }

    /// Whether any file of the key is there, not counting the marker.
    fn remains(&self, key: &TenantKey) -> Result<bool, FolderError> {
        if self.is_there(&files::database(key.as_str()))? {
            return Ok(true);
        }
        for file in files::side_files(key.as_str()) {
            if self.is_there(&file)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_there(&self, file: &str) -> Result<bool, FolderError> {
        let found = files::find(&self.dir, file);
        found
            .map(|found| found.is_some())
            .map_err(|error| FolderError::io(file, error))
    }

    fn mark(&self, key: &TenantKey) -> Result<bool, FolderError> {
        let marker = files::marker(key.as_str());
        files::create(&self.dir, &marker).map_err(|error| FolderError::io(&marker, error))
    }

    fn unmark(&self, key: &TenantKey) -> Result<bool, FolderError> {
        let is_marked = self.remove(&files::marker(key.as_str()))?;
        self.sync()?;
        Ok(is_marked)
    }

    fn remove(&self, file: &str) -> Result<bool, FolderError> {
        files::remove(&self.dir, file).map_err(|error| FolderError::io(file, error))
    }

    fn sync(&self) -> Result<(), FolderError> {
        files::sync(&self.dir).map_err(|error| FolderError::io(".", error))
    }
}
