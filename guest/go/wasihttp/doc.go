// Package wasihttp serves an [http.Handler] as an HTTP component (wasi:http/incoming-handler).
//
//	func main() {
//		mux := http.NewServeMux()
//		mux.HandleFunc("GET /", index)
//		wasihttp.Handle(mux)
//	}
//
// The first request of an instance runs main. Millpond makes a new instance for each request: keep
// nothing in variables from one request to the next.
//
// # Differences from net/http's server
//
// Request.RemoteAddr is empty, and Request.TLS is nil. There are no trailers, no informational
// responses and no hijacking. A header that belongs to the connection (such as Connection) is left
// out. If the handler panics before it has sent anything, the response is 500.
package wasihttp
