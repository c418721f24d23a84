package millpond

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
)

// Conn is a connection of the host's pool. [sql.Conn.Raw] passes it, for [Conn.ExecMany].
type Conn struct {
	handle connection
	mode   uint32

	// The host has taken the connection back, or may have, or it is closed.
	stale bool
	// What Close drops: database/sql does not close the statements of a sql.Conn.
	statements map[*Stmt]struct{}
	// The transaction that database/sql began, if it only reads.
	readOnlyTx bool
	// SQL text may have begun a transaction.
	textTx bool
	// For encoding arguments.
	scratch []byte
}

var (
	_ driver.ConnBeginTx        = (*Conn)(nil)
	_ driver.ConnPrepareContext = (*Conn)(nil)
	_ driver.ExecerContext      = (*Conn)(nil)
	_ driver.QueryerContext     = (*Conn)(nil)
	_ driver.NamedValueChecker  = (*Conn)(nil)
	_ driver.Pinger             = (*Conn)(nil)
	_ driver.SessionResetter    = (*Conn)(nil)
	_ driver.Validator          = (*Conn)(nil)
)

// Close returns the connection to the host's pool. An open transaction is rolled back, and the
// connection's statements are closed.
func (c *Conn) Close() error {
	for statement := range c.statements {
		statement.Close()
	}
	if c.handle != 0 {
		c.handle.drop()
	}
	c.stale, c.handle = true, 0
	return nil
}

// Ping fails if the connection cannot be used any more.
func (c *Conn) Ping(ctx context.Context) error {
	_, err := c.ExecContext(ctx, "SELECT 1", nil)
	return err
}

// IsValid returns whether the connection may be used again. database/sql calls it when a connection
// returns: it rolls back a transaction that SQL text has left open.
func (c *Conn) IsValid() bool {
	if c.stale {
		return false
	}
	if c.textTx && c.handle.inTransaction() {
		if _, err := c.handle.execute("ROLLBACK", nil); err != nil {
			return false
		}
	}
	c.textTx = false
	return true
}

// ResetSession fails if the connection cannot be used again.
func (c *Conn) ResetSession(context.Context) error {
	if c.stale {
		return driver.ErrBadConn
	}
	return nil
}

// Prepare compiles a statement.
func (c *Conn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

// PrepareContext compiles a statement. A request may have 64 open, unless the host chose otherwise.
func (c *Conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	handle, err := c.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	prepared := &Stmt{conn: c, handle: handle, query: query}
	if c.statements == nil {
		c.statements = make(map[*Stmt]struct{})
	}
	c.statements[prepared] = struct{}{}
	return prepared, nil
}

// ExecContext runs a statement or, without arguments, any number of them. Of several, the rows
// affected are those of the last one that inserts, updates or deletes; 0 if none has changed a row.
// If they cannot be read, because the host took the connection back when the script had run, the
// methods of the result fail.
func (c *Conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if err := c.ready(ctx); err != nil {
		return nil, err
	}
	if c.readOnlyTx {
		return c.execPrepared(ctx, query, args)
	}
	c.textTx = c.textTx || begins(query)
	if len(args) == 0 && maybeScript(query) {
		return c.execScript(query)
	}
	parameters, err := c.encode(args)
	if err != nil {
		return nil, err
	}
	done, err := c.handle.execute(query, parameters)
	if err != nil {
		return nil, c.failed(err, true)
	}
	return result(done), nil
}

func (c *Conn) execPrepared(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	handle, err := c.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	defer handle.drop()
	return c.run(ctx, handle, query, args)
}

// QueryContext runs a statement and returns its rows.
func (c *Conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	handle, err := c.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	// A cursor outlives its statement.
	defer handle.drop()
	return c.open(ctx, handle, query, args)
}

// Begin begins a transaction.
func (c *Conn) Begin() (driver.Tx, error) {
	return c.BeginTx(context.Background(), driver.TxOptions{})
}

// BeginTx begins a transaction. [sql.LevelSerializable] takes the turn to write at once
// (immediate), waiting for it, whatever the data source name says. [sql.LevelSnapshot] takes it at
// the first write (deferred). A read-only transaction refuses every statement that writes.
func (c *Conn) BeginTx(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	if err := c.ready(ctx); err != nil {
		return nil, err
	}
	mode := c.mode
	switch sql.IsolationLevel(options.Isolation) {
	case sql.LevelDefault:
	case sql.LevelSnapshot:
		mode = deferred
	case sql.LevelSerializable:
		mode = immediate
	default:
		return nil, newError(KindUnsupported, "no isolation level %v: use sql.LevelSerializable, which begins "+
			"an immediate transaction, or sql.LevelSnapshot", sql.IsolationLevel(options.Isolation))
	}
	if options.ReadOnly {
		mode = deferred
	}
	handle, err := c.handle.begin(mode)
	if err != nil {
		return nil, c.failed(err, true)
	}
	c.readOnlyTx = options.ReadOnly
	return &tx{conn: c, handle: handle}, nil
}

func (c *Conn) prepare(ctx context.Context, query string) (statement, error) {
	if err := c.ready(ctx); err != nil {
		return 0, err
	}
	handle, err := c.handle.prepare(query)
	return handle, c.failed(err, true)
}

// ready fails if the context is done, or the connection closed.
func (c *Conn) ready(ctx context.Context) error {
	if c.handle == 0 {
		return newError(KindStaleHandle, "the connection is closed")
	}
	return ctx.Err()
}

// failed notes if the host has taken the connection back. If nothing has been run, database/sql may
// use another connection.
func (c *Conn) failed(err error, nothingRun bool) error {
	var failure *Error
	if errors.As(err, &failure) && failure.Kind == KindStaleHandle && !failure.RolledBack {
		c.stale = true
		failure.retry = nothingRun
	}
	return err
}
