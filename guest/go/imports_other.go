//go:build !wasip1

package millpond

import "unsafe"

// There is no host outside of a component. The package compiles, for tools and for tests of other
// code, and [Connector.Connect], [Stats] and [Databases] fail.
const inComponent = false

func importGetConnection(_ unsafe.Pointer, _, _ uint32, _ unsafe.Pointer) {}
func importStats(_ unsafe.Pointer, _ uint32, _ unsafe.Pointer)            {}
func importDatabases(_ unsafe.Pointer)                                    {}
func importDropConnection(_ uint32)                                       {}
func importDropStatement(_ uint32)                                        {}
func importDropCursor(_ uint32)                                           {}
func importDropTransaction(_ uint32)                                      {}
func importExecute(_ uint32, _ unsafe.Pointer, _ uint32, _ unsafe.Pointer, _ uint32, _ unsafe.Pointer) {
}
func importExecuteScript(_ uint32, _ unsafe.Pointer, _ uint32, _ unsafe.Pointer)        {}
func importPrepare(_ uint32, _ unsafe.Pointer, _ uint32, _ unsafe.Pointer)              {}
func importBegin(_, _ uint32, _ unsafe.Pointer)                                         {}
func importInTransaction(_ uint32) uint32                                               { return 0 }
func importDescribe(_ uint32, _ unsafe.Pointer)                                         {}
func importStatementExecute(_ uint32, _ unsafe.Pointer, _ uint32, _ unsafe.Pointer)     {}
func importStatementExecuteMany(_ uint32, _ unsafe.Pointer, _ uint32, _ unsafe.Pointer) {}
func importStatementQuery(_ uint32, _ unsafe.Pointer, _, _, _ uint32, _ unsafe.Pointer) {}
func importNext(_, _ uint32, _ unsafe.Pointer)                                          {}
func importCommit(_ uint32, _ unsafe.Pointer)                                           {}
func importRollback(_ uint32, _ unsafe.Pointer)                                         {}
