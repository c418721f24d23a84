package abi

// The name that the canonical ABI gives the guest's allocator.
//
//go:wasmexport cabi_realloc
//go:nosplit
func cabiRealloc(old, oldSize, align, size uint32) uint32 {
	return uint32(allocate(uintptr(old), uintptr(oldSize), uintptr(align), uintptr(size)))
}
