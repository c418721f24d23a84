//! Sizes in bytes, as text.

use std::fmt;
use std::str::FromStr;

/// A size in bytes. As text: a whole number with a unit, such as `64MiB`; units are powers of 1024.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

/// [`Size`] as a regular expression.
pub(crate) const PATTERN: &str = "^[0-9]+ *([bB]|[kKmMgG]([iI]?[bB])?)?$";

const UNITS: [(&str, u32); 3] = [("GiB", 30), ("MiB", 20), ("KiB", 10)];

impl Size {
    /// The number of bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Size {
    type Err = String;

    /// # Errors
    ///
    /// What is wrong with the text, and what to write.
    fn from_str(text: &str) -> Result<Size, String> {
        let digits = text.find(|c: char| !c.is_ascii_digit());
        let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
        let shift = match unit.trim_start_matches(' ').to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            _ => return Err("write a whole number with a unit: KiB, MiB or GiB".to_owned()),
        };
        if number.is_empty() {
            return Err("write a whole number with a unit, such as \"64MiB\"".to_owned());
        }
        let bytes = number.parse::<u64>().ok();
        let bytes = bytes.and_then(|number| number.checked_mul(1 << shift));
        bytes.map(Size).ok_or_else(|| "it is too large".to_owned())
    }
}

impl fmt::Display for Size {
    /// With the largest unit that divides it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let divides = |shift: u32| self.0 != 0 && self.0.trailing_zeros() >= shift;
        match UNITS.iter().find(|(_, shift)| divides(*shift)) {
            Some((unit, shift)) => write!(f, "{}{unit}", self.0 >> shift),
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes) in [
            ("0", 0),
            ("65537", 65537),
            ("64K", 64 << 10),
            ("256 MiB", 256 << 20),
            ("16384GiB", 16 << 40),
            ("7b", 7),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
            assert_eq!(Size(bytes).to_string().parse(), Ok(Size(bytes)), "{text}");
        }
        assert_eq!(Size(64 << 20).to_string(), "64MiB");
        for wrong in ["", "M", "1.5M", "-1", "1TB", "99999999999G", "1 ½"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }
}
