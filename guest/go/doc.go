// Package millpond is a database/sql driver for WebAssembly components: SQLite databases that a
// Millpond host lends.
//
//	import (
//		"database/sql"
//
//		_ "millpond"
//	)
//
//	db, err := sql.Open("millpond", "default") // the name of a granted database
//
// The driver gets a connection from the host's pool when it first needs one. [NewConnector]
// documents the data source name, [Conn.BeginTx] the kinds of transactions, [ExecMany] bulk writes,
// and [Error] what fails.
//
// # Contexts
//
// A component has one thread, and a call to the host cannot be interrupted: it has the host's own
// time limits (10 seconds unless the host chose otherwise). A context is checked before each call,
// and before each page of a result, which has up to 1 MiB.
//
// # Types
//
// SQLite's values are int64, float64, string, []byte and nil. A column that is declared BOOLEAN yields
// bool, and one that is declared DATE, DATETIME or TIMESTAMP yields time.Time, from text and from
// Unix time in seconds or milliseconds.
package millpond
