//go:build wasip1

package wasihttp

import (
	"net/http"
	"strconv"
	"unsafe"

	"millpond/internal/abi"
)

// A response that fits gets a Content-Length, and is sent when the handler returns.
const bufferBytes = 4096

// response is the http.ResponseWriter.
type response struct {
	out    uint32
	isHead bool
	header http.Header
	status int

	buffer []byte
	// The host has the headers. From then on, body and stream are handles.
	sent   bool
	body   uint32
	stream uint32
}

var _ interface {
	http.ResponseWriter
	http.Flusher
} = (*response)(nil)

// Header returns the headers, which can be changed until the first flush.
func (r *response) Header() http.Header { return r.header }

// WriteHeader sets the status. Only the first call does, and an informational status is left out.
func (r *response) WriteHeader(status int) {
	if status < 100 || status > 999 {
		panic("wasihttp: invalid status code " + strconv.Itoa(status))
	}
	if r.status == 0 && status >= 200 {
		r.status = status
	}
}

// Write sends a part of the body.
func (r *response) Write(bytes []byte) (int, error) { return write1(r, bytes) }

// WriteString sends a part of the body.
func (r *response) WriteString(text string) (int, error) { return write1(r, text) }

func write1[T string | []byte](r *response, bytes T) (int, error) {
	r.WriteHeader(http.StatusOK)
	if !hasBody(r.status) {
		return 0, http.ErrBodyNotAllowed
	}
	if len(r.buffer)+len(bytes) <= bufferBytes {
		r.buffer = append(r.buffer, bytes...)
		return len(bytes), nil
	}
	if err := r.drain(); err != nil {
		return 0, err
	}
	if len(bytes) <= bufferBytes {
		r.buffer = append(r.buffer, bytes...)
		return len(bytes), nil
	}
	r.sniff([]byte(bytes))
	if err := r.send(); err != nil {
		return 0, err
	}
	if r.isHead {
		return len(bytes), nil
	}
	if err := write(r.stream, []byte(bytes)); err != nil {
		return 0, err
	}
	return len(bytes), nil
}

// Flush sends what was written.
func (r *response) Flush() { _ = r.FlushError() }

// FlushError is Flush, for http.ResponseController.
func (r *response) FlushError() error {
	r.WriteHeader(http.StatusOK)
	if err := r.drain(); err != nil {
		return err
	}
	if err := r.send(); err != nil {
		return err
	}
	return flush(r.stream)
}

// drain sends the buffer, if there is anything in it.
func (r *response) drain() error {
	if len(r.buffer) == 0 {
		return nil
	}
	r.sniff(r.buffer)
	if err := r.send(); err != nil {
		return err
	}
	bytes := r.buffer
	r.buffer = r.buffer[:0]
	if r.isHead {
		return nil
	}
	return write(r.stream, bytes)
}

// finish sends the rest, and ends the response.
func (r *response) finish() error {
	r.WriteHeader(http.StatusOK)
	if !r.sent && hasBody(r.status) && (!r.isHead || len(r.buffer) != 0) && r.header.Get("Content-Length") == "" {
		r.header.Set("Content-Length", strconv.Itoa(len(r.buffer)))
	}
	err := r.drain()
	if err == nil {
		err = r.send()
	}
	if err != nil {
		r.abort()
		return err
	}
	importDropOutputStream(r.stream)
	abi.Begin()
	defer abi.End()
	importFinish(r.body, 0, 0, abi.Result())
	r.stream, r.body = 0, 0
	return nil
}

// abort ends the response in the middle: the client sees that it is not whole.
func (r *response) abort() {
	if r.stream != 0 {
		importDropOutputStream(r.stream)
	}
	if r.body != 0 {
		importDropOutgoingBody(r.body)
	}
	r.stream, r.body = 0, 0
}

// sniff sets the Content-Type, as net/http does, from the body's first bytes.
func (r *response) sniff(bytes []byte) {
	if r.sent || len(bytes) == 0 || r.header.Get("Content-Encoding") != "" {
		return
	}
	if _, isSet := r.header["Content-Type"]; !isSet {
		r.header.Set("Content-Type", http.DetectContentType(bytes))
	}
}

// send gives the host the status and the headers.
func (r *response) send() error {
	if r.sent {
		return nil
	}
	r.sent = true
	fields := importNewFields()
	for name, values := range r.header {
		for _, value := range values {
			appendField(fields, name, value)
		}
	}
	handle := importNewOutgoingResponse(fields)
	importSetStatusCode(handle, uint32(r.status))
	abi.Begin()
	defer abi.End()
	importOutgoingResponseBody(handle, abi.Result())
	if abi.U8(0) != 0 {
		return errStream
	}
	r.body = abi.U32(4)
	importSetResponse(r.out, 0, handle, 0, 0, 0, 0, 0, 0)
	importOutgoingBodyWrite(r.body, abi.Result())
	if abi.U8(0) != 0 {
		return errStream
	}
	r.stream = abi.U32(4)
	return nil
}

// appendField leaves out a header that the host refuses: one of the connection, or invalid.
func appendField(fields uint32, name, value string) {
	abi.Begin()
	defer abi.End()
	importAppend(fields, unsafe.Pointer(unsafe.StringData(name)), uint32(len(name)),
		unsafe.Pointer(unsafe.StringData(value)), uint32(len(value)), abi.Result())
}

func hasBody(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}
