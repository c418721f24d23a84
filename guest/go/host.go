package millpond

import (
	"unicode/utf8"
	"unsafe"

	"millpond/internal/abi"
)

// The contract's handles.
type (
	connection  uint32
	statement   uint32
	cursor      uint32
	transaction uint32
)

// The contract's enums `access` and `transaction-mode`.
const (
	readOnly  = 0
	readWrite = 1
	deferred  = 0
	immediate = 1
)

// Sizes of the contract's records.
const (
	columnBytes     = 20
	optionTextBytes = 12
)

// Where a record begins in a result: after the byte that says whether it is an error, aligned for
// the largest field of either.
const (
	payload     = 4
	widePayload = 8
)

// summary is what a statement that finished did.
type summary struct{ changes, lastInsertID int64 }

// page is the first rows of a result, and a cursor for the rest, or 0: handles begin at 1.
type page struct {
	columns []column
	rows    []byte
	rest    cursor
}

// column is a column of a result.
type column struct{ name, declared string }

func (c connection) drop()  { importDropConnection(uint32(c)) }
func (s statement) drop()   { importDropStatement(uint32(s)) }
func (c cursor) drop()      { importDropCursor(uint32(c)) }
func (t transaction) drop() { importDropTransaction(uint32(t)) }

func getConnection(name string, access uint32) (connection, error) {
	if err := checkText("the database's name", name); err != nil {
		return 0, err
	}
	abi.Begin()
	defer abi.End()
	importGetConnection(text(name), size(name), access, abi.Result())
	return connection(abi.U32(payload)), failure(payload)
}

func (c connection) execute(sql string, parameters []byte) (summary, error) {
	if err := checkText("the SQL text", sql); err != nil {
		return summary{}, err
	}
	abi.Begin()
	defer abi.End()
	importExecute(uint32(c), text(sql), size(sql), list(parameters), uint32(len(parameters)), abi.Result())
	return readSummary()
}

func (c connection) executeScript(sql string) error {
	if err := checkText("the SQL text", sql); err != nil {
		return err
	}
	abi.Begin()
	defer abi.End()
	importExecuteScript(uint32(c), text(sql), size(sql), abi.Result())
	return failure(payload)
}

func (c connection) prepare(sql string) (statement, error) {
	if err := checkText("the SQL text", sql); err != nil {
		return 0, err
	}
	abi.Begin()
	defer abi.End()
	importPrepare(uint32(c), text(sql), size(sql), abi.Result())
	if err := failure(payload); err != nil {
		return 0, err
	}
	return statement(abi.U32(payload)), nil
}

func (c connection) begin(mode uint32) (transaction, error) {
	abi.Begin()
	defer abi.End()
	importBegin(uint32(c), mode, abi.Result())
	return transaction(abi.U32(payload)), failure(payload)
}

func (c connection) inTransaction() bool {
	abi.Begin()
	defer abi.End()
	return importInTransaction(uint32(c)) != 0
}

// writes returns whether the statement may write to the database.
func (s statement) writes() (bool, error) {
	abi.Begin()
	defer abi.End()
	importDescribe(uint32(s), abi.Result())
	return abi.U8(payload+16) == 0, failure(payload)
}

func (s statement) execute(parameters []byte) (summary, error) {
	abi.Begin()
	defer abi.End()
	importStatementExecute(uint32(s), list(parameters), uint32(len(parameters)), abi.Result())
	return readSummary()
}

func (s statement) executeMany(rows []byte) (summary, error) {
	abi.Begin()
	defer abi.End()
	importStatementExecuteMany(uint32(s), list(rows), uint32(len(rows)), abi.Result())
	return readSummary()
}

func (s statement) query(parameters []byte, maxRows uint32) (page, error) {
	abi.Begin()
	defer abi.End()
	importStatementQuery(uint32(s), list(parameters), uint32(len(parameters)), maxRows, 1, abi.Result())
	if err := failure(payload); err != nil {
		return page{}, err
	}
	result := page{rows: abi.Bytes(payload + 12)}
	result.columns = make([]column, 0, abi.U32(payload+8))
	for place := range abi.Elements(payload+4, columnBytes) {
		next := column{name: abi.StringAt(place)}
		if *(*uint8)(unsafe.Add(place, 8)) == 1 {
			next.declared = abi.StringAt(unsafe.Add(place, 12))
		}
		result.columns = append(result.columns, next)
	}
	if abi.U8(payload+20) == 1 {
		result.rest = cursor(abi.U32(payload + 24))
	}
	return result, nil
}

func (c cursor) next(maxRows uint32) ([]byte, error) {
	abi.Begin()
	defer abi.End()
	importNext(uint32(c), maxRows, abi.Result())
	if err := failure(payload); err != nil {
		return nil, err
	}
	return abi.Bytes(payload), nil
}

func (t transaction) commit() error {
	abi.Begin()
	defer abi.End()
	importCommit(uint32(t), abi.Result())
	return failure(payload)
}

func (t transaction) rollback() error {
	abi.Begin()
	defer abi.End()
	importRollback(uint32(t), abi.Result())
	return failure(payload)
}

func readSummary() (summary, error) {
	if err := failure(widePayload); err != nil {
		return summary{}, err
	}
	return summary{int64(abi.U64(widePayload)), int64(abi.U64(widePayload + 8))}, nil
}

// failure is the result's error, or nil. It begins at offset.
func failure(offset uintptr) error {
	if abi.U8(0) == 0 {
		return nil
	}
	code := int(int32(abi.U32(offset + 4)))
	err := &Error{
		Kind:         Kind(abi.U8(offset)),
		Code:         code & 0xff,
		ExtendedCode: code,
		Message:      abi.String(offset + 8),
		Offset:       -1,
		RolledBack:   abi.U8(offset+24) != 0,
	}
	if abi.U8(offset+16) == 1 {
		err.Offset = int(abi.U32(offset + 20))
	}
	return err
}

// checkText refuses what is not UTF-8: the component model would end the program.
func checkText(what, value string) error {
	if !utf8.ValidString(value) {
		return newError(KindNotUTF8, "%s is not UTF-8", what)
	}
	return nil
}

func text(value string) unsafe.Pointer { return unsafe.Pointer(unsafe.StringData(value)) }
func size(value string) uint32         { return uint32(len(value)) }
func list(value []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(value)) }
