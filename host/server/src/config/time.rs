//! Durations as text.

use std::time::Duration;

/// A duration as a regular expression.
pub(crate) const PATTERN: &str = r"^[0-9]+(\.[0-9]+)? *(h|m|s|ms|us|ns)?$";

const UNITS: [(&str, u128); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Read `10s`, `500ms`, `2m`, `1.5h`, or a plain number of seconds.
///
/// # Errors
///
/// What is wrong with the text, and what to write.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    const EXAMPLE: &str =
        "write a number with a unit, such as \"10s\", \"500ms\", \"2m\" or \"1h\"";
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
    let unit = match unit.trim_start_matches(' ') {
        "" => "s",
        unit => unit,
    };
    let (_, unit) = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or(EXAMPLE)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
        return Err(EXAMPLE.to_owned());
    }
    // More digits than these would be less than a nanosecond.
    let fraction = &fraction[..fraction.len().min(18)];
    let scale = 10_u128.pow(u32::try_from(fraction.len()).unwrap_or(0));
    let fraction: u128 = fraction.parse().map_err(|_| EXAMPLE)?;
    let whole: u128 = whole.parse().map_err(|_| "it is too long")?;
    let nanoseconds = whole
        .checked_mul(*unit)
        .and_then(|whole| whole.checked_add(fraction * unit / scale))
        .ok_or("it is too long")?;
    let seconds = u64::try_from(nanoseconds / 1_000_000_000).map_err(|_| "it is too long")?;
    let rest = u32::try_from(nanoseconds % 1_000_000_000).unwrap_or(0);
    Ok(Duration::new(seconds, rest))
}

/// Write a duration exactly, with the largest unit that divides it.
pub fn format_duration(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    let unit = UNITS
        .iter()
        .find(|(_, unit)| nanoseconds.is_multiple_of(*unit));
    match unit {
        Some((name, unit)) if nanoseconds != 0 => format!("{}{name}", nanoseconds / unit),
        _ => "0s".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, nanoseconds) in [
            ("10s", 10_000_000_000),
            ("500ms", 500_000_000),
            ("2m", 120_000_000_000),
            ("7", 7_000_000_000),
            ("0.25", 250_000_000),
            ("1.5h", 5_400_000_000_000),
            ("3us", 3_000),
            ("1.0000000010s", 1_000_000_001),
            ("0", 0),
        ] {
            let duration = Duration::from_nanos(nanoseconds);
            assert_eq!(parse_duration(text), Ok(duration), "{text}");
            assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
        assert_eq!(format_duration(Duration::from_secs(90)), "90s");
        assert_eq!(
            parse_duration(&format_duration(Duration::MAX)),
            Ok(Duration::MAX)
        );
        for wrong in [
            "",
            "s",
            "-1",
            "1d",
            "1.2.3",
            ".5",
            "1.",
            "NaN",
            "1e400",
            "1 ½",
            "99999999999999999999999999999999999999999h",
        ] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
