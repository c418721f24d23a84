//go:build wasip1

// The tests run in a component, on real databases: see tests/run.
package millpond_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"millpond"
)

var background = context.Background()

// open opens the database `default`, with the tables of a script alone. At the end of the test, it
// closes it, and checks that nothing of it is left.
func open(t *testing.T, script string) *sql.DB { return openWith(t, "default", script) }

func openWith(t *testing.T, name, script string) *sql.DB {
	t.Helper()
	clear(t)
	db, err := sql.Open("millpond", name)
	check(t, err)
	t.Cleanup(func() {
		check(t, db.Close())
		if stats, err := millpond.Stats("default"); err != nil || stats.InUse != 0 {
			t.Errorf("%d connections are left, %v", stats.InUse, err)
		}
	})
	if script != "" {
		exec(t, db, script)
	}
	return db
}

// clear drops all tables.
func clear(t *testing.T) {
	t.Helper()
	db, err := sql.Open("millpond", "default")
	check(t, err)
	defer db.Close()
	var names []string
	rows, err := db.Query("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'millpond_%'")
	check(t, err)
	for rows.Next() {
		var name string
		check(t, rows.Scan(&name))
		names = append(names, name)
	}
	check(t, rows.Err())
	for _, name := range names {
		exec(t, db, "DROP TABLE "+name)
	}
}

type execer interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}

func exec(t *testing.T, db execer, query string, args ...any) sql.Result {
	t.Helper()
	result, err := db.ExecContext(background, query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return result
}

type queryer interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
}

// one returns the one value of a query.
func one[T any](t *testing.T, db queryer, query string, args ...any) T {
	t.Helper()
	var value T
	if err := db.QueryRowContext(background, query, args...).Scan(&value); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return value
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func same[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// fails checks an error's kind and SQLite's code, and returns it.
func fails(t *testing.T, err error, kind millpond.Kind, code int) *millpond.Error {
	t.Helper()
	var failure *millpond.Error
	if !errors.As(err, &failure) {
		t.Fatalf("got %v, want %v", err, kind)
	}
	if failure.Kind != kind || failure.ExtendedCode != code || !errors.Is(err, kind) {
		t.Fatalf("got %v with code %d, want %v with code %d", failure, failure.ExtendedCode, kind, code)
	}
	return failure
}
