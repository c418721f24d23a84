//go:build wasip1

package millpond_test

import (
	"database/sql"
	"iter"
	"slices"
	"testing"
	"time"

	"millpond"
)

// numbered yields rows of a number and a text of 100 bytes.
func numbered(count int) iter.Seq[[]any] {
	text := string(make([]byte, 100))
	return func(yield func([]any) bool) {
		for index := range count {
			if !yield([]any{index, text}) {
				return
			}
		}
	}
}

func TestExecMany(t *testing.T) {
	db := open(t, "CREATE TABLE m (id INTEGER PRIMARY KEY, v)")
	conn, err := db.Conn(background)
	check(t, err)
	defer conn.Close()

	result, err := millpond.ExecMany(background, conn, "INSERT INTO m VALUES (?, ?)", numbered(30000))
	check(t, err)
	affected, _ := result.RowsAffected()
	last, _ := result.LastInsertId()
	same(t, "affected", affected, 30000)
	same(t, "last", last, 29999)
	same(t, "sum", one[int](t, conn, "SELECT sum(id) FROM m"), 30000*29999/2)

	result, err = millpond.ExecMany(background, conn, "DELETE FROM m WHERE id = ?",
		slices.Values([][]any{{1}, {2}, {-1}}))
	check(t, err)
	affected, _ = result.RowsAffected()
	same(t, "affected", affected, 2)
	result, err = millpond.ExecMany(background, conn, "DELETE FROM m WHERE id = ?", slices.Values([][]any{}))
	check(t, err)
	affected, _ = result.RowsAffected()
	same(t, "affected", affected, 0)
}

// The rows may come from the same connection.
func TestExecManyReadsItsConnection(t *testing.T) {
	db := open(t, "CREATE TABLE m (id INTEGER PRIMARY KEY, v)")
	conn, err := db.Conn(background)
	check(t, err)
	defer conn.Close()
	tx, err := conn.BeginTx(background, nil)
	check(t, err)
	_, err = millpond.ExecMany(background, conn, "INSERT INTO m(v) VALUES (?)", func(yield func([]any) bool) {
		rows, err := tx.Query("SELECT printf('%01000d', value) FROM generate_series(1, 3000)")
		check(t, err)
		defer rows.Close()
		for rows.Next() {
			var v string
			check(t, rows.Scan(&v))
			if !yield([]any{v}) {
				return
			}
		}
		check(t, rows.Err())
		same(t, "the first batch", one[int](t, tx, "SELECT count(*) > 1000 FROM m"), 1)
	})
	check(t, err)
	check(t, tx.Commit())
	same(t, "rows", one[int](t, conn, "SELECT count(*) FROM m"), 3000)

	// A connection that is closed meanwhile.
	_, err = millpond.ExecMany(background, conn, "INSERT INTO m(v) VALUES (?)", func(yield func([]any) bool) {
		yield([]any{"never"})
		check(t, conn.Close())
	})
	same(t, "closed", err, sql.ErrConnDone)
	same(t, "rows", one[int](t, db, "SELECT count(*) FROM m"), 3000)
}

func TestExecManyAllTypes(t *testing.T) {
	db := open(t, "CREATE TABLE m (v)")
	conn, err := db.Conn(background)
	check(t, err)
	defer conn.Close()
	rows := [][]any{{nil}, {1}, {1.5}, {"text"}, {[]byte{1}}, {true}, {time.Unix(0, 0)}, {sql.NullInt32{}}}
	_, err = millpond.ExecMany(background, conn, "INSERT INTO m VALUES (?)", slices.Values(rows))
	check(t, err)
	same(t, "types", one[string](t, conn, "SELECT group_concat(typeof(v) ORDER BY rowid) FROM m"),
		"null,integer,real,text,blob,integer,text,null")
}

func TestExecManyFails(t *testing.T) {
	db := open(t, "CREATE TABLE m (id INTEGER PRIMARY KEY, v)")
	conn, err := db.Conn(background)
	check(t, err)
	defer conn.Close()
	const query = "INSERT INTO m VALUES (?, ?)"
	_, err = millpond.ExecMany(background, conn, query, slices.Values([][]any{{1, 1}, {1, 2}}))
	fails(t, err, millpond.KindConstraintPrimaryKey, 1555)
	for _, rows := range [][][]any{{{1, 1}, {2}}, {{}}, {{1}}, {{1, 2, 3}}} {
		_, err = millpond.ExecMany(background, conn, query, slices.Values(rows))
		fails(t, err, millpond.KindParameters, 0)
	}
	_, err = millpond.ExecMany(expired(t), conn, query, numbered(1))
	same(t, "expired", err, expired(t).Err())
	same(t, "rows", one[int](t, conn, "SELECT count(*) FROM m"), 0)

	// All or none, over several batches.
	tx, err := conn.BeginTx(background, nil)
	check(t, err)
	_, err = millpond.ExecMany(background, conn, query, numbered(30000))
	check(t, err)
	check(t, tx.Rollback())
	same(t, "rows", one[int](t, conn, "SELECT count(*) FROM m"), 0)

	tx, err = conn.BeginTx(background, &sql.TxOptions{ReadOnly: true})
	check(t, err)
	_, err = millpond.ExecMany(background, conn, query, numbered(1))
	fails(t, err, millpond.KindNotAuthorized, 8)
	check(t, tx.Rollback())
}
