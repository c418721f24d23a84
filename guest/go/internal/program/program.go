// Package program runs a component's main function. A component is built as a library, whose main
// Go does not run: as a program, it would need memory for the host before it has started.
package program

import _ "unsafe" // for go:linkname

// Main is the program's main function.
//
//go:linkname Main main.main
func Main()
