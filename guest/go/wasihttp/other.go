//go:build !wasip1

package wasihttp

import "net/http"

// Handle sets the handler of all requests. It does nothing outside of a component.
func Handle(http.Handler) {}
