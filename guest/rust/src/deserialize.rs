//! Deserializes rows with serde.

use std::fmt::Display;

use serde::de::value::{BorrowedStrDeserializer, SeqDeserializer};
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

use crate::{Error, ErrorKind, Result, Row, ValueRef};

impl<'r> Row<'r> {
    /// Deserializes the row.
    ///
    /// - A struct or map takes its fields from the columns of the same names (case-sensitive).
    ///   Columns without a field are skipped.
    /// - A tuple, array or `Vec` takes the columns in order.
    /// - Any other type takes the value of the only column.
    ///
    /// In a column, an integer deserializes as a number or a bool (0 is false), a real as a number,
    /// text as a string, a char or a unit variant of an enum, a blob as bytes or a sequence of
    /// them, and null as `None` or `()`. An `Option` whose column is missing is `None`.
    ///
    /// ```no_run
    /// # fn main() -> millpond_guest::Result<()> {
    /// # let db = millpond_guest::db()?;
    /// #[derive(serde::Deserialize)]
    /// struct Note {
    ///     id: i64,
    ///     title: String,
    ///     body: Option<String>,
    /// }
    ///
    /// let sql = "SELECT id, title, body FROM notes";
    /// let notes: Vec<Note> = db
    ///     .query_map(sql, (), |row| row.deserialize())?
    ///     .collect::<Result<_, _>>()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidColumn`](ErrorKind::InvalidColumn) if a field has no column or two, or the row has
    /// more or fewer columns than the type takes;
    /// [`InvalidColumnType`](ErrorKind::InvalidColumnType) if a column holds another type;
    /// [`IntegralValueOutOfRange`](ErrorKind::IntegralValueOutOfRange) if a number does not fit;
    /// [`FromSqlConversionFailure`](ErrorKind::FromSqlConversionFailure) for everything else that
    /// the type refuses. The message names the column.
    pub fn deserialize<T: Deserialize<'r>>(&self) -> Result<T> {
        T::deserialize(RowDeserializer(*self)).map_err(|Refused(error)| error)
    }
}

/// A deserialization error, with its kind.
#[derive(Debug)]
struct Refused(Error);

impl Refused {
    fn new(kind: ErrorKind, message: String) -> Refused {
        Refused(Error::new(kind, message))
    }

    /// The same error, naming its column.
    fn of_column(self, row: Row<'_>, index: usize) -> Refused {
        let name = row.column_name(index).unwrap_or_default();
        let message = format!("column {index} ({name}): {}", self.0.message());
        // A value's error is not about the row's columns.
        let kind = match self.0.kind() {
            ErrorKind::InvalidColumn => ErrorKind::FromSqlConversionFailure,
            kind => kind,
        };
        Refused::new(kind, message)
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Refused {}

impl de::Error for Refused {
    fn custom<T: Display>(message: T) -> Refused {
        Refused::new(ErrorKind::FromSqlConversionFailure, message.to_string())
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Refused {
        let message = format!("it holds {unexpected}, which cannot be read as {expected}");
        Refused::new(ErrorKind::InvalidColumnType, message)
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Refused {
        let kind = match unexpected {
            Unexpected::Signed(_) | Unexpected::Unsigned(_) => ErrorKind::IntegralValueOutOfRange,
            _ => ErrorKind::FromSqlConversionFailure,
        };
        let message = format!("it holds {unexpected}, which does not fit {expected}");
        Refused::new(kind, message)
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Refused {
        let message = format!("{length} values cannot be read as {expected}");
        Refused::new(ErrorKind::InvalidColumn, message)
    }

    fn unknown_field(field: &str, _: &'static [&'static str]) -> Refused {
        let message = format!("the type has no field for the column {field}");
        Refused::new(ErrorKind::InvalidColumn, message)
    }

    fn missing_field(field: &'static str) -> Refused {
        let message = format!("no column of the row is named {field}");
        Refused::new(ErrorKind::InvalidColumn, message)
    }

    fn duplicate_field(field: &'static str) -> Refused {
        let message = format!("two columns of the row are named {field}: rename one with AS");
        Refused::new(ErrorKind::InvalidColumn, message)
    }
}

/// A whole row.
struct RowDeserializer<'r>(Row<'r>);

impl<'r> RowDeserializer<'r> {
    fn columns(self) -> Columns<'r> {
        Columns {
            row: self.0,
            next: 0,
        }
    }

    /// The value of the row's only column.
    fn only<T>(self, read: impl FnOnce(Column<'r>) -> Result<T, Refused>) -> Result<T, Refused> {
        let row = self.0;
        match row.column_count() {
            1 => {
                let value = row.get_ref(0).map_err(Refused)?;
                read(Column(value)).map_err(|refused| refused.of_column(row, 0))
            }
            count => Err(Refused::new(
                ErrorKind::InvalidColumn,
                format!("a row of {count} columns cannot be read as one value"),
            )),
        }
    }

    /// Lets `visitor` take the columns in order. Returns an error if it leaves any.
    fn in_order<V: Visitor<'r>>(self, visitor: V) -> Result<V::Value, Refused> {
        let count = self.0.column_count();
        let mut columns = self.columns();
        let value = visitor.visit_seq(&mut columns)?;
        match columns.next {
            taken if taken == count => Ok(value),
            taken => Err(Refused::new(
                ErrorKind::InvalidColumn,
                format!("a row of {count} columns cannot be read as {taken} values"),
            )),
        }
    }
}

macro_rules! only_column {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'r>>(self, visitor: V) -> Result<V::Value, Refused> {
            self.only(|column| column.$method(visitor))
        }
    )*};
}

impl<'r> Deserializer<'r> for RowDeserializer<'r> {
    type Error = Refused;

    only_column! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_u128 deserialize_f32 deserialize_f64 deserialize_char deserialize_str
        deserialize_string deserialize_bytes deserialize_byte_buf deserialize_unit
        deserialize_identifier
    }

    fn deserialize_any<V: Visitor<'r>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.deserialize_map(visitor)
    }

    fn deserialize_map<V: Visitor<'r>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_map(self.columns())
    }

    fn deserialize_struct<V: Visitor<'r>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.deserialize_map(visitor)
    }

    fn deserialize_seq<V: Visitor<'r>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.in_order(visitor)
    }

    fn deserialize_tuple<V: Visitor<'r>>(
        self,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.in_order(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'r>>(
        self,
        _name: &'static str,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.in_order(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'r>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_newtype_struct(self)
    }

    /// Only a column can be `None`: a row always exists.
    fn deserialize_option<V: Visitor<'r>>(self, visitor: V) -> Result<V::Value, Refused> {
        match self.0.column_count() {
            1 if self.0.get_ref(0).map_err(Refused)? == ValueRef::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'r>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.only(|column| column.deserialize_unit_struct(name, visitor))
    }

    fn deserialize_enum<V: Visitor<'r>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.only(|column| column.deserialize_enum(name, variants, visitor))
    }

    fn deserialize_ignored_any<V: Visitor<'r>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_unit()
    }
}

/// The columns of a row that have not been taken yet.
struct Columns<'r> {
    row: Row<'r>,
    next: usize,
}

impl<'r> Columns<'r> {
    fn take<S: DeserializeSeed<'r>>(&mut self, seed: S) -> Result<S::Value, Refused> {
        let index = self.next;
        self.next += 1;
        let value = self.row.get_ref(index).map_err(Refused)?;
        seed.deserialize(Column(value))
            .map_err(|refused| refused.of_column(self.row, index))
    }
}

impl<'r> SeqAccess<'r> for &mut Columns<'r> {
    type Error = Refused;

    fn next_element_seed<S: DeserializeSeed<'r>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refused> {
        match self.next < self.row.column_count() {
            true => self.take(seed).map(Some),
            false => Ok(None),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.row.column_count() - self.next)
    }
}

impl<'r> MapAccess<'r> for Columns<'r> {
    type Error = Refused;

    fn next_key_seed<S: DeserializeSeed<'r>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refused> {
        if self.next == self.row.column_count() {
            return Ok(None);
        }
        let name = self.row.column_name(self.next).map_err(Refused)?;
        seed.deserialize(BorrowedStrDeserializer::new(name))
            .map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'r>>(&mut self, seed: S) -> Result<S::Value, Refused> {
        self.take(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.row.column_count() - self.next)
    }
}

/// One column's value.
struct Column<'r>(ValueRef<'r>);

impl<'r> Deserializer<'r> for Column<'r> {
    type Error = Refused;

    forward_to_deserialize_any! {
        <V: Visitor<'r>>
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct map struct identifier ignored_any
    }

    fn deserialize_any<V: Visitor<'r>>(self, visitor: V) -> Result<V::Value, Refused> {
        match self.0 {
            ValueRef::Null => visitor.visit_unit(),
            ValueRef::Integer(integer) => visitor.visit_i64(integer),
            ValueRef::Real(real) => visitor.visit_f64(real),
            ValueRef::Text(text) => visitor.visit_borrowed_str(text),
            ValueRef::Blob(bytes) => visitor.visit_borrowed_bytes(bytes),
        }
    }

    fn deserialize_bool<V: Visitor<'r>>(self, visitor: V) -> Result<V::Value, Refused> {
        match self.0 {
            ValueRef::Integer(integer) => visitor.visit_bool(integer != 0),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'r>>(self, visitor: V) -> Result<V::Value, Refused> {
        match self.0 {
            ValueRef::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'r>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'r>>(self, visitor: V) -> Result<V::Value, Refused> {
        let ValueRef::Blob(bytes) = self.0 else {
            return self.deserialize_any(visitor);
        };
        let mut bytes = SeqDeserializer::new(bytes.iter().copied());
        let value = visitor.visit_seq(&mut bytes)?;
        // A blob that is longer than the array is refused.
        bytes.end()?;
        Ok(value)
    }

    fn deserialize_tuple<V: Visitor<'r>>(
        self,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'r>>(
        self,
        _name: &'static str,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_enum<V: Visitor<'r>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        match self.0 {
            ValueRef::Text(text) => visitor.visit_enum(text.into_deserializer()),
            _ => self.deserialize_any(visitor),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;
    use crate::row::tests::with_row_of;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Note<'r> {
        id: u16,
        title: &'r str,
        body: Option<String>,
        done: bool,
        weight: f32,
        kind: Kind,
        hash: [u8; 2],
        parent: Option<Id>,
        missing: Option<i64>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Id(i64);

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        Plain,
        Fancy,
    }

    const NOTE: [(&str, ValueRef<'_>); 9] = [
        ("hash", ValueRef::Blob(&[1, 2])),
        ("id", ValueRef::Integer(300)),
        ("unused", ValueRef::Null),
        ("title", ValueRef::Text("Milk")),
        ("body", ValueRef::Null),
        ("done", ValueRef::Integer(2)),
        ("weight", ValueRef::Integer(2)),
        ("kind", ValueRef::Text("fancy")),
        ("parent", ValueRef::Integer(7)),
    ];

    fn kind_of<T: for<'r> Deserialize<'r>>(columns: &[(&str, ValueRef<'_>)]) -> Option<ErrorKind> {
        let mut kind = None;
        with_row_of(columns, |row| {
            kind = row.deserialize::<T>().err().map(|error| error.kind());
        });
        kind
    }

    #[test]
    fn a_struct_takes_columns_by_name() {
        with_row_of(&NOTE, |row| {
            let note: Note<'_> = row.deserialize().unwrap();
            let expected = Note {
                id: 300,
                title: "Milk",
                body: None,
                done: true,
                weight: 2.0,
                kind: Kind::Fancy,
                hash: [1, 2],
                parent: Some(Id(7)),
                missing: None,
            };
            assert_eq!(note, expected);
        });
        with_row_of(&NOTE[1..3], |row| {
            let map: BTreeMap<String, serde_json::Value> = row.deserialize().unwrap();
            assert_eq!(map["id"], 300);
            assert_eq!(map.len(), 2);
        });
    }

    #[test]
    fn tuples_and_lists_take_columns_in_order() {
        with_row_of(&NOTE[1..4], |row| {
            let read = row.deserialize::<(i64, (), String)>();
            assert_eq!(read, Ok((300, (), "Milk".to_owned())));
        });
        with_row_of(&[NOTE[1], NOTE[8]], |row| {
            assert_eq!(row.deserialize(), Ok([300, 7]));
            assert_eq!(row.deserialize(), Ok(vec![300, 7]));
        });
        assert_eq!(
            kind_of::<(i64,)>(&NOTE[1..3]),
            Some(ErrorKind::InvalidColumn)
        );
        assert_eq!(
            kind_of::<[i64; 2]>(&NOTE[1..2]),
            Some(ErrorKind::InvalidColumn)
        );
    }

    #[test]
    fn one_value_takes_the_only_column() {
        with_row_of(&NOTE[1..2], |row| {
            assert_eq!(row.deserialize(), Ok(300));
            assert_eq!(row.deserialize(), Ok(Some(300)));
            assert_eq!(row.deserialize(), Ok(Id(300)));
        });
        with_row_of(&NOTE[2..3], |row| {
            assert_eq!(row.deserialize(), Ok(None::<i64>));
        });
        with_row_of(&NOTE[7..8], |row| {
            assert_eq!(row.deserialize(), Ok(Kind::Fancy));
        });
        assert_eq!(kind_of::<i64>(&NOTE[..2]), Some(ErrorKind::InvalidColumn));
    }

    #[test]
    fn what_cannot_be_read_says_which_column() {
        #[derive(Debug, Deserialize)]
        struct Small {
            #[expect(dead_code, reason = "it is never read")]
            id: u8,
        }
        let out_of_range = Some(ErrorKind::IntegralValueOutOfRange);
        assert_eq!(kind_of::<Small>(&NOTE), out_of_range);
        with_row_of(&NOTE, |row| {
            let error = row.deserialize::<Small>().unwrap_err();
            assert!(error.message().contains("column 1 (id)"));
        });
        let text = [("id", ValueRef::Text("7"))];
        assert_eq!(kind_of::<Small>(&text), Some(ErrorKind::InvalidColumnType));
        let null = [("id", ValueRef::Null)];
        assert_eq!(kind_of::<Small>(&null), Some(ErrorKind::InvalidColumnType));
        assert_eq!(kind_of::<Small>(&NOTE[2..]), Some(ErrorKind::InvalidColumn));
        let twice = [NOTE[1], NOTE[1]];
        assert_eq!(kind_of::<Small>(&twice[..1]), out_of_range);
        let twice = twice.map(|(name, _)| (name, ValueRef::Integer(1)));
        assert_eq!(kind_of::<Small>(&twice), Some(ErrorKind::InvalidColumn));

        let conversion = Some(ErrorKind::FromSqlConversionFailure);
        let odd = [("kind", ValueRef::Text("odd"))];
        assert_eq!(kind_of::<Kind>(&odd), conversion);
        let number = [("kind", ValueRef::Integer(0))];
        assert_eq!(kind_of::<Kind>(&number), Some(ErrorKind::InvalidColumnType));
        for bytes in [[1].as_slice(), &[1, 2, 3]] {
            let blob = [("hash", ValueRef::Blob(bytes))];
            assert_eq!(kind_of::<([u8; 2],)>(&blob), conversion);
        }
    }
}
