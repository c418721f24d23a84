package millpond

// tx is an open transaction.
type tx struct {
	conn   *Conn
	handle transaction
}

// Commit commits. If it fails, the transaction has been rolled back, with two exceptions: with
// [KindOutcomeUnknown] it may have been committed; and with [KindStaleHandle], SQL text may have ended
// it before, by COMMIT or ROLLBACK.
func (t *tx) Commit() error { return t.end(transaction.commit) }

// Rollback rolls back.
func (t *tx) Rollback() error { return t.end(transaction.rollback) }

func (t *tx) end(how func(transaction) error) error {
	if t.handle == 0 {
		return newError(KindStaleHandle, "the transaction has ended")
	}
	err := how(t.handle)
	// Rolls back what is still open after an error.
	t.handle.drop()
	t.handle, t.conn.readOnlyTx = 0, false
	return t.conn.failed(err, false)
}
