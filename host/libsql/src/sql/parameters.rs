//! The parameters of a statement.

use std::collections::HashSet;

use millpond_pool::{Error, ErrorKind};

use super::token::{Kind, Token};

/// `SQLITE_LIMIT_VARIABLE_NUMBER`.
const MAX_PARAMETERS: usize = 32_766;

/// Whether a parameter has a name that is no number.
pub(super) fn is_named(name: &Option<&str>) -> bool {
    name.is_some_and(|name| !name.starts_with('?'))
}

/// The parameters' names, numbered as SQLite does (<https://sqlite.org/lang_expr.html#varparam>).
pub(super) fn names<'a>(tokens: &[Token<'a>]) -> Result<Vec<Option<&'a str>>, Error> {
    let mut names: Vec<Option<&str>> = Vec::new();
    let mut seen = HashSet::new();
    let too_many = || {
        let message = format!("a statement has more than {MAX_PARAMETERS} parameters");
        Err(Error::new(ErrorKind::Sql, message))
    };
    for token in tokens.iter().filter(|token| token.kind == Kind::Parameter) {
        match token.text.strip_prefix('?') {
            Some("") => names.push(None),
            Some(number) => {
                let number = number.parse().unwrap_or(usize::MAX);
                if number == 0 || number > MAX_PARAMETERS {
                    return too_many();
                }
                if names.len() < number {
                    names.resize(number, None);
                }
                names[number - 1] = Some(token.text);
            }
            None if !seen.insert(token.text) => {}
            None => names.push(Some(token.text)),
        }
        if names.len() > MAX_PARAMETERS {
            return too_many();
        }
    }
    Ok(names)
}

/// The text with numbers for all parameters, which start at `start` of a longer one; `None` where
/// they are all numbers, or all names. A server binds values to the one or the other, and not to
/// both in one statement.
pub(super) fn numbered(
    sql: &str,
    start: usize,
    tokens: &[Token<'_>],
    names: &[Option<&str>],
) -> Option<String> {
    if !names.iter().any(is_named) || names.iter().all(is_named) {
        return None;
    }
    let (mut numbered, mut copied, mut next) = (String::new(), 0, 0);
    for token in tokens.iter().filter(|token| token.kind == Kind::Parameter) {
        let known = names.iter().position(|name| *name == Some(token.text));
        // One without a name or number has the number after the highest before it.
        let index = known.unwrap_or(next);
        next = next.max(index + 1);
        numbered.push_str(&sql[copied..token.start - start]);
        numbered.push_str(&format!("?{}", index + 1));
        copied = token.end() - start;
    }
    numbered.push_str(&sql[copied..]);
    Some(numbered)
}
