//! A note, and the draft that a client sends to create or replace one.

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// The maximum length of a title, in characters.
const MAX_TITLE: usize = 200;

/// The maximum length of a body, in characters. A full page of notes stays below 5 MB with it.
const MAX_BODY: usize = 20_000;

/// A note as stored and as shown by the API.
#[derive(Debug, Serialize)]
pub(crate) struct Note {
    pub(crate) id: i64,
    pub(crate) title: String,
    pub(crate) body: String,
    /// When it was created, in UTC (RFC 3339).
    pub(crate) created: String,
    /// When it was last changed, in UTC (RFC 3339).
    pub(crate) updated: String,
    /// From 1; each change adds 1.
    pub(crate) version: i64,
}

/// What a client sends. Other fields are ignored, so that a note may be sent back as received.
#[derive(Debug, Deserialize, PartialEq)]
pub(crate) struct Draft {
    pub(crate) title: String,
    #[serde(default)]
    pub(crate) body: String,
}

impl Draft {
    /// Parses a draft from JSON, and trims its title.
    pub(crate) fn from_json(json: &[u8]) -> Result<Draft, Failure> {
        let mut draft: Draft = serde_json::from_slice(json).map_err(|error| {
            if error.is_data() {
                Failure::invalid_note(format!("not a valid note: {error}"))
            } else {
                Failure::bad_json(error.to_string())
            }
        })?;
        draft.title = draft.title.trim().to_owned();
        if draft.title.is_empty() {
            return Err(Failure::invalid_note("a note needs a title".to_owned()));
        }
        for (name, text, limit) in [
            ("title", &draft.title, MAX_TITLE),
            ("body", &draft.body, MAX_BODY),
        ] {
            let length = text.chars().count();
            if length > limit {
                return Err(Failure::invalid_note(format!(
                    "the {name} has {length} characters, but may have at most {limit}"
                )));
            }
        }
        Ok(draft)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(json: impl AsRef<[u8]>) -> u16 {
        Draft::from_json(json.as_ref()).unwrap_err().status()
    }

    #[test]
    fn a_note_may_be_sent_back_as_it_came() {
        let json = r#"{"id": 7, "title": " Milk ", "created": "2026-01-01T00:00:00.000Z"}"#;
        let draft = Draft::from_json(json.as_bytes()).unwrap();
        let expected = Draft {
            title: "Milk".to_owned(),
            body: String::new(),
        };
        assert_eq!(draft, expected);
    }

    #[test]
    fn invalid_json_and_invalid_notes_have_different_errors() {
        for json in ["", "{", "title=Milk", r#"{"title": "x"} y"#] {
            assert_eq!(status(json), 400, "{json}");
        }
        assert_eq!(status(b"{\"title\": \"\xff\"}"), 400);
        for json in ["[]", "7", "{}", r#"{"title": 7}"#, r#"{"title": " \n"}"#] {
            assert_eq!(status(json), 422, "{json}");
        }
    }

    #[test]
    fn lengths_are_counted_in_characters() {
        let note = |title: usize, body: usize| {
            let (title, body) = ("ü".repeat(title), "ü".repeat(body));
            format!(r#"{{"title": "{title}", "body": "{body}"}}"#)
        };
        assert!(Draft::from_json(note(MAX_TITLE, MAX_BODY).as_bytes()).is_ok());
        assert_eq!(status(note(MAX_TITLE + 1, 0)), 422);
        assert_eq!(status(note(1, MAX_BODY + 1)), 422);
    }
}
