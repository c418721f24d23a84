//! Every mistake prints one line that begins with `millpond: `, and exits with code 2.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// An empty component: only the header.
const EMPTY_COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
/// An empty core module.
const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";

fn millpond(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_millpond"))
        .args(args)
        .current_dir(folder)
        .env_remove("DATABASE_PATH")
        .env_remove("DB_POOL_SIZE")
        .env_remove("DB_TIMEOUT")
        .output()
        .expect("the command starts")
}

/// Checks that the command refuses, and returns the line.
fn refused(folder: &Path, args: &[&str]) -> String {
    refused_with(2, folder, args)
}

/// As [`refused`], with this exit status.
fn refused_with(status: i32, folder: &Path, args: &[&str]) -> String {
    let output = millpond(folder, args);
    let stderr = String::from_utf8(output.stderr).expect("stderr is text");
    assert_eq!(output.status.code(), Some(status), "{args:?}: {stderr}");
    assert!(stderr.starts_with("millpond: "), "{args:?}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{args:?}: {stderr}");
    assert_eq!(output.stdout, b"", "{args:?}");
    stderr
}

fn folder_with(name: &str, contents: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join(name), contents).expect("the file is written");
    folder
}

/// Every command that takes a component.
const COMMANDS: [&[&str]; 3] = [
    &["run"],
    &["serve", "--listen", "127.0.0.1:0"],
    &["inspect"],
];

fn refused_by_all(contents: Option<&[u8]>) -> Vec<String> {
    let folder = match contents {
        Some(contents) => folder_with("x.wasm", contents),
        None => tempfile::tempdir().expect("a temporary folder"),
    };
    let commands = COMMANDS.iter();
    commands
        .map(|command| refused(folder.path(), &[command, &["x.wasm"][..]].concat()))
        .collect()
}

#[test]
fn a_component_that_is_not_there() {
    for line in refused_by_all(None) {
        assert!(line.contains("x.wasm"), "{line}");
    }
}

#[test]
fn a_core_module() {
    for line in refused_by_all(Some(CORE_MODULE)) {
        assert!(line.contains("core module"), "{line}");
    }
}

#[test]
fn a_file_that_is_not_webassembly() {
    for contents in [&b""[..], b"hello", b"(component)", b"\0asm", b"\0as"] {
        refused_by_all(Some(contents));
    }
}

#[test]
fn a_component_that_is_truncated_or_damaged() {
    let whole = importing("acme:thing/api@1.0.0");
    for cut in 1..20 {
        let folder = folder_with("x.wasm", &whole[..whole.len() - cut]);
        refused(folder.path(), &["inspect", "x.wasm"]);
    }
    refused_by_all(Some(&[EMPTY_COMPONENT, &[0xff; 100]].concat()));
}

#[test]
fn a_component_that_is_neither_a_command_nor_an_http_handler() {
    let folder = folder_with("x.wasm", EMPTY_COMPONENT);
    refused(folder.path(), &["run", "x.wasm"]);
    refused(
        folder.path(),
        &["serve", "--listen", "127.0.0.1:0", "x.wasm"],
    );
}

#[test]
fn a_mistake_leaves_no_database_behind() {
    let folder = folder_with("x.wasm", EMPTY_COMPONENT);
    refused(folder.path(), &["run", "--db", "app.db", "x.wasm"]);
    assert!(!folder.path().join("app.db").exists());
}

#[test]
fn inspect_names_what_is_missing() {
    let folder = folder_with("x.wasm", &importing("acme:thing/api@1.0.0"));
    let output = millpond(folder.path(), &["inspect", "x.wasm"]);
    assert_eq!(output.status.code(), Some(2));
    let stdout = String::from_utf8(output.stdout).expect("stdout is text");
    let mut lines = stdout.lines();
    assert!(
        lines.any(|line| line
            .split_whitespace()
            .eq(["missing", "acme:thing/api@1.0.0"])),
        "{stdout}"
    );
}

#[test]
fn neither_a_command_nor_a_handler() {
    let folder = folder_with("x.wasm", &importing("acme:thing/api@1.0.0"));
    refused(folder.path(), &["run", "x.wasm"]);
    refused(
        folder.path(),
        &["serve", "--listen", "127.0.0.1:0", "x.wasm"],
    );
}

#[test]
fn files_of_other_kinds_are_called_by_their_names() {
    for (contents, word) in [
        (&b""[..], "empty"),
        (b"(component)", "wasm-tools parse"),
        (b"hello", "not a WebAssembly file"),
    ] {
        for line in refused_by_all(Some(contents)) {
            assert!(line.contains(word), "{line}");
        }
    }
}

#[test]
fn a_database_that_is_only_read_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let args = ["run", "--db-read-only", "missing.db", "x.wasm"];
    refused(folder.path(), &args);
    assert!(!folder.path().join("missing.db").exists());
}

#[test]
fn an_invalid_address_of_counters() {
    for address in ["", "127.0.0.1", "https://127.0.0.1:1", "x"] {
        let line = refused(Path::new("."), &["stats", address]);
        assert!(line.contains("127.0.0.1:9090"), "{line}");
    }
}

#[test]
fn a_port_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("its address").to_string();
    let folder = folder_with("x.wasm", EMPTY_COMPONENT);
    // It may be free again when the server is started the next time.
    let line = refused_with(1, folder.path(), &["serve", "--listen", &address, "x.wasm"]);
    assert!(
        line.contains(&address) && line.contains("--listen"),
        "{line}"
    );
}

#[test]
fn a_server_of_counters_that_is_not_there() {
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
    let address = closed.expect("a port that is free again").to_string();
    let line = refused(Path::new("."), &["stats", &address]);
    assert!(line.contains(&address), "{line}");
}

#[test]
fn databases_that_cannot_be_migrated() {
    let folder = folder_with("damaged.db", &[b'x'; 4096]);
    let migrations = folder.path().join("migrations");
    fs::create_dir(&migrations).expect("a folder");
    fs::write(migrations.join("001-a.sql"), "CREATE TABLE a(b);").expect("a migration");
    let bad = folder.path().join("bad");
    fs::create_dir(&bad).expect("a folder");
    fs::write(bad.join("001-a.sql"), "CREATE TABEL a(b);").expect("a migration");

    fs::create_dir(folder.path().join("empty")).expect("a folder");

    for args in [
        &["--db", "damaged.db", "--migrations", "migrations"][..],
        &["--db", "nowhere/app.db", "--migrations", "migrations"],
        &["--db", "migrations", "--migrations", "migrations"],
        &["--db", ":memory:", "--migrations", "migrations"],
        &["--db", "app.db", "--migrations", "nowhere"],
        &["--db", "app.db", "--migrations", "bad"],
        &["--db", "app.db", "--migrations", "empty"],
        &["--db", "app.db", "--migrations", "other=migrations"],
        &[
            "--db",
            "app.db",
            "--db",
            "app2.db",
            "--migrations",
            "migrations",
        ],
        &["--migrations", "migrations"],
        &["--db", "app.db"],
    ] {
        refused(folder.path(), &[&["migrate"], args].concat());
    }
}

#[test]
fn migrations_are_applied_once() {
    let folder = folder_with("001-a.sql", b"CREATE TABLE a(b);");
    let args = ["migrate", "--db", "app.db", "--migrations", "."];
    for word in [
        "app.db: applied 001-a.sql\n",
        "app.db: already applied 001-a.sql\n",
    ] {
        let output = millpond(folder.path(), &args);
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(String::from_utf8(output.stdout).expect("text"), word);
    }
}

/// A component that imports an instance with one function, `f`. See the component model's
/// binary format: <https://github.com/WebAssembly/component-model/blob/main/design/mvp/Binary.md>.
fn importing(interface: &str) -> Vec<u8> {
    // The type of a function without parameters and result, then an export `f` of that type.
    const INSTANCE_TYPE: &[u8] = &[
        1, 0x42, 2, 0x01, 0x40, 0, 0x01, 0x00, 0x04, 0x00, 1, b'f', 0x01, 0x00,
    ];
    let length = u8::try_from(interface.len()).expect("a short name");
    let mut import = vec![1, 0x00, length];
    import.extend(interface.as_bytes());
    import.extend([0x05, 0x00]);

    let mut component = EMPTY_COMPONENT.to_vec();
    for (id, section) in [(7, INSTANCE_TYPE), (10, &import)] {
        component.push(id);
        component.push(u8::try_from(section.len()).expect("a short section"));
        component.extend(section);
    }
    component
}
