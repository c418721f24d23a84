//go:build !wasip1

// Package tests has requests to components under `millpond serve`: see run.
package tests

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
)

// serve serves a component until the end of the test. ADAPTER and EXAMPLE name components, and
// MILLPOND the command.
func serve(t *testing.T, variable string, arguments ...string) string {
	t.Helper()
	component, millpond := os.Getenv(variable), os.Getenv("MILLPOND")
	if component == "" || millpond == "" {
		t.Skip("use tests/run")
	}
	arguments = append([]string{"serve", "--listen", "127.0.0.1:0", "--synchronous", "normal",
		"--db", filepath.Join(t.TempDir(), "test.db")}, arguments...)
	server := exec.Command(millpond, append(arguments, component)...)
	errors, err := server.StderrPipe()
	check(t, err)
	check(t, server.Start())
	ended := make(chan struct{})
	t.Cleanup(func() {
		server.Process.Kill()
		<-ended
		server.Wait()
	})
	lines := bufio.NewScanner(errors)
	address := ""
	for address == "" && lines.Scan() {
		address, _ = strings.CutPrefix(lines.Text(), "Serving HTTP on ")
		if address == lines.Text() {
			t.Log(address)
			address = ""
		}
	}
	go func() {
		for lines.Scan() {
		}
		close(ended)
	}()
	if address == "" {
		t.Fatal("the server ended")
	}
	return strings.TrimSuffix(address, "/")
}

var client = http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// ask sends a request and returns the response with its body.
func ask(t *testing.T, method, address string, body io.Reader) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequest(method, address, body)
	check(t, err)
	response, err := client.Do(request)
	check(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	check(t, err)
	return response, string(text)
}

// expect checks a response's status and body.
func expect(t *testing.T, method, address, body string, status int, want string) *http.Response {
	t.Helper()
	response, got := ask(t, method, address, strings.NewReader(body))
	if response.StatusCode != status || want != "*" && got != want {
		t.Errorf("%s %s: got %d, %.200q, want %d, %.200q", method, address, response.StatusCode, got, status, want)
	}
	return response
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestExample(t *testing.T) {
	t.Parallel()
	// An instance handles several requests: each has a connection of its own.
	address := serve(t, "EXAMPLE", "--migrations", "../example/migrations", "--max-instance-reuse", "100")
	expect(t, "POST", address, "https://example.com/a\n", 201, "1\n")
	var group sync.WaitGroup
	for range 20 {
		group.Add(1)
		go func() {
			defer group.Done()
			expect(t, "GET", address+"/1", "", 302, "*")
		}()
	}
	group.Wait()
	for range 10 {
		expect(t, "GET", address+"/1/visits", "", 200, "20\n")
	}
	expect(t, "POST", address, "https://x/"+strings.Repeat("y", 2000), 400, "*")
}

// TestLinks tests what each request answers, and which statements it runs.
func TestLinks(t *testing.T) {
	component, millpond := os.Getenv("EXAMPLE"), os.Getenv("MILLPOND")
	if component == "" || millpond == "" {
		t.Skip("use tests/run")
	}
	output, err := exec.Command(millpond, "test", component, "../example/tests").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}

func TestAdapter(t *testing.T) {
	t.Parallel()
	address := serve(t, "ADAPTER")
	t.Run("Request", func(t *testing.T) { testRequest(t, address) })
	t.Run("Bodies", func(t *testing.T) { testBodies(t, address) })
	t.Run("Responses", func(t *testing.T) { testResponses(t, address) })
	t.Run("Panics", func(t *testing.T) { testPanics(t, address) })
}

func testRequest(t *testing.T, address string) {
	request, err := http.NewRequest("PATCH", address+"/request?a=1&a=2&b=%20", strings.NewReader("hello"))
	check(t, err)
	request.Header = http.Header{"X-Two": {"c", "d"}, "Accept": {"text/plain"}, "Cookie": {"e=f"}}
	response, err := client.Do(request)
	check(t, err)
	defer response.Body.Close()
	var got struct {
		Method, Host, Path, URI, Body, Proto string
		Query                                url.Values
		Header                               http.Header
		Length                               int
		Error                                any
	}
	check(t, json.NewDecoder(response.Body).Decode(&got))
	host := strings.TrimPrefix(address, "http://")
	if got.Method != "PATCH" || got.Host != host || got.Path != "/request" || got.Body != "hello" ||
		got.URI != "/request?a=1&a=2&b=%20" || got.Length != 5 || got.Error != nil || got.Proto != "HTTP/1.1" {
		t.Errorf("%+v", got)
	}
	if !reflect.DeepEqual(got.Query, url.Values{"a": {"1", "2"}, "b": {" "}}) {
		t.Error(got.Query)
	}
	if !reflect.DeepEqual(got.Header["X-Two"], []string{"c", "d"}) || got.Header.Get("Cookie") != "e=f" || got.Header.Get("Host") != "" {
		t.Error(got.Header)
	}
	for _, method := range []string{"GET", "PUT", "DELETE", "OPTIONS", "PURGE"} {
		_, body := ask(t, method, address+"/request", nil)
		if !strings.Contains(body, `"method":"`+method+`"`) {
			t.Error(method, body)
		}
	}
}

func testBodies(t *testing.T, address string) {
	for _, size := range []int{0, 1, 65536, 3_000_000} {
		body := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		want := fmt.Sprintf("%d %x <nil>", size, sha256.Sum256(body))
		expect(t, "POST", address+"/hash", string(body), 200, want)
		// Of unknown length.
		if _, got := ask(t, "POST", address+"/hash", io.MultiReader(bytes.NewReader(body))); got != want {
			t.Errorf("chunked: got %s, want %s", got, want)
		}
		expect(t, "POST", address+"/echo", string(body), 200, string(body))
	}
	expect(t, "POST", address+"/collector", strings.Repeat("x", 500_000), 200, "*")
	_, got := ask(t, "POST", address+"/collector", strings.NewReader(strings.Repeat("x", 500_000)))
	if got == "" || strings.Trim(got, "0123456789") != "" {
		t.Error(got)
	}
	// A body that the handler does not read.
	expect(t, "POST", address+"/sniff", strings.Repeat("x", 100_000), 200, "*")
}

func testResponses(t *testing.T, address string) {
	for _, size := range []int{1, 4096, 4097, 100_000, 5_000_000} {
		response, got := ask(t, "GET", fmt.Sprintf("%s/large?bytes=%d", address, size), nil)
		if len(got) != size || (response.ContentLength == int64(size)) != (size <= 4096) {
			t.Errorf("%d: got %d bytes, Content-Length %d", size, len(got), response.ContentLength)
		}
	}
	expect(t, "GET", address+"/length", "", 200, "abcdef")
	for _, path := range []string{"/length", "/sniff"} {
		head := expect(t, "HEAD", address+path, "", 200, "")
		if path == "/length" && head.ContentLength != 6 {
			t.Errorf("HEAD %s: Content-Length %d", path, head.ContentLength)
		}
	}
	expect(t, "HEAD", address+"/large?bytes=100000", "", 200, "")
	for _, status := range []int{200, 201, 204, 304, 404, 599} {
		expect(t, "GET", fmt.Sprintf("%s/status/%d", address, status), "", status, "")
	}
	expect(t, "GET", address+"/missing", "", 404, "404 page not found\n")
	headers := expect(t, "GET", address+"/headers", "", 200, "").Header
	if !reflect.DeepEqual(headers["X-Two"], []string{"a", "b"}) || headers.Get("X-Bytes") != "caf\xe9" {
		t.Error(headers)
	}
	if got := expect(t, "GET", address+"/sniff", "", 200, "*").Header.Get("Content-Type"); got != "text/html; charset=utf-8" {
		t.Error(got)
	}
	expect(t, "GET", address+"/goroutines", "", 200, "45")
}

func testPanics(t *testing.T, address string) {
	expect(t, "GET", address+"/panic", "", 500, "Internal Server Error\n")
	// The client sees that the response is not whole.
	if response, err := client.Get(address + "/abort"); err == nil {
		defer response.Body.Close()
		if body, err := io.ReadAll(response.Body); err == nil {
			t.Errorf("got %q", body)
		}
	}
	expect(t, "GET", address+"/length", "", 200, "abcdef")
}
