package millpond

// Kind is what went wrong: one for each reaction that a program could have. A kind is an error
// itself, for [errors.Is]:
//
//	if errors.Is(err, millpond.KindConstraintUnique) { … }
//
// The contract documents each in wit/connections.wit. Treat a kind that you have no reaction to
// like [KindOther].
type Kind uint8

// The kinds, in the order of the contract.
const (
	KindNoSuchDatabase       Kind = iota // the host granted no database of that name
	KindNotAuthorized                    // the grant does not allow this
	KindTooManyHandles                   // too many connections, statements, cursors or transactions
	KindPoolTimeout                      // every connection was in use for too long
	KindPoolClosed                       // the host is shutting down
	KindBusy                             // another writer held the database for too long
	KindBusySnapshot                     // others have written since the transaction first read
	KindDeadlineExceeded                 // the statement exceeded its time limit
	KindTooLarge                         // a result, value or text is too large
	KindQuotaExceeded                    // the database, transaction, memory or disk is full
	KindConstraintUnique                 // a UNIQUE constraint failed
	KindConstraintPrimaryKey             // a PRIMARY KEY constraint failed
	KindConstraintForeignKey             // a foreign key constraint failed
	KindConstraintNotNull                // a NOT NULL constraint failed
	KindConstraintCheck                  // a CHECK constraint failed
	KindConstraintOther                  // another constraint failed
	KindSQL                              // SQL that does not parse, or is not one statement
	KindParameters                       // arguments that do not fit the statement
	KindNotUTF8                          // a text is not UTF-8
	KindStaleHandle                      // the connection was returned, or its transaction ended
	KindCorrupt                          // the database is damaged
	KindIO                               // the disk failed
	KindUnsupported                      // the engine does not support this
	KindUnavailable                      // the engine could not be reached
	KindOutcomeUnknown                   // the statement may or may not have run
	KindOther                            // any other error of SQLite
)

var kindNames = [...]string{
	"no-such-database", "not-authorized", "too-many-handles", "pool-timeout", "pool-closed", "busy",
	"busy-snapshot", "deadline-exceeded", "too-large", "quota-exceeded", "constraint-unique",
	"constraint-primary-key", "constraint-foreign-key", "constraint-not-null", "constraint-check",
	"constraint-other", "sql", "parameters", "not-utf8", "stale-handle", "corrupt", "io",
	"unsupported", "unavailable", "outcome-unknown", "other",
}

// String returns the contract's name of the kind, such as "busy-snapshot".
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// Error returns the kind's name.
func (k Kind) Error() string { return k.String() }
