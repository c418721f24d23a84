package millpond

import (
	"database/sql/driver"
	"fmt"
)

// SQLite's result codes that the driver itself uses (https://sqlite.org/rescode.html).
const sqliteReadOnly = 8

// Error is what every failed call returns, possibly wrapped: get it with [errors.As].
type Error struct {
	Kind Kind
	// Code is SQLite's primary result code; 0 if the error is not SQLite's.
	Code int
	// ExtendedCode is SQLite's extended result code, such as 2067 for a UNIQUE constraint.
	ExtendedCode int
	// Message is for people. It may change between versions.
	Message string
	// Offset is the byte in the SQL text where the error is; -1 if SQLite does not know it.
	Offset int
	// RolledBack is whether SQLite or the host rolled back the open transaction. Until you call
	// Rollback, every statement in it fails.
	RolledBack bool

	// The connection is gone and nothing was run: database/sql may try another connection.
	retry bool
}

// Error returns the message and the kind.
func (e *Error) Error() string { return fmt.Sprintf("millpond: %s (%s)", e.Message, e.Kind) }

// Is makes [errors.Is] true for the error's [Kind]. It is also true for [driver.ErrBadConn] if the
// host has taken the connection back and nothing was run. database/sql then uses another connection.
func (e *Error) Is(target error) bool {
	if kind, ok := target.(Kind); ok {
		return e.Kind == kind
	}
	return e.retry && target == driver.ErrBadConn
}

// newError is an error of the driver itself.
func newError(kind Kind, format string, arguments ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, arguments...), Offset: -1}
}
