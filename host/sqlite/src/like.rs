//! Matches `LIKE` and `GLOB` patterns (<https://sqlite.org/lang_expr.html#like>), and can be
//! stopped. SQLite's own code takes time proportional to the product of the lengths, in one call
//! that checks no deadline, and recurses for each wildcard.

/// One element of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// Any number of characters.
    Many,
    /// Any one character.
    One,
    /// This character. An ASCII letter matches in either case, if the pattern ignores case.
    Character(u32),
    /// A character in these ranges, or in none of them.
    Set {
        ranges: Vec<(u32, u32)>,
        invert: bool,
    },
}

/// A parsed pattern.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    tokens: Vec<Token>,
    /// Whether to ignore the case of ASCII letters.
    same_case: bool,
}

/// The matching was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stopped;

/// Steps of matching between two checks of whether to stop: about 0.1 ms.
const STOP_INTERVAL: u32 = 1 << 15;

impl Pattern {
    /// Parse a pattern of `LIKE`, in which the character after `escape` is literal. `None` if the
    /// pattern cannot match anything.
    pub(crate) fn like(mut pattern: &[u8], escape: Option<u32>) -> Option<Pattern> {
        let mut tokens = Vec::new();
        while let Some(character) = next(&mut pattern) {
            tokens.push(match character {
                escaped if Some(escaped) == escape => Token::Character(next(&mut pattern)?),
                PERCENT => Token::Many,
                UNDERSCORE => Token::One,
                other => Token::Character(fold(other)),
            });
        }
        for token in &mut tokens {
            if let Token::Character(character) = token {
                *character = fold(*character);
            }
        }
        Some(Pattern {
            tokens,
            same_case: true,
        })
    }

    /// Parse a pattern of `GLOB`. `None` if it cannot match anything.
    pub(crate) fn glob(mut pattern: &[u8]) -> Option<Pattern> {
        let mut tokens = Vec::new();
        while let Some(character) = next(&mut pattern) {
            tokens.push(match character {
                STAR => Token::Many,
                QUESTION => Token::One,
                BRACKET => set(&mut pattern)?,
                other => Token::Character(other),
            });
        }
        Some(Pattern {
            tokens,
            same_case: false,
        })
    }

    /// Whether it matches the whole text. Calls `must_stop` now and then.
    pub(crate) fn matches(
        &self,
        mut text: &[u8],
        must_stop: impl Fn() -> bool,
    ) -> Result<bool, Stopped> {
        let mut tokens = self.tokens.as_slice();
        // Where to retry if what follows the last `Many` does not match: one character later.
        let mut again: Option<(&[Token], &[u8])> = None;
        let mut steps = 0;
        loop {
            steps += 1;
            if steps % STOP_INTERVAL == 0 && must_stop() {
                return Err(Stopped);
            }
            let fits = match tokens.split_first() {
                None => text.is_empty(),
                Some((Token::Many, rest)) => {
                    if rest.is_empty() {
                        return Ok(true);
                    }
                    (tokens, again) = (rest, Some((rest, text)));
                    continue;
                }
                Some((token, rest)) => {
                    let mut after = text;
                    let character = next(&mut after);
                    let fits = character.is_some_and(|character| self.fits(token, character));
                    if fits {
                        (tokens, text) = (rest, after);
                        continue;
                    }
                    false
                }
            };
            if fits {
                return Ok(true);
            }
            // Only the last `Many` needs to be retried: the parts before it have matched as early
            // as possible, and matching them later cannot help.
            let Some((rest, from)) = &mut again else {
                return Ok(false);
            };
            if next(from).is_none() {
                return Ok(false);
            }
            if let Some(Token::Character(character @ ..0x80)) = rest.first() {
                *from = &from[self.find(*character as u8, from)..];
            }
            (tokens, text) = (rest, from);
        }
    }

    fn fits(&self, token: &Token, character: u32) -> bool {
        match token {
            Token::Many => false,
            Token::One => true,
            Token::Character(wanted) if self.same_case => *wanted == fold(character),
            Token::Character(wanted) => *wanted == character,
            Token::Set { ranges, invert } => {
                let mut ranges = ranges.iter();
                ranges.any(|(from, to)| (*from..=*to).contains(&character)) != *invert
            }
        }
    }

    /// The position of the first such ASCII character, or the end of the text.
    fn find(&self, character: u8, text: &[u8]) -> usize {
        let found = match self.same_case {
            true => memchr::memchr2(character, character.to_ascii_uppercase(), text),
            false => memchr::memchr(character, text),
        };
        found.unwrap_or(text.len())
    }
}

const PERCENT: u32 = '%' as u32;
const UNDERSCORE: u32 = '_' as u32;
const STAR: u32 = '*' as u32;
const QUESTION: u32 = '?' as u32;
const BRACKET: u32 = '[' as u32;
const END: u32 = ']' as u32;
const NOT: u32 = '^' as u32;
const TO: u32 = '-' as u32;

/// Parse the rest of a set, after its `[`.
fn set(pattern: &mut &[u8]) -> Option<Token> {
    let mut ranges = Vec::new();
    let mut character = next(pattern)?;
    let invert = character == NOT;
    if invert {
        character = next(pattern)?;
    }
    // As the first character, `]` is part of the set.
    if character == END {
        ranges.push((END, END));
        character = next(pattern)?;
    }
    // A character that could begin a range.
    let mut prior = None;
    while character != END {
        let last = pattern.first().is_none_or(|next| *next == b']');
        match prior {
            Some(from) if character == TO && !last => {
                ranges.push((from, next(pattern)?));
                prior = None;
            }
            _ => {
                ranges.push((character, character));
                prior = Some(character);
            }
        }
        character = next(pattern)?;
    }
    Some(Token::Set { ranges, invert })
}

fn fold(character: u32) -> u32 {
    match char::from_u32(character) {
        Some(character) => character.to_ascii_lowercase() as u32,
        None => character,
    }
}

/// The next character, decoded like SQLite does, even if it is not UTF-8: a first byte takes all
/// continuation bytes that follow, and a stray continuation byte stands for itself.
pub(crate) fn next(text: &mut &[u8]) -> Option<u32> {
    let (first, rest) = text.split_first()?;
    *text = rest;
    let first = u32::from(*first);
    let mut character = match first {
        ..0xC0 => return Some(first),
        0xC0..0xE0 => first & 0x1F,
        0xE0..0xF0 => first & 0x0F,
        0xF0..0xF8 => first & 0x07,
        0xF8..0xFC => first & 0x03,
        0xFC..0xFE => first & 0x01,
        _ => 0,
    };
    while let Some((byte @ 0x80..0xC0, rest)) = text.split_first() {
        character = (character << 6).wrapping_add(u32::from(byte & 0x3F));
        *text = rest;
    }
    let replaced =
        character < 0x80 || character & 0xFFFF_F800 == 0xD800 || character & 0xFFFF_FFFE == 0xFFFE;
    Some(if replaced { 0xFFFD } else { character })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_match_that_takes_long_is_stopped() {
        let text = vec![b'a'; 1 << 20];
        let pattern = format!("%a{}b", "_".repeat(900));
        let pattern = Pattern::like(pattern.as_bytes(), None).expect("a pattern");
        assert_eq!(pattern.matches(&text, || true), Err(Stopped));
        // A quick match is not stopped.
        let pattern = Pattern::like(b"a%", None).expect("a pattern");
        assert_eq!(pattern.matches(&text, || true), Ok(true));
    }
}
