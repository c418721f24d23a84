//go:build wasip1

package millpond_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"millpond"
)

func TestCommitAndRollback(t *testing.T) {
	db := open(t, "CREATE TABLE t (t)")
	for _, commit := range []bool{true, false} {
		tx, err := db.Begin()
		check(t, err)
		exec(t, tx, "INSERT INTO t VALUES (1)")
		same(t, "seen inside", one[int](t, tx, "SELECT count(*) > 0 FROM t"), 1)
		if commit {
			check(t, tx.Commit())
		} else {
			check(t, tx.Rollback())
		}
		if err := tx.Commit(); err != sql.ErrTxDone {
			t.Error(err)
		}
	}
	same(t, "rows", one[int](t, db, "SELECT count(*) FROM t"), 1)
}

func TestImmediate(t *testing.T) {
	for name, options := range map[string]*sql.TxOptions{
		"default?_txlock=immediate": nil,
		"default":                   {Isolation: sql.LevelSerializable},
	} {
		t.Run(name, func(t *testing.T) {
			db := openWith(t, name, "CREATE TABLE t (t)")
			tx, err := db.BeginTx(background, options)
			check(t, err)
			// The turn to write is taken: by this request itself, so nothing waits for it.
			_, err = db.Exec("INSERT INTO t VALUES (1)")
			fails(t, err, millpond.KindBusy, 0)
			same(t, "reads", one[int](t, db, "SELECT count(*) FROM t"), 0)
			check(t, tx.Rollback())
			exec(t, db, "INSERT INTO t VALUES (1)")
		})
	}
}

func TestDeferred(t *testing.T) {
	for name, options := range map[string]*sql.TxOptions{
		"default":                   nil,
		"default?_txlock=immediate": {Isolation: sql.LevelSnapshot},
	} {
		t.Run(name, func(t *testing.T) {
			db := openWith(t, name, "CREATE TABLE t (t)")
			tx, err := db.BeginTx(background, options)
			check(t, err)
			same(t, "snapshot", one[int](t, tx, "SELECT count(*) FROM t"), 0)
			exec(t, db, "INSERT INTO t VALUES (1)")
			same(t, "snapshot", one[int](t, tx, "SELECT count(*) FROM t"), 0)
			_, err = tx.Exec("INSERT INTO t VALUES (2)")
			fails(t, err, millpond.KindBusySnapshot, 517)
			check(t, tx.Rollback())
		})
	}
}

func TestReadOnlyTransaction(t *testing.T) {
	db := openWith(t, "default?_txlock=immediate", "CREATE TABLE t (t); INSERT INTO t VALUES (1)")
	tx, err := db.BeginTx(background, &sql.TxOptions{ReadOnly: true})
	check(t, err)
	same(t, "reads", one[int](t, tx, "SELECT t FROM t"), 1)
	for _, query := range []string{"INSERT INTO t VALUES (2)", "DELETE FROM t RETURNING t", "CREATE TABLE u (u)"} {
		_, err = tx.Exec(query)
		fails(t, err, millpond.KindNotAuthorized, 8)
		rows, err := tx.Query(query)
		if err == nil {
			rows.Close()
		}
		fails(t, err, millpond.KindNotAuthorized, 8)
	}
	statement, err := tx.Prepare("INSERT INTO t VALUES (2)")
	check(t, err)
	_, err = statement.Exec()
	fails(t, err, millpond.KindNotAuthorized, 8)
	_, err = tx.Exec("SELECT 1; DELETE FROM t")
	if !errors.Is(err, millpond.KindSQL) {
		t.Error(err)
	}
	check(t, tx.Commit())
	exec(t, db, "INSERT INTO t VALUES (2)")
	same(t, "rows", one[int](t, db, "SELECT count(*) FROM t"), 2)
}

func TestIsolationLevels(t *testing.T) {
	db := open(t, "")
	for _, level := range []sql.IsolationLevel{
		sql.LevelReadUncommitted, sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelLinearizable,
	} {
		_, err := db.BeginTx(background, &sql.TxOptions{Isolation: level})
		fails(t, err, millpond.KindUnsupported, 0)
	}
}

func TestCommitThatFails(t *testing.T) {
	db := open(t, `CREATE TABLE p (id INTEGER PRIMARY KEY);
		CREATE TABLE c (id REFERENCES p DEFERRABLE INITIALLY DEFERRED)`)
	tx, err := db.Begin()
	check(t, err)
	exec(t, tx, "INSERT INTO c VALUES (1)")
	fails(t, tx.Commit(), millpond.KindConstraintForeignKey, 787)
	same(t, "rows", one[int](t, db, "SELECT count(*) FROM c"), 0)
	exec(t, db, "INSERT INTO p VALUES (1)")
}

func TestRolledBackBySQLite(t *testing.T) {
	db := open(t, "CREATE TABLE t (t UNIQUE); INSERT INTO t VALUES (1)")
	tx, err := db.Begin()
	check(t, err)
	exec(t, tx, "INSERT INTO t VALUES (2)")
	_, err = tx.Exec("INSERT OR ROLLBACK INTO t VALUES (1)")
	same(t, "rolled back", fails(t, err, millpond.KindConstraintUnique, 2067).RolledBack, true)
	_, err = tx.Exec("INSERT INTO t VALUES (3)")
	same(t, "until the end", fails(t, err, millpond.KindStaleHandle, 0).RolledBack, true)
	check(t, tx.Rollback())
	same(t, "rows", one[int](t, db, "SELECT count(*) FROM t"), 1)
}

func TestTransactionLeftOpenByText(t *testing.T) {
	db := open(t, "CREATE TABLE t (t)")
	for _, begin := range []string{"BEGIN", "/* now */ begin IMMEDIATE", "SELECT 1; SAVEPOINT s"} {
		conn, err := db.Conn(background)
		check(t, err)
		exec(t, conn, begin)
		exec(t, conn, "INSERT INTO t VALUES (1)")
		check(t, conn.Close())
		tx, err := db.Begin()
		check(t, err)
		same(t, begin, one[int](t, tx, "SELECT count(*) FROM t"), 0)
		check(t, tx.Rollback())
	}
	db.SetMaxOpenConns(1)
	for _, begin := range []string{"BEGIN", "SAVEPOINT s", "\ufeffBEGIN"} {
		statement, err := db.Prepare(begin)
		check(t, err)
		_, err = statement.Exec()
		check(t, err)
		exec(t, db, "INSERT INTO t VALUES (1)")
		check(t, statement.Close())
		tx, err := db.Begin()
		check(t, err)
		same(t, begin, one[int](t, tx, "DELETE FROM t RETURNING t"), 1)
		check(t, tx.Commit())
	}
}

// The turn to write is over when the connection returns, not when it is next taken.
func TestTransactionLeftOpenByTextEndsAtOnce(t *testing.T) {
	db := open(t, "CREATE TABLE t (t)")
	other, err := db.Conn(background)
	check(t, err)
	defer other.Close()
	conn, err := db.Conn(background)
	check(t, err)
	exec(t, conn, "BEGIN IMMEDIATE")
	exec(t, conn, "INSERT INTO t VALUES (1)")
	check(t, conn.Close())
	exec(t, other, "INSERT INTO t VALUES (2)")
	same(t, "sum", one[int](t, other, "SELECT sum(t) FROM t"), 2)
}

func TestCancelledTransaction(t *testing.T) {
	db := open(t, "CREATE TABLE t (t)")
	ctx, cancel := context.WithCancel(background)
	tx, err := db.BeginTx(ctx, nil)
	check(t, err)
	exec(t, tx, "INSERT INTO t VALUES (1)")
	cancel()
	if err := tx.Commit(); !errors.Is(err, context.Canceled) && err != sql.ErrTxDone {
		t.Error(err)
	}
	// Until now, nothing has waited: database/sql's own goroutine has not run.
	if err := tx.Rollback(); err != nil {
		t.Error(err)
	}
	same(t, "rows", one[int](t, db, "SELECT count(*) FROM t"), 0)
	exec(t, db, "INSERT INTO t VALUES (2)")
}
