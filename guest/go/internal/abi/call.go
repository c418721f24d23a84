package abi

import (
	"sync"
	"unsafe"
)

// One call at a time: all results share the arena. A goroutine may be descheduled between the call
// and the copying of its results.
var mutex sync.Mutex

// Where the host writes a call's result.
var result [24]uint64

// Begin begins a call to the host. The result, and what it points to, is valid until [End].
func Begin() {
	mutex.Lock()
	arenaUsed = 0
	calling = true
}

// End ends the call.
func End() {
	calling = false
	mutex.Unlock()
}

// Result is the address for the host to write the result to.
func Result() unsafe.Pointer { return unsafe.Pointer(&result) }

// U8 reads a byte of the result.
func U8(offset uintptr) uint8 { return *(*uint8)(unsafe.Add(Result(), offset)) }

// U16 reads a number of 2 bytes of the result.
func U16(offset uintptr) uint16 { return *(*uint16)(unsafe.Add(Result(), offset)) }

// U32 reads a number of 4 bytes of the result.
func U32(offset uintptr) uint32 { return *(*uint32)(unsafe.Add(Result(), offset)) }

// U64 reads a number of 8 bytes of the result.
func U64(offset uintptr) uint64 { return *(*uint64)(unsafe.Add(Result(), offset)) }

// String copies a string of the result.
func String(offset uintptr) string { return StringAt(unsafe.Add(Result(), offset)) }

// Bytes copies a list of bytes of the result. Returns nil if it is empty.
func Bytes(offset uintptr) []byte {
	return append([]byte(nil), listAt(unsafe.Add(Result(), offset))...)
}

// StringAt copies the string whose address and length are at place.
func StringAt(place unsafe.Pointer) string { return string(listAt(place)) }

// Elements yields the addresses of a list's elements, of size bytes each.
func Elements(offset, size uintptr) func(yield func(unsafe.Pointer) bool) {
	first, count := uintptr(U32(offset)), uintptr(U32(offset+4))
	return func(yield func(unsafe.Pointer) bool) {
		for i := range count {
			if !yield(pointer(first + i*size)) {
				return
			}
		}
	}
}

// listAt is the list of bytes whose address and length are at place, not copied.
func listAt(place unsafe.Pointer) []byte {
	address, length := *(*uint32)(place), *(*uint32)(unsafe.Add(place, 4))
	return unsafe.Slice((*byte)(pointer(uintptr(address))), length)
}

// pointer converts an address that is not on Go's heap.
//
//go:nosplit
func pointer(address uintptr) unsafe.Pointer {
	return *(*unsafe.Pointer)(unsafe.Pointer(&address))
}
