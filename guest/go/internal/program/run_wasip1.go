package program

// run is the entry point of a command. A panic and os.Exit end it, as they end any program.
//
//go:wasmexport wasi:cli/run@0.2.0#run
func run() int32 {
	Main()
	return 0
}
