//go:build wasip1

package wasihttp

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"runtime/debug"

	"millpond/internal/program"
)

var (
	handler http.Handler
	started bool
)

// Handle sets the handler of all requests, and returns. Call it in main. Without it, or with nil,
// the handler is [http.DefaultServeMux].
func Handle(h http.Handler) { handler = h }

//go:wasmexport wasi:http/incoming-handler@0.2.0#handle
func handle(requestHandle, out uint32) {
	if !started {
		started = true
		program.Main()
	}
	response := &response{out: out, header: http.Header{}}
	defer importDropIncomingRequest(requestHandle)
	request, err := newRequest(requestHandle)
	if err != nil {
		http.Error(response, "Bad Request", http.StatusBadRequest)
		report(response.finish())
		return
	}
	response.isHead = request.Method == http.MethodHead
	body := request.Body
	defer body.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if serve(response, request.WithContext(ctx)) {
		report(response.finish())
	}
}

// serve runs the handler. Returns whether the response can be finished.
func serve(w *response, request *http.Request) (finished bool) {
	defer func() {
		failure := recover()
		if failure == nil {
			return
		}
		if failure != http.ErrAbortHandler {
			fmt.Fprintf(os.Stderr, "wasihttp: panic serving %s: %v\n%s", request.URL.Path, failure, debug.Stack())
		}
		if w.sent {
			w.abort()
			return
		}
		*w = response{out: w.out, isHead: w.isHead, header: http.Header{}}
		http.Error(w, "Internal Server Error", http.StatusInternalServerError)
		finished = true
	}()
	serving := handler
	if serving == nil {
		serving = http.DefaultServeMux
	}
	serving.ServeHTTP(w, request)
	return true
}

// report tells of a response that did not reach the client.
func report(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}
