//! Checks whether guests can use what a migration created.
//!
//! It recreates the schema in an in-memory database, on a connection configured like a guest's, and
//! compiles there what a guest may do to each new table.

use std::collections::HashMap;
use std::sync::Arc;

use millpond_pool::clock::NEVER;
use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::{MigrationError, Warning};
use crate::error::{Error, ErrorKind};
use crate::open::settings::Settings;
use crate::open::{Location, Opened};
use crate::text::{SqlText, mentions};

/// A schema object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Object {
    kind: String,
    name: String,
    /// The table or view that it belongs to.
    table: String,
    sql: String,
}

/// What a migration has created or changed, with the line of the responsible statement.
#[derive(Debug, Default)]
pub(super) struct Made {
    version: i64,
    objects: Vec<Object>,
    lines: HashMap<String, usize>,
}

impl Made {
    /// Record changes from now on.
    pub(super) fn since(conn: &Connection) -> rusqlite::Result<Made> {
        Ok(Made {
            version: version(conn)?,
            objects: objects(conn)?,
            lines: HashMap::new(),
        })
    }

    /// A statement has run, in line `line`.
    pub(super) fn note(
        &mut self,
        conn: &Connection,
        line: impl FnOnce() -> usize,
    ) -> rusqlite::Result<()> {
        let version = version(conn)?;
        if version == self.version {
            return Ok(());
        }
        let (now, line) = (objects(conn)?, line());
        for object in now.iter().filter(|object| !self.objects.contains(object)) {
            self.lines.insert(object.name.clone(), line);
        }
        (self.version, self.objects) = (version, now);
        Ok(())
    }

    /// Compile what guests may do with it, and warn of what fails.
    ///
    /// # Errors
    ///
    /// [`Unusable`](MigrationError::Unusable): guests' connections could not read the schema.
    pub(super) fn check(&self, file: &str) -> Result<Vec<Warning>, MigrationError> {
        if self.lines.is_empty() {
            return Ok(Vec::new());
        }
        let guest = Guest::open().map_err(MigrationError::database)?;
        let mut warnings = Vec::new();
        let mut warn = |line: usize, name: &str, error: &Error| {
            warnings.push(Warning {
                file: file.to_owned(),
                line: Some(line),
                message: format!("guests cannot use {name}: {error}"),
            });
        };
        let mut made = Vec::new();
        for object in &self.objects {
            let error = match guest.make(object) {
                Ok(by_itself) => {
                    made.extend(by_itself.then_some(object));
                    continue;
                }
                Err(error) => error,
            };
            match self.lines.get(&object.name) {
                Some(&line) if error.kind() == ErrorKind::TooLarge => {
                    return Err(MigrationError::Unusable {
                        file: file.to_owned(),
                        line,
                        name: object.name.clone(),
                        error: error.into(),
                    });
                }
                Some(&line) => warn(line, &object.name, &error),
                None => {}
            }
        }
        for table in made {
            // A trigger, an index or a constraint is compiled with its table.
            let of_table = |object: &&Object| object.table.eq_ignore_ascii_case(&table.name);
            let lines = self.objects.iter().filter(of_table);
            let lines = lines.filter_map(|object| self.lines.get(&object.name));
            if let ("table" | "view", Some(&line)) = (table.kind.as_str(), lines.max())
                && let Err(error) = guest.use_table(table)
            {
                warn(line, &table.name, &error);
            }
        }
        Ok(warnings)
    }
}

fn version(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row("PRAGMA main.schema_version", [], |row| row.get(0))
}

/// Everything that has its own SQL text, in order of creation.
fn objects(conn: &Connection) -> rusqlite::Result<Vec<Object>> {
    let sql = "SELECT type, name, tbl_name, sql FROM main.sqlite_schema
               WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY rowid";
    conn.prepare(sql)?
        .query_map([], |row| {
            Ok(Object {
                kind: row.get(0)?,
                name: row.get(1)?,
                table: row.get(2)?,
                sql: row.get(3)?,
            })
        })?
        .collect()
}

/// A connection configured like a guest's, to its own database.
struct Guest {
    opened: Opened,
}

impl Guest {
    fn open() -> Result<Guest, Error> {
        let opened = Location::memory().open(&Settings::default(), Arc::default(), NEVER)?;
        Ok(Guest { opened })
    }

    /// Create it. Returns false if it exists: a virtual table creates its shadow tables itself.
    fn make(&self, object: &Object) -> Result<bool, Error> {
        let Opened {
            conn, authorizer, ..
        } = &self.opened;
        let _scope = self.opened.memory.enter();
        let has = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ?1)";
        let made = authorizer.trusting(|| {
            if conn.query_row(has, [&object.name], |row| row.get(0))? {
                return Ok(false);
            }
            // Like SQLite in an existing schema, accept double-quoted strings.
            conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, true)?;
            let made = conn.execute_batch(&object.sql);
            conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
            made.map(|()| true)
        });
        Ok(made?)
    }

    /// Compile what a guest may do with a table or a view.
    fn use_table(&self, table: &Object) -> Result<(), Error> {
        let Opened {
            conn, authorizer, ..
        } = &self.opened;
        let _scope = self.opened.memory.enter();
        let name = format!("\"{}\"", table.name.replace('"', "\"\""));
        let columns = authorizer.trusting(|| {
            let info = "SELECT name FROM pragma_table_info(?1)";
            conn.prepare(info)?
                .query_map([&table.name], |row| row.get::<_, String>(0))?
                .collect::<rusqlite::Result<Vec<_>>>()
        })?;
        let set: Vec<_> = columns
            .iter()
            .map(|column| column.replace('"', "\"\""))
            .map(|column| format!("\"{column}\" = \"{column}\""))
            .collect();
        let mut uses = vec![format!("SELECT * FROM {name}")];
        // An `fts5vocab` table cannot be written.
        if !mentions(&table.sql, "fts5vocab") {
            uses.extend([
                format!("INSERT INTO {name} DEFAULT VALUES"),
                format!("DELETE FROM {name}"),
            ]);
            if !set.is_empty() {
                uses.push(format!("UPDATE {name} SET {}", set.join(", ")));
            }
        }
        for sql in uses {
            let _compiling = authorizer.start(&sql, &SqlText::new(&sql)?);
            if let Err(error) = conn.prepare(&sql) {
                let error = Error::from(error);
                match authorizer.take_refusal() {
                    Some(refusal) => {
                        return Err(error
                            .with_kind(ErrorKind::NotAuthorized)
                            .with_message(refusal));
                    }
                    // Most views cannot be written, which is not an error.
                    None if table.kind == "view" && !sql.starts_with("SELECT") => {}
                    None => return Err(error),
                }
            }
        }
        Ok(())
    }
}
