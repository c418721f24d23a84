package millpond

import (
	"context"
	"database/sql/driver"
)

// Stmt is a prepared statement of one connection.
type Stmt struct {
	conn   *Conn
	handle statement
	query  string
	// The rows of the last run, while the host has more of them: to run again would end them.
	reading *rows
}

var (
	_ driver.StmtExecContext  = (*Stmt)(nil)
	_ driver.StmtQueryContext = (*Stmt)(nil)
)

// Close drops the statement. Its rows stay readable.
func (s *Stmt) Close() error {
	if s.handle != 0 {
		s.handle.drop()
		s.handle = 0
		delete(s.conn.statements, s)
	}
	return nil
}

// NumInput returns -1: the host counts the arguments.
func (s *Stmt) NumInput() int { return -1 }

// Exec runs the statement.
func (s *Stmt) Exec(args []driver.Value) (driver.Result, error) {
	return s.ExecContext(context.Background(), named(args))
}

// Query runs the statement and returns its rows.
func (s *Stmt) Query(args []driver.Value) (driver.Rows, error) {
	return s.QueryContext(context.Background(), named(args))
}

// ExecContext runs the statement.
func (s *Stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	if s.isReading() {
		return s.conn.execPrepared(ctx, s.query, args)
	}
	return s.conn.run(ctx, s.handle, s.query, args)
}

// QueryContext runs the statement and returns its rows.
func (s *Stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	if s.isReading() {
		return s.conn.QueryContext(ctx, s.query, args)
	}
	opened, err := s.conn.open(ctx, s.handle, s.query, args)
	if err != nil {
		return nil, err
	}
	s.reading = opened
	return opened, nil
}

func (s *Stmt) isReading() bool { return s.reading != nil && s.reading.rest != 0 }

// run runs a statement for its effect.
func (c *Conn) run(ctx context.Context, handle statement, query string, args []driver.NamedValue) (driver.Result, error) {
	if err := c.allow(ctx, handle); err != nil {
		return nil, err
	}
	parameters, err := c.encode(args)
	if err != nil {
		return nil, err
	}
	c.textTx = c.textTx || begins(query)
	done, err := handle.execute(parameters)
	if err != nil {
		return nil, c.failed(err, true)
	}
	return result(done), nil
}

// allow refuses a statement that writes in a read-only transaction.
func (c *Conn) allow(ctx context.Context, handle statement) error {
	if err := c.ready(ctx); err != nil {
		return err
	}
	if handle == 0 {
		return newError(KindStaleHandle, "the statement is closed")
	}
	if !c.readOnlyTx {
		return nil
	}
	writes, err := handle.writes()
	if err != nil {
		return c.failed(err, true)
	}
	if writes {
		refused := newError(KindNotAuthorized, "a read-only transaction cannot write")
		refused.Code, refused.ExtendedCode = sqliteReadOnly, sqliteReadOnly
		return refused
	}
	return nil
}

func named(args []driver.Value) []driver.NamedValue {
	values := make([]driver.NamedValue, len(args))
	for index, value := range args {
		values[index] = driver.NamedValue{Ordinal: index + 1, Value: value}
	}
	return values
}
