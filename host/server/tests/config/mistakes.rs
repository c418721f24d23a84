//! Mistakes: each is found at its place, all of a file together, and no secret is shown.

use millpond_server::config::ProblemKind::{
    self, Contradiction, Duplicate, InvalidValue, MissingKey, OutOfBounds, Syntax, UnknownKey,
    UnknownName, WrongType,
};

use crate::{SMALL, parse};

/// The line, column, kind and key of each mistake.
pub(crate) fn mistakes(text: &str) -> Vec<(usize, usize, ProblemKind, String)> {
    let Err(problems) = parse(text) else {
        return Vec::new();
    };
    problems
        .iter()
        .map(|problem| {
            let place = problem.place().expect("a place");
            let key = problem.key().to_string();
            (place.line, place.column, problem.kind(), key)
        })
        .collect()
}

/// Asserts the mistakes of a text that follows `SMALL`, whose lines are counted from 1.
pub(crate) fn assert_after_small(text: &str, expected: &[(usize, usize, ProblemKind, &str)]) {
    let lines = SMALL.lines().count();
    let expected: Vec<_> = expected
        .iter()
        .map(|(line, column, kind, key)| (line + lines, *column, *kind, (*key).to_owned()))
        .collect();
    assert_eq!(mistakes(&format!("{SMALL}{text}")), expected, "{text}");
}

#[test]
fn all_mistakes_of_a_file_are_found_together() {
    let text = r#"
[server]
request-timeout = "soon"
max-requests = 5000
log-format = "jsn"
acces-log = false
compression = "yes"

[components.app]
file = "app.wasm"
max-memory-size = 65535
grants.default = { database = "ap", access = "write" }

[databases.app]
file = "app.db"
pool-size = 2
max-idle = 3

[[routes]]
component = "app"

[[routes]]
path = "/"
component = "shop"
"#;
    let found = mistakes(text);
    let expected = [
        (3, 19, InvalidValue, "server.request-timeout"),
        (4, 16, OutOfBounds, "server.max-requests"),
        (5, 14, InvalidValue, "server.log-format"),
        (6, 1, UnknownKey, "server.acces-log"),
        (7, 15, WrongType, "server.compression"),
        (11, 19, OutOfBounds, "components.app.max-memory-size"),
        (
            12,
            31,
            UnknownName,
            "components.app.grants.default.database",
        ),
        (12, 46, InvalidValue, "components.app.grants.default.access"),
        (17, 12, OutOfBounds, "databases.app.max-idle"),
        (22, 1, Duplicate, "routes[1]"),
        (24, 13, UnknownName, "routes[1].component"),
    ];
    let expected = expected.map(|(line, column, kind, key)| (line, column, kind, key.to_owned()));
    assert_eq!(found, expected);
    let problems = parse(text).expect_err("mistakes").to_string();
    for suggestion in [
        "did you mean `access-log`?",
        "did you mean `json`?",
        "did you mean `app`?",
        "\n  4 | max-requests = 5000\n    |                ^^^^",
    ] {
        assert!(problems.contains(suggestion), "{problems}");
    }
}

#[test]
fn a_file_that_is_not_toml_has_its_other_mistakes_too() {
    let text = "[server]\nfoo = 1\nmax-requests = 0\ngrace = \n[components.app]\nfile = 'x\n";
    let expected = [
        (2, 1, UnknownKey, "server.foo"),
        (3, 16, OutOfBounds, "server.max-requests"),
        (4, 9, Syntax, ""),
        (6, 10, Syntax, ""),
    ];
    let expected = expected.map(|(line, column, kind, key)| (line, column, kind, key.to_owned()));
    assert_eq!(mistakes(text), expected);
    assert_eq!(mistakes("\u{feff}[")[0].2, Syntax);
}

#[test]
fn what_is_missing_is_named() {
    let missing = |text: &str, key: &str| {
        let found = mistakes(text);
        let found = found.iter().map(|(.., kind, key)| (*kind, key.as_str()));
        assert_eq!(found.collect::<Vec<_>>(), [(MissingKey, key)], "{text}");
    };
    missing("", "components");
    missing("[components.a]\n", "components.a.file");
    missing(
        "components = { a = { file = 'a' }, b = { file = 'b' } }",
        "components",
    );
    missing(
        "[components.a]\nfile = 'a'\ngrants.x = {}",
        "components.a.grants.x.database",
    );
    let small = |more: &str| format!("{SMALL}{more}");
    missing(&small("[[routes]]"), "routes[0].component");
    missing(
        &small("[[listeners]]\ntls = { key = 'k' }"),
        "listeners[0].tls.certificate",
    );
    missing(
        &small(
            "[[routes]]\ncomponent = 'app'\ntenant = { from = 'claim', keys = ['k'], algorithm = 'EdDSA' }",
        ),
        "routes[0].tenant.claim",
    );
    missing(
        &small("backup = { every = '1h' }"),
        "databases.app.backup.folder",
    );
}

#[test]
fn telemetry_without_a_collector_has_no_effect() {
    assert_after_small(
        "[telemetry]\nquery-text = true\nservice-name = 'a'\n",
        &[
            (2, 14, Contradiction, "telemetry.query-text"),
            (3, 16, Contradiction, "telemetry.service-name"),
        ],
    );
    assert_after_small(
        "[telemetry]\nopentelemetry = 'https://collector:4318'\n",
        &[(2, 17, InvalidValue, "telemetry.opentelemetry")],
    );
    assert_after_small(
        "[telemetry]\nopentelemetry = 'http://collector:4318'\nquery-text = true\n",
        &[],
    );
}

#[test]
fn listeners_do_not_share_an_address() {
    let duplicate = [(4, 11, Duplicate, "listeners[1].address")];
    assert_after_small(
        "[[listeners]]\naddress = 'localhost:80'\n[[listeners]]\naddress = '127.0.0.1:80'\n",
        &duplicate,
    );
    assert_after_small(
        "[admin]\naddress = '127.0.0.1:8080'\n",
        &[(2, 11, Duplicate, "admin.address")],
    );
    assert_after_small(
        "[admin]\naddress = ':9090'\n",
        &[(2, 11, Contradiction, "admin.address")],
    );
    assert_after_small(
        "[admin]\naddress = ':9090'\nallow-other-machines = true\n",
        &[],
    );
    assert_after_small("[admin]\naddress = '[::1]:0'\n", &[]);
}

#[test]
fn a_database_is_in_one_place() {
    assert_after_small("[databases.b]\n", &[(1, 12, Contradiction, "databases.b")]);
    let text = "[databases.b]\nfile = 'b.db'\nmemory = true\n";
    assert_after_small(text, &[(1, 12, Contradiction, "databases.b")]);
    let text = "[databases.b]\nfile = ':memory:'\n";
    assert_after_small(text, &[(2, 8, InvalidValue, "databases.b.file")]);
    let text = "[databases.b]\nfile = 'libsql://db.example.com'\n";
    assert_after_small(text, &[(2, 8, InvalidValue, "databases.b.file")]);
}

#[test]
fn a_share_of_each_tenants_pool_has_no_effect() {
    let text = "[databases.b]\nfolder = 't'\n[components.b]\nfile = 'b.wasm'\n\
                [components.b.grants.x]\ndatabase = 'b'\nshare = 1\n\
                [[routes]]\ncomponent = 'app'\n\
                [[routes]]\npath = '/b'\ncomponent = 'b'\n\
                tenant = { from = 'header', header = 'x-tenant' }\n";
    let key = "components.b.grants.x.share";
    assert_after_small(text, &[(7, 1, Contradiction, key)]);
    assert_after_small(&text.replace("share = 1\n", ""), &[]);
}

#[test]
fn databases_do_not_share_files() {
    let twice = [(2, 8, Duplicate, "databases.b.file")];
    assert_after_small("[databases.b]\nfile = 'x/../app.db'\n", &twice);
    let text = "[databases.b]\nfolder = 't'\n[databases.c]\nfile = './t/c.db'\n";
    assert_after_small(text, &[(4, 8, Duplicate, "databases.c.file")]);
    let text = "[databases.b]\nfolder = 't'\n[databases.c]\nfolder = 't/../t'\n";
    assert_after_small(text, &[(4, 10, Duplicate, "databases.c.folder")]);
    let text = "[databases.b]\nfolder = 't'\nbackup = { folder = 't/b' }\n";
    assert_after_small(text, &[(3, 21, Contradiction, "databases.b.backup.folder")]);
    let backups = |place: &str| {
        format!(
            "backup = {{ folder = 'b' }}\n[databases.b]\n{place}\nbackup = {{ folder = 'b/' }}\n"
        )
    };
    let twice = [(4, 21, Duplicate, "databases.b.backup.folder")];
    assert_after_small(&backups("file = 'x/app.db'"), &twice);
    assert_after_small(&backups("file = 'other.db'"), &[]);
}

#[test]
fn a_setting_that_would_have_no_effect_is_a_mistake() {
    let refused = |place: &str, key: &str, value: &str| {
        let text = format!("[databases.b]\n{place}\n{key} = {value}\n");
        let name = format!("databases.b.{key}");
        assert_after_small(&text, &[(3, 1, Contradiction, &name)]);
    };
    const SERVER: &str = "url = 'libsql://db.example.com'";
    for key in [
        "max-database-size",
        "max-transaction-size",
        "max-connection-memory",
        "cache-size",
        "mmap-size",
    ] {
        refused(SERVER, key, "'64MiB'");
    }
    for (key, value) in [
        ("busy-timeout", "'5s'"),
        ("statement-cache", "128"),
        ("synchronous", "'full'"),
        ("max-open-pools", "3"),
        ("create", "true"),
        ("backup", "{ folder = 'b' }"),
    ] {
        refused(SERVER, key, value);
    }
    for (key, value) in [
        ("token-file", "'t'"),
        ("allow-plain-http", "true"),
        ("tenant-namespaces", "true"),
        ("namespace", "'n'"),
        ("certificate-authorities", "'c'"),
        ("server-enforces-tables", "true"),
        ("connect-timeout", "'1s'"),
    ] {
        refused("file = 'b.db'", key, value);
    }
    refused("file = 'b.db'", "max-open-pools", "100");
    refused("file = 'b.db'", "pool-idle-timeout", "'1s'");
    refused("memory = true", "backup", "{ folder = 'b' }");
    refused("memory = true", "read-only", "true");
    refused("memory = true", "migrations", "'m'");
}

#[test]
fn what_a_server_cannot_enforce_is_a_mistake() {
    const SERVER: &str = "[databases.s]\nurl = 'https://db.example.com'\n";
    let text = format!(
        "[components.b]\nfile = 'b'\n[components.b.grants.x]\ndatabase = 's'\n\
         max-statement-steps = 50\ntemporary = true\ntables.t = {{ allow = ['read'] }}\n\
         [[routes]]\ncomponent = 'b'\n{SERVER}max-value-size = '65MiB'\nmax-result-size = '257MiB'\n"
    );
    let expected = [
        (
            5,
            1,
            Contradiction,
            "components.b.grants.x.max-statement-steps",
        ),
        (6, 1, Contradiction, "components.b.grants.x.temporary"),
        (7, 1, Contradiction, "components.b.grants.x.tables"),
        (12, 18, OutOfBounds, "databases.s.max-value-size"),
        (13, 19, OutOfBounds, "databases.s.max-result-size"),
    ];
    assert_after_small(&text, &expected);
}

#[test]
fn limits_agree_with_one_another() {
    let text = "cache-size = '63MiB'\n";
    assert_after_small(text, &[(1, 14, OutOfBounds, "databases.app.cache-size")]);
    let text = "max-connection-memory = '3MiB'\n";
    assert_after_small(
        text,
        &[(1, 25, OutOfBounds, "databases.app.max-connection-memory")],
    );
    assert_after_small(
        "[server]\nmax-client-requests = 200\n",
        &[(2, 23, Contradiction, "server.max-client-requests")],
    );
    let found = mistakes(&format!("{SMALL}read-only = true\ncreate = true\n"));
    let expected = [
        // The access is not written: its table's place is shown.
        (3, 24, Contradiction, "components.app.grants.default.access"),
        (8, 1, Contradiction, "databases.app.create"),
    ];
    let expected = expected.map(|(line, column, kind, key)| (line, column, kind, key.to_owned()));
    assert_eq!(found, expected);
    let small = SMALL.replace("database = \"app\"", "database = \"app\"\nshare = 6");
    let found = mistakes(&small);
    let expected = "components.app.grants.default.share".to_owned();
    assert_eq!(found, [(5, 9, Contradiction, expected)]);
}

#[test]
fn grants_of_tables_are_checked() {
    let grant = |line: &str| {
        let text = SMALL.replace("database = \"app\"", &format!("database = \"app\"\n{line}"));
        let found = mistakes(&text).into_iter();
        found
            .map(|(.., kind, key)| (kind, key.replace("components.app.grants.default.", "")))
            .collect::<Vec<_>>()
    };
    let key = |kind, key: &str| vec![(kind, key.to_owned())];
    assert_eq!(
        grant("access = 'read-only'\ntables.t = { allow = ['read', 'insert'] }"),
        key(Contradiction, "tables.t.allow[1]")
    );
    assert_eq!(
        grant("access = 'read-only'\nschema = true"),
        key(Contradiction, "schema")
    );
    assert_eq!(
        grant("tables = { t = {}, T = {} }"),
        key(Duplicate, "tables.t")
    );
    assert_eq!(
        grant("tables.t = { allow = ['read', 'reed'] }"),
        key(InvalidValue, "tables.t.allow[1]")
    );
    assert_eq!(grant("tables.t = { allow = ['read'], hidden = ['x'] }"), []);
}

#[test]
fn no_message_shows_a_secret() {
    for text in [
        "[databases.s]\nurl = 'libsql://me:s3cret@db.example.com'\n",
        "[databases.s]\nurl = 'https://db.example.com?authToken=s3cret'\n",
        "[databases.s]\nurl = 's3cret'\n",
        "[databases.s]\nurl = ['s3cret']\n",
        "[databases.s]\nurl = 'https://db'\ntoken-file = 'eyJs3cret.s3cret.s3cret'\n",
        "[databases.s]\nurl = 'https://db'\ntoken = 's3cret'\n",
        "[databases.s]\nurl = 'https://db'\ntoken = s3cret\n",
        "[databases.s]\nurl = 'https://db', 's3cret'\n",
        "[databases.s]\nfile = 'libsql://me:s3cret@db.example.com'\n",
        "[databases.s]\nfile = \"\"\"\ns3cret\\q\"\"\"\n",
        "[components.b]\nfile = 'b'\nenv = { TOKEN = ['s3cret'] }\n",
        "[components.b]\nfile = 'b'\nenv = { A = 's3cret', B = 5, C = 's3cret' }\n",
        "[components.b]\nfile = 'b'\nenv = \"TOKEN=s3cret\"\n",
        "[components.b]\nfile = 'b' # s3cret\nfile = 's3cret'\n",
        "[components.b]\nfile = 'b'\ninherit-env = ['TOKEN=s3cret']\n",
        "[components.b]\nfile = 'b'\nenv = { \"TOKEN=s3cret\" = '' }\n",
        "[server]\n\"TOKEN=s3cret\" = ''\n",
        "[databases]\ns = { url = 'https://me:s3cret@db', pol-size = 5 } # s3cret\n",
    ] {
        let problems = parse(&format!("{SMALL}{text}")).expect_err(text);
        for shown in [problems.to_string(), format!("{problems:?}")] {
            assert!(!shown.contains("s3cret"), "{text}: {shown}");
        }
    }
    let text = format!("{SMALL}[databases.s]\nurl = 'https://s3cret'\n");
    let config = parse(&text).expect("right");
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn what_a_service_manager_tells_the_server_is_not_for_guests() {
    for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS"] {
        let inherited = format!("[components.app]\ninherit-env = ['HOME', '{name}']");
        let text = SMALL.replace("[components.app]", &inherited);
        let mistake = (
            2,
            24,
            InvalidValue,
            "components.app.inherit-env[1]".to_owned(),
        );
        assert_eq!(mistakes(&text), [mistake]);
    }
}
