/*
** The entry point of commands, instead of the one in wasi-libc.
**
** That one leaves calling the constructors and destructors to wasm-ld, which then wraps every
** export in such calls, also the allocation function that the host calls to return results. The
** destructors flush stdout, which traps in there.
*/
#include <wasi/api.h>

void __wasm_call_ctors(void);
void __wasm_call_dtors(void);
int __main_void(void);

__attribute__((export_name("_start"))) void _start(void) {
  __wasm_call_ctors();
  int status = __main_void();
  __wasm_call_dtors();
  if (status) __wasi_proc_exit((__wasi_exitcode_t)status);
}
