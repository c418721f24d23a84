// Componentize builds a Go program into a WebAssembly component:
//
//	go tool componentize -o app.wasm .
//
// A program that imports millpond/wasihttp becomes an HTTP component, for `millpond serve`. Any
// other becomes a command, for `millpond run`.
//
// It needs wasm-component-ld, which makes the component and comes with Rust.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Names the core module in the environment of this program when it stands in for the linker.
const coreVariable = "MILLPOND_COMPONENTIZE_CORE"

// options are the command line.
type options struct {
	output  string
	core    string
	library bool
	wit     []string
	program string
}

func main() {
	err := error(nil)
	if core, linking := os.LookupEnv(coreVariable); linking {
		err = link(core, os.Args)
	} else {
		err = run(parse())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "componentize:", err)
		os.Exit(1)
	}
}

func parse() options {
	var o options
	flag.StringVar(&o.output, "o", "", "write the component to this `file` (default: the folder's name with .wasm)")
	flag.StringVar(&o.core, "core", "", "make the component of this core module, already built, instead of building one")
	flag.BoolVar(&o.library, "library", false, "the program has no main, but exports of its own: see -wit")
	flag.Func("wit", "a WIT file or `folder` with one world that the program imports or exports besides; may be repeated", func(path string) error {
		o.wit = append(o.wit, path)
		return nil
	})
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "Usage: go tool componentize [flags] [package]")
		flag.PrintDefaults()
	}
	flag.Parse()
	o.program = "."
	switch flag.NArg() {
	case 0:
	case 1:
		o.program = flag.Arg(0)
	default:
		flag.Usage()
		os.Exit(2)
	}
	if o.output == "" {
		folder, _ := filepath.Abs(o.program)
		o.output = filepath.Base(folder) + ".wasm"
	}
	return o
}

func run(o options) error {
	linker, err := findLinker()
	if err != nil {
		return err
	}
	driver, err := goList("-f", "{{.Dir}}", "millpond")
	if err != nil {
		return err
	}
	worlds := append(o.wit, filepath.Join(driver, "wit"))
	packages, err := goList("-deps", o.program)
	if err != nil {
		return err
	}
	switch {
	case slices.Contains(strings.Fields(packages), "millpond/wasihttp"):
		worlds = append(worlds, filepath.Join(driver, "wasihttp", "wit"))
	case !o.library:
		worlds = append(worlds, filepath.Join(driver, "internal", "program", "wit"))
	}
	if o.core == "" {
		folder, err := os.MkdirTemp("", "componentize")
		if err != nil {
			return err
		}
		defer os.RemoveAll(folder)
		o.core = filepath.Join(folder, "core.wasm")
		if err := build(o); err != nil {
			return err
		}
	}
	return componentize(linker, worlds, o)
}

// build compiles the program to a core module.
func build(o options) error {
	return execute(wasm(exec.Command("go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", o.core, o.program)))
}

// componentize wraps a core module. The linker links the module first: this program runs as its
// wasm-ld, and only copies the module.
func componentize(linker string, worlds []string, o options) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	core, err := filepath.Abs(o.core)
	if err != nil {
		return err
	}
	arguments := []string{"--wasm-ld-path", self, "--wasi-adapter", "reactor", "-o", o.output}
	for _, world := range worlds {
		arguments = append(arguments, "--component-type", world)
	}
	command := exec.Command(linker, arguments...)
	command.Env = append(os.Environ(), coreVariable+"="+core)
	return execute(command)
}

// link copies the core module to where the linker wants it.
func link(core string, arguments []string) error {
	index := slices.Index(arguments, "-o")
	if index < 0 || index+1 == len(arguments) {
		return errors.New("wasm-component-ld named no output: this version is not supported")
	}
	from, err := os.Open(core)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.Create(arguments[index+1])
	if err != nil {
		return err
	}
	if _, err := io.Copy(to, from); err != nil {
		return errors.Join(err, to.Close())
	}
	return to.Close()
}

// findLinker returns the path of wasm-component-ld.
func findLinker() (string, error) {
	if path := os.Getenv("WASM_COMPONENT_LD"); path != "" {
		return path, nil
	}
	root, err := exec.Command("rustc", "--print", "sysroot").Output()
	if err != nil {
		return "", fmt.Errorf("rustc was not found: install Rust with rustup, or set WASM_COMPONENT_LD (%w)", err)
	}
	pattern := filepath.Join(strings.TrimSpace(string(root)), "lib", "rustlib", "*", "bin", "wasm-component-ld*")
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("%s does not exist: update Rust with rustup, or set WASM_COMPONENT_LD", pattern)
	}
	return found[0], nil
}

func goList(arguments ...string) (string, error) {
	command := wasm(exec.Command("go", append([]string{"list"}, arguments...)...))
	command.Stderr = os.Stderr
	output, err := command.Output()
	return strings.TrimSpace(string(output)), err
}

// wasm sets the target of a Go command.
func wasm(command *exec.Cmd) *exec.Cmd {
	command.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	return command
}

func execute(command *exec.Cmd) error {
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	return command.Run()
}
