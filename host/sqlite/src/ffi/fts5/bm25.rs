//! `bm25(table, weight, …)`: how well a row matches the query
//! (<https://sqlite.org/fts5.html#the_bm25_function>). SQLite's version compares every instance of
//! a phrase to every phrase, and does not check the deadline while it counts the rows of each.

use std::ffi::{CStr, c_int};

use super::call::{Answer, Auxiliary, Call, Failure, reserve};

/// The weights of repeated instances and of the row's length.
const K1: f64 = 1.2;
const B: f64 = 0.75;

/// The minimum weight, for a phrase that is in half of the rows or more.
const MIN_IDF: f64 = 1e-6;

pub(super) struct Bm25;

/// What is the same for all rows of a query.
struct Query {
    /// The inverse document frequency of each phrase.
    idfs: Vec<f64>,
    average_row_size: f64,
}

impl Auxiliary for Bm25 {
    const NAME: &CStr = c"bm25";

    fn run(call: &Call<'_>) -> Result<Answer, Failure> {
        // SAFETY: this is what is kept.
        let kept = unsafe { call.kept::<Query>() };
        if kept?.is_none() {
            call.keep(Query::of(call)?)?;
        }
        // SAFETY: as above.
        match unsafe { call.kept::<Query>() }? {
            Some(query) => Ok(Answer::Real(query.score(call)?)),
            None => Ok(Answer::Null),
        }
    }
}

impl Query {
    fn of(call: &Call<'_>) -> Result<Query, Failure> {
        let rows = call.row_count()?;
        let average_row_size = call.total_size()? as f64 / rows as f64;
        let count = call.phrase_count()?;
        let mut idfs = Vec::new();
        reserve(&mut idfs, count)?;
        for phrase in 0..count {
            let found = call.rows_with(phrase)?;
            let idf = (((rows - found) as f64 + 0.5) / (found as f64 + 0.5)).ln();
            idfs.push(if idf <= 0.0 { MIN_IDF } else { idf });
        }
        Ok(Query {
            idfs,
            average_row_size,
        })
    }

    fn score(&self, call: &Call<'_>) -> Result<f64, Failure> {
        let weights: Vec<f64> = (0..call.argument_count()).map(|at| call.real(at)).collect();
        let mut frequencies = Vec::new();
        reserve(&mut frequencies, self.idfs.len())?;
        frequencies.resize(self.idfs.len(), 0.0);
        call.instances()?
            .up_to(call, c_int::MAX, |phrase, column, _| {
                if let Some(frequency) = frequencies.get_mut(phrase) {
                    *frequency += weights.get(column as usize).map_or(1.0, |weight| *weight);
                }
                Ok(())
            })?;
        let size = f64::from(call.column_size(-1)?);
        let mut score = 0.0;
        // In this order, to match SQLite's value to the last bit.
        for (idf, frequency) in self.idfs.iter().zip(frequencies) {
            let length = K1 * (1.0 - B + B * size / self.average_row_size);
            score += idf * ((frequency * (K1 + 1.0)) / (frequency + length));
        }
        Ok(-score)
    }
}
