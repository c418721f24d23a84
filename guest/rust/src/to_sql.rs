//! Converts Rust values to SQLite's.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use crate::{Error, Result, Value, ValueRef};

/// A type that can be bound to a parameter.
///
/// `Option` binds `None` as null. NaN is bound as null too, because SQLite has no NaN.
///
/// ```
/// use millpond_guest::{Result, ToSql, ToSqlOutput};
///
/// enum Colour {
///     Red,
///     Green,
/// }
///
/// impl ToSql for Colour {
///     fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
///         Ok(ToSqlOutput::from(match self {
///             Colour::Red => "red",
///             Colour::Green => "green",
///         }))
///     }
/// }
/// # assert!(Colour::Red.to_sql().is_ok() && Colour::Green.to_sql().is_ok());
/// ```
pub trait ToSql {
    /// The SQLite value to bind.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ToSqlConversionFailure`](crate::ErrorKind::ToSqlConversionFailure) if SQLite
    /// has no such value; create it with [`Error::to_sql`].
    fn to_sql(&self) -> Result<ToSqlOutput<'_>>;
}

/// A value to bind, borrowed or owned.
#[derive(Clone, Debug, PartialEq)]
pub enum ToSqlOutput<'a> {
    /// A value borrowed from what is bound.
    Borrowed(ValueRef<'a>),
    /// A value created by [`ToSql::to_sql`].
    Owned(Value),
}

impl ToSqlOutput<'_> {
    /// Borrows the value.
    pub fn as_value_ref(&self) -> ValueRef<'_> {
        match self {
            ToSqlOutput::Borrowed(value) => *value,
            ToSqlOutput::Owned(value) => value.into(),
        }
    }

    /// Converts to an owned value.
    pub fn into_value(self) -> Value {
        match self {
            ToSqlOutput::Borrowed(value) => value.into(),
            ToSqlOutput::Owned(value) => value,
        }
    }
}

impl<'a> From<ValueRef<'a>> for ToSqlOutput<'a> {
    fn from(value: ValueRef<'a>) -> Self {
        ToSqlOutput::Borrowed(value)
    }
}

impl<'a> From<&'a str> for ToSqlOutput<'a> {
    fn from(text: &'a str) -> Self {
        ToSqlOutput::Borrowed(ValueRef::Text(text))
    }
}

impl<'a> From<&'a [u8]> for ToSqlOutput<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        ToSqlOutput::Borrowed(ValueRef::Blob(bytes))
    }
}

impl From<Value> for ToSqlOutput<'_> {
    fn from(value: Value) -> Self {
        ToSqlOutput::Owned(value)
    }
}

impl From<String> for ToSqlOutput<'_> {
    fn from(text: String) -> Self {
        ToSqlOutput::Owned(Value::Text(text))
    }
}

impl From<Vec<u8>> for ToSqlOutput<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        ToSqlOutput::Owned(Value::Blob(bytes))
    }
}

impl From<i64> for ToSqlOutput<'_> {
    fn from(integer: i64) -> Self {
        ToSqlOutput::Borrowed(ValueRef::Integer(integer))
    }
}

impl From<f64> for ToSqlOutput<'_> {
    fn from(real: f64) -> Self {
        ToSqlOutput::Borrowed(ValueRef::Real(real))
    }
}

impl ToSql for ToSqlOutput<'_> {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(self.as_value_ref().into())
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(ValueRef::from(self).into())
    }
}

impl ToSql for ValueRef<'_> {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok((*self).into())
    }
}

impl<T: ToSql> ToSql for Option<T> {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        match self {
            Some(value) => value.to_sql(),
            None => Ok(ValueRef::Null.into()),
        }
    }
}

macro_rules! to_sql_through_deref {
    ($([$($generics:tt)*] $type:ty;)*) => {$(
        impl<$($generics)*> ToSql for $type {
            fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
                (**self).to_sql()
            }
        }
    )*};
}

to_sql_through_deref! {
    [T: ToSql + ?Sized] &T;
    [T: ToSql + ?Sized] Box<T>;
    [T: ToSql + ?Sized] Rc<T>;
    [T: ToSql + ?Sized] Arc<T>;
    [T: ToSql + ToOwned + ?Sized] Cow<'_, T>;
}

macro_rules! to_sql_as_integer {
    ($($type:ty)*) => {$(
        impl ToSql for $type {
            fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
                Ok(i64::from(*self).into())
            }
        }
    )*};
}

to_sql_as_integer!(bool i8 i16 i32 i64 u8 u16 u32);

macro_rules! to_sql_as_integer_if_it_fits {
    ($($type:ty)*) => {$(
        impl ToSql for $type {
            fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
                match i64::try_from(*self) {
                    Ok(integer) => Ok(integer.into()),
                    Err(_) => Err(Error::to_sql(format!(
                        "{self} is above {}, the largest integer of SQLite",
                        i64::MAX
                    ))),
                }
            }
        }
    )*};
}

to_sql_as_integer_if_it_fits!(u64 usize isize);

impl ToSql for f32 {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(f64::from(*self).into())
    }
}

impl ToSql for f64 {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok((*self).into())
    }
}

impl ToSql for str {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(self.into())
    }
}

impl ToSql for String {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(self.as_str().into())
    }
}

impl ToSql for [u8] {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(self.into())
    }
}

impl<const N: usize> ToSql for [u8; N] {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(self.as_slice().into())
    }
}

impl ToSql for Vec<u8> {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(self.as_slice().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn bound(value: impl ToSql) -> Value {
        value.to_sql().unwrap().into_value()
    }

    #[test]
    fn every_type_has_its_storage_class() {
        assert_eq!(bound(true), Value::Integer(1));
        assert_eq!(bound(i64::MIN), Value::Integer(i64::MIN));
        assert_eq!(bound(u32::MAX), Value::Integer(i64::from(u32::MAX)));
        assert_eq!(bound(1.5_f32), Value::Real(1.5));
        assert_eq!(bound(f64::INFINITY), Value::Real(f64::INFINITY));
        assert_eq!(bound(""), Value::Text(String::new()));
        assert_eq!(bound("a\0b".to_owned()), Value::Text("a\0b".to_owned()));
        assert_eq!(bound(Cow::Borrowed("c")), Value::Text("c".to_owned()));
        assert_eq!(bound([1_u8, 2]), Value::Blob(vec![1, 2]));
        assert_eq!(bound(Vec::<u8>::new()), Value::Blob(Vec::new()));
        assert_eq!(bound(None::<i64>), Value::Null);
        assert_eq!(bound(Some("d")), Value::Text("d".to_owned()));
    }

    #[test]
    fn an_integer_above_sqlites_largest_is_refused() {
        assert_eq!(bound(i64::MAX as u64), Value::Integer(i64::MAX));
        let error = (i64::MAX as u64 + 1).to_sql().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ToSqlConversionFailure);
    }
}
