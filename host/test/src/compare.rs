//! Compares what is expected with what was answered, and shows the difference.

use serde_json::Value;
use similar::TextDiff;

/// In expected JSON, this string means any value.
pub(crate) const ANYTHING: &str = "…";

/// Where two texts differ, by line: `-` is expected, `+` was answered. `None` if they are equal.
pub(crate) fn lines(expected: &str, actual: &str) -> Option<String> {
    if expected == actual {
        return None;
    }
    let diff = TextDiff::from_lines(expected, actual);
    let mut text = String::from("- expected\n+ answered\n");
    for hunk in diff.unified_diff().context_radius(3).iter_hunks() {
        text.push_str(&hunk.to_string());
    }
    Some(text)
}

/// Where two files differ: by line if both are text. `None` if they are equal.
pub(crate) fn bytes(expected: &[u8], actual: &[u8]) -> Option<String> {
    if expected == actual {
        return None;
    }
    if let (Ok(expected), Ok(actual)) = (str::from_utf8(expected), str::from_utf8(actual)) {
        return lines(expected, actual);
    }
    let same = expected.iter().zip(actual).take_while(|(a, b)| a == b);
    Some(format!(
        "{} bytes were answered, not {}: they differ from byte {}\n",
        actual.len(),
        expected.len(),
        same.count()
    ))
}

/// The text with each line trimmed, without empty lines, and with a line end after the last.
pub(crate) fn trimmed(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| format!("{line}\n")).collect()
}

/// Where two JSON values differ. `None` if they are equal.
pub(crate) fn json(expected: &Value, actual: &Value) -> Option<String> {
    let wanted = updated(expected, actual);
    if wanted == *expected {
        return None;
    }
    lines(&format!("{expected:#}\n"), &format!("{wanted:#}\n"))
}

/// What was answered, with [`ANYTHING`] where it is expected.
pub(crate) fn updated(expected: &Value, actual: &Value) -> Value {
    match (expected, actual) {
        (Value::String(text), _) if text == ANYTHING => expected.clone(),
        (Value::Object(expected), Value::Object(actual)) => {
            let member = |(key, value): (&String, &Value)| {
                let known = expected.get(key);
                let value = known.map_or_else(|| value.clone(), |known| updated(known, value));
                (key.clone(), value)
            };
            Value::Object(actual.iter().map(member).collect())
        }
        (Value::Array(expected), Value::Array(actual)) => {
            let element = |(index, value): (usize, &Value)| match expected.get(index) {
                Some(known) => updated(known, value),
                None => value.clone(),
            };
            Value::Array(actual.iter().enumerate().map(element).collect())
        }
        _ => actual.clone(),
    }
}
