//! `highlight(table, column, open, close)`: the text of a column with matches between `open` and
//! `close` (<https://sqlite.org/fts5.html#the_highlight_function>). SQLite's version copies its
//! whole result for each match: a guest's document of a megabyte takes minutes.

use std::ffi::CStr;

use rusqlite::ffi;

use super::call::{Answer, Auxiliary, Call, Failure, Pulse, Token, reserve};
use super::matches::{Match, Matches};
use crate::ffi::functions::until_nul;

pub(super) struct Highlight;

impl Auxiliary for Highlight {
    const NAME: &CStr = c"highlight";

    fn run(call: &Call<'_>) -> Result<Answer, Failure> {
        if call.argument_count() != 3 {
            let message = "wrong number of arguments to function highlight()";
            return Err(Failure::Message(message));
        }
        let column = call.column(0);
        let text = match call.column_text(column) {
            Err(Failure::Code(ffi::SQLITE_RANGE)) => return Ok(Answer::Text(Vec::new())),
            Err(failure) => return Err(failure),
            Ok(None) => return Ok(Answer::Null),
            Ok(Some(text)) => text,
        };
        let matches = Matches::of(call, column, text.len())?;
        let mut highlighter = Highlighter::new(call, text, matches, call.text(1), call.text(2));
        call.tokenize(column, text, |token| highlighter.token(token))?;
        highlighter.close_open()?;
        highlighter.copy_rest()?;
        Ok(Answer::Text(highlighter.result))
    }
}

/// Copies a text, token by token, with highlights.
pub(super) struct Highlighter<'a> {
    text: &'a [u8],
    open: &'a [u8],
    close: &'a [u8],
    /// The first and last token of a snippet. If the last is negative, all tokens.
    range: (i64, i64),
    matches: Matches,
    /// The current match, or the next.
    next: Option<Match>,
    /// The position of the next token.
    position: i64,
    /// The number of bytes that have been copied or skipped.
    copied: usize,
    is_open: bool,
    result: Vec<u8>,
    max_bytes: usize,
    pulse: Pulse<'a>,
}

impl<'a> Highlighter<'a> {
    pub(super) fn new(
        call: &Call<'a>,
        text: &'a [u8],
        mut matches: Matches,
        open: &'a [u8],
        close: &'a [u8],
    ) -> Highlighter<'a> {
        Highlighter {
            text,
            open,
            close,
            range: (0, -1),
            next: matches.next(),
            matches,
            position: 0,
            copied: 0,
            is_open: false,
            result: Vec::new(),
            max_bytes: call.max_text_bytes(),
            pulse: call.pulse(),
        }
    }

    /// Copy only the tokens from `first` to `last`, and highlight only matches that begin there.
    pub(super) fn limit_to(&mut self, first: i64, last: i64) {
        self.range = (first, last);
        while self.next.is_some_and(|next| next.first < first) {
            self.next = self.matches.next();
        }
    }

    pub(super) fn token(&mut self, token: &Token) -> Result<(), Failure> {
        self.pulse.beat()?;
        if token.is_colocated {
            return Ok(());
        }
        let position = self.position;
        self.position += 1;
        let (first, last) = self.range;
        if last >= 0 {
            if position < first || position > last {
                return Ok(());
            }
            if first > 0 && position == first {
                self.copied = token.start;
            }
        }
        // If tokens overlap, a highlight that is open stays open while the text before is skipped.
        let is_outside = self.next.is_none_or(|next| position <= next.first);
        if self.is_open && is_outside && token.start > self.copied {
            self.close()?;
        }
        if self.next.is_some_and(|next| position == next.first) && !self.is_open {
            self.copy_to(token.start)?;
            self.open()?;
        }
        if self.next.is_some_and(|next| position == next.last) {
            if !self.is_open {
                self.open()?;
            }
            self.copy_to(token.end)?;
            self.next = self.matches.next();
        }
        if last >= 0 && position == last {
            if self.is_open {
                if self.next.is_some_and(|next| position >= next.first) {
                    self.copy_to(token.end)?;
                }
                self.close()?;
            }
            self.copy_to(token.end)?;
        }
        Ok(())
    }

    pub(super) fn close_open(&mut self) -> Result<(), Failure> {
        match self.is_open {
            true => self.close(),
            false => Ok(()),
        }
    }

    pub(super) fn copy_rest(&mut self) -> Result<(), Failure> {
        self.copy_to(self.text.len())
    }

    /// Append a text that is not from the document.
    pub(super) fn append(&mut self, text: &[u8]) -> Result<(), Failure> {
        if self.result.len().saturating_add(text.len()) > self.max_bytes {
            return Err(Failure::Code(ffi::SQLITE_TOOBIG));
        }
        reserve(&mut self.result, text.len())?;
        self.result.extend_from_slice(text);
        Ok(())
    }

    pub(super) fn into_result(self) -> Vec<u8> {
        self.result
    }

    fn open(&mut self) -> Result<(), Failure> {
        self.is_open = true;
        self.append(self.open)
    }

    fn close(&mut self) -> Result<(), Failure> {
        self.is_open = false;
        self.append(self.close)
    }

    fn copy_to(&mut self, end: usize) -> Result<(), Failure> {
        // SQLite copies C strings, which end at a NUL.
        let part = until_nul(self.text.get(self.copied..end).unwrap_or_default());
        self.copied = end;
        self.append(part)
    }
}
