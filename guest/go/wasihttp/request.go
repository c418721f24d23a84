//go:build wasip1

package wasihttp

import (
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"unsafe"

	"millpond/internal/abi"
)

var methods = [...]string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete,
	http.MethodConnect, http.MethodOptions, http.MethodTrace, http.MethodPatch,
}

// newRequest makes the request that a handler sees.
func newRequest(handle uint32) (*http.Request, error) {
	target := option(handle, importPathWithQuery)
	if target == "" {
		target = "/"
	}
	address, err := url.ParseRequestURI(target)
	if err != nil {
		return nil, err
	}
	request := &http.Request{
		Method:     method(handle),
		URL:        address,
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header:     headers(handle),
		Body:       &requestBody{request: handle},
		Host:       option(handle, importAuthority),
		RequestURI: target,
	}
	if host := request.Header.Get("Host"); request.Host == "" {
		request.Host = host
	}
	request.Header.Del("Host")
	request.ContentLength = contentLength(request)
	return request, nil
}

// contentLength is -1 if it is not known.
func contentLength(request *http.Request) int64 {
	if length, err := strconv.ParseInt(request.Header.Get("Content-Length"), 10, 64); err == nil && length >= 0 {
		return length
	}
	switch request.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return 0
	}
	return -1
}

func method(handle uint32) string {
	abi.Begin()
	defer abi.End()
	importMethod(handle, abi.Result())
	if known := abi.U8(0); int(known) < len(methods) {
		return methods[known]
	}
	return abi.String(4)
}

// option reads a text of the request that may be missing.
func option(handle uint32, get func(uint32, unsafe.Pointer)) string {
	abi.Begin()
	defer abi.End()
	get(handle, abi.Result())
	if abi.U8(0) == 0 {
		return ""
	}
	return abi.String(4)
}

func headers(handle uint32) http.Header {
	fields := importHeaders(handle)
	defer importDropFields(fields)
	abi.Begin()
	defer abi.End()
	importEntries(fields, abi.Result())
	headers := make(http.Header, abi.U32(4))
	for place := range abi.Elements(0, 16) {
		name := textproto.CanonicalMIMEHeaderKey(abi.StringAt(place))
		headers[name] = append(headers[name], abi.StringAt(unsafe.Add(place, 8)))
	}
	return headers
}
