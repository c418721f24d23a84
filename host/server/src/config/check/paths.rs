//! Databases that would share files.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use crate::config::problem::ProblemKind::{Contradiction, Duplicate};
use crate::config::report::Report;
use crate::config::{Database, Name};

/// Report databases that have the same files, and backups among them. Compares the paths as texts:
/// links are not followed.
pub(super) fn check(databases: &BTreeMap<Name, Database>, report: &mut Report) {
    let mut earlier: Vec<(&Name, &str, PathBuf)> = Vec::new();
    for (name, database) in databases {
        let places = [("file", &database.file), ("folder", &database.folder)];
        for (key, path) in places {
            let Some(path) = path.as_deref().map(normal) else {
                continue;
            };
            let other = earlier.iter().find(|other| collide((key, &path), other));
            if let Some((other, ..)) = other {
                let message = format!(
                    "the database `{other}` has the same files: use one database, and grant that \
                     twice"
                );
                under(report, name, &[key], |report| {
                    report.value(Duplicate, message)
                });
            }
            earlier.push((name, key, path));
        }
    }
    let folders = databases.iter().filter_map(|(name, database)| {
        let folder = database.folder.as_deref()?;
        Some((name, normal(folder)))
    });
    let folders: Vec<_> = folders.collect();
    for (name, database) in databases {
        let Some(backup) = &database.backup else {
            continue;
        };
        let path = normal(&backup.folder);
        if let Some((other, _)) = folders.iter().find(|(_, folder)| path.starts_with(folder)) {
            let message = format!(
                "it is in the folder of the database `{other}`, where each file is a tenant's \
                 database: choose another folder"
            );
            under(report, name, &["backup", "folder"], |report| {
                report.value(Contradiction, message);
            });
        }
    }
    check_backups(databases, report);
}

/// Databases of the same name would mix their backups in one folder, as would two folders, of which
/// each has a folder for each tenant.
fn check_backups(databases: &BTreeMap<Name, Database>, report: &mut Report) {
    let mut earlier: Vec<(&Name, PathBuf, Option<&OsStr>)> = Vec::new();
    for (name, database) in databases {
        let Some(backup) = &database.backup else {
            continue;
        };
        let stem = database.file.as_deref().and_then(Path::file_stem);
        let path = normal(&backup.folder);
        let is_same = |(_, other, of): &&(_, PathBuf, _)| *other == path && *of == stem;
        if let Some((other, ..)) = earlier.iter().find(is_same) {
            let message = format!(
                "the backups of the database `{other}` are there, with the same names: choose another \
                 folder"
            );
            under(report, name, &["backup", "folder"], |report| {
                report.value(Duplicate, message);
            });
        }
        earlier.push((name, path, stem));
    }
}

/// Whether a database has a file of another.
fn collide(one: (&str, &Path), (_, key, path): &(&Name, &str, PathBuf)) -> bool {
    let is_in = |file: &Path, folder: &Path| {
        file.parent() == Some(folder) && file.extension().is_some_and(|end| end == "db")
    };
    match (one.0, *key) {
        ("file", "folder") => is_in(one.1, path),
        ("folder", "file") => is_in(path, one.1),
        _ => one.1 == path,
    }
}

fn under(report: &mut Report, name: &Name, keys: &[&str], add: impl FnOnce(&mut Report)) {
    report.under("databases", |report| {
        report.under(name.as_str(), |report| match keys {
            [key, inner] => {
                report.under(*key, |report| report.under(*inner, add));
            }
            [key] => report.under(*key, add),
            _ => add(report),
        });
    });
}

/// The path without `.` and, as far as the text shows, `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if normal.file_name().is_some() => {
                normal.pop();
            }
            part => normal.push(part),
        }
    }
    normal
}
