//! Parameters: one row of values, by position or by name.

use std::fmt;

use crate::error::Result;
use crate::flat::{
    HEADER, NAME, broken, check_utf8, check_value, header, malformed, read, read_name,
    split_header, write_bytes, write_header, write_value,
};
use crate::value::{Parameters, RawValue, Value, ValueRef};

impl Parameters {
    /// No parameters.
    pub const NONE: Parameters = Parameters {
        bytes: Vec::new(),
        count: 0,
        named: false,
    };

    /// Bind values by name. Name each parameter once, with or without its `:`, `@`, `$` or `?`.
    ///
    /// ```
    /// use millpond_pool::{Parameters, Value};
    ///
    /// let parameters = Parameters::named([("id", Value::from(7)), ("title", "Milk".into())]);
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if a name, text or blob has 4 GiB or more.
    pub fn named<N, V>(values: impl IntoIterator<Item = (N, V)>) -> Parameters
    where
        N: AsRef<str>,
        V: Into<Value>,
    {
        let values = values.into_iter();
        Parameters::write(true, |bytes| {
            let mut count = 0;
            for (name, value) in values {
                write_bytes(bytes, NAME, name.as_ref().as_bytes());
                write_value(bytes, value);
                count += 1;
            }
            count
        })
    }

    /// Bind values to `?1`, `?2`, … in order, as many as the iterator yields.
    ///
    /// # Panics
    ///
    /// Panics if a text or blob has 4 GiB or more.
    pub fn positional(values: impl IntoIterator<Item: Into<Value>>) -> Parameters {
        let values = values.into_iter();
        Parameters::write(false, |bytes| {
            let mut count = 0;
            for value in values {
                write_value(bytes, value);
                count += 1;
            }
            count
        })
    }

    fn write(named: bool, values: impl FnOnce(&mut Vec<u8>) -> usize) -> Parameters {
        // Enough for most: growing to it takes as long as an insert.
        let mut bytes = Vec::with_capacity(128);
        write_header(&mut bytes, 0);
        let count = values(&mut bytes);
        if count == 0 {
            return Parameters::NONE;
        }
        bytes[..HEADER].copy_from_slice(&header(count));
        Parameters {
            bytes,
            count,
            named,
        }
    }

    /// Take parameters in the contract's form from an untrusted caller. Everything is checked here,
    /// once, except whether the statement has such parameters.
    ///
    /// # Errors
    ///
    /// [`Parameters`](crate::ErrorKind::Parameters): the bytes are not of that form, are not
    /// exactly one row, or only some of the values have names.
    /// [`NotUtf8`](crate::ErrorKind::NotUtf8): a text or a name is not UTF-8.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Parameters> {
        let Some((width, mut values)) = split_header(&bytes)? else {
            return Ok(Parameters::NONE);
        };
        let named = values.first() == Some(&NAME);
        let mut count = 0;
        while !values.is_empty() {
            if named {
                let name = read_name(&mut values).ok_or_else(|| match values.first() {
                    Some(&NAME) => broken(values),
                    _ => malformed(format!("value {count} has no name, but others have one")),
                })?;
                check_utf8(name, "the name of parameter", count)?;
            }
            let value = read(&mut values).ok_or_else(|| broken(values))?;
            check_value(value, count)?;
            count += 1;
        }
        if count != width {
            return Err(malformed(format!(
                "{count} values do not make one row of {width}"
            )));
        }
        if count == 0 {
            return Ok(Parameters::NONE);
        }
        Ok(Parameters {
            bytes,
            count,
            named,
        })
    }

    /// The parameters in the contract's form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The number of values.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The values, in the order given, each with its name, if any.
    pub fn iter(&self) -> impl Iterator<Item = (Option<&str>, ValueRef<'_>)> {
        self.raw_values().map(|(name, value)| {
            let name = name.map(|name| str::from_utf8(name).unwrap_or_default());
            (name, ValueRef::from_checked(value))
        })
    }

    /// Whether the values have names.
    pub fn is_named(&self) -> bool {
        self.named
    }

    /// The names and values for binding. Names and texts are known to be UTF-8.
    #[inline]
    pub fn raw_values(&self) -> impl Iterator<Item = (Option<&[u8]>, RawValue<'_>)> {
        let mut values = self.bytes.get(HEADER..).unwrap_or_default();
        let named = self.named;
        std::iter::from_fn(move || {
            let name = match named {
                true => Some(read_name(&mut values)?),
                false => None,
            };
            Some((name, read(&mut values)?))
        })
    }
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.named {
            true => {
                let values = self
                    .iter()
                    .map(|(name, value)| (name.unwrap_or_default(), value));
                f.debug_map().entries(values).finish()
            }
            false => {
                let values = self.iter().map(|(_, value)| value);
                f.debug_list().entries(values).finish()
            }
        }
    }
}
