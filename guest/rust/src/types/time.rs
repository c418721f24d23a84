//! time's dates and times as text, in formats that SQLite's date functions read.

use time::format_description::FormatItem;
use time::macros::format_description;
use time::{Date, OffsetDateTime, PrimitiveDateTime, Time, UtcDateTime};

use super::text;
use crate::{Error, FromSql, FromSqlError, FromSqlResult, Result, ToSql, ToSqlOutput, ValueRef};

const WRITE_OFFSET_DATE_TIME: &[FormatItem<'_>] = format_description!(
    version = 2,
    "[year]-[month]-[day] [hour]:[minute]:[second].[subsecond]\
     [offset_hour sign:mandatory]:[offset_minute]"
);
const WRITE_UTC_DATE_TIME: &[FormatItem<'_>] = format_description!(
    version = 2,
    "[year]-[month]-[day] [hour]:[minute]:[second].[subsecond]Z"
);
const WRITE_PRIMITIVE_DATE_TIME: &[FormatItem<'_>] = format_description!(
    version = 2,
    "[year]-[month]-[day] [hour]:[minute]:[second].[subsecond]"
);
const WRITE_TIME: &[FormatItem<'_>] =
    format_description!(version = 2, "[hour]:[minute]:[second].[subsecond]");
const DATE: &[FormatItem<'_>] = format_description!(version = 2, "[year]-[month]-[day]");

const READ_OFFSET_DATE_TIME: &[FormatItem<'_>] = format_description!(
    version = 2,
    "[year]-[month]-[day][first [ ][T]]\
     [hour]:[minute][optional [:[second][optional [.[subsecond]]]]]\
     [offset_hour sign:mandatory]:[offset_minute]"
);
const READ_UTC_DATE_TIME: &[FormatItem<'_>] = format_description!(
    version = 2,
    "[year]-[month]-[day][first [ ][T]]\
     [hour]:[minute][optional [:[second][optional [.[subsecond]]]]][optional [Z]]"
);
const READ_PRIMITIVE_DATE_TIME: &[FormatItem<'_>] = format_description!(
    version = 2,
    "[year]-[month]-[day][first [ ][T]]\
     [hour]:[minute][optional [:[second][optional [.[subsecond]]]]]"
);
const READ_TIME: &[FormatItem<'_>] = format_description!(
    version = 2,
    "[hour]:[minute][optional [:[second][optional [.[subsecond]]]]]"
);

fn written(text: Result<String, time::error::Format>) -> Result<ToSqlOutput<'static>> {
    match text {
        Ok(text) => Ok(text.into()),
        Err(error) => Err(Error::to_sql(error.to_string())),
    }
}

/// `YYYY-MM-DD`
impl ToSql for Date {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        written(self.format(DATE))
    }
}

/// `YYYY-MM-DD`
impl FromSql for Date {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Date> {
        Date::parse(text(value)?, DATE).map_err(FromSqlError::other)
    }
}

/// `HH:MM:SS.S`, with as many digits of the fraction as needed
impl ToSql for Time {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        written(self.format(WRITE_TIME))
    }
}

/// `HH:MM`, `HH:MM:SS` or `HH:MM:SS.SSS`
impl FromSql for Time {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Time> {
        Time::parse(text(value)?, READ_TIME).map_err(FromSqlError::other)
    }
}

/// `YYYY-MM-DD HH:MM:SS.S`, with as many digits of the fraction as needed
impl ToSql for PrimitiveDateTime {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        written(self.format(WRITE_PRIMITIVE_DATE_TIME))
    }
}

/// `YYYY-MM-DD HH:MM`, `YYYY-MM-DD HH:MM:SS` or `YYYY-MM-DD HH:MM:SS.SSS`, also with a `T` between
/// date and time
impl FromSql for PrimitiveDateTime {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<PrimitiveDateTime> {
        PrimitiveDateTime::parse(text(value)?, READ_PRIMITIVE_DATE_TIME)
            .map_err(FromSqlError::other)
    }
}

/// `YYYY-MM-DD HH:MM:SS.S±HH:MM`, with as many digits of the fraction as needed
impl ToSql for OffsetDateTime {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        written(self.format(WRITE_OFFSET_DATE_TIME))
    }
}

/// The formats of `PrimitiveDateTime`, with an offset or `Z`, or without, which means UTC; or an
/// integer, as seconds since 1970
impl FromSql for OffsetDateTime {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<OffsetDateTime> {
        if let ValueRef::Integer(seconds) = value {
            return OffsetDateTime::from_unix_timestamp(seconds)
                .map_err(|_| FromSqlError::OutOfRange(seconds));
        }
        let text = text(value)?;
        // Of two errors, return that of the format without an offset: the other would mention the
        // offset, which is optional.
        OffsetDateTime::parse(text, READ_OFFSET_DATE_TIME)
            .or_else(|_| {
                PrimitiveDateTime::parse(text, READ_UTC_DATE_TIME)
                    .map(PrimitiveDateTime::assume_utc)
            })
            .map_err(FromSqlError::other)
    }
}

/// `YYYY-MM-DD HH:MM:SS.SZ`, with as many digits of the fraction as needed
impl ToSql for UtcDateTime {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        written(self.format(WRITE_UTC_DATE_TIME))
    }
}

/// Like `OffsetDateTime`
impl FromSql for UtcDateTime {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<UtcDateTime> {
        OffsetDateTime::column_result(value).map(UtcDateTime::from)
    }
}

#[cfg(test)]
mod tests {
    use time::macros::{date, datetime, time, utc_datetime};

    use super::*;
    use crate::Value;
    use crate::types::tests::{read, read_text, refused, stored_text};

    const OTHERS: [Value; 3] = [Value::Null, Value::Real(0.5), Value::Blob(Vec::new())];

    #[test]
    fn without_an_offset() {
        stored_text(date!(2016 - 02 - 23), "2016-02-23");
        stored_text(time!(23:56:04.789), "23:56:04.789");
        stored_text(time!(0:00), "00:00:00.0");
        assert_eq!(read_text("00:00"), Ok(time!(0:00)));
        assert_eq!(read_text("00:00:00"), Ok(time!(0:00)));
        let moment = datetime!(2016-02-23 23:56:04.789);
        stored_text(moment, "2016-02-23 23:56:04.789");
        assert_eq!(read_text("2016-02-23T23:56:04.789"), Ok(moment));
        refused::<Date>(&["2016-02-30", "2016-02-23 23:56:04"], &OTHERS);
        refused::<Time>(&["24:00:00", "2016-02-23 23:56:04"], &OTHERS);
        refused::<PrimitiveDateTime>(&["2016-02-23", "2016-02-23 23:60:04"], &OTHERS);
    }

    #[test]
    fn with_an_offset() {
        let moment = datetime!(2016-02-24 03:56:04.789 +4);
        stored_text(moment, "2016-02-24 03:56:04.789+04:00");
        let utc = utc_datetime!(2016-02-23 23:56:04.789);
        stored_text(utc, "2016-02-23 23:56:04.789Z");
        for text in [
            "2016-02-23 23:56:04.789",
            "2016-02-23T23:56:04.789Z",
            "2016-02-24 03:56:04.789+04:00",
            "2016-02-23 18:56:04.789-05:00",
        ] {
            assert_eq!(read_text(text), Ok(moment), "{text}");
            assert_eq!(read_text(text), Ok(utc), "{text}");
        }
        let seconds = read::<OffsetDateTime>(&Value::Integer(moment.unix_timestamp())).unwrap();
        assert_eq!(seconds.unix_timestamp(), moment.unix_timestamp());
        let never = read::<UtcDateTime>(&Value::Integer(i64::MAX));
        assert_eq!(never, Err(FromSqlError::OutOfRange(i64::MAX)));
        refused::<OffsetDateTime>(&["2016-02-23"], &OTHERS);
        refused::<UtcDateTime>(&["2016-02-23"], &OTHERS);
    }
}
