//! Random input: nothing panics, nothing that was not granted is revealed or changed, and the pool
//! is intact afterwards.
//!
//! Each target tries a thousand inputs. To run it for longer: `BOLERO_RANDOM_TEST_TIME_MS=3600000
//! cargo test --release -p millpond-sqlite --test fuzz`. Inputs that once failed are kept below
//! `__fuzz__`, and tried first.

use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use bolero::check;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use millpond_pool::{
    Access, Connection, ErrorKind, Grant, Parameters, Pool, Request, Rows, TableGrant, Value,
    block_on,
};
use millpond_sqlite::{PoolBuilder, Synchronous};

static NONE: Parameters = Parameters::NONE;

/// A value that no guest may see.
const SECRET: &str = "heron-7f3a";

struct Fixture {
    _folder: tempfile::TempDir,
    pool: Pool,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().expect("a folder");
    let pool = PoolBuilder::new()
        .max_size(2)
        .synchronous(Synchronous::Normal)
        .max_memory_bytes(8 << 20)
        .max_database_bytes(8 << 20)
        .open(folder.path().join("app.db"))
        .expect("a pool");
    let f = Fixture {
        _folder: folder,
        pool,
    };
    let setup = f.get(&f.grant());
    let script = format!(
        "CREATE TABLE vault(id INTEGER PRIMARY KEY, owner, secret);
         INSERT INTO vault VALUES (1, 'Ada', '{SECRET}');
         CREATE TABLE person(id INTEGER PRIMARY KEY, name, secret);
         INSERT INTO person VALUES (1, 'Ada', '{SECRET}');
         CREATE TABLE note(id INTEGER PRIMARY KEY AUTOINCREMENT, title, body);
         INSERT INTO note(title, body) VALUES ('one', 'still water');
         CREATE TABLE outbox(body); INSERT INTO outbox VALUES ('{SECRET}');
         CREATE VIEW open_vault AS SELECT owner, secret FROM vault;
         CREATE VIRTUAL TABLE words USING fts5(text); INSERT INTO words VALUES ('still water');
         CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1, y0, y1)"
    );
    block_on(setup.execute_script(&script)).expect("a schema");
    drop(setup);
    f
}

impl Fixture {
    fn grant(&self) -> Grant {
        // One connection may be used for all inputs, for any time.
        Grant::new(&self.pool, Access::ReadWrite).max_hold_time(Duration::MAX)
    }

    fn narrow(&self) -> Grant {
        let all = || TableGrant::new().read().insert().update().delete();
        self.grant()
            .max_statement_steps(20_000)
            .table("note", all())
            .table("words", all().shadow_tables())
            .table("boxes", all().shadow_tables())
            .table("person", TableGrant::new().read().insert().hide("secret"))
            .table("outbox", TableGrant::new().insert())
    }

    fn get(&self, grant: &Grant) -> Connection {
        block_on(grant.get(Access::ReadWrite, &Request::new())).expect("a connection")
    }

    fn vault(&self) -> Vec<Vec<Value>> {
        let connection = self
            .pool
            .get_blocking(Access::ReadOnly)
            .expect("a connection");
        assert!(!connection.in_transaction());
        let sql = "SELECT (SELECT group_concat(id || owner || secret) FROM vault),
                          (SELECT group_concat(body) FROM outbox WHERE body = 'heron-7f3a')";
        block_on(connection.query(sql, &NONE))
            .expect("the vault")
            .rows
            .to_vec()
    }
}

/// The words and signs of all attacks, and each attack: the pieces of the generated SQL.
static PIECES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/attacks");
    let mut pieces: Vec<String> = Vec::new();
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the attacks")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    for file in files {
        let text = std::fs::read_to_string(file).expect("a file of attacks");
        let attacks = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix('"'));
        for attack in attacks.filter_map(|line| line.strip_suffix("\",")) {
            if attack.contains(['«', '\\']) {
                continue;
            }
            pieces.push(attack.to_owned());
            let end_of_word = |c: char| !c.is_alphanumeric() && c != '_';
            pieces.extend(attack.split_inclusive(end_of_word).map(str::to_owned));
        }
    }
    pieces.sort();
    pieces.dedup();
    assert!(pieces.len() > 1_000, "{}", pieces.len());
    pieces
});

#[test]
fn sql_under_a_grant_of_tables() {
    let f = fixture();
    let vault = f.vault();
    check!()
        .with_type::<Vec<u16>>()
        .with_max_len(60)
        .for_each(|picked| {
            let mut sql = String::new();
            for piece in picked {
                sql.push_str(&PIECES[usize::from(*piece) % PIECES.len()]);
                sql.push(' ');
            }
            let connection = f.get(&f.narrow());
            let seen = block_on(connection.query(&sql, &NONE));
            assert!(!format!("{seen:?}").contains(SECRET), "{sql}");
            if let Err(error) = &seen {
                let kind = error.kind();
                assert!(
                    !matches!(kind, ErrorKind::Io | ErrorKind::Corrupt),
                    "{error:?}: {sql}"
                );
            }
            let _ = block_on(connection.execute_script(&sql));
            drop(connection);
            assert_eq!(f.vault(), vault, "{sql}");
            assert_eq!(f.pool.stats().in_use, 0);
        });
}

#[test]
fn sql_under_a_grant_for_reading() {
    let f = fixture();
    let version = |connection: &Connection| {
        let version = block_on(connection.query("PRAGMA data_version", &NONE));
        version.expect("a version").rows
    };
    // Sees each commit of others as another version.
    let other = f.get(&f.grant());
    let before = version(&other);
    let grant = Grant::new(&f.pool, Access::ReadOnly).max_statement_steps(20_000);
    check!()
        .with_type::<Vec<u16>>()
        .with_max_len(60)
        .for_each(|picked| {
            let pieces = picked
                .iter()
                .map(|piece| PIECES[usize::from(*piece) % PIECES.len()].as_str());
            let sql = pieces.collect::<Vec<_>>().join(" ");
            let connection = block_on(grant.get(Access::ReadOnly, &Request::new()));
            let connection = connection.expect("a connection");
            let _ = block_on(connection.execute_script(&sql));
            drop(connection);
            assert_eq!(version(&other), before, "{sql}");
        });
}

#[test]
fn bytes_as_sql() {
    let f = fixture();
    check!().for_each(|bytes| {
        let sql = String::from_utf8_lossy(bytes);
        let connection = f.get(&f.narrow());
        let seen = block_on(connection.query(&sql, &NONE));
        assert!(!format!("{seen:?}").contains(SECRET), "{sql}");
    });
}

#[test]
fn rows_and_parameters() {
    type Parts = (u8, Vec<(u8, u64, Vec<u8>)>, Vec<u8>, u16);
    let f = fixture();
    let connection = f.get(&f.grant());
    block_on(connection.execute("CREATE TABLE t(a, b)", &NONE)).expect("a table");
    let count = || {
        let table = block_on(connection.query("SELECT count(*) FROM t", &NONE)).expect("a count");
        match table.rows.to_vec()[0][0] {
            Value::Integer(count) => count,
            ref other => panic!("{other:?}"),
        }
    };
    check!()
        .with_type::<Parts>()
        .cloned()
        .for_each(|(how, values, noise, place)| {
            let width = 1 + values.len() % 2;
            let mut bytes = (width as u32).to_le_bytes().to_vec();
            for (code, number, text) in &values {
                let code = 1 + code % 5;
                bytes.push(code);
                match code {
                    1 | 2 => bytes.extend(number.to_le_bytes()),
                    3 | 4 => {
                        bytes.extend((text.len() as u32).to_le_bytes());
                        bytes.extend(text);
                    }
                    _ => {}
                }
            }
            // Valid, or damaged.
            let place = usize::from(place) % bytes.len();
            match how % 4 {
                0 => bytes.clone_from(&noise),
                1 => bytes.truncate(place),
                2 => bytes[place] = noise.first().copied().unwrap_or(6),
                _ => {}
            }
            let sql = [
                "INSERT INTO t VALUES (?1, 1)",
                "INSERT INTO t VALUES (?1, ?2)",
            ][width - 1];
            let statement = block_on(connection.prepare(sql)).expect("a statement");
            let before = count();
            let mut expected = 0;
            let refused = [ErrorKind::Parameters, ErrorKind::NotUtf8];
            match Rows::from_bytes(bytes.clone()) {
                Ok(rows) => {
                    assert!(rows.is_empty() || rows.as_bytes() == bytes);
                    assert_eq!(Rows::from_rows(rows.to_vec()).as_ref(), Ok(&rows));
                    let done = block_on(statement.execute_many(&rows));
                    let fits = rows.is_empty() || rows.width() == width;
                    assert_eq!(done.is_ok(), fits, "{done:?}");
                    expected += if fits { rows.len() as i64 } else { 0 };
                }
                Err(error) => assert!(refused.contains(&error.kind()), "{error:?}"),
            }
            match Parameters::from_bytes(bytes) {
                Ok(parameters) => {
                    assert_eq!(parameters.iter().count(), parameters.len());
                    let done = block_on(statement.execute(&parameters));
                    expected += i64::from(done.is_ok());
                }
                Err(error) => assert!(refused.contains(&error.kind()), "{error:?}"),
            }
            assert_eq!(count() - before, expected);
        });
}

#[test]
fn names_of_databases() {
    let root = tempfile::tempdir().expect("a folder");
    let inner = root.path().join("inner");
    std::fs::create_dir(&inner).expect("a folder");
    let dir = Dir::open_ambient_dir(&inner, ambient_authority()).expect("the folder");
    check!()
        .with_type::<(Vec<u8>, Vec<u8>)>()
        .for_each(|(picked, more)| {
            const PARTS: &[&str] = &[
                "a", "..", "/", ".", "\\", ":", "file:", "?mode=ro", "\0", "-wal", "%2e", " ", "é",
            ];
            let parts = picked
                .iter()
                .map(|part| PARTS[usize::from(*part) % PARTS.len()]);
            let name = parts.collect::<String>() + &String::from_utf8_lossy(more);
            let opened = PoolBuilder::new().open_in(&dir, &name);
            drop(opened);
            let outside = std::fs::read_dir(root.path()).expect("the folder").count();
            assert_eq!(outside, 1, "{name:?}");
            for entry in std::fs::read_dir(&inner).expect("the folder") {
                let path = entry.expect("an entry").path();
                assert!(path.is_file(), "{name:?}: {path:?}");
                std::fs::remove_file(path).expect("removed");
            }
        });
}

#[test]
fn settings() {
    check!()
        .with_type::<(u8, u64, u8)>()
        .for_each(|(which, number, shift)| {
            // Of any magnitude.
            let number = number >> (shift % 64);
            let time = Duration::from_nanos(number);
            let builder = PoolBuilder::new();
            let builder = match which % 11 {
                0 => builder.max_size(number as u32),
                1 => builder.max_idle(number as u32),
                2 => builder.timeout(time),
                3 => builder.busy_timeout(time),
                4 => builder.cache_size(number),
                5 => builder.mmap_size(number),
                6 => builder.statement_cache(number as usize),
                7 => builder.max_memory_bytes(number),
                8 => builder.max_database_bytes(number),
                9 => builder.max_value_bytes(number),
                _ => builder.max_result_bytes(number).max_page_bytes(number),
            };
            match builder.open_in_memory() {
                Ok(pool) => {
                    let connection = pool.get_blocking(Access::ReadWrite).expect("a connection");
                    block_on(connection.query("SELECT 1", &NONE)).expect("a row");
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Config, "{error:?}"),
            }
        });
}
