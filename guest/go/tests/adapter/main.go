// An HTTP component for the tests of wasihttp.
package main

import (
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	_ "millpond"
	_ "millpond/wasihttp"
)

func main() {
	http.HandleFunc("/request", request)
	http.HandleFunc("/hash", hash)
	http.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(w, r.Body); err != nil {
			panic(err)
		}
	})
	http.HandleFunc("/large", large)
	http.HandleFunc("/length", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "6")
		w.Write([]byte("abc"))
		w.Write([]byte("def"))
	})
	http.HandleFunc("/status/{status}", func(w http.ResponseWriter, r *http.Request) {
		status, _ := strconv.Atoi(r.PathValue("status"))
		w.WriteHeader(status)
		w.WriteHeader(http.StatusTeapot)
	})
	http.HandleFunc("/headers", func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["X-Two"] = []string{"a", "b"}
		w.Header().Set("Connection", "keep-alive")
		w.Header().Set("Transfer-Encoding", "chunked")
		w.Header().Set("X-Bytes", "caf\xe9")
		w.WriteHeader(http.StatusOK)
	})
	http.HandleFunc("/sniff", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<!doctype html><p>") })
	http.HandleFunc("/panic", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "not sent")
		panic("on purpose")
	})
	http.HandleFunc("/abort", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "sent")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	http.HandleFunc("/goroutines", goroutines)
	http.HandleFunc("/collector", collector)
}

// request tells what the handler sees.
func request(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	json.NewEncoder(w).Encode(map[string]any{
		"method": r.Method, "host": r.Host, "path": r.URL.Path, "query": r.URL.Query(), "uri": r.RequestURI,
		"header": r.Header, "length": r.ContentLength, "body": string(body), "error": err, "proto": r.Proto,
	})
}

func hash(w http.ResponseWriter, r *http.Request) {
	sum := sha256.New()
	count, err := io.Copy(sum, r.Body)
	fmt.Fprintf(w, "%d %x %v", count, sum.Sum(nil), err)
}

// large sends a large body in parts of different sizes.
func large(w http.ResponseWriter, r *http.Request) {
	total, _ := strconv.Atoi(r.FormValue("bytes"))
	for size, sent := 1, 0; sent < total; size = size*3%100_003 + 1 {
		part := strings.Repeat(string(rune('a'+sent%26)), min(size, total-sent))
		io.WriteString(w, part)
		sent += len(part)
	}
}

// goroutines waits for others, which sleep.
func goroutines(w http.ResponseWriter, r *http.Request) {
	done := make(chan int)
	for index := range 10 {
		go func() {
			time.Sleep(time.Duration(10-index) * time.Millisecond)
			done <- index
		}()
	}
	sum := 0
	for range 10 {
		sum += <-done
	}
	fmt.Fprint(w, sum)
}

// collector runs the collector all the time, while the database and the body are read.
func collector(w http.ResponseWriter, r *http.Request) {
	debug.SetGCPercent(1)
	db, err := sql.Open("millpond", "default")
	if err != nil {
		panic(err)
	}
	total := 0
	buffer := make([]byte, 1000)
	for {
		count, err := r.Body.Read(buffer)
		var text string
		if err := db.QueryRow("SELECT printf('%0*d', ?, 0)", count).Scan(&text); err != nil {
			panic(err)
		}
		total += len(text)
		if err == io.EOF {
			break
		}
	}
	fmt.Fprint(w, total)
}
