//go:build wasip1

package millpond_test

import (
	"bytes"
	"database/sql"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"millpond"
)

func TestValuesBothWays(t *testing.T) {
	db := open(t, "CREATE TABLE v (v)")
	type text string
	number := 12
	for _, c := range []struct {
		in, want any
		stored   string
	}{
		{nil, nil, "null"},
		{0, int64(0), "integer"},
		{int64(math.MaxInt64), int64(math.MaxInt64), "integer"},
		{int64(math.MinInt64), int64(math.MinInt64), "integer"},
		{uint8(255), int64(255), "integer"},
		{&number, int64(12), "integer"},
		{(*int)(nil), nil, "null"},
		{true, int64(1), "integer"},
		{false, int64(0), "integer"},
		{1.0, 1.0, "real"},
		{float32(0.5), 0.5, "real"},
		{math.SmallestNonzeroFloat64, math.SmallestNonzeroFloat64, "real"},
		{math.Inf(-1), math.Inf(-1), "real"},
		{math.NaN(), nil, "null"},
		{"", "", "text"},
		{"zero\x00inside", "zero\x00inside", "text"},
		{"Grüße, 世界 🐟", "Grüße, 世界 🐟", "text"},
		{text("named"), "named", "text"},
		{[]byte{}, []byte{}, "blob"},
		{[]byte(nil), nil, "null"},
		{[]byte{0, 255, 128}, []byte{0, 255, 128}, "blob"},
		{sql.NullString{}, nil, "null"},
		{sql.NullInt64{Int64: 5, Valid: true}, int64(5), "integer"},
		{strings.Repeat("x", 1<<19), strings.Repeat("x", 1<<19), "text"},
	} {
		exec(t, db, "DELETE FROM v")
		exec(t, db, "INSERT INTO v VALUES (?)", c.in)
		var got any
		var stored string
		check(t, db.QueryRow("SELECT v, typeof(v) FROM v").Scan(&got, &stored))
		if !reflect.DeepEqual(got, c.want) || stored != c.stored {
			t.Errorf("%#.40v: got %#.40v (%s), want %#.40v (%s)", c.in, got, stored, c.want, c.stored)
		}
	}
}

func TestValuesThatDoNotFit(t *testing.T) {
	db := open(t, "CREATE TABLE v (v)")
	if _, err := db.Exec("INSERT INTO v VALUES (?)", uint64(math.MaxUint64)); err == nil {
		t.Error("a number of 64 bits was stored")
	}
	if _, err := db.Exec("INSERT INTO v VALUES (?)", struct{}{}); err == nil {
		t.Error("a struct was stored")
	}
	_, err := db.Exec("INSERT INTO v VALUES (?)", "\xff")
	fails(t, err, millpond.KindNotUTF8, 0)
	_, err = db.Exec("SELECT '\xff'")
	fails(t, err, millpond.KindNotUTF8, 0)
	_, err = db.Exec("INSERT INTO v VALUES (?)", make([]byte, 9<<20))
	fails(t, err, millpond.KindTooLarge, 18)
	exec(t, db, "INSERT INTO v VALUES (CAST(x'ff' AS TEXT))")
	var v any
	fails(t, db.QueryRow("SELECT v FROM v").Scan(&v), millpond.KindNotUTF8, 0)
	same(t, "count", one[int](t, db, "SELECT count(*) FROM v"), 1)
}

func TestScanConverts(t *testing.T) {
	db := open(t, "")
	same(t, "text as int", one[int](t, db, "SELECT '17'"), 17)
	same(t, "int as text", one[string](t, db, "SELECT 17"), "17")
	same(t, "int as bool", one[bool](t, db, "SELECT 1"), true)
	same(t, "null", one[sql.NullString](t, db, "SELECT NULL"), sql.NullString{})
	if got := one[[]byte](t, db, "SELECT 'bytes'"); string(got) != "bytes" {
		t.Errorf("got %q", got)
	}
	if err := db.QueryRow("SELECT NULL").Scan(new(string)); err == nil {
		t.Error("NULL was scanned to a string")
	}
}

func TestBlobsAreTheCallersOwn(t *testing.T) {
	db := open(t, "CREATE TABLE b (b BLOB)")
	for index := range 3 {
		exec(t, db, "INSERT INTO b VALUES (?)", bytes.Repeat([]byte{byte(index)}, 16))
	}
	rows, err := db.Query("SELECT b FROM b ORDER BY rowid")
	check(t, err)
	defer rows.Close()
	var all [][]byte
	for rows.Next() {
		var blob []byte
		check(t, rows.Scan(&blob))
		blob = append(blob, 99)
		all = append(all, blob)
	}
	check(t, rows.Err())
	for index, blob := range all {
		if want := append(bytes.Repeat([]byte{byte(index)}, 16), 99); !bytes.Equal(blob, want) {
			t.Errorf("got %v, want %v", blob, want)
		}
	}
}

func TestDeclaredTypes(t *testing.T) {
	db := open(t, `CREATE TABLE d (i INTEGER, v VARCHAR(20), r double precision, b BLOB, o BOOLEAN,
		d DATETIME, n NUMERIC(10, 2), x)`)
	exec(t, db, "INSERT INTO d VALUES (1, 'text', 1.5, x'00', 1, '2026-01-02 03:04:05', 3, 4)")
	rows, err := db.Query("SELECT *, i + 1 AS sum FROM d")
	check(t, err)
	defer rows.Close()
	types, err := rows.ColumnTypes()
	check(t, err)
	var got []string
	for _, column := range types {
		got = append(got, column.Name()+" "+column.DatabaseTypeName()+" "+column.ScanType().String())
	}
	want := []string{
		"i INTEGER int64", "v VARCHAR string", "r DOUBLE PRECISION float64", "b BLOB []uint8", "o BOOLEAN bool",
		"d DATETIME time.Time", "n NUMERIC interface {}", "x  interface {}", "sum  interface {}",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if !rows.Next() {
		t.Fatal(rows.Err())
	}
	values, places := make([]any, len(types)), make([]any, len(types))
	for index := range values {
		places[index] = &values[index]
	}
	check(t, rows.Scan(places...))
	for index, value := range values {
		if scan := types[index].ScanType(); scan.Kind() != reflect.Interface && reflect.TypeOf(value) != scan {
			t.Errorf("%s is a %T", types[index].Name(), value)
		}
	}
}

func TestColumnsOfNoRows(t *testing.T) {
	db := open(t, "CREATE TABLE n (a, b)")
	for query, want := range map[string][]string{
		"SELECT a AS first, b FROM n": {"first", "b"},
		"DELETE FROM n":               {},
	} {
		rows, err := db.Query(query)
		check(t, err)
		names, err := rows.Columns()
		check(t, err)
		if !reflect.DeepEqual(names, want) || rows.Next() || rows.Err() != nil {
			t.Errorf("%s: columns %q, %v", query, names, rows.Err())
		}
	}
}

func TestBooleans(t *testing.T) {
	db := open(t, "CREATE TABLE b (b BOOLEAN)")
	exec(t, db, "INSERT INTO b VALUES (?), (?), (?), (?)", true, false, 5, "maybe")
	same(t, "true", one[any](t, db, "SELECT b FROM b WHERE rowid = 1"), any(true))
	same(t, "false", one[any](t, db, "SELECT b FROM b WHERE rowid = 2"), any(false))
	same(t, "5", one[any](t, db, "SELECT b FROM b WHERE rowid = 3"), any(true))
	same(t, "text", one[any](t, db, "SELECT b FROM b WHERE rowid = 4"), any("maybe"))
}

func TestTimes(t *testing.T) {
	db := open(t, "CREATE TABLE t (t TIMESTAMP)")
	zone := time.FixedZone("", 2*60*60+30*60)
	for _, c := range []struct{ in, want any }{
		{time.Date(2026, 2, 3, 4, 5, 6, 789000000, zone), time.Date(2026, 2, 3, 4, 5, 6, 789000000, zone)},
		{time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC), time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC)},
		{time.Date(1888, 1, 1, 0, 0, 0, 0, time.FixedZone("LMT", 53*60+28)), time.Date(1887, 12, 31, 23, 6, 32, 0, time.UTC)},
		{time.Date(2026, 1, 1, 0, 0, 0, 0, time.FixedZone("far", 100*60*60)), time.Date(2025, 12, 27, 20, 0, 0, 0, time.UTC)},
		{time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)},
		{time.Date(9999, 12, 31, 23, 59, 59, 999999999, zone), time.Date(9999, 12, 31, 23, 59, 59, 999999999, zone)},
		{"2026-02-03 04:05:06", time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)},
		{"2026-02-03T04:05:06.5Z", time.Date(2026, 2, 3, 4, 5, 6, 500000000, time.UTC)},
		{"2026-02-03T04:05:06-01:00", time.Date(2026, 2, 3, 5, 5, 6, 0, time.UTC)},
		{"2026-02-03 04:05", time.Date(2026, 2, 3, 4, 5, 0, 0, time.UTC)},
		{"2026-02-03T04:05", time.Date(2026, 2, 3, 4, 5, 0, 0, time.UTC)},
		{"2026-02-03 04:05Z", time.Date(2026, 2, 3, 4, 5, 0, 0, time.UTC)},
		{"2026-02-03T04:05Z", time.Date(2026, 2, 3, 4, 5, 0, 0, time.UTC)},
		{"2026-02-03 04:05+01:00", time.Date(2026, 2, 3, 3, 5, 0, 0, time.UTC)},
		{"2026-02-03T04:05+01:00", time.Date(2026, 2, 3, 3, 5, 0, 0, time.UTC)},
		{"2026-02-03 04:05:06.25-01:00", time.Date(2026, 2, 3, 5, 5, 6, 250000000, time.UTC)},
		{"2026-02-03 04:05:06 -01:00", time.Date(2026, 2, 3, 5, 5, 6, 0, time.UTC)},
		{"2026-02-03", time.Date(2026, 2, 3, 0, 0, 0, 0, time.UTC)},
		{0, time.Unix(0, 0)},
		{1770000000, time.Unix(1770000000, 0)},
		{1770000000123, time.UnixMilli(1770000000123)},
		{"soon", "soon"},
		{nil, nil},
	} {
		exec(t, db, "DELETE FROM t")
		exec(t, db, "INSERT INTO t VALUES (?)", c.in)
		got := one[any](t, db, "SELECT t FROM t")
		want, isTime := c.want.(time.Time)
		if moment, ok := got.(time.Time); isTime && (!ok || !moment.Equal(want)) || !isTime && got != c.want {
			t.Errorf("%v: got %v, want %v", c.in, got, c.want)
		}
	}
	for _, year := range []int{-1, 10000} {
		_, err := db.Exec("INSERT INTO t VALUES (?)", time.Date(year, 6, 1, 0, 0, 0, 0, time.UTC))
		fails(t, err, millpond.KindParameters, 0)
	}
	same(t, "a time is understood by SQLite", one[string](t, db, "SELECT datetime(?)",
		time.Date(2026, 2, 3, 4, 5, 6, 0, zone)), "2026-02-03 01:35:06")
}

func TestArguments(t *testing.T) {
	db := open(t, "")
	same(t, "numbers", one[string](t, db, "SELECT ?2 || ?1 || ?2", "a", "b"), "bab")
	same(t, "names", one[string](t, db, "SELECT :a || @b || $c || :a",
		sql.Named("c", "3"), sql.Named("a", "1"), sql.Named("b", "2")), "1231")
	same(t, "names in order", one[string](t, db, "SELECT :a || :b", "x", "y"), "xy")

	var v any
	code := 0
	fails(t, db.QueryRow("SELECT ?").Scan(&v), millpond.KindParameters, code)
	fails(t, db.QueryRow("SELECT ?", 1, 2).Scan(&v), millpond.KindParameters, code)
	fails(t, db.QueryRow("SELECT :a", sql.Named("b", 1)).Scan(&v), millpond.KindParameters, code)
	fails(t, db.QueryRow("SELECT :a, ?", sql.Named("a", 1), 2).Scan(&v), millpond.KindParameters, code)
}
