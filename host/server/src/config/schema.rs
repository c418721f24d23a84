//! The JSON schema of `millpond.toml`, for editors.

use serde_json::{Map, Value, json};

use crate::config::setting::{Bounds, Described, Form, Kind, Literal, Presence, Setting, Table};
use crate::config::{Config, address, endpoint, name, size, time};

/// The JSON schema of a configuration file, with each setting's meaning, default and bounds.
///
/// Sizes, durations and addresses are checked by patterns. Bounds of sizes and durations, which
/// JSON Schema cannot express, are in the descriptions, and what settings say about one another is
/// only checked by [`Config::parse`].
pub fn schema() -> Value {
    let mut schema = of_kind(&Config::kind());
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("millpond.toml");
    schema
}

fn of_kind(kind: &Kind) -> Value {
    match kind {
        Kind::Flag => json!({"type": "boolean"}),
        Kind::Count => json!({"type": "integer", "minimum": 0}),
        Kind::Text(Form::Any | Form::Secret) => json!({"type": "string"}),
        Kind::Text(Form::Path) => json!({"type": "string", "minLength": 1}),
        Kind::Text(Form::Address) => json!({"type": "string", "pattern": address::PATTERN}),
        Kind::Text(Form::Endpoint) => json!({"type": "string", "pattern": endpoint::PATTERN}),
        Kind::Text(Form::Duration) => json!({"type": "string", "pattern": time::PATTERN}),
        Kind::Text(Form::Size) => {
            json!({"type": ["string", "integer"], "pattern": size::PATTERN, "minimum": 0})
        }
        Kind::Choice(choices) => {
            let values = choices.iter().map(|(value, _)| *value);
            json!({"type": "string", "enum": values.collect::<Vec<_>>()})
        }
        Kind::List(kind) => json!({"type": "array", "items": of_kind(kind)}),
        Kind::Map(is_named, kind) => {
            let mut map = json!({"type": "object", "additionalProperties": of_kind(kind)});
            if *is_named {
                map["propertyNames"] = json!({"pattern": name::PATTERN});
            }
            map
        }
        Kind::Table(table) => of_table(table),
    }
}

fn of_table(table: &Table) -> Value {
    let properties = table.keys.iter();
    let properties = properties.map(|key| (key.name.clone(), of_key(key)));
    let required: Vec<_> = table
        .keys
        .iter()
        .filter(|key| matches!(key.presence, Presence::Required(_)))
        .map(|key| key.name.clone())
        .collect();
    let mut schema = json!({
        "type": "object",
        "description": table.about,
        "properties": properties.collect::<Map<_, _>>(),
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn of_key(key: &Described) -> Value {
    let mut schema = of_kind(&key.kind);
    schema["description"] = json!(description(key));
    if let Some(default) = key.default() {
        schema["default"] = of_literal(&default);
    }
    if let (Kind::Count, Some(Bounds { from, to })) = (&key.kind, &key.bounds) {
        schema["minimum"] = of_literal(from);
        schema["maximum"] = of_literal(to);
    }
    schema
}

fn description(key: &Described) -> String {
    let bounds = key.bounds.as_ref().map(Bounds::shown);
    let bounds = bounds.map_or(String::new(), |bounds| format!(" Allowed: {bounds}."));
    let unset = match key.presence {
        Presence::Unset(meaning) if key.default().is_none() => format!(" If unset: {meaning}."),
        _ => String::new(),
    };
    format!("{}{bounds}{unset}", key.about)
}

fn of_literal(literal: &Literal) -> Value {
    match *literal {
        Literal::Flag(flag) => json!(flag),
        Literal::Count(count) => json!(count),
        Literal::Text(text) => json!(text),
    }
}
