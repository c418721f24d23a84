package abi

import "unsafe"

const (
	// The largest result of a call. With the host's default limits it is 2 MiB and some columns: a
	// page ends after the row that reaches 1 MiB, and a row has at most 1 MiB.
	arenaBytes = 16 << 20
	// The adapter from WASI preview 1 keeps its state and its stack here, of 64 KiB each.
	permanentBytes = 256 << 10

	maxAlign = 8
	// An address that no memory has: the host ends the program when it gets it.
	nowhere = 0xffff_fff8
)

// Memory outside of Go's heap. It costs nothing until it is used.
var (
	arena     [arenaBytes + maxAlign]byte
	permanent [permanentBytes + maxAlign]byte

	arenaUsed     uintptr
	permanentUsed uintptr

	// Whether a call to the host is going on. If not, the adapter asks for memory.
	calling bool
)

// allocate is the host's allocator: it returns the address of size bytes, which begin with the
// oldSize bytes at old. It does not split the stack: it may run before Go's runtime has started.
//
//go:nosplit
func allocate(old, oldSize, align, size uintptr) uintptr {
	region, used, capacity := uintptr(unsafe.Pointer(&permanent)), &permanentUsed, uintptr(permanentBytes)
	if calling {
		region, used, capacity = uintptr(unsafe.Pointer(&arena)), &arenaUsed, arenaBytes
	}
	place := (region + *used + align - 1) &^ (align - 1)
	if align > maxAlign || size > capacity || place+size > region+capacity {
		return nowhere
	}
	*used = place + size - region
	for i := range min(oldSize, size) {
		*(*byte)(pointer(place + i)) = *(*byte)(pointer(old + i))
	}
	return place
}
