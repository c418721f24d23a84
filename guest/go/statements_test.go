//go:build wasip1

package millpond_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"millpond"
)

func TestResults(t *testing.T) {
	db := open(t, "CREATE TABLE r (id INTEGER PRIMARY KEY, v)")
	for index, c := range []struct {
		query    string
		affected int64
	}{
		{"INSERT INTO r(v) VALUES (1), (2), (3)", 3},
		{"UPDATE r SET v = 0 WHERE id > 1", 2},
		{"SELECT * FROM r", 0},
		{"DELETE FROM r WHERE id = 99", 0},
		{"INSERT INTO r(v) VALUES (4); INSERT INTO r(v) VALUES (5), (6);", 2},
		{"DELETE FROM r; -- all", 6},
	} {
		result := exec(t, db, c.query)
		affected, err := result.RowsAffected()
		check(t, err)
		same(t, c.query, affected, c.affected)
		last, err := result.LastInsertId()
		check(t, err)
		same(t, "last insert rowid", last, map[bool]int64{true: 3, false: 6}[index < 4])
	}
	for query, want := range map[string]int64{
		"CREATE TABLE u (u); CREATE TABLE v (v)": 0,
		"SELECT 1; SELECT 2":                     0,
		"INSERT INTO r(v) VALUES (7), (8), (9); UPDATE r SET v = 1 WHERE id = 1; SELECT 1": 1,
		"INSERT INTO r(v) VALUES (7), (8), (9); DELETE FROM r WHERE id = -1":               0,
		" -- nothing": 0,
	} {
		exec(t, db, "INSERT INTO r(v) VALUES (1), (2)")
		affected, err := exec(t, db, query).RowsAffected()
		check(t, err)
		same(t, query, affected, want)
	}
}

func TestScripts(t *testing.T) {
	db := open(t, `
		-- A semicolon; in a comment.
		CREATE TABLE s (s);
		CREATE TRIGGER more AFTER INSERT ON s WHEN NEW.s < 3 BEGIN
			INSERT INTO s VALUES (NEW.s + 1);
		END;
		INSERT INTO s VALUES ('a;b');`)
	exec(t, db, "DELETE FROM s")
	exec(t, db, "INSERT INTO s VALUES (1);")
	same(t, "rows", one[int](t, db, "SELECT count(*) FROM s"), 2)
	exec(t, db, "")
	exec(t, db, " -- nothing")
	_, err := db.Exec("INSERT INTO s VALUES (7); INSERT INTO missing VALUES (8)")
	fails(t, err, millpond.KindSQL, 1)
	same(t, "before the failure", one[int](t, db, "SELECT count(*) FROM s WHERE s = 7"), 1)
	_, err = db.Exec("INSERT INTO s VALUES (?); INSERT INTO s VALUES (?)", 1, 2)
	fails(t, err, millpond.KindSQL, 0)
	_, err = db.Prepare("SELECT 1; SELECT 2")
	fails(t, err, millpond.KindSQL, 0)

	// One that ends a transaction that SQLite has rolled back.
	conn, err := db.Conn(background)
	check(t, err)
	defer conn.Close()
	exec(t, conn, "CREATE TABLE u (u UNIQUE); INSERT INTO u VALUES (1); BEGIN")
	if _, err := conn.ExecContext(background, "INSERT OR ROLLBACK INTO u VALUES (1)"); err == nil {
		t.Error("a value was stored twice")
	}
	exec(t, conn, "ROLLBACK; INSERT INTO u VALUES (2)")
	same(t, "rows", one[int](t, conn, "SELECT count(*) FROM u"), 2)
}

func TestReturning(t *testing.T) {
	db := open(t, "CREATE TABLE r (id INTEGER PRIMARY KEY, v)")
	same(t, "id", one[int](t, db, "INSERT INTO r(v) VALUES (?) RETURNING id", "x"), 1)
	// More rows than one page: committed, although they are not read.
	rows, err := db.Query(`INSERT INTO r(v) SELECT value FROM generate_series(1, 5000) RETURNING id`)
	check(t, err)
	for range 3 {
		rows.Next()
	}
	same(t, "another connection sees them", one[int](t, db, "SELECT count(*) FROM r"), 5001)
	count := 3
	for rows.Next() {
		count++
	}
	check(t, rows.Err())
	same(t, "rows", count, 5000)
	same(t, "reads", one[int](t, db, "WITH r AS (SELECT value FROM generate_series(1, 1000)) SELECT max(value) FROM r"), 1000)
}

func TestLargeResults(t *testing.T) {
	db := open(t, "CREATE TABLE l (id INTEGER PRIMARY KEY, v TEXT)")
	exec(t, db, "INSERT INTO l(v) SELECT printf('%050d', value) FROM generate_series(1, 60000)")
	rows, err := db.Query("SELECT id, v FROM l ORDER BY id")
	check(t, err)
	for want := 1; want <= 60000; want++ {
		var id int
		var v string
		if !rows.Next() {
			t.Fatal(want, rows.Err())
		}
		check(t, rows.Scan(&id, &v))
		if id != want || v != fmt.Sprintf("%050d", want) {
			t.Fatalf("row %d: got %d, %s", want, id, v)
		}
	}
	same(t, "more", rows.Next(), false)
	check(t, rows.Err())

	// Rows as large as the host allows, several of which do not fit into one page.
	const large = 1<<20 - 64
	rows, err = db.Query("SELECT zeroblob(?) FROM generate_series(1, 5)", large)
	check(t, err)
	count := 0
	for rows.Next() {
		var blob sql.RawBytes
		check(t, rows.Scan(&blob))
		same(t, "length", len(blob), large)
		count++
	}
	check(t, rows.Err())
	same(t, "rows", count, 5)
}

func TestUnreadRows(t *testing.T) {
	db := open(t, "")
	db.SetMaxOpenConns(1)
	for range 200 {
		rows, err := db.Query("SELECT value FROM generate_series(1, 100000)")
		check(t, err)
		rows.Next()
		check(t, rows.Close())
		same(t, "one row", one[int](t, db, "SELECT value FROM generate_series(7, 100000)"), 7)
	}
}

func TestPrepared(t *testing.T) {
	db := open(t, "CREATE TABLE p (id INTEGER PRIMARY KEY, v)")
	insert, err := db.Prepare("INSERT INTO p(v) VALUES (?)")
	check(t, err)
	defer insert.Close()
	read, err := db.Prepare("SELECT v FROM p WHERE id = ?")
	check(t, err)
	defer read.Close()
	for index := range 100 {
		result, err := insert.Exec(index)
		check(t, err)
		id, _ := result.LastInsertId()
		var v int
		check(t, read.QueryRow(id).Scan(&v))
		same(t, "value", v, index)
	}
	if err := read.QueryRow(1000).Scan(new(int)); err != sql.ErrNoRows {
		t.Error(err)
	}
	check(t, read.Close())
	if _, err := read.Query(1); err == nil {
		t.Error("a closed statement ran")
	}
}

func TestPreparedInTransaction(t *testing.T) {
	db := open(t, "CREATE TABLE p (v)")
	insert, err := db.Prepare("INSERT INTO p VALUES (?)")
	check(t, err)
	defer insert.Close()
	tx, err := db.Begin()
	check(t, err)
	for index := range 1000 {
		_, err := tx.Stmt(insert).Exec(index)
		check(t, err)
	}
	check(t, tx.Commit())
	same(t, "rows", one[int](t, db, "SELECT count(*) FROM p"), 1000)
}

// A statement runs again while the rows of its last run are still read.
func TestStatementTwiceAtOnce(t *testing.T) {
	db := open(t, "")
	conn, err := db.Conn(background)
	check(t, err)
	defer conn.Close()
	statement, err := conn.PrepareContext(background, "SELECT value FROM generate_series(1, ?)")
	check(t, err)
	outer, err := statement.Query(300)
	check(t, err)
	count := 0
	for outer.Next() {
		inner, err := statement.Query(100)
		check(t, err)
		for inner.Next() {
			count++
		}
		check(t, inner.Err())
		check(t, inner.Close())
	}
	check(t, outer.Err())
	same(t, "rows", count, 300*100)
	check(t, statement.Close())
}

func TestManyStatements(t *testing.T) {
	db := open(t, "")
	db.SetMaxOpenConns(1)
	for index := range 500 {
		statement, err := db.Prepare(fmt.Sprintf("SELECT %d + ?", index))
		check(t, err)
		var sum int
		check(t, statement.QueryRow(1).Scan(&sum))
		same(t, "sum", sum, index+1)
		check(t, statement.Close())
	}
	var open []*sql.Stmt
	for {
		statement, err := db.Prepare("SELECT 1")
		if err != nil {
			fails(t, err, millpond.KindTooManyHandles, 0)
			break
		}
		open = append(open, statement)
	}
	same(t, "statements", len(open), 64)
	// A script either says that it has run, or has not run.
	_, err := db.Exec("CREATE TABLE m (m); INSERT INTO m VALUES (1)")
	fails(t, err, millpond.KindTooManyHandles, 0)
	for _, statement := range open {
		check(t, statement.Close())
	}
	same(t, "after", one[int](t, db, "SELECT count(*) FROM sqlite_schema WHERE name = 'm'"), 0)
}

// The limit holds for a request, over all its connections.
func TestManyStatementsOfTwoConnections(t *testing.T) {
	db := open(t, "")
	var conns [2]*sql.Conn
	for index := range conns {
		conn, err := db.Conn(background)
		check(t, err)
		defer conn.Close()
		conns[index] = conn
	}
	for index := range 64 {
		_, err := conns[index%2].PrepareContext(background, "SELECT 1")
		check(t, err)
	}
	for _, conn := range conns {
		_, err := conn.PrepareContext(background, "SELECT 1")
		fails(t, err, millpond.KindTooManyHandles, 0)
	}
}

func TestTooManyConnections(t *testing.T) {
	db := open(t, "")
	var conns []*sql.Conn
	for range 4 {
		conn, err := db.Conn(background)
		check(t, err)
		conns = append(conns, conn)
	}
	stats, err := millpond.Stats("default")
	check(t, err)
	same(t, "in use", stats.InUse, 4)
	_, err = db.Conn(background)
	fails(t, err, millpond.KindTooManyHandles, 0)
	for _, conn := range conns {
		check(t, conn.Close())
	}
}

func TestGoroutines(t *testing.T) {
	db := open(t, "CREATE TABLE g (g)")
	// A waiting goroutine lets the others run.
	db.SetMaxOpenConns(2)
	var group sync.WaitGroup
	failures := make(chan error, 40)
	for index := range 40 {
		group.Add(1)
		go func() {
			defer group.Done()
			var got int
			if err := db.QueryRow("SELECT ?", index).Scan(&got); err != nil || got != index {
				failures <- fmt.Errorf("got %d, want %d, %v", got, index, err)
			}
			time.Sleep(time.Millisecond)
			if _, err := db.Exec("INSERT INTO g VALUES (?)", index); err != nil {
				failures <- err
			}
		}()
	}
	group.Wait()
	close(failures)
	for err := range failures {
		t.Error(err)
	}
	same(t, "sum", one[int](t, db, "SELECT sum(g) FROM g"), 780)
}

func TestContexts(t *testing.T) {
	db := open(t, "CREATE TABLE c (c)")
	cancelled, cancel := context.WithCancel(background)
	conn, err := db.Conn(background)
	check(t, err)
	defer conn.Close()
	statement, err := conn.PrepareContext(background, "INSERT INTO c VALUES (1)")
	check(t, err)
	defer statement.Close()
	rows, err := conn.QueryContext(cancelled, "SELECT value FROM generate_series(1, 100000)")
	check(t, err)
	cancel()
	for rows.Next() {
	}
	if !errors.Is(rows.Err(), context.Canceled) {
		t.Error(rows.Err())
	}
	for _, ctx := range []context.Context{cancelled, expired(t)} {
		_, err := conn.ExecContext(ctx, "INSERT INTO c VALUES (1)")
		same(t, "exec", err, ctx.Err())
		_, err = statement.ExecContext(ctx)
		same(t, "statement", err, ctx.Err())
		_, err = conn.BeginTx(ctx, nil)
		same(t, "begin", err, ctx.Err())
		_, err = conn.PrepareContext(ctx, "SELECT 1")
		same(t, "prepare", err, ctx.Err())
	}
	same(t, "rows", one[int](t, conn, "SELECT count(*) FROM c"), 0)
}

func expired(t *testing.T) context.Context {
	ctx, cancel := context.WithDeadline(background, time.Unix(0, 0))
	t.Cleanup(cancel)
	return ctx
}

// What a program forgets to close, or uses after it is closed, is no trap.
func TestClosed(t *testing.T) {
	db := open(t, "")
	for range 100 {
		conn, err := db.Conn(background)
		check(t, err)
		forgotten, err := conn.PrepareContext(background, "SELECT 1")
		check(t, err)
		var kept *millpond.Conn
		check(t, conn.Raw(func(raw any) error { kept = raw.(*millpond.Conn); return kept.Close() }))
		_, err = kept.ExecMany(background, "INSERT INTO t VALUES (?)", numbered(1))
		fails(t, err, millpond.KindStaleHandle, 0)
		_, err = kept.BeginTx(background, driver.TxOptions{})
		fails(t, err, millpond.KindStaleHandle, 0)
		if _, err := forgotten.Exec(); err == nil {
			t.Error("a statement of a closed connection ran")
		}
		check(t, forgotten.Close())
		check(t, kept.Close())
		_ = conn.Close()
	}
	same(t, "after", one[int](t, db, "SELECT 1"), 1)
}
