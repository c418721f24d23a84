//! Describes a component's imports and exports: whether the host provides each, and how the
//! component can run.

use millpond_compat::spin;
use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

/// The interfaces that the host provides, in every version compatible with the one named. The
/// linker decides; this list is for messages.
const PROVIDED: &[(&str, &str, &[&str])] = &[
    ("jco:node", "0.1", &["sqlite"]),
    ("fermyon:spin", "2.0", &["sqlite"]),
    ("millpond:sqlite", "0.1", &["connections", "pool"]),
    ("spin:sqlite", "3", &["sqlite"]),
    (
        "wasi:cli",
        "0.2",
        &[
            "environment",
            "exit",
            "stdin",
            "stdout",
            "stderr",
            "terminal-input",
            "terminal-output",
            "terminal-stdin",
            "terminal-stdout",
            "terminal-stderr",
        ],
    ),
    ("wasi:clocks", "0.2", &["wall-clock", "monotonic-clock"]),
    ("wasi:filesystem", "0.2", &["types", "preopens"]),
    ("wasi:http", "0.2", &["types", "outgoing-handler"]),
    ("wasi:io", "0.2", &["error", "poll", "streams"]),
    (
        "wasi:keyvalue",
        "0.2.0-draft",
        &["store", "atomics", "batch"],
    ),
    (
        "wasi:keyvalue",
        "0.2.0-draft2",
        &["store", "atomics", "batch"],
    ),
    (
        "wasi:random",
        "0.2",
        &["random", "insecure", "insecure-seed"],
    ),
    (
        "wasi:sockets",
        "0.2",
        &[
            "tcp",
            "udp",
            "tcp-create-socket",
            "udp-create-socket",
            "network",
            "instance-network",
            "ip-name-lookup",
        ],
    ),
    (
        "wasi:cli",
        "0.3",
        &[
            "environment",
            "exit",
            "types",
            "stdin",
            "stdout",
            "stderr",
            "terminal-input",
            "terminal-output",
            "terminal-stdin",
            "terminal-stdout",
            "terminal-stderr",
        ],
    ),
    (
        "wasi:clocks",
        "0.3",
        &["types", "system-clock", "monotonic-clock"],
    ),
    ("wasi:filesystem", "0.3", &["types", "preopens"]),
    ("wasi:http", "0.3", &["types", "client"]),
    (
        "wasi:random",
        "0.3",
        &["random", "insecure", "insecure-seed"],
    ),
    ("wasi:sockets", "0.3", &["types", "ip-name-lookup"]),
];

/// How a component can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// A command: it exports `wasi:cli/run` 0.2.
    Command02,
    /// A command: it exports `wasi:cli/run` 0.3.
    Command03,
    /// An HTTP handler: it exports `wasi:http/incoming-handler` 0.2.
    Http02,
    /// An HTTP handler: it exports `wasi:http/handler` 0.3.
    Http03,
}

impl Role {
    const ALL: [(Role, &str, &str, &str); 4] = [
        (Role::Http02, "wasi:http", "incoming-handler", "0.2"),
        (Role::Http03, "wasi:http", "handler", "0.3"),
        (Role::Command02, "wasi:cli", "run", "0.2"),
        (Role::Command03, "wasi:cli", "run", "0.3"),
    ];

    /// A line for an operator.
    pub fn describe(self) -> &'static str {
        match self {
            Role::Command02 => "a command (WASI 0.2): run it with `millpond run`",
            Role::Command03 => "a command (WASI 0.3): run it with `millpond run`",
            Role::Http02 => "an HTTP handler (WASI 0.2): run it with `millpond serve`",
            Role::Http03 => "an HTTP handler (WASI 0.3): run it with `millpond serve`",
        }
    }
}

/// One import, and what the host has for it.
#[derive(Debug)]
pub struct Import {
    /// Its name.
    pub name: String,
    /// What the host has for it.
    pub support: Support,
}

/// What the host has for an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Support {
    /// The host provides it.
    Provided,
    /// The component runs, and traps when it calls a function of it.
    Traps,
    /// The host does not provide it, so the component cannot run.
    Missing,
}

pub(crate) fn imports(engine: &Engine, component: &Component) -> Vec<Import> {
    let component_type = component.component_type();
    let imports = || component_type.imports(engine);
    let is_spin_guest = imports().any(|(name, _)| spin::is_spin_interface(name));
    let imports = imports().map(|(name, import)| {
        let support = if is_provided(name) || needs_nothing(engine, &import.ty) {
            Support::Provided
        } else if is_spin_guest && spin::is_trapping_interface(name) {
            Support::Traps
        } else {
            Support::Missing
        };
        Import {
            name: name.to_string(),
            support,
        }
    });
    imports.collect()
}

pub(crate) fn exports(engine: &Engine, component: &Component) -> Vec<String> {
    let component_type = component.component_type();
    let exports = component_type.exports(engine);
    exports.map(|(name, _)| name.to_string()).collect()
}

/// How a component with these exports can run.
pub(crate) fn roles(exports: &[String]) -> Vec<Role> {
    let exported = |package, interface, version| {
        let mut names = exports.iter().filter_map(|name| Name::parse(name));
        names.any(|name| name.is(package, interface, version))
    };
    let roles = Role::ALL
        .iter()
        .filter(|(_, package, interface, version)| exported(*package, *interface, *version));
    roles.map(|(role, ..)| *role).collect()
}

fn is_provided(name: &str) -> bool {
    let Some(name) = Name::parse(name) else {
        return false;
    };
    PROVIDED.iter().any(|(package, version, interfaces)| {
        let mut interfaces = interfaces.iter();
        interfaces.any(|interface| name.is(package, interface, version))
    })
}

/// Plain types mean the same on both sides: the host need not provide them.
fn needs_nothing(engine: &Engine, item: &ComponentItem) -> bool {
    match item {
        ComponentItem::Type(_) => true,
        ComponentItem::ComponentInstance(instance) => instance
            .exports(engine)
            .all(|(_, export)| needs_nothing(engine, &export.ty)),
        _ => false,
    }
}

/// The parts of `package:name/interface@version`.
struct Name<'a> {
    package: &'a str,
    interface: &'a str,
    version: &'a str,
}

impl<'a> Name<'a> {
    fn parse(name: &'a str) -> Option<Name<'a>> {
        let (package, rest) = name.split_once('/')?;
        let (interface, version) = rest.split_once('@')?;
        Some(Name {
            package,
            interface,
            version,
        })
    }

    /// Whether this names `interface` in a version compatible with `version`, which is two numbers
    /// before 1.0, where both must be equal. A pre-release is compatible with itself only.
    fn is(&self, package: &str, interface: &str, version: &str) -> bool {
        let patch = self
            .version
            .strip_prefix(version)
            .and_then(|rest| rest.strip_prefix('.'));
        self.package == package
            && self.interface == interface
            && (self.version == version
                || patch.is_some_and(|patch| {
                    patch
                        .bytes()
                        .all(|byte| byte.is_ascii_digit() || byte == b'.')
                }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compatible_version_is_provided() {
        assert!(is_provided("wasi:io/streams@0.2.0"));
        assert!(is_provided("wasi:io/streams@0.2.12"));
        assert!(is_provided("millpond:sqlite/pool@0.1.0"));
        assert!(is_provided("jco:node/sqlite@0.1.0"));
        assert!(!is_provided("jco:node/fs@0.1.0"));
        assert!(!is_provided("wasi:io/streams@0.3.0"));
        assert!(!is_provided("wasi:io/streams@0.20.0"));
        assert!(!is_provided("wasi:http/types@0.3.0-rc-2026-03-15"));
        assert!(!is_provided("wasi:io/streams"));
        assert!(!is_provided("wasi:keyvalue/store@0.2.0"));
        assert!(is_provided("wasi:keyvalue/store@0.2.0-draft"));
        assert!(is_provided("wasi:keyvalue/store@0.2.0-draft2"));
        assert!(!is_provided("wasi:keyvalue/store@0.2.0-draft3"));
        assert!(!is_provided("streams"));
        assert!(is_provided("spin:sqlite/sqlite@3.1.0"));
        assert!(!is_provided("spin:sqlite/sqlite@4.0.0"));
    }

    #[test]
    fn exports_tell_how_to_run() {
        let roles_of =
            |names: &[&str]| roles(&names.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(roles_of(&["wasi:cli/run@0.2.3"]), [Role::Command02]);
        assert_eq!(
            roles_of(&["wasi:http/incoming-handler@0.2.9"]),
            [Role::Http02]
        );
        assert_eq!(roles_of(&["wasi:http/handler@0.3.0"]), [Role::Http03]);
        assert_eq!(roles_of(&["run", "acme:app/run@0.2.0"]), []);
    }
}
