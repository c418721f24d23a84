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

// countsQuery is how a script's result is read. changes() alone may be that of an earlier call.
const countsQuery = "SELECT changes(), last_insert_rowid(), total_changes()"

// execScript runs a script. What can fail for lack of a handle, or because the host has taken the
// connection back, comes before it: once the script has begun, it must not run again.
func (c *Conn) execScript(script string) (driver.Result, error) {
	c.textTx = true
	counts, err := c.handle.prepare(countsQuery)
	defer func() {
		if counts != 0 {
			counts.drop()
		}
	}()
	var before, after [3]int64
	if err == nil {
		before, err = counts.numbers()
	}
	// If the transaction was rolled back, nothing but a script that ends it can run.
	if err != nil && !isRolledBack(err) {
		return nil, c.failed(err, true)
	}
	if err := c.handle.executeScript(script); err != nil {
		return nil, c.failed(err, false)
	}
	if counts == 0 {
		counts, err = c.handle.prepare(countsQuery)
	} else {
		err = nil
	}
	if err == nil {
		after, err = counts.numbers()
	}
	if err != nil {
		return unknownResult{c.failed(err, false)}, nil
	}
	if after[2] == before[2] {
		after[0] = 0
	}
	return result{after[0], after[1]}, nil
}

func isRolledBack(err error) bool {
	var failure *Error
	return errors.As(err, &failure) && failure.RolledBack
}

// numbers returns the one row of countsQuery.
func (s statement) numbers() (numbers [3]int64, err error) {
	first, err := s.query(nil, 1)
	if err != nil {
		return numbers, err
	}
	page, err := newDecoder(first.rows)
	if err != nil {
		return numbers, err
	}
	var values [3]driver.Value
	if err := page.row(values[:]); err != nil {
		return numbers, err
	}
	for index, value := range values {
		numbers[index], _ = value.(int64)
	}
	return numbers, nil
}
