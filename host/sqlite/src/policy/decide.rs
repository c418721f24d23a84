//! The rules: what each action needs.

use std::sync::atomic::Ordering;

use millpond_pool::engine::Rights;
use rusqlite::hooks::{AuthAction, AuthContext, TransactionOperation};

use super::definition::check_foreign_keys;
use super::refusal::{Allowed, Decision, Refusal, refuse_if};
use super::rights::{self, Verb};
use super::{Authorizer, Compilation, Control, HOST_TABLES, names, replace_refusal};
use crate::text::{STATISTICS, mentions};
use crate::words::{creates_virtual_table, replaces};

impl Authorizer {
    pub(super) fn decide(
        &self,
        rights: &Rights,
        context: &AuthContext<'_>,
        compilation: Compilation<'_>,
    ) -> Decision {
        // Temporary objects have their own schema, with a table `sqlite_temp_schema`.
        let temporary = match context.action {
            // Here SQLite passes the name of the column in that place.
            AuthAction::AlterTable { database_name, .. } => database_name == "temp",
            _ => context.database_name == Some("temp"),
        };
        // When SQLite alters a table, it also rewrites the names in this schema.
        let by_sqlite = self.alters.load(Ordering::Relaxed)
            && matches!(context.action, AuthAction::Update { .. });
        if temporary && !by_sqlite && changes_something(&context.action) {
            self.may_be_temporary(rights)?;
        }
        let write = |verb, table: &str| match temporary || is_schema(table) {
            // On a defensive connection only SQLite itself can write the schema, and the action
            // that defines the object is authorized separately.
            true => Ok(Allowed::Yes),
            false => self.write(rights, verb, table, context.accessor, compilation),
        };
        match context.action {
            AuthAction::Select | AuthAction::Recursive => Ok(Allowed::Yes),
            AuthAction::Read {
                table_name,
                column_name,
            } => {
                self.may_be_open(table_name)?;
                match temporary && rights.temporary() {
                    true => Ok(Allowed::Yes),
                    false => self.read(
                        rights,
                        (table_name, column_name),
                        context.accessor,
                        compilation,
                    ),
                }
            }
            AuthAction::Insert { table_name } => write(Verb::Insert, table_name),
            AuthAction::Delete { table_name } => write(Verb::Delete, table_name),
            AuthAction::Update {
                table_name,
                column_name,
            } => {
                let hidden = !temporary && rights::may_be_hidden(rights, table_name, column_name);
                refuse_if(hidden, || {
                    Refusal::needing("update of a hidden column", "the column not hidden")
                })?;
                write(Verb::Update, table_name)
            }
            AuthAction::CreateTable { table_name: name } => {
                if !temporary {
                    self.note_table(rights, name, compilation)?;
                }
                self.define(rights, &[name])
            }
            AuthAction::CreateView { view_name: name } => self.define(rights, &[name]),
            AuthAction::DropTable { table_name: name }
            | AuthAction::DropView { view_name: name }
            | AuthAction::DropVtable {
                table_name: name, ..
            } => self.drop_of(rights, &[name], name),
            // Allowed for the host's tables too: neither changes their content, and without a name
            // each applies to all tables.
            AuthAction::Reindex { index_name: name } => self.maintain(rights, name),
            AuthAction::Analyze { table_name: name } => {
                self.maintain(rights, name)?;
                self.uses_own_tables.store(true, Ordering::Relaxed);
                Ok(Allowed::Yes)
            }
            AuthAction::CreateIndex {
                index_name,
                table_name,
            } => {
                // A hidden column would read as null where the index is built, but not where it is
                // used; and a unique index shows which values there are twice.
                refuse_if(!rights::may_read_whole(rights, table_name), || {
                    let what = format!("an index of the table {table_name}");
                    Refusal::needing(what, "`read` on all of it")
                })?;
                self.define_on(rights, &[index_name, table_name], table_name)
            }
            AuthAction::DropIndex {
                index_name,
                table_name,
            } => self.drop_of(rights, &[index_name, table_name], table_name),
            AuthAction::CreateTrigger {
                trigger_name,
                table_name,
            } => {
                self.note_trigger(rights);
                self.define_on(rights, &[trigger_name, table_name], table_name)
            }
            AuthAction::DropTrigger {
                trigger_name,
                table_name,
            } => self.drop_of(rights, &[trigger_name, table_name], table_name),
            AuthAction::AlterTable {
                database_name,
                table_name,
            } => {
                self.alters.store(true, Ordering::Relaxed);
                if database_name == "temp" {
                    self.may_be_temporary(rights)?;
                    return self.maintain(rights, table_name);
                }
                self.note_table(rights, table_name, compilation)?;
                // Another name may have other rights, and a column that is dropped is deleted.
                refuse_if(!rights::may_all(rights, table_name), || {
                    let what = format!("altering the table {table_name}");
                    Refusal::needing(what, "everything on it")
                })?;
                self.drop_of(rights, &[table_name], table_name)
            }
            AuthAction::CreateVtable {
                table_name,
                module_name,
            } => {
                refuse_if(!names::is_module(module_name), || {
                    Refusal::always(format!("a virtual table of the module {module_name}"))
                })?;
                self.define(rights, &[table_name])
            }
            AuthAction::CreateTempTrigger { .. } => {
                self.note_trigger(rights);
                self.may_be_temporary(rights)
            }
            AuthAction::CreateTempIndex { .. }
            | AuthAction::CreateTempTable { .. }
            | AuthAction::CreateTempView { .. }
            | AuthAction::DropTempIndex { .. }
            | AuthAction::DropTempTable { .. }
            | AuthAction::DropTempTrigger { .. }
            | AuthAction::DropTempView { .. } => self.may_be_temporary(rights),
            AuthAction::Function { function_name } => {
                let known = names::is_function(function_name)
                    || (self.alters.load(Ordering::Relaxed)
                        && names::is_function_of_alter(function_name));
                refuse_if(!known, || {
                    Refusal::always(format!("the function {function_name}()"))
                })
            }
            AuthAction::Pragma {
                pragma_name,
                pragma_value,
            } => self.pragma(rights, pragma_name, pragma_value),
            AuthAction::Transaction { operation } => {
                let control = match operation {
                    TransactionOperation::Begin => Control::Begin,
                    TransactionOperation::Rollback => Control::Rollback,
                    // rusqlite has no name for COMMIT, the third of SQLite's three operations.
                    _ => Control::Commit,
                };
                self.control.store(control as u8, Ordering::Relaxed);
                Ok(Allowed::Yes)
            }
            AuthAction::Savepoint { .. } => {
                self.control
                    .store(Control::Savepoint as u8, Ordering::Relaxed);
                Ok(Allowed::Yes)
            }
            // `ATTACH` is denied when compiled. SQLite runs one of its own for `VACUUM`.
            AuthAction::Attach { .. } if !self.compiling.load(Ordering::Relaxed) => {
                Err(Refusal::always(
                    "VACUUM (SQLite reuses freed pages without it; the host can shrink the file)",
                ))
            }
            AuthAction::Attach { .. } => Err(Refusal::always("ATTACH")),
            AuthAction::Detach { .. } => Err(Refusal::always("DETACH")),
            _ => Err(Refusal::always("this kind of statement")),
        }
    }

    /// Whatever schema the statement names: a module's table exists in each.
    fn may_be_open(&self, table: &str) -> Result<(), Refusal> {
        // SQLite asks for every column that a statement names, and most connections have no such
        // table.
        let closed = self
            .closed_tables
            .iter()
            .any(|name| name.eq_ignore_ascii_case(table))
            || names::is_closed_table(table);
        match closed {
            true => Err(Refusal::always(format!("reading the table {table}"))),
            false => Ok(()),
        }
    }

    fn read(
        &self,
        rights: &Rights,
        (table, column): (&str, &str),
        accessor: Option<&str>,
        compilation: Compilation<'_>,
    ) -> Decision {
        let by_sqlite = self.is_by_sqlite(accessor) && names::starts_with(table, "sqlite_");
        if rights::has_all_tables(rights)
            || names::is_open_table(table)
            || by_sqlite
            || self.is_estimate((table, column), accessor, compilation)
        {
            return Ok(Allowed::Yes);
        }
        if is_schema(table) {
            let may = rights.may_change_schema();
            return refuse_if(!may, || {
                Refusal::needing(format!("reading {table}"), "`schema`")
            });
        }
        refuse_if(!rights::may_read(rights, table), || {
            // SQLite does not say where it is if none of its columns is used.
            let hint = match column {
                "" => " (if it is a common table expression or temporary, use a column of it)",
                _ => "",
            };
            let what = format!("reading the table {table}{hint}");
            Refusal::needing(what, "`read` on it")
        })?;
        if !rights::is_hidden(rights, table, column) {
            return Ok(Allowed::Yes);
        }
        // Where it is read to check a foreign key, for a trigger, or for the index of a full-text
        // table, a null would damage what the guest does not see.
        let writes = self.writes.load(Ordering::Relaxed);
        let is_inner = matches!(compilation, Compilation::Inner(_));
        refuse_if(is_inner || writes, || {
            let place = match writes {
                true => "in a statement that writes",
                false => "for a full-text table",
            };
            let what = format!("reading a hidden column of {table} {place}");
            Refusal::needing(what, "the column not hidden")
        })?;
        self.reads_hidden.store(true, Ordering::Relaxed);
        Ok(Allowed::Ignored)
    }

    fn write(
        &self,
        rights: &Rights,
        verb: Verb,
        table: &str,
        accessor: Option<&str>,
        compilation: Compilation<'_>,
    ) -> Decision {
        let what = || format!("{} on the table {table}", verb.name());
        self.writes.store(true, Ordering::Relaxed);
        // SQLite asks about what the first `SET` reads before it asks about the `UPDATE`.
        refuse_if(self.reads_hidden.load(Ordering::Relaxed), || {
            let what = "reading a hidden column in a statement that writes";
            Refusal::needing(what, "the column not hidden")
        })?;
        // `AUTOINCREMENT` stores its counters of all tables here.
        if table.eq_ignore_ascii_case("sqlite_sequence") && rights::has_all_tables(rights) {
            return Ok(Allowed::Yes);
        }
        if names::starts_with(table, "sqlite_") {
            return refuse_if(!self.is_by_sqlite(accessor), || Refusal::always(what()));
        }
        refuse_if(is_host_table(table), || Refusal::always(what()))?;
        refuse_if(!rights::may_write(rights, verb, table), || {
            Refusal::needing(what(), verb.needs())
        })?;
        if verb != Verb::Delete && !rights::may_write(rights, Verb::Delete, table) {
            // When it was compiled for the first time, it may have written another table.
            if let Compilation::Again(running) = compilation {
                refuse_if(replaces(&running.sql()), replace_refusal)?;
            }
            self.writes_undeletable.store(true, Ordering::Relaxed);
        }
        Ok(Allowed::Yes)
    }

    /// Whether SQLite itself uses its own tables for this statement. False for a guest's trigger
    /// or view (`accessor`): dropping a table can run the triggers of those that refer to it.
    fn is_by_sqlite(&self, accessor: Option<&str>) -> bool {
        let uses = &[&self.uses_own_tables, &self.runs_analysis];
        accessor.is_none() && uses.iter().any(|uses| uses.load(Ordering::Relaxed))
    }

    /// Creating, altering or dropping a table, index, view or trigger.
    fn define(&self, rights: &Rights, objects: &[&str]) -> Decision {
        let what = || format!("changing the schema ({})", objects.join(", "));
        refuse_if(objects.iter().any(|name| is_host_table(name)), || {
            Refusal::always(what())
        })?;
        self.maintain(rights, &objects.join(", "))
    }

    /// An R*Tree table reads the statistics itself, to estimate its size, when it is created or
    /// first used. To tell that from others' reads: a guest's statement has the table's name in its
    /// text; a view or trigger is the accessor, unless no column is used; and a full-text table
    /// reads its content within a statement that runs.
    fn is_estimate(
        &self,
        (table, column): (&str, &str),
        accessor: Option<&str>,
        compilation: Compilation<'_>,
    ) -> bool {
        let is_own = || match compilation {
            Compilation::First => !self.mentions_statistics.load(Ordering::Relaxed),
            Compilation::Again(running) => !mentions(&running.sql(), STATISTICS),
            Compilation::Inner(running) => {
                let sql = running.sql();
                creates_virtual_table(&sql) && !mentions(&sql, STATISTICS)
            }
        };
        table == STATISTICS && !column.is_empty() && accessor.is_none() && is_own()
    }

    /// A table is created or altered. SQLite does not ask about the tables that its foreign keys
    /// refer to.
    fn note_table(&self, rights: &Rights, table: &str, compilation: Compilation<'_>) -> Decision {
        // For `AUTOINCREMENT`, SQLite creates a table of its own too.
        if !rights::has_all_tables(rights) && !names::starts_with(table, "sqlite_") {
            // When it was compiled for the first time, it may have been a temporary table.
            if let Compilation::Again(running) = compilation {
                check_foreign_keys(rights, table, &running.sql())?;
            }
            *self.defined_table() = Some(table.to_owned());
        }
        Ok(Allowed::Yes)
    }

    /// A trigger is created. What it writes is authorized when it runs, but not how it replaces
    /// rows.
    fn note_trigger(&self, rights: &Rights) {
        if !rights::has_all_tables(rights) {
            self.writes_undeletable.store(true, Ordering::Relaxed);
        }
    }

    /// Creating what belongs to a table.
    fn define_on(&self, rights: &Rights, objects: &[&str], table: &str) -> Decision {
        refuse_if(!rights::covers(rights, table), || {
            let what = format!("changing the schema ({})", objects.join(", "));
            Refusal::needing(what, "the table")
        })?;
        self.define(rights, objects)
    }

    /// Dropping or altering a table, or dropping what belongs to it.
    fn drop_of(&self, rights: &Rights, objects: &[&str], table: &str) -> Decision {
        self.define_on(rights, objects, table)?;
        self.uses_own_tables.store(true, Ordering::Relaxed);
        Ok(Allowed::Yes)
    }

    /// Rebuilding what depends on the schema.
    fn maintain(&self, rights: &Rights, objects: &str) -> Decision {
        refuse_if(!rights.may_change_schema(), || {
            Refusal::needing(format!("changing the schema ({objects})"), "`schema`")
        })?;
        self.defines.store(true, Ordering::Relaxed);
        Ok(Allowed::Yes)
    }

    fn may_be_temporary(&self, rights: &Rights) -> Decision {
        refuse_if(!rights.temporary(), || {
            Refusal::needing("a temporary object", "`temporary`")
        })?;
        self.temporary.store(true, Ordering::Relaxed);
        Ok(Allowed::Yes)
    }
}

/// The schema table, by any of its names (<https://sqlite.org/schematab.html>).
fn is_schema(table: &str) -> bool {
    const NAMES: &[&str] = &[
        "sqlite_master",
        "sqlite_schema",
        "sqlite_temp_master",
        "sqlite_temp_schema",
    ];
    names::contains(NAMES, table)
}

fn is_host_table(name: &str) -> bool {
    names::starts_with(name, HOST_TABLES)
}

fn changes_something(action: &AuthAction<'_>) -> bool {
    !matches!(
        action,
        AuthAction::Read { .. }
            | AuthAction::Select
            | AuthAction::Recursive
            | AuthAction::Function { .. }
            | AuthAction::Pragma { .. }
    )
}
