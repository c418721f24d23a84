//! Rows for `execute_many`, in blocks of a size that any host takes.

use crate::cells::Block;
use crate::params::bare;
use crate::{Error, ErrorKind, ManyParams, Params, Result, Value};

/// The size in bytes at which a block is sent: large enough that the call's own cost is negligible,
/// small enough for any guest's memory and any host's limit.
const BLOCK_SIZE: usize = 256 * 1024;

/// Adds rows to a block until it is large enough to send. Returns false if there are no more.
pub(crate) fn fill<I>(
    block: &mut Block,
    rows: &mut I,
    names: &[Option<String>],
) -> Result<bool, <I::Item as ManyParams>::Error>
where
    I: Iterator<Item: ManyParams>,
{
    while block.size() < BLOCK_SIZE {
        match rows.next() {
            Some(row) => push_row(block, row.into_params()?, names)?,
            None => return Ok(false),
        }
    }
    Ok(true)
}

/// Fills the block with the next rows. Returns false if there are none.
pub(crate) fn fill_next<I>(
    block: &mut Block,
    rows: &mut I,
    names: &[Option<String>],
) -> Result<bool, <I::Item as ManyParams>::Error>
where
    I: Iterator<Item: ManyParams>,
{
    block.clear();
    fill(block, rows, names)?;
    Ok(block.size() > 0)
}

/// Adds one row, in the order of the statement's parameters.
///
/// Checks the width: the host only sees one list, in which a row that is too long and one that is
/// too short would look like two others.
fn push_row(block: &mut Block, row: impl Params, names: &[Option<String>]) -> Result<()> {
    let mut positional = 0;
    let mut named: Vec<Option<Value>> = Vec::new();
    row.visit(&mut |name, value| match name {
        None => {
            positional += 1;
            block.push(value.as_value_ref())
        }
        Some(name) => {
            named.resize(names.len(), None);
            let place = names
                .iter()
                .position(|known| known.as_deref() == Some(bare(name)))
                .ok_or_else(|| misfit(format!("the statement has no parameter {name}")))?;
            match named[place].replace(value.into_value()) {
                None => Ok(()),
                Some(_) => Err(misfit(format!("a row binds {name} twice"))),
            }
        }
    })?;
    if named.is_empty() {
        return match positional == names.len() {
            true => Ok(()),
            false => Err(misfit(format!(
                "a row has {positional} values, but the statement has {} parameters",
                names.len()
            ))),
        };
    }
    for (place, value) in named.iter().enumerate() {
        match value {
            Some(value) => block.push(value.into())?,
            None => {
                return Err(misfit(format!(
                    "a row leaves parameter {} unbound",
                    place + 1
                )));
            }
        }
    }
    Ok(())
}

pub(crate) fn misfit(message: String) -> Error {
    Error::new(ErrorKind::Parameters, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::Reader;
    use crate::{ValueRef, named_params, params};

    fn names() -> Vec<Option<String>> {
        vec![Some("a".to_owned()), Some("b".to_owned())]
    }

    fn refused(row: impl Params) {
        let error = push_row(&mut Block::new(), row, &names()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Parameters);
    }

    #[test]
    fn named_rows_are_put_in_the_statements_order() {
        let mut block = Block::new();
        push_row(&mut block, named_params! { ":b": "x", "a": 1 }, &names()).unwrap();
        push_row(&mut block, params![2, "y"], &names()).unwrap();
        block.set_width(2).unwrap();
        let mut reader = Reader::new(block.into_memory(), Vec::new());
        for (a, b) in [(1, "x"), (2, "y")] {
            assert!(reader.advance().unwrap());
            assert_eq!(reader.get(0), Ok(Some(ValueRef::Integer(a))));
            assert_eq!(reader.get(1), Ok(Some(ValueRef::Text(b))));
        }
    }

    #[test]
    fn rows_of_another_width_are_refused() {
        refused(());
        refused([1]);
        refused([1, 2, 3]);
        refused([("a", 1)]);
        refused([("a", 1), (":a", 2)]);
        refused([("a", 1), ("c", 2)]);
    }

    #[test]
    fn blocks_are_bounded_and_lose_no_row() {
        let one = [String::from("x").repeat(1000)];
        let mut rows = std::iter::repeat_n(&one, 1000);
        let mut block = Block::new();
        let mut sizes = Vec::new();
        let mut more = fill(&mut block, &mut rows, &[None]).unwrap();
        while more {
            sizes.push(block.size());
            more = fill_next(&mut block, &mut rows, &[None]).unwrap();
        }
        assert!(sizes.iter().all(|size| *size < BLOCK_SIZE + 2000));
        assert_eq!(sizes.iter().sum::<usize>(), 1000 * (1 + 4 + 1000));
    }

    #[test]
    fn a_row_that_cannot_be_bound_ends_the_block() {
        let mut rows = [1, u64::MAX].into_iter().map(|n| (n,));
        let error = fill(&mut Block::new(), &mut rows, &[None]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ToSqlConversionFailure);
    }

    #[test]
    fn a_row_that_failed_ends_the_block_with_its_own_error() {
        #[derive(Debug, PartialEq)]
        enum Failed {
            Millpond(ErrorKind),
            Own,
        }
        impl From<Error> for Failed {
            fn from(error: Error) -> Failed {
                Failed::Millpond(error.kind())
            }
        }
        let failed = |rows: Vec<Result<[u64; 1], Failed>>| {
            fill(&mut Block::new(), &mut rows.into_iter(), &[None])
        };
        assert_eq!(failed(vec![Ok([1]), Ok([2])]), Ok(false));
        assert_eq!(failed(vec![Ok([1]), Err(Failed::Own)]), Err(Failed::Own));
        let refused = Failed::Millpond(ErrorKind::ToSqlConversionFailure);
        assert_eq!(failed(vec![Ok([u64::MAX]), Err(Failed::Own)]), Err(refused));
    }
}
