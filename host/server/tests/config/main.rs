//! The configuration file: what it can say, and what is said about mistakes in it.

mod defaults;
mod documents;
mod mistakes;
mod routes;

use std::path::Path;

use millpond_server::config::{Config, Problems};

/// A component with a database in a file.
const SMALL: &str = "\
[components.app]
file = \"app.wasm\"
[components.app.grants.default]
database = \"app\"
[databases.app]
file = \"app.db\"
";

fn parse(text: &str) -> Result<Config, Problems> {
    Config::parse(text, Path::new("/etc/millpond/millpond.toml"))
}

#[test]
fn paths_are_relative_to_the_file() {
    let config = parse(SMALL).expect("right");
    let file = &config.components["app"].file;
    assert_eq!(file, Path::new("/etc/millpond/app.wasm"));
    let text = SMALL.replace("app.wasm", "/srv/app.wasm");
    let config = parse(&text).expect("right");
    assert_eq!(config.components["app"].file, Path::new("/srv/app.wasm"));
}

#[test]
fn a_configuration_is_made_without_a_file() {
    use millpond_server::config::{Component, Database, Grant, Name};
    let name = |name| Name::new(name).expect("a name");
    let mut grant = Grant::default();
    grant.database = "app".to_owned();
    let mut component = Component::default();
    component.file = "app.wasm".into();
    component.grants.insert(name("default"), grant);
    let mut database = Database::default();
    database.file = Some("app.db".into());
    let mut config = Config::default();
    config.components.insert(name("app"), component);
    config.databases.insert(name("app"), database);
    config.check().expect("right");
    assert_eq!(config.to_toml(), SMALL.replace("\n[", "\n\n["));

    config.server.max_requests = 0;
    config.databases.clear();
    let problems = config.check().expect_err("two mistakes");
    let keys: Vec<_> = problems.iter().map(|it| it.key().to_string()).collect();
    let expected = [
        "server.max-requests",
        "components.app.grants.default.database",
    ];
    assert_eq!(keys, expected);
    assert!(problems.iter().all(|problem| problem.place().is_none()));
}

#[test]
fn no_text_makes_it_panic() {
    let whole = millpond_server::config::commented().replace("\n#", "\n");
    bolero::check!()
        .with_type::<(u16, u16, Vec<u8>)>()
        .for_each(|(at, length, bytes)| {
            let new = String::from_utf8_lossy(bytes);
            let shown = |text: &str| match parse(text) {
                Ok(config) => config.to_toml(),
                Err(problems) => problems.to_string(),
            };
            shown(&new);
            let mut text = whole.clone();
            let start = text.floor_char_boundary(usize::from(*at) % text.len());
            let end = text.floor_char_boundary(start + usize::from(*length % 64));
            text.replace_range(start..end.max(start), &new);
            shown(&text);
        });
}
