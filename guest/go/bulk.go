package millpond

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"iter"
)

// One call of ExecMany sends about as many bytes of rows.
const batchBytes = 1 << 20

// ExecMany runs a statement once for each row of arguments, in few calls to the host: much faster
// than one call for each row. Its result has the sum of the rows affected.
//
// Rows are sent in batches of 1 MiB. If a row fails, its batch is undone. For all or nothing, begin
// a transaction on the connection before.
//
//	conn, err := db.Conn(ctx)
//	…
//	_, err = millpond.ExecMany(ctx, conn, "INSERT INTO t VALUES (?, ?)", slices.Values(rows))
//
// The iterator may use the connection itself: it is free between the batches.
func ExecMany(ctx context.Context, conn *sql.Conn, query string, rows iter.Seq[[]any]) (sql.Result, error) {
	return execMany(ctx, query, rows, func(work func(*Conn) error) error {
		return conn.Raw(func(raw any) error {
			c, ok := raw.(*Conn)
			if !ok {
				return newError(KindUnsupported, "ExecMany on a connection of another driver: %T", raw)
			}
			return work(c)
		})
	})
}

// ExecMany is the function [ExecMany], for [sql.Conn.Raw]. There, the iterator must not use the
// [sql.Conn]: Raw has locked it, so that the program would wait for itself.
func (c *Conn) ExecMany(ctx context.Context, query string, rows iter.Seq[[]any]) (driver.Result, error) {
	return execMany(ctx, query, rows, func(work func(*Conn) error) error { return work(c) })
}

// batches sends the rows of a statement.
type batches struct {
	handle statement
	// Of every row; 0 before the first.
	width int
	rows  []byte
	total summary
}

// execMany uses the connection for one batch at a time, through with.
func execMany(ctx context.Context, query string, rows iter.Seq[[]any], with func(func(*Conn) error) error) (driver.Result, error) {
	b := batches{rows: make([]byte, 0, 4096)}
	err := with(func(c *Conn) (err error) {
		if b.handle, err = c.prepare(ctx, query); err != nil {
			return err
		}
		return c.allow(ctx, b.handle)
	})
	if b.handle != 0 {
		defer b.handle.drop()
	}
	if err != nil {
		return nil, err
	}
	send := func() error { return with(func(c *Conn) error { return b.send(ctx, c) }) }
	for row := range rows {
		if err := b.add(row); err != nil {
			return nil, err
		}
		if len(b.rows) >= batchBytes {
			if err := send(); err != nil {
				return nil, err
			}
		}
	}
	if err := send(); err != nil {
		return nil, err
	}
	return result(b.total), nil
}

func (b *batches) add(row []any) error {
	if b.width == 0 {
		b.width = len(row)
	}
	if len(row) != b.width || len(row) == 0 {
		return newError(KindParameters, "each row needs the same number of arguments, at least 1")
	}
	if len(b.rows) == 0 {
		b.rows = binary.LittleEndian.AppendUint32(b.rows, uint32(b.width))
	}
	for _, argument := range row {
		value, err := checkValue(argument)
		if err != nil {
			return err
		}
		if b.rows, err = appendValue(b.rows, value); err != nil {
			return err
		}
	}
	return nil
}

func (b *batches) send(ctx context.Context, c *Conn) error {
	if len(b.rows) == 0 {
		return nil
	}
	// The iterator may have begun or ended a transaction, or closed the connection.
	if err := c.allow(ctx, b.handle); err != nil {
		return err
	}
	done, err := b.handle.executeMany(b.rows)
	b.total.changes += done.changes
	b.total.lastInsertID = done.lastInsertID
	b.rows = b.rows[:0]
	return c.failed(err, false)
}
