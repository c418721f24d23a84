//! chrono's dates and times as text, in formats that SQLite's date functions read.

use chrono::{
    DateTime, FixedOffset, Local, NaiveDate, NaiveDateTime, NaiveTime, TimeZone as _, Utc,
};

use super::text;
use crate::{FromSql, FromSqlError, FromSqlResult, Result, ToSql, ToSqlOutput, ValueRef};

/// `YYYY-MM-DD`
impl ToSql for NaiveDate {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(self.format("%F").to_string().into())
    }
}

/// `YYYY-MM-DD`
impl FromSql for NaiveDate {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<NaiveDate> {
        NaiveDate::parse_from_str(text(value)?, "%F").map_err(FromSqlError::other)
    }
}

/// `HH:MM:SS`, with a fraction if there is one
impl ToSql for NaiveTime {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(self.format("%T%.f").to_string().into())
    }
}

/// `HH:MM`, `HH:MM:SS` or `HH:MM:SS.SSS`
impl FromSql for NaiveTime {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<NaiveTime> {
        let text = text(value)?;
        let format = match text.len() {
            5 => "%H:%M",
            8 => "%T",
            _ => "%T%.f",
        };
        NaiveTime::parse_from_str(text, format).map_err(FromSqlError::other)
    }
}

/// `YYYY-MM-DD HH:MM:SS`, with a fraction if there is one
impl ToSql for NaiveDateTime {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(self.format("%F %T%.f").to_string().into())
    }
}

/// `YYYY-MM-DD HH:MM:SS` or `YYYY-MM-DD HH:MM:SS.SSS`, also with a `T` between date and time
impl FromSql for NaiveDateTime {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<NaiveDateTime> {
        let text = text(value)?;
        let format = match has_t(text) {
            true => "%FT%T%.f",
            false => "%F %T%.f",
        };
        NaiveDateTime::parse_from_str(text, format).map_err(FromSqlError::other)
    }
}

/// `YYYY-MM-DD HH:MM:SS+00:00`, with a fraction of seconds if there is one
impl ToSql for DateTime<Utc> {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(self.format("%F %T%.f%:z").to_string().into())
    }
}

/// Like `DateTime<Utc>`: stored in UTC
impl ToSql for DateTime<Local> {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        let utc = self.with_timezone(&Utc);
        Ok(utc.format("%F %T%.f%:z").to_string().into())
    }
}

/// `YYYY-MM-DD HH:MM:SS±HH:MM`, with a fraction of seconds if there is one
impl ToSql for DateTime<FixedOffset> {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(self.format("%F %T%.f%:z").to_string().into())
    }
}

/// The formats of `NaiveDateTime`, with an offset or `Z`, or without, which means UTC; or an
/// integer, as seconds since 1970
impl FromSql for DateTime<Utc> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<DateTime<Utc>> {
        if let ValueRef::Integer(seconds) = value {
            return DateTime::from_timestamp(seconds, 0).ok_or(FromSqlError::OutOfRange(seconds));
        }
        let text = text(value)?;
        let format = match has_t(text) {
            true => "%FT%T%.f%#z",
            false => "%F %T%.f%#z",
        };
        match DateTime::parse_from_str(text, format) {
            Ok(time) => Ok(time.with_timezone(&Utc)),
            Err(_) => NaiveDateTime::column_result(value).map(|time| Utc.from_utc_datetime(&time)),
        }
    }
}

/// Like `DateTime<Utc>`
impl FromSql for DateTime<Local> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<DateTime<Local>> {
        DateTime::<Utc>::column_result(value).map(|time| time.with_timezone(&Local))
    }
}

/// `YYYY-MM-DD HH:MM:SS±HH:MM`, with or without a fraction of seconds, or RFC 3339
impl FromSql for DateTime<FixedOffset> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<DateTime<FixedOffset>> {
        let text = text(value)?;
        DateTime::parse_from_rfc3339(text)
            .or_else(|_| DateTime::parse_from_str(text, "%F %T%.f%:z"))
            .map_err(FromSqlError::other)
    }
}

/// Whether there is a `T` between date and time.
fn has_t(text: &str) -> bool {
    text.as_bytes().get(10) == Some(&b'T')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;
    use crate::types::tests::{read, read_text, refused, stored_text};

    const OTHERS: [Value; 3] = [Value::Null, Value::Real(0.5), Value::Blob(Vec::new())];

    fn moment() -> NaiveDateTime {
        NaiveDate::from_ymd_opt(2016, 2, 23)
            .and_then(|date| date.and_hms_milli_opt(23, 56, 4, 789))
            .unwrap()
    }

    #[test]
    fn without_an_offset() {
        stored_text(moment().date(), "2016-02-23");
        stored_text(moment().time(), "23:56:04.789");
        stored_text(moment(), "2016-02-23 23:56:04.789");
        let midnight = NaiveTime::MIN;
        stored_text(midnight, "00:00:00");
        assert_eq!(read_text("00:00"), Ok(midnight));
        assert_eq!(read_text("2016-02-23T23:56:04.789"), Ok(moment()));
        refused::<NaiveDate>(&["2016-02-30", "2016-02-23 23:56:04"], &OTHERS);
        refused::<NaiveTime>(&["24:00:00", "2016-02-23 23:56:04"], &OTHERS);
        refused::<NaiveDateTime>(&["2016-02-23", "2016-02-23 23:60:04"], &OTHERS);
    }

    #[test]
    fn with_an_offset() {
        let utc = moment().and_utc();
        stored_text(utc, "2016-02-23 23:56:04.789+00:00");
        stored_text(utc.with_timezone(&Local), "2016-02-23 23:56:04.789+00:00");
        let offset = FixedOffset::east_opt(4 * 3600).unwrap();
        let there = utc.with_timezone(&offset);
        stored_text(there, "2016-02-24 03:56:04.789+04:00");
        for text in [
            "2016-02-23 23:56:04.789",
            "2016-02-23T23:56:04.789Z",
            "2016-02-24 03:56:04.789+04:00",
        ] {
            assert_eq!(read_text(text), Ok(utc), "{text}");
        }
        assert_eq!(read_text("2016-02-24T03:56:04.789+04:00"), Ok(there));
        let second = utc.timestamp();
        let seconds = read::<DateTime<Utc>>(&Value::Integer(second)).unwrap();
        assert_eq!(seconds.timestamp(), second);
        let never = read::<DateTime<Utc>>(&Value::Integer(i64::MAX));
        assert_eq!(never, Err(FromSqlError::OutOfRange(i64::MAX)));
        refused::<DateTime<Utc>>(&["2016-02-23"], &OTHERS);
        refused::<DateTime<Local>>(&["2016-02-23"], &OTHERS);
        refused::<DateTime<FixedOffset>>(&["2016-02-23 23:56:04"], &OTHERS);
    }
}
