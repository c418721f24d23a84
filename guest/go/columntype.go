package millpond

import (
	"database/sql/driver"
	"strings"
	"time"
)

// columnType is what a column's declared type means to Go. From typeBool on, values are converted.
type columnType uint8

const (
	typeAny columnType = iota
	typeInteger
	typeReal
	typeText
	typeBlob
	typeBool
	typeTime
)

// typeOf follows SQLite's rules of affinity (https://sqlite.org/datatype3.html), after the types that
// SQLite does not have.
func typeOf(declared string) columnType {
	name, _, _ := strings.Cut(strings.ToUpper(declared), "(")
	switch strings.TrimSpace(name) {
	case "BOOL", "BOOLEAN":
		return typeBool
	case "DATE", "DATETIME", "TIMESTAMP":
		return typeTime
	case "", "ANY", "NUMERIC", "DECIMAL":
		return typeAny
	}
	switch {
	case strings.Contains(name, "INT"):
		return typeInteger
	case strings.Contains(name, "CHAR"), strings.Contains(name, "CLOB"), strings.Contains(name, "TEXT"):
		return typeText
	case strings.Contains(name, "BLOB"):
		return typeBlob
	case strings.Contains(name, "REAL"), strings.Contains(name, "FLOA"), strings.Contains(name, "DOUB"):
		return typeReal
	}
	return typeAny
}

// The forms of a date, with or without a time and a zone, that SQLite's own functions know. Parsing
// accepts a fraction of a second after each.
var timeFormats = [...]string{
	"2006-01-02 15:04:05Z07:00",
	"2006-01-02T15:04:05Z07:00",
	"2006-01-02 15:04:05",
	"2006-01-02T15:04:05",
	"2006-01-02 15:04Z07:00",
	"2006-01-02T15:04Z07:00",
	"2006-01-02 15:04",
	"2006-01-02T15:04",
	"2006-01-02",
	"2006-01-02 15:04:05 Z07:00",
	"2006-01-02T15:04:05 Z07:00",
	"2006-01-02 15:04 Z07:00",
	"2006-01-02T15:04 Z07:00",
}

// Seconds up to the year 33658: a larger number is milliseconds.
const maxSeconds = 1_000_000_000_000

// convert returns a value as a bool or a time, in UTC unless its text has a zone. A value that is
// neither stays what it is.
func (t columnType) convert(value driver.Value) driver.Value {
	switch value := value.(type) {
	case int64:
		switch {
		case t == typeBool:
			return value != 0
		case value > maxSeconds || value < -maxSeconds:
			return time.UnixMilli(value).UTC()
		}
		return time.Unix(value, 0).UTC()
	case string:
		if t == typeTime {
			for _, format := range timeFormats {
				if parsed, err := time.Parse(format, value); err == nil {
					return parsed
				}
			}
		}
	}
	return value
}
