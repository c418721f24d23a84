//! Creates, suspends, resumes and deletes a database of a folder.
//!
//! A suspended database has a marker file, which each [`Pools::get`](millpond_pool::Pools::get)
//! looks for, in every process. Only the operator suspends and resumes.
//!
//! A new database gets its name when it is complete. A creation that is cut off by a crash leaves a
//! part, which the next creation or deletion of the key removes. A deletion locks all other
//! connections out with SQLite's own lock, and first writes the log into the database: if a crash
//! cuts it off, the whole database is there, or none.

use std::time::Duration;

use millpond_pool::Pools;
use millpond_pool::engine::hand_over;

use crate::backup::{self, Alone, Backup, BackupError, Part, Publish};
use crate::disk;
use crate::error::{Error, ErrorKind};
use crate::folder::{Folder, FolderError, TenantKey, files};
use crate::migrations::{MigrationError, Migrations};
use crate::open::Location;

/// A database that no other connection can read.
struct Locked {
    alone: Alone,
    // After the lock, which it must outlive.
    _location: Location,
}

impl Folder {
    /// Create the database of a key, and run the [migrations](Folder::migrations) on it. Durable
    /// when this returns. Blocks meanwhile: some milliseconds, plus the migrations.
    ///
    /// Until it is complete, no file has its name. If a migration fails, nothing remains. If a
    /// crash cuts the creation off, there is no database, and it can be created again.
    ///
    /// # Errors
    ///
    /// [`Exists`](FolderError::Exists), [`Migration`](FolderError::Migration),
    /// [`Open`](FolderError::Open), [`Io`](FolderError::Io).
    pub fn create_database(&self, key: &TenantKey) -> Result<(), FolderError> {
        let file = files::database(key.as_str());
        let failed = |error| match error {
            BackupError::Exists { .. } | BackupError::Running { .. } => {
                FolderError::Exists(key.clone())
            }
            BackupError::File { error, .. } => FolderError::io(&file, error),
            other => not_opened(&other),
        };
        let target = self.location(&file)?;
        let part = Part::begin(&target, Publish::New).map_err(failed)?;
        if self.remains(key)? || self.is_there(&files::marker(key.as_str()))? {
            return Err(FolderError::Exists(key.clone()));
        }
        let migration = |error| FolderError::Migration {
            key: key.clone(),
            error: Box::new(error),
        };
        let none = Migrations::none();
        let migrations = self.migrations.as_deref().unwrap_or(&none);
        let report = migrations.run_at(&part.location()).map_err(migration)?;
        // SQLite keeps the log if it cannot write it into the file, and reports no error.
        if part
            .has_log()
            .map_err(|error| FolderError::io(&file, error))?
        {
            let message = "its log cannot be written into it: is the disk full?";
            let error = Error::new(ErrorKind::Io, message);
            return Err(migration(MigrationError::Database(error.into())));
        }
        part.sync().map_err(failed)?;
        part.publish(Publish::New).map_err(failed)?;
        for warning in report.warnings {
            log::warn!("{file}: {warning}");
        }
        Ok(())
    }

    /// Suspend the database of a key: from now on [`Pools::get`] refuses it with
    /// [`Unavailable`](ErrorKind::Unavailable), in this process and in every other that serves this
    /// folder. Durable when this returns; blocks until then. Returns false if it is suspended
    /// already.
    ///
    /// Connections that are in use stay usable, and pools that are open are closed once they have
    /// been idle. To end both after a grace, call [`Pools::close_one`] next; that affects this
    /// process.
    ///
    /// # Errors
    ///
    /// [`Missing`](FolderError::Missing), [`Io`](FolderError::Io).
    pub fn suspend(&self, key: &TenantKey) -> Result<bool, FolderError> {
        self.must_be_there(key)?;
        let is_new = self.mark(key)?;
        // Also if another process has just created it.
        self.sync()?;
        if is_new && self.look(key)?.is_none() {
            // It was deleted meanwhile: do not leave a marker without a database.
            self.unmark(key)?;
            return Err(FolderError::Missing(key.clone()));
        }
        Ok(is_new)
    }

    /// A backup of the database of a key, which may be in use or suspended. Reads nothing until
    /// [`write`](Backup::write).
    ///
    /// # Errors
    ///
    /// [`Missing`](FolderError::Missing), [`Io`](FolderError::Io).
    pub fn backup<'a>(&self, key: &TenantKey) -> Result<Backup<'a>, FolderError> {
        self.must_be_there(key)?;
        Backup::of_file_in(&self.dir, &files::database(key.as_str()))
            .map_err(|error| not_opened(&error))
    }

    /// End the suspension of a database. Durable when this returns; blocks until then. Returns
    /// false if it is not suspended.
    ///
    /// # Errors
    ///
    /// [`Missing`](FolderError::Missing), [`Io`](FolderError::Io).
    pub fn resume(&self, key: &TenantKey) -> Result<bool, FolderError> {
        self.must_be_there(key)?;
        self.unmark(key)
    }

    /// Delete the database of a key, its log, its shared memory, its marker, and the files that
    /// backups were [restored](crate::backup::Restore) over. Durable when this returns. Blocks
    /// until then, and up to half a second while the database is open elsewhere.
    ///
    /// Meanwhile no process can open it. If it is in use, it is not deleted. So suspend it first,
    /// close its pool in this process with [`Pools::close_one`], and let other processes close
    /// theirs, after [`max_idle_time`](millpond_pool::PoolsSettings::max_idle_time).
    /// [`delete`](Folder::delete) does the first two.
    ///
    /// Afterwards the key is free. With [`create`](Folder::create), its next use creates an empty
    /// database.
    ///
    /// # Errors
    ///
    /// [`Missing`](FolderError::Missing): nothing of the key is there.
    /// [`InUse`](FolderError::InUse): the database is open, or is being created.
    /// [`Open`](FolderError::Open), [`Io`](FolderError::Io): what is left can be deleted.
    pub fn delete_database(&self, key: &TenantKey) -> Result<(), FolderError> {
        let file = files::database(key.as_str());
        let remains = self.remains(key)?;
        if remains {
            self.delete_files(key, &file)?;
        }
        let folder = self.location(&file)?;
        let part = folder.file().map_or(Ok(Some(false)), |(folder, name)| {
            backup::remove_stale(folder, name)
        });
        match part.map_err(|error| FolderError::io(&file, error))? {
            None if !remains => return Err(FolderError::InUse(key.clone())),
            Some(false) if !remains && !self.is_there(&files::marker(key.as_str()))? => {
                return Err(FolderError::Missing(key.clone()));
            }
            _ => {}
        }
        self.unmark(key)?;
        Ok(())
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

    /// Delete the database and what is beside it.
    fn delete_files(&self, key: &TenantKey, file: &str) -> Result<(), FolderError> {
        // If only a log is left, this creates the file. Otherwise another process could create it,
        // and lose its log, which is removed below.
        let locked = self.lock(key, file)?;
        // If a crash leaves the database without its log, it can lack commits or be damaged. So
        // write the log first. A failure does not prevent the deletion.
        if let Err(error) = locked.alone.end_log() {
            log::debug!("{file}: its log is deleted with it: {error}");
        }
        for file in files::side_files(key.as_str()) {
            self.remove(&file)?;
        }
        self.remove_former(file)?;
        self.sync()?;
        // After this, files of these names can belong to a new database.
        self.remove(file)?;
        drop(locked);
        self.sync()
    }

    /// Delete the files that backups were restored over.
    fn remove_former(&self, file: &str) -> Result<(), FolderError> {
        let entries = self
            .dir
            .entries()
            .map_err(|error| FolderError::io(".", error))?;
        for entry in entries {
            let name = entry
                .map_err(|error| FolderError::io(".", error))?
                .file_name();
            if let Some(name) = name.to_str()
                && backup::is_former(file, name)
            {
                self.remove(name)?;
            }
        }
        Ok(())
    }

    /// Lock the database against all connections, of this process and others.
    fn lock(&self, key: &TenantKey, file: &str) -> Result<Locked, FolderError> {
        let location = self.location(file)?;
        location
            .create(false)
            .map_err(|error| FolderError::Open(error.into()))?;
        match Alone::with(&location) {
            Ok(alone) => Ok(Locked {
                alone,
                _location: location,
            }),
            Err(BackupError::InUse { .. }) => Err(FolderError::InUse(key.clone())),
            Err(other) => Err(not_opened(&other)),
        }
    }

    fn location(&self, file: &str) -> Result<Location, FolderError> {
        let location = Location::in_dir(&self.dir, file);
        location.map_err(|error| FolderError::Open(error.into()))
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
        disk::create_private(&self.dir, marker.as_ref())
            .map_err(|error| FolderError::io(&marker, error))
    }

    fn unmark(&self, key: &TenantKey) -> Result<bool, FolderError> {
        let is_marked = self.remove(&files::marker(key.as_str()))?;
        self.sync()?;
        Ok(is_marked)
    }

    fn remove(&self, file: &str) -> Result<bool, FolderError> {
        disk::remove(&self.dir, file.as_ref()).map_err(|error| FolderError::io(file, error))
    }

    fn sync(&self) -> Result<(), FolderError> {
        disk::sync(&self.dir).map_err(|error| FolderError::io(".", error))
    }
}

fn not_opened(error: &BackupError) -> FolderError {
    match error {
        BackupError::Database(error) => FolderError::Open(error.clone()),
        other => {
            let error = millpond_pool::Error::new(ErrorKind::CannotOpen, other.to_string());
            FolderError::Open(error)
        }
    }
}
