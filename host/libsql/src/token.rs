//! The token that a server asks for. It is in no error, no log and no `Debug`.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use http::HeaderValue;
use millpond_pool::{Error, ErrorKind, Result};

/// Longer than any token is: what is larger is another file.
const MAX_BYTES: u64 = 64 * 1024;

/// Where a token comes from.
#[derive(Clone)]
pub(crate) enum Source {
    None,
    Text(String),
    File(PathBuf),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::None => "None",
            Source::Text(_) => "Text(..)",
            Source::File(_) => "File(..)",
        })
    }
}

/// The header `authorization`, as it is now.
pub(crate) struct Token {
    source: Source,
    header: RwLock<Option<HeaderValue>>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl Token {
    /// # Errors
    ///
    /// [`Config`](ErrorKind::Config): the file cannot be read, or what it holds is no token.
    pub(crate) fn new(source: Source) -> Result<Token> {
        let header = read(&source)?;
        Ok(Token {
            source,
            header: RwLock::new(header),
        })
    }

    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let header = self.header.read().unwrap_or_else(PoisonError::into_inner);
        header.clone()
    }

    /// The server has refused the token: perhaps its file has another one by now. Returns whether
    /// it has.
    pub(crate) fn renew(&self) -> bool {
        if !matches!(self.source, Source::File(_)) {
            return false;
        }
        match read(&self.source) {
            Ok(renewed) if renewed != self.header() => {
                *self.header.write().unwrap_or_else(PoisonError::into_inner) = renewed;
                true
            }
            _ => false,
        }
    }
}

fn read(source: &Source) -> Result<Option<HeaderValue>> {
    let text = match source {
        Source::None => return Ok(None),
        Source::Text(text) => text.clone(),
        Source::File(path) => read_file(path)?,
    };
    let header = HeaderValue::try_from(format!("Bearer {}", text.trim()));
    match header {
        Ok(mut header) if !text.trim().is_empty() => {
            header.set_sensitive(true);
            Ok(Some(header))
        }
        _ => Err(Error::new(
            ErrorKind::Config,
            "the token is empty, or has characters that no token has",
        )),
    }
}

fn read_file(path: &Path) -> Result<String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(text),
        // Not what the system says of it: that may have bytes of the file.
        Err(error) => Err(Error::new(
            ErrorKind::Config,
            format!("the token's file cannot be read: {}", error.kind()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_told_to_the_server_alone() {
        let token = Token::new(Source::Text("geheim\n".to_owned())).expect("a token");
        assert!(!format!("{token:?}").contains("geheim"));
        let header = token.header().expect("a header");
        assert!(!format!("{header:?}").contains("geheim"));
        assert_eq!(header.as_bytes(), b"Bearer geheim");
        let error = Token::new(Source::Text("geheim\u{7}".to_owned())).expect_err("no token");
        assert!(!error.to_string().contains("geheim"));
        assert!(Token::new(Source::Text(" \n".to_owned())).is_err());
    }

    #[test]
    fn a_file_is_read_again_when_its_token_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        assert!(Token::new(Source::File(path.clone())).is_err());
        std::fs::write(&path, "one\n").expect("written");
        let token = Token::new(Source::File(path.clone())).expect("a token");
        assert!(!token.renew(), "it is the same");
        std::fs::write(&path, "two\n").expect("written");
        assert!(token.renew());
        let header = token.header().expect("a header");
        assert_eq!(header.as_bytes(), b"Bearer two");
    }
}
