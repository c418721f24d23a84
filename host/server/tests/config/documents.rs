//! The schema, the file of `millpond init`, and the reference: all made from the declarations.

use std::fs;

use millpond_server::config::{commented, reference, schema};
use serde_json::Value;

use crate::parse;

const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/CONFIGURATION.md");

/// With MILLPOND_BLESS, the page is written.
#[test]
fn the_reference_is_up_to_date() {
    if std::env::var_os("MILLPOND_BLESS").is_some() {
        fs::write(REFERENCE, reference()).expect("written");
    }
    let page = fs::read_to_string(REFERENCE).expect("CONFIGURATION.md");
    assert!(
        page == reference(),
        "set MILLPOND_BLESS and run this test again"
    );
}

#[test]
fn every_line_of_the_commented_file_can_be_used() {
    let text = commented();
    if let Err(problems) = parse(&text) {
        panic!("{problems}");
    }
    let mut used = 0;
    for (number, line) in text.lines().enumerate() {
        let Some(setting) = line.strip_prefix('#').filter(|line| !line.starts_with(' ')) else {
            continue;
        };
        if setting.is_empty() {
            continue;
        }
        used += 1;
        let lines = text.lines().enumerate();
        let lines = lines.map(|(other, line)| if other == number { setting } else { line });
        let text = lines.collect::<Vec<_>>().join("\n");
        let config = parse(&text).unwrap_or_else(|problems| panic!("{setting}: {problems}"));
        assert_eq!(parse(&config.to_toml()), Ok(config), "{setting}");
    }
    assert!(used > 60, "{used}");
}

#[test]
fn every_key_is_in_every_document() {
    let (commented, reference) = (commented(), reference());
    let mut keys = Vec::new();
    for (_, table) in schema()["properties"].as_object().expect("tables") {
        collect(table, &mut keys);
        collect(&table["items"], &mut keys);
        collect(&table["additionalProperties"], &mut keys);
    }
    assert!(keys.len() > 90, "{}", keys.len());
    for key in keys {
        assert!(commented.contains(&key), "millpond init: {key}");
        assert!(reference.contains(&format!("`{key}`")), "reference: {key}");
    }
}

/// The keys in all tables of a schema, each of which says what it means.
fn collect(schema: &Value, keys: &mut Vec<String>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        assert!(property["description"].is_string(), "{name}");
        keys.push(name.clone());
        collect(property, keys);
    }
    for inner in ["items", "additionalProperties"] {
        if schema[inner].is_object() {
            collect(&schema[inner], keys);
        }
    }
}

#[test]
fn documents_are_wrapped() {
    for (text, width) in [(commented(), 100), (reference(), 110)] {
        for line in text
            .lines()
            .filter(|line| !line.starts_with('#') || line.starts_with("# "))
        {
            assert!(line.chars().count() <= width, "{line}");
        }
    }
}
