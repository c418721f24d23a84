//! jiff's dates and times as text, in formats that SQLite's date functions read.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

use super::text;
use crate::{FromSql, FromSqlError, FromSqlResult, Result, ToSql, ToSqlOutput, ValueRef};

/// `YYYY-MM-DD`
impl ToSql for Date {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(self.to_string().into())
    }
}

/// `YYYY-MM-DD`
impl FromSql for Date {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Date> {
        text(value)?.parse().map_err(FromSqlError::other)
    }
}

/// `HH:MM:SS`, with a fraction if there is one
impl ToSql for Time {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(self.to_string().into())
    }
}

/// `HH:MM:SS` or `HH:MM:SS.SSS`
impl FromSql for Time {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Time> {
        text(value)?.parse().map_err(FromSqlError::other)
    }
}

/// `YYYY-MM-DDTHH:MM:SS`, with a fraction if there is one
impl ToSql for DateTime {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(self.to_string().into())
    }
}

/// `YYYY-MM-DD HH:MM:SS` or `YYYY-MM-DD HH:MM:SS.SSS`, also with a `T` between date and time
impl FromSql for DateTime {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<DateTime> {
        text(value)?.parse().map_err(FromSqlError::other)
    }
}

/// `YYYY-MM-DDTHH:MM:SSZ`, with a fraction of seconds if there is one
impl ToSql for Timestamp {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(self.to_string().into())
    }
}

/// The formats of `DateTime`, with an offset or `Z`, or without, which means UTC; or an integer, as
/// seconds since 1970
impl FromSql for Timestamp {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Timestamp> {
        if let ValueRef::Integer(seconds) = value {
            return Timestamp::from_second(seconds).map_err(|_| FromSqlError::OutOfRange(seconds));
        }
        let text = text(value)?;
        if let Ok(timestamp) = text.parse() {
            return Ok(timestamp);
        }
        // SQLite's own functions write no offset.
        let utc: DateTime = text.parse().map_err(FromSqlError::other)?;
        TimeZone::UTC.to_timestamp(utc).map_err(FromSqlError::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;
    use crate::types::tests::{read, read_text, refused, stored_text};

    const OTHERS: [Value; 3] = [Value::Null, Value::Real(0.5), Value::Blob(Vec::new())];

    #[test]
    fn civil() {
        let moment = jiff::civil::datetime(2016, 2, 23, 23, 56, 4, 789_000_000);
        stored_text(moment.date(), "2016-02-23");
        stored_text(moment.time(), "23:56:04.789");
        stored_text(moment, "2016-02-23T23:56:04.789");
        stored_text(Time::midnight(), "00:00:00");
        assert_eq!(read_text("2016-02-23 23:56:04.789"), Ok(moment));
        refused::<Date>(&["2016-02-30"], &OTHERS);
        refused::<Time>(&["24:00:00"], &OTHERS);
        refused::<DateTime>(&["2016-02-23 23:60:04"], &OTHERS);
    }

    #[test]
    fn timestamps() {
        let moment: Timestamp = "2016-02-23T23:56:04.789Z".parse().unwrap();
        stored_text(moment, "2016-02-23T23:56:04.789Z");
        for text in [
            "2016-02-23 23:56:04.789",
            "2016-02-24 03:56:04.789+04:00",
            "2016-02-23 23:56:04.789Z",
        ] {
            assert_eq!(read_text(text), Ok(moment), "{text}");
        }
        let seconds = read::<Timestamp>(&Value::Integer(moment.as_second())).unwrap();
        assert_eq!(seconds.as_second(), moment.as_second());
        let never = read::<Timestamp>(&Value::Integer(i64::MAX));
        assert_eq!(never, Err(FromSqlError::OutOfRange(i64::MAX)));
        refused::<Timestamp>(&["2016-02-30 00:00:00"], &OTHERS);
    }
}
