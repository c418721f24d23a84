//! `millpond tenants`: manages a folder with a database for each tenant.

mod migrate;
mod output;

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use millpond_sqlite::migrations::Migrations;
use millpond_sqlite::{Folder, FolderError, TenantKey};

use self::output::Row;
use crate::backup;
use crate::failure::Failure;
use crate::output::{print, say};

/// Manage a folder with a database for each tenant
///
/// The database of a tenant is the file `TENANT.db`. A tenant's name has 1 to 64 lower-case
/// letters, digits, `-` and `_`, and begins with a letter or digit. All of this works while servers
/// use the folder.
#[derive(Args)]
#[command(after_help = "\
Examples:
  millpond tenants list --folder tenants
  millpond tenants create --folder tenants --migrations migrations acme
  millpond tenants migrate --folder tenants --migrations migrations
  millpond tenants backup --folder tenants acme --to /var/backups/acme.db
  millpond tenants suspend --folder tenants acme
  millpond tenants delete --folder tenants --yes acme

Exit status: 0 done; 1 if `migrate` could not migrate all, or `backup` found damage; 2 if anything
else failed.")]
pub(crate) struct Tenants {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the tenants, with size and last change
    List(InFolder),
    /// Create databases, and apply the migrations to them
    Create {
        #[command(flatten)]
        folder: InFolder,
        /// Apply the migrations in this folder.
        #[arg(long, value_name = "DIR")]
        migrations: Option<PathBuf>,
        #[command(flatten)]
        tenants: Keys,
    },
    Migrate(migrate::Migrate),
    /// Back up the database of one tenant, which may be in use
    ///
    /// Works like `millpond backup`. To restore it: suspend the tenant, run `millpond restore
    /// --overwrite --db DIR/TENANT.db FILE`, and resume the tenant.
    Backup {
        #[command(flatten)]
        folder: InFolder,
        /// The tenant.
        #[arg(value_name = "TENANT")]
        tenant: TenantKey,
        /// The file to write. Its folder must exist.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        /// Replace FILE if it exists.
        #[arg(long)]
        overwrite: bool,
    },
    /// Refuse all further requests of tenants, until they are resumed
    Suspend(OfTenants),
    /// End the suspension of tenants
    Resume(OfTenants),
    /// Delete databases that no process has open
    Delete {
        #[command(flatten)]
        of: OfTenants,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Args)]
struct InFolder {
    /// The folder with the databases.
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,

    /// Print JSON, one object on each line.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Keys {
    /// The tenants.
    #[arg(value_name = "TENANT", required = true)]
    tenants: Vec<TenantKey>,
}

#[derive(Args)]
struct OfTenants {
    #[command(flatten)]
    folder: InFolder,
    #[command(flatten)]
    tenants: Keys,
}

impl Tenants {
    pub(crate) fn execute(self) -> Result<ExitCode, Failure> {
        match self.command {
            Command::List(folder) => list(&folder)?,
            Command::Create {
                folder,
                migrations,
                tenants,
            } => {
                let mut open = folder.open()?;
                if let Some(path) = &migrations {
                    open = open.migrations(Migrations::open(path).map_err(Failure::mistake)?);
                }
                each(&folder, &tenants, "created", |key| {
                    open.create_database(key).map(|()| true)
                })?;
            }
            Command::Migrate(migrate) => return migrate.execute(),
            Command::Backup {
                folder,
                tenant,
                to,
                overwrite,
            } => {
                let copy = folder.open()?.backup(&tenant).map_err(Failure::mistake)?;
                let copy = copy.overwrite(overwrite);
                return backup::write(copy, tenant.as_str(), &to, folder.json);
            }
            Command::Suspend(OfTenants { folder, tenants }) => {
                let open = folder.open()?;
                each(&folder, &tenants, "suspended", |key| open.suspend(key))?;
            }
            Command::Resume(OfTenants { folder, tenants }) => {
                let open = folder.open()?;
                each(&folder, &tenants, "resumed", |key| open.resume(key))?;
            }
            Command::Delete { of, yes } => delete(&of, yes)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl InFolder {
    fn open(&self) -> Result<Folder, Failure> {
        Folder::open(&self.folder).map_err(Failure::mistake)
    }
}

/// Sorted, and so all in memory: some 100 bytes for each.
fn list(folder: &InFolder) -> Result<(), Failure> {
    let mut tenants = folder
        .open()?
        .list()
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(Failure::mistake)?;
    tenants.sort_by(|one, other| one.key.cmp(&other.key));
    if !folder.json {
        print(output::HEADING);
    }
    let mut text = String::new();
    for tenant in &tenants {
        text.push_str(&Row(tenant).line(folder.json));
    }
    print(&text);
    Ok(())
}

/// Do it for each tenant, up to the first failure. False means that it was so already.
fn each(
    folder: &InFolder,
    keys: &Keys,
    what: &str,
    change: impl Fn(&TenantKey) -> Result<bool, FolderError>,
) -> Result<(), Failure> {
    for key in &keys.tenants {
        let is_changed = change(key).map_err(Failure::mistake)?;
        print(&output::changed(key, what, is_changed, folder.json));
    }
    Ok(())
}

fn delete(of: &OfTenants, yes: bool) -> Result<(), Failure> {
    let open = of.folder.open()?;
    if !yes && !io::stdin().is_terminal() {
        return Err(Failure::mistake(
            "a deleted database is lost: give --yes to delete it without being asked",
        ));
    }
    for key in &of.tenants.tenants {
        if !yes && !agrees(&open, key)? {
            say(format_args!("{key}: not deleted"));
            continue;
        }
        open.delete_database(key).map_err(Failure::mistake)?;
        print(&output::changed(key, "deleted", true, of.folder.json));
    }
    Ok(())
}

/// Ask on the terminal.
fn agrees(folder: &Folder, key: &TenantKey) -> Result<bool, Failure> {
    let about = match folder.look(key).map_err(Failure::mistake)? {
        Some(tenant) => Row(&tenant).about(),
        None => "what is left of it".to_owned(),
    };
    let mut stderr = io::stderr().lock();
    let _ = write!(stderr, "Delete the database of `{key}` ({about})? [y/N] ");
    let _ = stderr.flush();
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    read.map_err(|error| Failure::mistake(format_args!("cannot read the answer: {error}")))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
