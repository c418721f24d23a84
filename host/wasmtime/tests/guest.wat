;; A guest that succeeds where exactly one database is granted to it: the smallest that uses the
;; contract, for the example in the crate's documentation.
(component
  (import "millpond:sqlite/pool@0.1.0" (instance $pool
    (export "databases" (func (result (list string))))))
  (core module $memory
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      global.get $next
      (global.set $next (i32.add (global.get $next) (i32.const 64)))))
  (core instance $memory (instantiate $memory))
  (core func $databases (canon lower (func $pool "databases")
    (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core module $main
    (import "host" "databases" (func $databases (param i32)))
    (import "host" "memory" (memory 1))
    (func (export "run") (result i32)
      (call $databases (i32.const 16))
      ;; At 16 is where the names are, at 20 how many. 1 is the error of a result without payload.
      (i32.ne (i32.load (i32.const 20)) (i32.const 1))))
  (core instance $main (instantiate $main
    (with "host" (instance
      (export "databases" (func $databases))
      (export "memory" (memory $memory "memory"))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance (export "wasi:cli/run@0.2.0") (export "run" (func $run))))
