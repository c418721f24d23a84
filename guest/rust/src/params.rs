//! The values to bind to a statement's parameters.

use crate::cells::Block;
use crate::{Error, Result, ToSql, ToSqlOutput};

/// The parameters of one run of a statement: a value for every parameter of the statement, and no
/// others.
///
/// | written                                   | for                                       |
/// |-------------------------------------------|-------------------------------------------|
/// | `()`                                      | no parameter                              |
/// | `[a, b]`, `&[a, b]`, `&vec[..]`           | `?1`, `?2`, … of one type                 |
/// | `(a,)` up to 16                           | `?1`, `?2`, … of any types                |
/// | [`params![a, b]`](crate::params!)         | `?1`, `?2`, … of any types and number     |
/// | [`params_from_iter(iter)`](params_from_iter) | `?1`, `?2`, … of as many as come       |
/// | `[("name", a)]`, `&[("name", a)]`         | `:name`, of one type                      |
/// | [`named_params! { ":name": a }`](crate::named_params!) | `:name`, … of any types      |
///
/// Write names with or without their prefix (`:`, `@`, `$`), whatever it is in the SQL.
pub trait Params: sealed::Sealed {
    /// Calls `visit` with every parameter, in order, with its name if it has one.
    #[doc(hidden)]
    fn visit(self, visit: &mut Visit<'_>) -> Result<()>;
}

/// A row of [`Statement::execute_many`](crate::Statement::execute_many): a [`Params`], or a
/// `Result` of one whose error implements `From<Error>`.
pub trait ManyParams: many::Sealed {
    /// The error of a call with these rows: [`Error`], or that of the `Result`.
    type Error: From<Error>;
    /// The row itself.
    #[doc(hidden)]
    type Params: Params;
    #[doc(hidden)]
    fn into_params(self) -> Result<Self::Params, Self::Error>;
}

mod many {
    /// Allows changes to [`ManyParams`](super::ManyParams) without breaking implementors.
    pub trait Sealed {}
}

impl<P: Params> many::Sealed for P {}
impl<P: Params> ManyParams for P {
    type Error = Error;
    type Params = P;
    #[inline]
    fn into_params(self) -> Result<P> {
        Ok(self)
    }
}

impl<P: Params, E: From<Error>> many::Sealed for Result<P, E> {}
impl<P: Params, E: From<Error>> ManyParams for Result<P, E> {
    type Error = E;
    type Params = P;
    #[inline]
    fn into_params(self) -> Result<P, E> {
        self
    }
}

/// The callback for each parameter.
pub(crate) type Visit<'v> = dyn FnMut(Option<&str>, ToSqlOutput<'_>) -> Result<()> + 'v;

mod sealed {
    /// Allows changes to [`Params`](super::Params) without breaking implementors.
    pub trait Sealed {}
}

/// Writes parameters to a block, in the contract's form.
pub(crate) fn write(params: impl Params, block: &mut Block) -> Result<()> {
    let mut count = 0;
    params.visit(&mut |name, value| {
        if let Some(name) = name {
            block.push_name(bare(name))?;
        }
        count += 1;
        block.push(value.as_value_ref())
    })?;
    block.set_width(count)
}

/// A parameter's name without its prefix, as in the contract.
pub(crate) fn bare(name: &str) -> &str {
    name.strip_prefix([':', '@', '$', '?']).unwrap_or(name)
}

impl sealed::Sealed for () {}
impl Params for () {
    fn visit(self, _: &mut Visit<'_>) -> Result<()> {
        Ok(())
    }
}

impl<T: ToSql> sealed::Sealed for &[T] {}
impl<T: ToSql> Params for &[T] {
    fn visit(self, visit: &mut Visit<'_>) -> Result<()> {
        self.iter()
            .try_for_each(|value| visit(None, value.to_sql()?))
    }
}

impl<T: ToSql> sealed::Sealed for &Vec<T> {}
impl<T: ToSql> Params for &Vec<T> {
    fn visit(self, visit: &mut Visit<'_>) -> Result<()> {
        self.as_slice().visit(visit)
    }
}

impl<T: ToSql, const N: usize> sealed::Sealed for &[T; N] {}
impl<T: ToSql, const N: usize> Params for &[T; N] {
    fn visit(self, visit: &mut Visit<'_>) -> Result<()> {
        self.as_slice().visit(visit)
    }
}

impl<T: ToSql, const N: usize> sealed::Sealed for [T; N] {}
impl<T: ToSql, const N: usize> Params for [T; N] {
    fn visit(self, visit: &mut Visit<'_>) -> Result<()> {
        self.as_slice().visit(visit)
    }
}

impl<T: ToSql> sealed::Sealed for &[(&str, T)] {}
impl<T: ToSql> Params for &[(&str, T)] {
    fn visit(self, visit: &mut Visit<'_>) -> Result<()> {
        self.iter()
            .try_for_each(|(name, value)| visit(Some(name), value.to_sql()?))
    }
}

impl<T: ToSql, const N: usize> sealed::Sealed for &[(&str, T); N] {}
impl<T: ToSql, const N: usize> Params for &[(&str, T); N] {
    fn visit(self, visit: &mut Visit<'_>) -> Result<()> {
        self.as_slice().visit(visit)
    }
}

impl<T: ToSql, const N: usize> sealed::Sealed for [(&str, T); N] {}
impl<T: ToSql, const N: usize> Params for [(&str, T); N] {
    fn visit(self, visit: &mut Visit<'_>) -> Result<()> {
        self.as_slice().visit(visit)
    }
}

macro_rules! params_of_tuple {
    ($($name:ident)*) => {
        impl<$($name: ToSql),*> sealed::Sealed for ($($name,)*) {}
        impl<$($name: ToSql),*> Params for ($($name,)*) {
            fn visit(self, visit: &mut Visit<'_>) -> Result<()> {
                #[expect(non_snake_case, reason = "one word is the type and the value")]
                let ($($name,)*) = self;
                $(visit(None, $name.to_sql()?)?;)*
                Ok(())
            }
        }
    };
}

params_of_tuple!(A);
params_of_tuple!(A B);
params_of_tuple!(A B C);
params_of_tuple!(A B C D);
params_of_tuple!(A B C D E);
params_of_tuple!(A B C D E F);
params_of_tuple!(A B C D E F G);
params_of_tuple!(A B C D E F G H);
params_of_tuple!(A B C D E F G H I);
params_of_tuple!(A B C D E F G H I J);
params_of_tuple!(A B C D E F G H I J K);
params_of_tuple!(A B C D E F G H I J K L);
params_of_tuple!(A B C D E F G H I J K L M);
params_of_tuple!(A B C D E F G H I J K L M N);
params_of_tuple!(A B C D E F G H I J K L M N O);
params_of_tuple!(A B C D E F G H I J K L M N O P);

/// Positional parameters from an iterator.
///
/// ```no_run
/// use millpond_guest::{Result, db, params_from_iter};
///
/// fn count(tags: &[String]) -> Result<i64> {
///     let marks = vec!["?"; tags.len()].join(", ");
///     let sql = format!("SELECT count(*) FROM tags WHERE name IN ({marks})");
///     db()?.query_row(&sql, params_from_iter(tags), |row| row.get(0))
/// }
/// ```
pub fn params_from_iter<I>(iter: I) -> ParamsFromIter<I>
where
    I: IntoIterator,
    I::Item: ToSql,
{
    ParamsFromIter(iter)
}

/// What [`params_from_iter`] returns.
#[derive(Clone, Debug)]
pub struct ParamsFromIter<I>(I);

impl<I: IntoIterator<Item: ToSql>> sealed::Sealed for ParamsFromIter<I> {}
impl<I: IntoIterator<Item: ToSql>> Params for ParamsFromIter<I> {
    fn visit(self, visit: &mut Visit<'_>) -> Result<()> {
        self.0
            .into_iter()
            .try_for_each(|value| visit(None, value.to_sql()?))
    }
}

/// Positional parameters of any types and number, as a [`Params`].
///
/// ```no_run
/// # fn main() -> millpond_guest::Result<()> {
/// use millpond_guest::{db, params};
///
/// let sql = "INSERT INTO notes (title, body) VALUES (?1, ?2)";
/// db()?.execute(sql, params!["Milk", None::<String>])?;
/// # Ok(())
/// # }
/// ```
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        &[$(&$value as &dyn $crate::ToSql),*] as &[&dyn $crate::ToSql]
    };
}

/// Named parameters of any types and number, as a [`Params`].
///
/// ```no_run
/// # fn main() -> millpond_guest::Result<()> {
/// use millpond_guest::{db, named_params};
///
/// let sql = "UPDATE notes SET title = :title WHERE id = :id";
/// db()?.execute(sql, named_params! { ":id": 7, ":title": "Bread" })?;
/// # Ok(())
/// # }
/// ```
#[macro_export]
macro_rules! named_params {
    ($($name:literal: $value:expr),* $(,)?) => {
        &[$(($name, &$value as &dyn $crate::ToSql)),*] as &[(&str, &dyn $crate::ToSql)]
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, Value};

    /// The bound values, with their names if they have any.
    type Bound = Vec<(Option<String>, Value)>;

    fn parameters(params: impl Params) -> Result<Vec<u8>> {
        let mut block = Block::new();
        write(params, &mut block)?;
        Ok(block.as_bytes().to_vec())
    }

    fn bytes(bound: Bound) -> Vec<u8> {
        let mut block = Block::new();
        for (name, value) in &bound {
            if let Some(name) = name {
                block.push_name(name).unwrap();
            }
            block.push(value.into()).unwrap();
        }
        block.set_width(bound.len()).unwrap();
        block.as_bytes().to_vec()
    }

    fn one_and_a() -> Vec<u8> {
        let a = Value::Text("a".to_owned());
        bytes(vec![(None, Value::Integer(1)), (None, a)])
    }

    fn ones(count: usize) -> Vec<u8> {
        bytes(vec![(None, Value::Integer(1)); count])
    }

    #[test]
    fn every_positional_form_binds_in_order() {
        assert_eq!(parameters((1, "a")), Ok(one_and_a()));
        assert_eq!(parameters(params![1, "a"]), Ok(one_and_a()));
        let values = [Value::Integer(1), Value::Text("a".to_owned())];
        assert_eq!(parameters(values.as_slice()), Ok(one_and_a()));
        assert_eq!(parameters(params_from_iter(&values)), Ok(one_and_a()));
        assert_eq!(parameters(&values), Ok(one_and_a()));
        assert_eq!(parameters(values), Ok(one_and_a()));
        assert_eq!(parameters(&vec![1, 1]), Ok(ones(2)));
        let sixteen = (1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1);
        assert_eq!(parameters(sixteen), Ok(ones(16)));
    }

    #[test]
    fn no_parameters_are_an_empty_list() {
        assert_eq!(parameters(()), Ok(ones(0)));
        assert_eq!(parameters(params![]), Ok(ones(0)));
        assert_eq!(parameters(named_params! {}), Ok(ones(0)));
    }

    #[test]
    fn every_named_form_loses_its_prefix() {
        let expected = Ok(bytes(vec![
            (Some("a".to_owned()), Value::Integer(1)),
            (Some("b".to_owned()), Value::Integer(2)),
        ]));
        assert_eq!(parameters(named_params! { ":a": 1, "b": 2_u8 }), expected);
        assert_eq!(parameters([("@a", 1), ("$b", 2)]), expected);
        assert_eq!(parameters([("a", 1), ("b", 2)].as_slice()), expected);
    }

    #[test]
    fn a_value_that_cannot_be_bound_binds_nothing() {
        let error = parameters((1, u64::MAX)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ToSqlConversionFailure);
    }
}
