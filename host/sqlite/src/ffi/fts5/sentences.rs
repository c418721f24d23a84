//! Finds sentences in a text: they begin at its first token, and after a full stop or a colon
//! followed by space.

use super::call::{Call, Failure, Token, reserve};

/// The positions of the first tokens of sentences, in ascending order.
pub(super) fn starts(call: &Call<'_>, column: i32, text: &[u8]) -> Result<Vec<u32>, Failure> {
    let mut starts = Vec::new();
    let mut pulse = call.pulse();
    let mut position = 0;
    let mut before = Before::default();
    call.tokenize(column, text, |token: &Token| {
        pulse.beat()?;
        if token.is_colocated {
            return Ok(());
        }
        let begins = position == 0 || matches!(before.token(text, token.start), Some(b'.' | b':'));
        if begins {
            reserve(&mut starts, 1)?;
            starts.push(position);
        }
        position += 1;
        Ok(())
    })?;
    Ok(starts)
}

/// The last non-space byte before a token.
#[derive(Default)]
struct Before {
    /// The position up to which the text has been read.
    to: usize,
    found: Option<u8>,
}

impl Before {
    /// `None` if there is none, or no space between it and the token. Reads each byte once, however
    /// many tokens begin after the same space: a guest's table may make a token of each character.
    fn token(&mut self, text: &[u8], start: usize) -> Option<u8> {
        if start < self.to {
            *self = Before::default();
        }
        let new = text.get(self.to..start).unwrap_or_default();
        if let Some(byte) = new.iter().rev().find(|byte| !is_space(**byte)) {
            self.found = Some(*byte);
        }
        self.to = start;
        let is_behind_space = start > 0 && text.get(start - 1).is_some_and(|byte| is_space(*byte));
        self.found.filter(|_| is_behind_space)
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}
