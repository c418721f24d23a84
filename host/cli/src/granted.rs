//! Which databases the command line grants, by which names.

use std::ffi::OsString;

use millpond_pool::Access;
use millpond_server::printable::printable;

use crate::arguments::{self, DEFAULT, Named};
use crate::failure::Failure;

/// The path that means an in-memory database.
pub(crate) const MEMORY: &str = ":memory:";
/// The environment variable with the path of the database `default`, if no flag grants it.
pub(crate) const DATABASE_PATH: &str = "DATABASE_PATH";

/// A database that is granted, but not open yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) named: Named,
    pub(crate) access: Access,
}

/// What is granted, each name once, in the order of the command line. `default` is the path of the
/// database of that name, unless a flag grants it.
pub(crate) fn granted(
    writable: &[Named],
    read_only: &[Named],
    default: Option<OsString>,
) -> Result<Vec<Granted>, Failure> {
    let writable = writable.iter().map(|named| (named, Access::ReadWrite));
    let read_only = read_only.iter().map(|named| (named, Access::ReadOnly));
    let mut granted: Vec<Granted> = Vec::new();
    for (named, access) in writable.chain(read_only) {
        if granted.iter().any(|other| other.named.name == named.name) {
            return Err(Failure::mistake(format_args!(
                "the database `{}` is granted twice: give each its own name, as --db NAME=PATH",
                named.name
            )));
        }
        granted.push(Granted {
            named: named.clone(),
            access,
        });
    }
    let has_default = granted.iter().any(|granted| granted.named.name == DEFAULT);
    if let Some(path) = default.filter(|path| !path.is_empty() && !has_default) {
        let named = Named {
            name: DEFAULT.to_string(),
            path: path.into(),
        };
        if named.server().is_none() {
            arguments::refuse_url(&named.path.to_string_lossy()).map_err(|reason| {
                let path = named.path.display();
                Failure::mistake(format_args!("{DATABASE_PATH} is `{path}`: {reason}"))
            })?;
        }
        granted.push(Granted {
            named,
            access: Access::ReadWrite,
        });
    }
    Ok(granted)
}

/// Which flag grants a database named `name` to the guest.
pub(crate) fn how_to_grant(name: &str) -> String {
    let shown: String = printable(name).chars().take(64).collect();
    let how = match name {
        DEFAULT => "grant it with --db PATH".to_string(),
        name if arguments::is_name(name) => format!("grant it with --db {name}=PATH"),
        _ => "no --db can grant one of that name".to_string(),
    };
    format!("the guest asked for the database `{shown}`, which is not granted: {how}")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn named(texts: &[&str]) -> Vec<Named> {
        texts
            .iter()
            .map(|text| arguments::named(text).unwrap())
            .collect()
    }

    fn names_of(granted: Vec<Granted>) -> Vec<(String, Access)> {
        let granted = granted.into_iter();
        granted
            .map(|granted| (granted.named.name, granted.access))
            .collect()
    }

    #[test]
    fn flags_grant_by_name() {
        let all = granted(&named(&["app.db"]), &named(&["geo=/data/geo.db"]), None).unwrap();
        assert_eq!(all[1].named.path, Path::new("/data/geo.db"));
        let expected = [
            ("default".to_string(), Access::ReadWrite),
            ("geo".to_string(), Access::ReadOnly),
        ];
        assert_eq!(names_of(all), expected);
    }

    #[test]
    fn a_name_is_granted_once() {
        assert!(granted(&named(&["a.db", "b.db"]), &[], None).is_err());
        assert!(granted(&named(&["a.db"]), &named(&["default=a.db"]), None).is_err());
    }

    #[test]
    fn the_environment_names_the_default_unless_a_flag_does() {
        let with = |flags: &[&str], path: &str| {
            let all = granted(&named(flags), &[], Some(path.into())).unwrap();
            all.iter()
                .map(|granted| granted.named.path.display().to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(with(&[], "env.db"), ["env.db"]);
        assert_eq!(with(&["a.db"], "env.db"), ["a.db"]);
        assert_eq!(with(&["b=b.db"], "env.db"), ["b.db", "env.db"]);
        assert_eq!(with(&[], ""), [""; 0]);
    }
}
