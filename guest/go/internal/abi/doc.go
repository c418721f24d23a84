// Package abi holds what every call through the component model's canonical ABI needs: the memory
// that the host writes results to, and readers for it.
//
// The host asks the guest for that memory in the middle of a call, when the guest must not call the
// host. If Go's collector ran then, it would call the host, to read the clock. So the memory is not
// on Go's heap, and giving it out allocates nothing.
package abi
