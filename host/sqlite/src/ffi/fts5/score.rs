//! Finds the best snippet of a given number of tokens in a column. The first instance of each
//! phrase in a part scores 1000, each further one 1.
//!
//! SQLite counts again for each instance of a phrase: a guest's document of 32 KB takes seconds.
//! This computes the scores of all parts at once: an instance belongs to those that begin up to
//! that many tokens before it.

use std::ffi::c_int;

use rusqlite::ffi;

use super::call::{Call, Failure, Instances, reserve};

/// The extra score of a phrase's first instance.
const NEW_PHRASE: i32 = 999;

/// The extra score of a part that begins with a sentence, or with the text.
const SENTENCE: i32 = 100;
const FIRST_SENTENCE: i32 = 120;

/// The scores of the parts of a column.
pub(super) struct Scores {
    /// For each token at which a part may begin.
    scores: Vec<i32>,
    /// Whether an instance begins there.
    instances: Vec<bool>,
    /// An instance is beyond the end of the text.
    pub(super) is_corrupt: bool,
}

/// The best part so far.
#[derive(Clone, Copy)]
pub(super) struct Best {
    pub(super) score: i32,
    /// The token at which the part begins.
    pub(super) first: i64,
    /// Whether it begins with an instance of a phrase, not with a sentence.
    pub(super) at_instance: bool,
}

impl Scores {
    /// The scores of `column`, which has `size` tokens, in parts of `tokens`.
    pub(super) fn of(
        call: &Call<'_>,
        instances: &mut Instances,
        column: c_int,
        size: c_int,
        tokens: i64,
    ) -> Result<Scores, Failure> {
        let max = i64::try_from(call.max_text_bytes()).unwrap_or(i64::MAX);
        let mut scores = Scores {
            scores: Vec::new(),
            instances: Vec::new(),
            is_corrupt: false,
        };
        // The previous phrase, and which parts already contain it.
        let (mut last, mut counted) = (usize::MAX, 0);
        instances.in_column(call, column, |phrase, position| {
            if phrase != last {
                (last, counted) = (phrase, 0);
            }
            let position = i64::from(position);
            scores.is_corrupt |= position > i64::from(size);
            // No part begins after the end.
            let to = position.min(size.into());
            let from = (position - tokens + 1).max(0);
            if to < 0 {
                return Ok(());
            }
            // No text has that many tokens.
            if to > max {
                return Err(Failure::Code(ffi::SQLITE_TOOBIG));
            }
            scores.grow(to as usize + 2)?;
            if position == to
                && let Some(here) = scores.instances.get_mut(to as usize)
            {
                *here = true;
            }
            scores.count(from, to, 1);
            scores.count(from.max(counted), to, NEW_PHRASE);
            counted = counted.max(to + 1);
            Ok(())
        })?;
        let mut score = 0_i32;
        for here in &mut scores.scores {
            score = score.wrapping_add(*here);
            *here = score;
        }
        Ok(scores)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.scores.is_empty() && !self.is_corrupt
    }

    fn grow(&mut self, len: usize) -> Result<(), Failure> {
        if let Some(more) = len.checked_sub(self.scores.len()) {
            reserve(&mut self.scores, more)?;
            reserve(&mut self.instances, more)?;
            self.scores.resize(len, 0);
            self.instances.resize(len, false);
        }
        Ok(())
    }

    /// Add `points` to the score of parts that begin with the tokens from `from` to `to`. Stores
    /// differences, which are summed later.
    fn count(&mut self, from: i64, to: i64, points: i32) {
        if from > to {
            return;
        }
        if let Some(from) = self.scores.get_mut(from as usize) {
            *from = from.wrapping_add(points);
        }
        if let Some(after) = self.scores.get_mut(to as usize + 1) {
            *after = after.wrapping_sub(points);
        }
    }

    /// The first of the best parts that score more than `at_least`, among those that begin with an
    /// instance, or with the sentence of an instance, if sentences are given.
    pub(super) fn best(
        &self,
        call: &Call<'_>,
        sentences: &[u32],
        at_least: i32,
    ) -> Result<Option<Best>, Failure> {
        let mut pulse = call.pulse();
        let (mut best, mut most) = (None, at_least);
        let mut sentence = 0;
        for (position, score) in self.scores.iter().enumerate() {
            pulse.beat()?;
            if !self.instances.get(position).is_some_and(|here| *here) {
                continue;
            }
            if *score > most {
                most = *score;
                best = Some(Best {
                    score: most,
                    first: position as i64,
                    at_instance: true,
                });
            }
            while sentences
                .get(sentence + 1)
                .is_some_and(|next| *next as usize <= position)
            {
                pulse.beat()?;
                sentence += 1;
            }
            let Some(start) = sentences.get(sentence).map(|start| *start as usize) else {
                continue;
            };
            if start >= position {
                continue;
            }
            let bonus = if start == 0 { FIRST_SENTENCE } else { SENTENCE };
            let score = self.scores.get(start).map_or(0, |score| *score);
            let score = score.wrapping_add(bonus);
            if score > most {
                most = score;
                best = Some(Best {
                    score: most,
                    first: start as i64,
                    at_instance: false,
                });
            }
        }
        Ok(best)
    }
}
