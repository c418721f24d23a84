package millpond

import (
	"database/sql/driver"
	"errors"
)

// result is what a statement did.
type result summary

func (r result) LastInsertId() (int64, error) { return r.lastInsertID, nil }
func (r result) RowsAffected() (int64, error) { return r.changes, nil }

// unknownResult is the result of a script that has run, but whose result cannot be read.
type unknownResult struct{ err error }

func (r unknownResult) LastInsertId() (int64, error) { return 0, r.err }
func (r unknownResult) RowsAffected() (int64, error) { return 0, r.err }

// countsQuery is how a script's result is read.
const countsQuery = "SELECT changes(), last_insert_rowid()"

// execScript runs a script. What can fail for lack of a handle, or because the host has taken the
// connection back, comes before it: once the script has begun, it must not run again.
func (c *Conn) execScript(script string) (driver.Result, error) {
	c.textTx = true
	counts, err := c.handle.prepare(countsQuery)
	// If the transaction was rolled back, nothing but a script that ends it can run.
	if err != nil && !isRolledBack(err) {
		return nil, c.failed(err, true)
	}
	if err := c.handle.executeScript(script); err != nil {
		if counts != 0 {
			counts.drop()
		}
		return nil, c.failed(err, false)
	}
	if counts == 0 {
		if counts, err = c.handle.prepare(countsQuery); err != nil {
			return unknownResult{c.failed(err, false)}, nil
		}
	}
	defer counts.drop()
	values, err := counts.one(2)
	if err != nil {
		return unknownResult{c.failed(err, false)}, nil
	}
	return result{values[0].(int64), values[1].(int64)}, nil
}

func isRolledBack(err error) bool {
	var failure *Error
	return errors.As(err, &failure) && failure.RolledBack
}

// one returns the first row, of a statement without arguments.
func (s statement) one(width int) ([]driver.Value, error) {
	first, err := s.query(nil, 1)
	if err != nil {
		return nil, err
	}
	page, err := newDecoder(first.rows)
	if err != nil {
		return nil, err
	}
	values := make([]driver.Value, width)
	return values, page.row(values)
}
