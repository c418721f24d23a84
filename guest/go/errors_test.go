//go:build wasip1

package millpond_test

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"
	"testing"

	"millpond"
)

func TestErrorsByKind(t *testing.T) {
	db := open(t, `
		CREATE TABLE parent (id INTEGER PRIMARY KEY, u UNIQUE, n NOT NULL DEFAULT 0, c CHECK (c < 10));
		CREATE TABLE child (id REFERENCES parent);
		INSERT INTO parent VALUES (1, 'u', 1, 1);`)
	for query, want := range map[string]struct {
		kind millpond.Kind
		code int
	}{
		"INSERT INTO parent(id) VALUES (1)":   {millpond.KindConstraintPrimaryKey, 1555},
		"INSERT INTO parent(u) VALUES ('u')":  {millpond.KindConstraintUnique, 2067},
		"INSERT INTO parent(n) VALUES (NULL)": {millpond.KindConstraintNotNull, 1299},
		"INSERT INTO parent(c) VALUES (10)":   {millpond.KindConstraintCheck, 275},
		"INSERT INTO child VALUES (9)":        {millpond.KindConstraintForeignKey, 787},
		"SELEC 1":                             {millpond.KindSQL, 1},
		"ATTACH 'x' AS y":                     {millpond.KindNotAuthorized, 23},
		"SELECT * FROM nothing":               {millpond.KindSQL, 1},
	} {
		_, err := db.Exec(query)
		failure := fails(t, err, want.kind, want.code)
		same(t, query, failure.Code, want.code&0xff)
		same(t, query, errors.Is(err, driver.ErrBadConn), false)
	}
	_, err := db.Exec("SELECT 1 FRM x y")
	same(t, "offset", fails(t, err, millpond.KindSQL, 1).Offset, 13)
	_, err = db.Exec("SELECT * FROM nothing")
	if !strings.Contains(err.Error(), "nothing") || !strings.Contains(err.Error(), "(sql)") {
		t.Error(err)
	}
}

func TestDatabasesThatAreNotGranted(t *testing.T) {
	db, err := sql.Open("millpond", "missing")
	check(t, err)
	fails(t, db.Ping(), millpond.KindNoSuchDatabase, 0)
	_, err = millpond.Stats("missing")
	fails(t, err, millpond.KindNoSuchDatabase, 0)
	db, err = sql.Open("millpond", "not\xffutf8")
	check(t, err)
	fails(t, db.Ping(), millpond.KindNotUTF8, 0)
	names, err := millpond.Databases()
	same(t, "databases", strings.Join(names, " "), "default reading")
	check(t, err)
}

func TestDataSourceNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"default?mode=rw&_txlock=immediate": true,
		"default?_txlock=exclusive":         false,
		"default?mode=memory":               false,
		"default?cache=shared":              false,
		"default?%":                         false,
	} {
		if _, err := millpond.NewConnector(name); (err == nil) != ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReadOnly(t *testing.T) {
	open(t, "CREATE TABLE r (r); INSERT INTO r VALUES (1)")
	// A grant that is read-only refuses connections that write; any grant lends some that only read.
	for name, want := range map[string]error{
		"reading": millpond.KindNotAuthorized, "reading?mode=ro": nil, "default?mode=ro": nil,
	} {
		db, err := sql.Open("millpond", name)
		check(t, err)
		if err := db.Ping(); !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
		if want == nil {
			same(t, name, one[int](t, db, "SELECT r FROM r"), 1)
			_, err := db.Exec("INSERT INTO r VALUES (2)")
			if !errors.Is(err, millpond.KindNotAuthorized) {
				t.Errorf("%s: %v", name, err)
			}
		}
		check(t, db.Close())
	}
}

// The host takes a connection back that is held for too long: tests/exec lets it be held for 5 s.
func TestConnectionTakenBack(t *testing.T) {
	db := open(t, "CREATE TABLE s (s)")
	insert, err := db.Prepare("INSERT INTO s VALUES (?)")
	check(t, err)
	defer insert.Close()
	idle, err := db.Conn(background)
	check(t, err)
	kept, err := db.Conn(background)
	check(t, err)
	statement, err := kept.PrepareContext(background, "INSERT INTO s VALUES (100)")
	check(t, err)
	writing, err := db.Begin()
	check(t, err)
	exec(t, writing, "INSERT INTO s VALUES (1000)")
	// A statement that is running then runs out of time; the next finds the connection gone.
	for err = nil; err == nil || errors.Is(err, millpond.KindDeadlineExceeded); {
		_, err = writing.Exec("SELECT 1")
	}
	fails(t, err, millpond.KindStaleHandle, 0)
	if err := writing.Commit(); err == nil {
		t.Error("a transaction that is gone was committed")
	}

	// Nothing was run, so database/sql may use another connection.
	check(t, idle.Close())
	exec(t, db, "INSERT INTO s VALUES (1)")
	_, err = insert.Exec(10)
	check(t, err)
	same(t, "sum", one[int](t, db, "SELECT sum(s) FROM s"), 11)

	// It may not for a statement of one connection.
	if _, err = statement.Exec(); err != sql.ErrConnDone {
		t.Error(err)
	}
	if err := kept.PingContext(background); err != sql.ErrConnDone {
		t.Error(err)
	}
	same(t, "sum", one[int](t, db, "SELECT sum(s) FROM s"), 11)
	_ = kept.Close()
}
