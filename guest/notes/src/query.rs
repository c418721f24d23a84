//! The query of a URL: `?search=…&page=…`.

use crate::failure::Failure;

/// Which notes to list.
#[derive(Debug, PartialEq)]
pub(crate) struct ListQuery {
    /// As typed; empty for all notes.
    pub(crate) search: String,
    /// From 1.
    pub(crate) page: u32,
}

/// The maximum length of a search, in characters.
const MAX_SEARCH: usize = 200;

impl ListQuery {
    /// Parses a query. Missing names have their defaults; unknown names are ignored.
    pub(crate) fn parse(query: &str) -> Result<ListQuery, Failure> {
        let mut list = ListQuery {
            search: String::new(),
            page: 1,
        };
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = || decode(value).ok_or_else(Failure::bad_query);
            match name {
                "search" => list.search = value()?,
                "page" => match value()?.parse() {
                    Ok(page) if page > 0 => list.page = page,
                    _ => return Err(Failure::bad_page()),
                },
                _ => {}
            }
        }
        if list.search.chars().count() > MAX_SEARCH {
            return Err(Failure::bad_search(format!(
                "a search may have at most {MAX_SEARCH} characters"
            )));
        }
        Ok(list)
    }
}

/// Decodes percent-encoding; `None` if invalid.
fn decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_as_browsers_write_it() {
        let list = |search: &str, page| {
            let search = search.to_owned();
            ListQuery { search, page }
        };
        for (query, expected) in [
            ("", list("", 1)),
            ("search=", list("", 1)),
            ("page=4294967295", list("", u32::MAX)),
            ("search=caf%C3%A9+au%20lait&page=2", list("café au lait", 2)),
            ("page=3&search=a%26b%3D%2B&other=%zz", list("a&b=+", 3)),
        ] {
            assert_eq!(ListQuery::parse(query).unwrap(), expected, "{query}");
        }
    }

    #[test]
    fn invalid_queries_are_refused() {
        let long = format!("search={}", "x".repeat(MAX_SEARCH + 1));
        for query in [
            "page=",
            "page",
            "page=0",
            "page=-1",
            "page=x",
            "page=4294967296",
            "search=%",
            "search=%4",
            "search=%+1",
            "search=%zz",
            "search=%ff",
            &long,
        ] {
            assert_eq!(
                ListQuery::parse(query).unwrap_err().status(),
                400,
                "{query}"
            );
        }
    }
}
