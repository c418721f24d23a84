//go:build wasip1

package millpond_test

import (
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

// The collector runs all the time, also while the host asks for memory for results.
func TestCollector(t *testing.T) {
	db := open(t, "CREATE TABLE c (id INTEGER PRIMARY KEY, v TEXT)")
	exec(t, db, "INSERT INTO c(v) SELECT printf('%01000d', value) FROM generate_series(1, 400)")
	defer debug.SetGCPercent(debug.SetGCPercent(1))
	timer := time.AfterFunc(time.Hour, func() {})
	defer timer.Stop()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	kept := make([]string, 0, 2000)
	for round := range 60 {
		rows, err := db.Query("SELECT id, v, ? FROM c", strings.Repeat("garbage", 100))
		check(t, err)
		for rows.Next() {
			var id int
			var v, garbage string
			check(t, rows.Scan(&id, &v, &garbage))
			if strings.TrimLeft(v, "0") == "" || len(garbage) != 700 {
				t.Fatal(round, id, v)
			}
			if id%20 == 0 {
				kept = append(kept, v)
			}
		}
		check(t, rows.Err())
		_, err = db.Exec("SELECT nothing FROM nowhere")
		if err == nil {
			t.Fatal("no error")
		}
	}
	runtime.ReadMemStats(&after)
	if cycles := after.NumGC - before.NumGC; cycles < 20 {
		t.Errorf("the collector ran %d times", cycles)
	}
	for _, v := range kept {
		same(t, "kept", len(v), 1000)
	}
}

// Rows that are larger than Millpond's defaults allow: tests/exec raises them to 8 MiB.
func TestCollectorWithLargeRows(t *testing.T) {
	db := open(t, "")
	defer debug.SetGCPercent(debug.SetGCPercent(1))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for round := range 12 {
		size := 3<<20 + round*300_000
		got := one[string](t, db, "SELECT hex(zeroblob(?))", size/2)
		if len(got) != size || strings.Trim(got, "0") != "" {
			t.Fatal(round, len(got))
		}
	}
	runtime.ReadMemStats(&after)
	if cycles := after.NumGC - before.NumGC; cycles < 6 {
		t.Errorf("the collector ran %d times", cycles)
	}
}
