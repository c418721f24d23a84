package millpond

import "unsafe"

const inComponent = true

// The functions of the contract, as the canonical ABI flattens them: a string or list is its
// address and its length, and a result is written to the last argument. The tool that makes the
// component checks each against wit/.

//go:wasmimport millpond:sqlite/pool@0.1.0 get-connection
//go:noescape
func importGetConnection(name unsafe.Pointer, nameLen, access uint32, result unsafe.Pointer)

//go:wasmimport millpond:sqlite/pool@0.1.0 stats
//go:noescape
func importStats(name unsafe.Pointer, nameLen uint32, result unsafe.Pointer)

//go:wasmimport millpond:sqlite/pool@0.1.0 databases
//go:noescape
func importDatabases(result unsafe.Pointer)

//go:wasmimport millpond:sqlite/connections@0.1.0 [resource-drop]connection
func importDropConnection(connection uint32)

//go:wasmimport millpond:sqlite/connections@0.1.0 [resource-drop]statement
func importDropStatement(statement uint32)

//go:wasmimport millpond:sqlite/connections@0.1.0 [resource-drop]cursor
func importDropCursor(cursor uint32)

//go:wasmimport millpond:sqlite/connections@0.1.0 [resource-drop]transaction
func importDropTransaction(transaction uint32)

//go:wasmimport millpond:sqlite/connections@0.1.0 [method]connection.execute
//go:noescape
func importExecute(connection uint32, sql unsafe.Pointer, sqlLen uint32, parameters unsafe.Pointer, parametersLen uint32, result unsafe.Pointer)

//go:wasmimport millpond:sqlite/connections@0.1.0 [method]connection.execute-script
//go:noescape
func importExecuteScript(connection uint32, sql unsafe.Pointer, sqlLen uint32, result unsafe.Pointer)

//go:wasmimport millpond:sqlite/connections@0.1.0 [method]connection.prepare
//go:noescape
func importPrepare(connection uint32, sql unsafe.Pointer, sqlLen uint32, result unsafe.Pointer)

//go:wasmimport millpond:sqlite/connections@0.1.0 [method]connection.begin
//go:noescape
func importBegin(connection, mode uint32, result unsafe.Pointer)

//go:wasmimport millpond:sqlite/connections@0.1.0 [method]connection.in-transaction
func importInTransaction(connection uint32) uint32

//go:wasmimport millpond:sqlite/connections@0.1.0 [method]statement.describe
//go:noescape
func importDescribe(statement uint32, result unsafe.Pointer)

//go:wasmimport millpond:sqlite/connections@0.1.0 [method]statement.execute
//go:noescape
func importStatementExecute(statement uint32, parameters unsafe.Pointer, parametersLen uint32, result unsafe.Pointer)

//go:wasmimport millpond:sqlite/connections@0.1.0 [method]statement.execute-many
//go:noescape
func importStatementExecuteMany(statement uint32, rows unsafe.Pointer, rowsLen uint32, result unsafe.Pointer)

//go:wasmimport millpond:sqlite/connections@0.1.0 [method]statement.query
//go:noescape
func importStatementQuery(statement uint32, parameters unsafe.Pointer, parametersLen, maxRows, withColumns uint32, result unsafe.Pointer)

//go:wasmimport millpond:sqlite/connections@0.1.0 [method]cursor.next
//go:noescape
func importNext(cursor, maxRows uint32, result unsafe.Pointer)

//go:wasmimport millpond:sqlite/connections@0.1.0 [method]transaction.commit
//go:noescape
func importCommit(transaction uint32, result unsafe.Pointer)

//go:wasmimport millpond:sqlite/connections@0.1.0 [method]transaction.rollback
//go:noescape
func importRollback(transaction uint32, result unsafe.Pointer)
