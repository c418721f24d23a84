//! `snippet(table, column, open, close, ellipsis, tokens)`: the part of a column that contains most
//! matches (<https://sqlite.org/fts5.html#the_snippet_function>).

use std::ffi::{CStr, c_int};

use rusqlite::ffi;

use super::call::{Answer, Auxiliary, Call, Failure};
use super::highlight::Highlighter;
use super::matches::Matches;
use super::score::Scores;
use super::sentences;

/// The maximum number of tokens in a snippet.
const MAX_TOKENS: i64 = 64;

pub(super) struct Snippet;

/// A part of the row.
struct Part {
    column: c_int,
    /// Its first token.
    first: i64,
    /// The number of tokens in the column, if known.
    size: c_int,
}

impl Auxiliary for Snippet {
    const NAME: &CStr = c"snippet";

    fn run(call: &Call<'_>) -> Result<Answer, Failure> {
        if call.argument_count() != 5 {
            let message = "wrong number of arguments to function snippet()";
            return Err(Failure::Message(message));
        }
        let ellipsis = call.text(3);
        let tokens = call.integer(4).clamp(0, MAX_TOKENS);
        let part = choose(call, call.column(0), tokens)?;

        let text = call.column_text(part.column)?;
        let size = match part.size {
            0 => call.column_size(part.column)?,
            size => size,
        };
        let Some(text) = text else {
            return Ok(Answer::Null);
        };
        let matches = Matches::of(call, part.column, text.len())?;
        let mut highlighter = Highlighter::new(call, text, matches, call.text(1), call.text(2));
        let last = part.first + tokens - 1;
        highlighter.limit_to(part.first, last);
        if part.first > 0 {
            highlighter.append(ellipsis)?;
        }
        call.tokenize(part.column, text, |token| highlighter.token(token))?;
        highlighter.close_open()?;
        match last >= i64::from(size) - 1 {
            true => highlighter.copy_rest()?,
            false => highlighter.append(ellipsis)?,
        }
        Ok(Answer::Text(highlighter.into_result()))
    }
}

/// The best part of `column`, or of all columns, if it is negative.
fn choose(call: &Call<'_>, column: c_int, tokens: i64) -> Result<Part, Failure> {
    let mut part = Part {
        column: column.max(0),
        first: 0,
        size: 0,
    };
    let columns = match column {
        ..0 => 0..call.column_count()?,
        _ => column..call.column_count()?.min(column.saturating_add(1)),
    };
    let mut best = None;
    let mut failure = Ok(());
    // SQLite's version reports out of memory if there are no phrases and no columns.
    if call.phrase_count()? == 0 && columns.is_empty() {
        return Err(Failure::Code(ffi::SQLITE_NOMEM));
    }
    let mut instances = call.instances()?;
    for column in columns {
        let text = call.column_text(column)?;
        let size = call.column_size(column)?;
        let scores = Scores::of(call, &mut instances, column, size, tokens)?;
        failure = match scores.is_corrupt {
            true => Err(Failure::Code(ffi::SQLITE_CORRUPT_VTAB)),
            false => Ok(()),
        };
        if scores.is_empty() {
            continue;
        }
        let starts = match text {
            Some(text) if i64::from(size) > tokens => sentences::starts(call, column, text)?,
            _ => Vec::new(),
        };
        let most = best.map_or(0, |(_, best): (_, super::score::Best)| best.score);
        if let Some(better) = scores.best(call, &starts, most)? {
            best = Some((column, better));
            part.column = column;
            part.first = better.first;
            part.size = size;
        }
    }
    failure?;
    if let Some((column, best)) = best
        && best.at_instance
    {
        let end = end(call, column, best.first, tokens)?;
        part.first = centered(best.first, end, tokens, part.size.into());
    }
    Ok(part)
}

/// One more than the last token of the last instance in a part.
fn end(call: &Call<'_>, column: c_int, first: i64, tokens: i64) -> Result<i64, Failure> {
    let mut last = (first, 0);
    call.instances()?
        .in_column(call, column, |phrase, position| {
            let position = i64::from(position);
            if (first..first + tokens).contains(&position) {
                last = last.max((position, phrase));
            }
            Ok(())
        })?;
    Ok(last.0 + i64::from(call.phrase_size(last.1)?))
}

/// Where a part begins that has the tokens from `first` to `end` in its middle, and is within the
/// text.
fn centered(first: i64, end: i64, tokens: i64, size: i64) -> i64 {
    let first = first - (tokens - (end - first)) / 2;
    first.min(size - tokens).max(0)
}
