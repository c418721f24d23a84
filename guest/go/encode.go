package millpond

import (
	"database/sql/driver"
	"encoding/binary"
	"math"
	"time"
)

// The codes of values in the contract's form of rows.
const (
	codeInteger = 1
	codeReal    = 2
	codeText    = 3
	codeBlob    = 4
	codeNull    = 5
	codeName    = 6
)

// The largest buffer for arguments that a connection keeps.
const maxScratch = 64 << 10

// timeFormat is how times are stored. SQLite's date functions understand it, and other drivers for
// SQLite read it.
const timeFormat = "2006-01-02 15:04:05.999999999-07:00"

// The largest offset of a zone that SQLite reads, in seconds.
const maxOffset = 14 * 60 * 60

// CheckNamedValue converts an argument to a type that SQLite stores: int64, float64, string,
// []byte, bool (as 0 or 1), time.Time (as text), or nil. Types based on these, pointers, and those
// with a Value method are converted as database/sql does by default. The text of a time has its zone
// if that is of whole minutes, up to 14 hours; otherwise it is in UTC.
func (c *Conn) CheckNamedValue(argument *driver.NamedValue) error {
	value, err := checkValue(argument.Value)
	argument.Value = value
	return err
}

func checkValue(value any) (driver.Value, error) {
	switch value.(type) {
	case nil, int64, float64, string, []byte, bool, time.Time:
		return value, nil
	}
	return driver.DefaultParameterConverter.ConvertValue(value)
}

// encode returns one row of arguments, valid until the next call.
func (c *Conn) encode(args []driver.NamedValue) ([]byte, error) {
	if len(args) == 0 {
		return nil, nil
	}
	row := binary.LittleEndian.AppendUint32(c.scratch[:0], uint32(len(args)))
	for _, argument := range args {
		if (argument.Name == "") != (args[0].Name == "") {
			return nil, newError(KindParameters, "either all arguments have names or none: argument %d", argument.Ordinal)
		}
		if argument.Name != "" {
			row = appendBytes(append(row, codeName), argument.Name)
		}
		var err error
		if row, err = appendValue(row, argument.Value); err != nil {
			return nil, err
		}
	}
	if cap(row) <= maxScratch {
		c.scratch = row
	}
	return row, nil
}

func appendValue(row []byte, value driver.Value) ([]byte, error) {
	switch value := value.(type) {
	case nil:
		return append(row, codeNull), nil
	case int64:
		return binary.LittleEndian.AppendUint64(append(row, codeInteger), uint64(value)), nil
	case float64:
		return binary.LittleEndian.AppendUint64(append(row, codeReal), math.Float64bits(value)), nil
	case string:
		return appendBytes(append(row, codeText), value), nil
	case []byte:
		if value == nil {
			return append(row, codeNull), nil
		}
		return appendBytes(append(row, codeBlob), value), nil
	case bool:
		number := uint64(0)
		if value {
			number = 1
		}
		return binary.LittleEndian.AppendUint64(append(row, codeInteger), number), nil
	case time.Time:
		return appendTime(row, value)
	}
	return nil, newError(KindParameters, "an argument has the type %T", value)
}

func appendTime(row []byte, value time.Time) ([]byte, error) {
	if _, offset := value.Zone(); offset%60 != 0 || offset > maxOffset || offset < -maxOffset {
		value = value.UTC()
	}
	if year := value.Year(); year < 0 || year > 9999 {
		return nil, newError(KindParameters, "a time is of the year %d: SQLite knows the years 0 to 9999", year)
	}
	return appendBytes(append(row, codeText), value.Format(timeFormat)), nil
}

func appendBytes[T string | []byte](row []byte, value T) []byte {
	return append(binary.LittleEndian.AppendUint32(row, uint32(len(value))), value...)
}
