//go:build wasip1

package wasihttp

import "unsafe"

// The functions of wasi:http and wasi:io that this package uses, as the canonical ABI flattens
// them. The tool that makes the component checks each against wit/.

//go:wasmimport wasi:http/types@0.2.0 [method]incoming-request.method
//go:noescape
func importMethod(request uint32, result unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.0 [method]incoming-request.path-with-query
//go:noescape
func importPathWithQuery(request uint32, result unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.0 [method]incoming-request.authority
//go:noescape
func importAuthority(request uint32, result unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.0 [method]incoming-request.headers
func importHeaders(request uint32) uint32

//go:wasmimport wasi:http/types@0.2.0 [method]incoming-request.consume
//go:noescape
func importConsume(request uint32, result unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.0 [resource-drop]incoming-request
func importDropIncomingRequest(request uint32)

//go:wasmimport wasi:http/types@0.2.0 [method]incoming-body.stream
//go:noescape
func importIncomingBodyStream(body uint32, result unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.0 [resource-drop]incoming-body
func importDropIncomingBody(body uint32)

//go:wasmimport wasi:http/types@0.2.0 [method]fields.entries
//go:noescape
func importEntries(fields uint32, result unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.0 [constructor]fields
func importNewFields() uint32

//go:wasmimport wasi:http/types@0.2.0 [method]fields.append
//go:noescape
func importAppend(fields uint32, name unsafe.Pointer, nameLen uint32, value unsafe.Pointer, valueLen uint32, result unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.0 [resource-drop]fields
func importDropFields(fields uint32)

//go:wasmimport wasi:http/types@0.2.0 [constructor]outgoing-response
func importNewOutgoingResponse(fields uint32) uint32

//go:wasmimport wasi:http/types@0.2.0 [method]outgoing-response.set-status-code
func importSetStatusCode(response, status uint32) uint32

//go:wasmimport wasi:http/types@0.2.0 [method]outgoing-response.body
//go:noescape
func importOutgoingResponseBody(response uint32, result unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.0 [static]response-outparam.set
func importSetResponse(out, isError, response, _ uint32, _ uint64, _, _, _, _ uint32)

//go:wasmimport wasi:http/types@0.2.0 [method]outgoing-body.write
//go:noescape
func importOutgoingBodyWrite(body uint32, result unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.0 [static]outgoing-body.finish
//go:noescape
func importFinish(body, hasTrailers, trailers uint32, result unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.0 [resource-drop]outgoing-body
func importDropOutgoingBody(body uint32)

//go:wasmimport wasi:io/streams@0.2.0 [method]input-stream.blocking-read
//go:noescape
func importBlockingRead(stream uint32, length uint64, result unsafe.Pointer)

//go:wasmimport wasi:io/streams@0.2.0 [resource-drop]input-stream
func importDropInputStream(stream uint32)

//go:wasmimport wasi:io/streams@0.2.0 [method]output-stream.check-write
//go:noescape
func importCheckWrite(stream uint32, result unsafe.Pointer)

//go:wasmimport wasi:io/streams@0.2.0 [method]output-stream.write
//go:noescape
func importWrite(stream uint32, bytes unsafe.Pointer, length uint32, result unsafe.Pointer)

//go:wasmimport wasi:io/streams@0.2.0 [method]output-stream.blocking-flush
//go:noescape
func importBlockingFlush(stream uint32, result unsafe.Pointer)

//go:wasmimport wasi:io/streams@0.2.0 [method]output-stream.subscribe
func importSubscribe(stream uint32) uint32

//go:wasmimport wasi:io/streams@0.2.0 [resource-drop]output-stream
func importDropOutputStream(stream uint32)

//go:wasmimport wasi:io/poll@0.2.0 [method]pollable.block
func importBlock(pollable uint32)

//go:wasmimport wasi:io/poll@0.2.0 [resource-drop]pollable
func importDropPollable(pollable uint32)

//go:wasmimport wasi:io/error@0.2.0 [resource-drop]error
func importDropError(err uint32)
