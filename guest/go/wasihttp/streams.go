//go:build wasip1

package wasihttp

import (
	"errors"
	"io"
	"unsafe"

	"millpond/internal/abi"
)

// How much of a request's body is read at once, at most.
const readBytes = 64 << 10

// errStream reports a failed stream, usually because the client disconnected.
var errStream = errors.New("wasihttp: the stream failed")

// requestBody reads a request's body. Nothing is asked for before the first read.
type requestBody struct {
	request uint32
	body    uint32
	stream  uint32
	started bool
	read    []byte
	err     error
}

// Read blocks until some of the body has arrived.
func (b *requestBody) Read(buffer []byte) (int, error) {
	if !b.started {
		b.started = true
		b.err = b.start()
	}
	for len(b.read) == 0 {
		if b.err != nil {
			return 0, b.err
		}
		b.read, b.err = read(b.stream)
	}
	count := copy(buffer, b.read)
	b.read = b.read[count:]
	return count, nil
}

// Close ends reading.
func (b *requestBody) Close() error {
	if b.stream != 0 {
		importDropInputStream(b.stream)
	}
	if b.body != 0 {
		importDropIncomingBody(b.body)
	}
	b.started, b.stream, b.body, b.read, b.err = true, 0, 0, nil, errors.New("wasihttp: the body is closed")
	return nil
}

func (b *requestBody) start() error {
	abi.Begin()
	defer abi.End()
	importConsume(b.request, abi.Result())
	if abi.U8(0) != 0 {
		return errStream
	}
	b.body = abi.U32(4)
	importIncomingBodyStream(b.body, abi.Result())
	if abi.U8(0) != 0 {
		return errStream
	}
	b.stream = abi.U32(4)
	return nil
}

// read blocks until some bytes have arrived; io.EOF at the end.
func read(stream uint32) ([]byte, error) {
	abi.Begin()
	defer abi.End()
	importBlockingRead(stream, readBytes, abi.Result())
	if abi.U8(0) != 0 {
		return nil, streamError(true)
	}
	return abi.Bytes(4), nil
}

// write blocks until the host has taken all bytes.
func write(stream uint32, bytes []byte) error {
	abi.Begin()
	defer abi.End()
	for len(bytes) != 0 {
		importCheckWrite(stream, abi.Result())
		if abi.U8(0) != 0 {
			return streamErrorAt(8, false)
		}
		count := min(abi.U64(8), uint64(len(bytes)))
		if count == 0 {
			pollable := importSubscribe(stream)
			importBlock(pollable)
			importDropPollable(pollable)
			continue
		}
		importWrite(stream, unsafe.Pointer(unsafe.SliceData(bytes)), uint32(count), abi.Result())
		if abi.U8(0) != 0 {
			return streamError(false)
		}
		bytes = bytes[count:]
	}
	return nil
}

// flush blocks until what was written has been sent.
func flush(stream uint32) error {
	abi.Begin()
	defer abi.End()
	importBlockingFlush(stream, abi.Result())
	if abi.U8(0) != 0 {
		return streamError(false)
	}
	return nil
}

// streamError reads the result's `stream-error`. A stream that is closed has ended, if it is read.
func streamError(reading bool) error { return streamErrorAt(4, reading) }

func streamErrorAt(offset uintptr, reading bool) error {
	const closed = 1
	if abi.U8(offset) == closed {
		if reading {
			return io.EOF
		}
		return errStream
	}
	importDropError(abi.U32(offset + 4))
	return errStream
}
