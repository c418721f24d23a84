package millpond

// tx is an open transaction.
type tx struct {
	conn   *Conn
	handle transaction
}

// Commit commits. If it fails, the transaction has been rolled back.
func (t *tx) Commit() error { return t.end(t.handle.commit()) }

// Rollback rolls back.
func (t *tx) Rollback() error { return t.end(t.handle.rollback()) }

func (t *tx) end(err error) error {
	t.conn.readOnlyTx = false
	// Rolls back what is still open after an error.
	t.handle.drop()
	return t.conn.failed(err, false)
}
