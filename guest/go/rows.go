package millpond

import (
	"context"
	"database/sql/driver"
	"io"
	"reflect"
	"strings"
	"time"
)

// How many rows the first page may have: few, for a caller that wants few. All others are as large
// as the host allows.
const firstRows = 64

// rows are the rows of a result, page by page.
type rows struct {
	ctx     context.Context
	conn    *Conn
	columns []column
	types   []columnType
	page    decoder
	// Pages that were read ahead.
	ahead [][]byte
	rest  cursor
}

var (
	_ driver.RowsColumnTypeDatabaseTypeName = (*rows)(nil)
	_ driver.RowsColumnTypeScanType         = (*rows)(nil)
)

// open runs a statement and returns its rows. A statement that may write is read to the end at
// once: then it is committed, and its turn to write is over.
func (c *Conn) open(ctx context.Context, handle statement, query string, args []driver.NamedValue) (*rows, error) {
	if err := c.allow(ctx, handle); err != nil {
		return nil, err
	}
	parameters, err := c.encode(args)
	if err != nil {
		return nil, err
	}
	c.textTx = c.textTx || begins(query)
	first, err := handle.query(parameters, firstRows)
	if err != nil {
		return nil, c.failed(err, true)
	}
	opened := &rows{ctx: ctx, conn: c, columns: first.columns, rest: first.rest}
	opened.types = make([]columnType, len(first.columns))
	for index, column := range first.columns {
		opened.types[index] = typeOf(column.declared)
	}
	if opened.page, err = newDecoder(first.rows); err != nil {
		return nil, err
	}
	if opened.rest != 0 && !reads(query) {
		if writes, err := handle.writes(); err != nil || writes {
			return opened.readAhead(err)
		}
	}
	return opened, nil
}

// readAhead reads all pages.
func (r *rows) readAhead(err error) (*rows, error) {
	for err == nil && r.rest != 0 {
		var next []byte
		if next, err = r.next(); len(next) != 0 {
			r.ahead = append(r.ahead, next)
		}
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// next asks the host for the next page. There is none if it is empty.
func (r *rows) next() ([]byte, error) {
	if err := r.ctx.Err(); err != nil {
		return nil, err
	}
	page, err := r.rest.next(0)
	if err != nil || len(page) == 0 {
		r.Close()
	}
	return page, r.conn.failed(err, false)
}

// Columns returns the columns' names.
func (r *rows) Columns() []string {
	names := make([]string, len(r.columns))
	for index, column := range r.columns {
		names[index] = column.name
	}
	return names
}

// Close ends the result. The host skips the rows that were not read.
func (r *rows) Close() error {
	if r.rest != 0 {
		r.rest.drop()
		r.rest = 0
	}
	return nil
}

// Next reads the next row. A blob is valid for as long as it is used.
func (r *rows) Next(row []driver.Value) error {
	for r.page.atEnd() {
		var page []byte
		var err error
		switch {
		case len(r.ahead) != 0:
			page, r.ahead = r.ahead[0], r.ahead[1:]
		case r.rest != 0:
			page, err = r.next()
		}
		if err != nil {
			return err
		}
		if len(page) == 0 {
			return io.EOF
		}
		if r.page, err = newDecoder(page); err != nil {
			return err
		}
	}
	if err := r.page.row(row); err != nil {
		return err
	}
	for index, kind := range r.types {
		if kind >= typeBool {
			row[index] = kind.convert(row[index])
		}
	}
	return nil
}

// ColumnTypeDatabaseTypeName returns the type in the table's declaration, in upper case and without
// a length; "" for an expression.
func (r *rows) ColumnTypeDatabaseTypeName(index int) string {
	name, _, _ := strings.Cut(r.columns[index].declared, "(")
	return strings.ToUpper(strings.TrimSpace(name))
}

// ColumnTypeScanType returns the type that holds the column's values if they are of its declared
// type and not NULL.
func (r *rows) ColumnTypeScanType(index int) reflect.Type {
	switch r.types[index] {
	case typeInteger:
		return reflect.TypeFor[int64]()
	case typeReal:
		return reflect.TypeFor[float64]()
	case typeText:
		return reflect.TypeFor[string]()
	case typeBlob:
		return reflect.TypeFor[[]byte]()
	case typeBool:
		return reflect.TypeFor[bool]()
	case typeTime:
		return reflect.TypeFor[time.Time]()
	}
	return reflect.TypeFor[any]()
}
