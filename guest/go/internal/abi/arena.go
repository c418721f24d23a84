package abi

import "unsafe"

const (
	// The largest results with the host's default limits: a page of 1 MiB ends after the row that
	// exceeds it, and a row has at most 1 MiB. The rest is for a result's columns.
	arenaBytes = 3 << 20
	// The adapter from WASI preview 1 keeps its state and its stack here, of 64 KiB each.
	permanentBytes = 256 << 10
	maxAlign       = 16
)

// Memory without pointers outside of Go's heap. It is all zeros in the program, and costs nothing
// until it is used.
var (
	arena     [arenaBytes + maxAlign]byte
	permanent [permanentBytes + maxAlign]byte

	arenaUsed     uintptr
	permanentUsed uintptr

	// Whether a call to the host is going on. If not, the adapter asks for memory.
	calling bool

	// What did not fit into the arena. Kept until the end of the call.
	overflow [][]byte
)

// allocate is the host's allocator: it returns size bytes, with the first oldSize of old.
// It does not split the stack, which may be the runtime's own before the runtime has started.
//
//go:nosplit
func allocate(old, oldSize, align, size uintptr) uintptr {
	var place uintptr
	switch {
	case !calling:
		place = take(uintptr(unsafe.Pointer(&permanent)), &permanentUsed, permanentBytes, align, size)
	default:
		place = take(uintptr(unsafe.Pointer(&arena)), &arenaUsed, arenaBytes, align, size)
		if place == 0 {
			// Pinned to its processor, a goroutine allocates without starting the collector or
			// helping it.
			procPin()
			place = allocateOverflow(size)
			procUnpin()
		}
	}
	if place == 0 {
		trap()
	}
	for i := uintptr(0); i < min(oldSize, size); i++ {
		*(*byte)(pointer(place + i)) = *(*byte)(pointer(old + i))
	}
	return place
}

// take returns the next size bytes of a region, or 0 if there are fewer left.
//
//go:nosplit
func take(region uintptr, used *uintptr, capacity, align, size uintptr) uintptr {
	place := (region + *used + align - 1) &^ (align - 1)
	end := place + size - region
	if align > maxAlign || size > capacity || end > capacity {
		return 0
	}
	*used = end
	return place
}

// allocateOverflow allocates on Go's heap: only with a host that allows larger results than
// Millpond's defaults. No type of the contract has an alignment above 8.
func allocateOverflow(size uintptr) uintptr {
	chunk := make([]byte, size)
	overflow = append(overflow, chunk)
	return uintptr(unsafe.Pointer(unsafe.SliceData(chunk)))
}

// trap ends the program. Its memory is full, and nothing can be reported in the middle of a call.
//
//go:nosplit
func trap() {
	for {
		*(*byte)(nil) = 0
	}
}
