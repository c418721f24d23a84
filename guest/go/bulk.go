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
func ExecMany(ctx context.Context, conn *sql.Conn, query string, rows iter.Seq[[]any]) (sql.Result, error) {
	var done driver.Result
	err := conn.Raw(func(raw any) error {
		c, ok := raw.(*Conn)
		if !ok {
			return newError(KindUnsupported, "ExecMany on a connection of another driver: %T", raw)
		}
		var err error
		done, err = c.ExecMany(ctx, query, rows)
		return err
	})
	return done, err
}

// ExecMany is the function [ExecMany], for [sql.Conn.Raw].
func (c *Conn) ExecMany(ctx context.Context, query string, rows iter.Seq[[]any]) (driver.Result, error) {
	handle, err := c.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	defer handle.drop()
	if err := c.allow(ctx, handle); err != nil {
		return nil, err
	}
	var total summary
	batch := make([]byte, 0, 4096)
	send := func() error {
		if len(batch) == 0 {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		done, err := handle.executeMany(batch)
		total.changes += done.changes
		total.lastInsertID = done.lastInsertID
		batch = batch[:0]
		return c.failed(err, false)
	}
	width := -1
	for row := range rows {
		if width == -1 {
			width = len(row)
		}
		if len(row) != width || width == 0 {
			return nil, newError(KindParameters, "each row needs the same number of arguments, at least 1")
		}
		if len(batch) == 0 {
			batch = binary.LittleEndian.AppendUint32(batch, uint32(width))
		}
		for _, argument := range row {
			value, err := checkValue(argument)
			if err != nil {
				return nil, err
			}
			if batch, err = appendValue(batch, value); err != nil {
				return nil, err
			}
		}
		if len(batch) >= batchBytes {
			if err := send(); err != nil {
				return nil, err
			}
		}
	}
	if err := send(); err != nil {
		return nil, err
	}
	return result(total), nil
}
