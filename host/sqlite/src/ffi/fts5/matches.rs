//! What to highlight in a text: the instances of the query's phrases, merged if they overlap.

use std::ffi::c_int;

use super::call::{Call, Failure, reserve};

/// Ranges of tokens, in ascending order.
pub(super) struct Matches {
    /// For each position, one more than the last position of the longest instance that begins
    /// there; 0 if none does.
    ends: Vec<u32>,
    at: usize,
}

/// The first and the last token.
#[derive(Clone, Copy)]
pub(super) struct Match {
    pub(super) first: i64,
    pub(super) last: i64,
}

impl Matches {
    /// The matches in a column whose text has `text_len` bytes.
    pub(super) fn of(call: &Call<'_>, column: c_int, text_len: usize) -> Result<Matches, Failure> {
        let mut ends: Vec<u32> = Vec::new();
        let mut size_of = (usize::MAX, 0);
        call.instances()?
            .in_column(call, column, |phrase, position| {
                let Ok(position) = usize::try_from(position) else {
                    return Ok(());
                };
                // The text has fewer tokens: the indexed text differs from the table's content,
                // which may be a guest's own table.
                if position >= text_len {
                    return Ok(());
                }
                if size_of.0 != phrase {
                    size_of = (phrase, call.phrase_size(phrase)?);
                }
                let size = u32::try_from(size_of.1).unwrap_or(0);
                if position >= ends.len() {
                    let more = position + 1 - ends.len();
                    reserve(&mut ends, more)?;
                    ends.resize(position + 1, 0);
                }
                let end = (position as u32).saturating_add(size);
                ends[position] = ends[position].max(end);
                Ok(())
            })?;
        Ok(Matches { ends, at: 0 })
    }
}

impl Iterator for Matches {
    type Item = Match;

    fn next(&mut self) -> Option<Match> {
        let rest = self.ends.get(self.at..)?;
        let first = self.at + rest.iter().position(|end| *end > 0)?;
        let mut end = 0;
        self.at = first;
        while let Some(other) = self.ends.get(self.at) {
            if self.at > first && self.at >= end {
                break;
            }
            end = end.max(*other as usize);
            self.at += 1;
        }
        Some(Match {
            first: first as i64,
            last: end as i64 - 1,
        })
    }
}
