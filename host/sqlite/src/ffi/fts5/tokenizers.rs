//! Makes SQLite's tokenizers (<https://sqlite.org/fts5.html#tokenizers>) check the deadline. A
//! guest's document has any number of tokens, and FTS5 does work for each: it compares the token to
//! the query's words, or adds it to an index for each prefix length.
//!
//! Only the function that tokenizes is replaced, by one that calls SQLite's and checks. SQLite's
//! functions still create and delete the instances: FTS5 recognises `trigram`, whose index also
//! serves `LIKE` and `GLOB`, by the function that creates it. `porter` needs no replacement: it
//! finds its underlying tokenizer by name, and that is one of these.
//!
//! A table that names no tokenizer gets FTS5's default: the first that was registered on the
//! connection, SQLite's `unicode61`. No API changes the default, so [`patch_default`] writes to
//! FTS5's record of it.
//!
//! FTS5 passes no data of ours to a tokenizer whose instances are SQLite's own: the `Watch` is that
//! of the connection that this thread works for.
//!
//! **Invariant:** FTS5 calls a tokenizer on the thread that uses the connection, with an instance
//! that the tokenizer's own function created. Nothing here unwinds.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::offset_of;
use std::ptr::{self, NonNull};
use std::sync::OnceLock;

use rusqlite::ffi;

use super::check;
use crate::deadline::Watch;
use crate::error::Result;
use crate::ffi::memory;

/// Tokens between two checks of the deadline. FTS5 takes from 0.05 µs to some µs for each, the
/// latter if it compares it to every word of a long query.
const TOKENS: u32 = 64;

/// The maximum number of words in a query. FTS5 looks for each wherever it has found another,
/// without checking the deadline.
pub(crate) const MAX_QUERY_WORDS: u32 = 256;
/// The maximum number of words in a row, in all its columns. A stored row has fewer, because of its
/// length; nothing else limits the text of a row that is not stored.
pub(crate) const MAX_ROW_WORDS: u32 = 2_000_000;

type OnToken =
    unsafe extern "C" fn(*mut c_void, c_int, *const c_char, c_int, c_int, c_int) -> c_int;
type Tokenize = unsafe extern "C" fn(
    *mut ffi::Fts5Tokenizer,
    *mut c_void,
    c_int,
    *const c_char,
    c_int,
    Option<OnToken>,
) -> c_int;

/// The functions to replace, and their replacements.
const TOKENIZERS: [(&CStr, Tokenize); COUNT] = [
    (c"unicode61", tokenize::<0>),
    (c"ascii", tokenize::<1>),
    (c"trigram", tokenize::<2>),
];
const COUNT: usize = 3;
/// How many tokens count as a word of a query. Looking up those of `trigram` is faster.
const A_WORD: [u32; COUNT] = [1, 1, 8];

/// SQLite's functions, in the same order. The same for all connections of the process.
static ORIGINALS: [OnceLock<Tokenize>; COUNT] = [const { OnceLock::new() }; COUNT];

/// FTS5's record of a tokenizer, up to the fields used here. It is not part of the public
/// interface: [`patch_default`] does nothing unless what it finds has this layout.
#[repr(C)]
struct Module {
    name: *mut c_char,
    data: *mut c_void,
    is_v2: c_int,
    v1: ffi::fts5_tokenizer,
    v2: ffi::fts5_tokenizer_v2,
}

/// Replace them on the connection that `api` belongs to.
pub(super) fn install(api: NonNull<ffi::fts5_api>) -> Result<()> {
    for (at, (name, tokenize)) in TOKENIZERS.into_iter().enumerate() {
        let Some((mut tokenizer, data)) = find(api, Some(name)) else {
            continue;
        };
        let Some(original) = tokenizer.xTokenize else {
            continue;
        };
        // A replacement that called itself would recurse forever.
        if ptr::fn_addr_eq(original, tokenize)
            || !ptr::fn_addr_eq(original, *ORIGINALS[at].get_or_init(|| original))
        {
            return check(ffi::SQLITE_MISUSE, "a tokenizer of FTS5");
        }
        if at == 0 {
            patch_default(api, original, tokenize);
        }
        tokenizer.xTokenize = Some(tokenize);
        // SAFETY: the connection's own `fts5_api`, and the connection is open. The name ends in
        // a NUL, and the structure is copied. The data is what SQLite's own functions were
        // registered with, and they are called with it as before.
        let code = unsafe {
            match api.as_ref().xCreateTokenizer {
                None => ffi::SQLITE_ERROR,
                Some(create) => create(api.as_ptr(), name.as_ptr(), data, &mut tokenizer, None),
            }
        };
        check(code, "a tokenizer of FTS5")?;
    }
    Ok(())
}

/// The tokenizer with that name, or the default, and the data for its functions.
fn find(
    api: NonNull<ffi::fts5_api>,
    name: Option<&CStr>,
) -> Option<(ffi::fts5_tokenizer, *mut c_void)> {
    let mut found = ffi::fts5_tokenizer {
        xCreate: None,
        xDelete: None,
        xTokenize: None,
    };
    let mut data = ptr::null_mut();
    // SAFETY: the connection's own `fts5_api`, and the connection is open. The name ends in a
    // NUL or is null; both out-pointers are valid.
    let code = unsafe {
        let find = api.as_ref().xFindTokenizer?;
        let name = name.map_or(ptr::null(), CStr::as_ptr);
        find(api.as_ptr(), name, &mut data, &mut found)
    };
    (code == ffi::SQLITE_OK).then_some((found, data))
}

/// Replace `original` by `tokenize` in FTS5's default tokenizer.
fn patch_default(api: NonNull<ffi::fts5_api>, original: Tokenize, tokenize: Tokenize) {
    let Some((v1, data)) = find(api, None) else {
        return;
    };
    if !v1
        .xTokenize
        .is_some_and(|found| ptr::fn_addr_eq(found, original))
    {
        return;
    }
    let mut v2: *mut ffi::fts5_tokenizer_v2 = ptr::null_mut();
    let mut module: *mut c_void = ptr::null_mut();
    // SAFETY: the connection's own `fts5_api`, and the connection is open; a null name stands for
    // the default; both out-pointers are valid.
    let code = unsafe {
        match (api.as_ref().iVersion, api.as_ref().xFindTokenizer_v2) {
            (3.., Some(find)) => find(api.as_ptr(), ptr::null(), &mut module, &mut v2),
            _ => ffi::SQLITE_ERROR,
        }
    };
    // FTS5 wraps a tokenizer of the older interface for those who ask for the newer one. Then the
    // wrapper's data is the record, and its functions are in the record. Anything else is not the
    // layout that we know.
    let is_record = code == ffi::SQLITE_OK
        && !module.is_null()
        && module.addr().wrapping_add(offset_of!(Module, v2)) == v2.addr();
    if !is_record {
        return;
    }
    let module = module.cast::<Module>();
    let same = |a: &ffi::fts5_tokenizer, b: &ffi::fts5_tokenizer| {
        a.xCreate.map(|f| f as usize) == b.xCreate.map(|f| f as usize)
            && a.xDelete.map(|f| f as usize) == b.xDelete.map(|f| f as usize)
            && a.xTokenize.map(|f| f as usize) == b.xTokenize.map(|f| f as usize)
    };
    // SAFETY: `v2` points into an allocation of SQLite's that begins at `module`, by the check
    // above, so what is before it can be read. It is written only where it is, bit by bit, what
    // FTS5 has just given as the default tokenizer's functions and data. Nothing else refers to
    // it: FTS5 uses it on this thread, and while no call is under way.
    unsafe {
        let record = &raw mut (*module).v1;
        if (*module).is_v2 == 0 && (*module).data == data && same(&record.read(), &v1) {
            (&raw mut (*record).xTokenize).write(Some(tokenize));
        }
    }
}

/// FTS5's callback for a token, and when to check the deadline again.
struct Tokens<'a> {
    context: *mut c_void,
    on_token: OnToken,
    watch: &'a Watch,
    left: u32,
    reads: Reads,
}

impl Tokens<'_> {
    /// Whether to continue, after this many more tokens, as SQLite's result code.
    fn check(&mut self, more: u32) -> c_int {
        if self.watch.look() {
            ffi::SQLITE_INTERRUPT
        } else {
            let goes_on = match self.reads {
                Reads::Query { a_word } => {
                    let tokens = memory::count_query_tokens(more);
                    tokens.div_ceil(a_word) <= MAX_QUERY_WORDS && self.watch.search(tokens)
                }
                Reads::Document => {
                    let (tokens, used) = memory::count_indexed(more);
                    tokens <= MAX_ROW_WORDS && self.watch.index(more, used)
                }
                Reads::Other => true,
            };
            match goes_on {
                true => ffi::SQLITE_OK,
                false => ffi::SQLITE_TOOBIG,
            }
        }
    }
}

/// What is being tokenized.
enum Reads {
    /// A query; `a_word` tokens count as one word.
    Query {
        a_word: u32,
    },
    /// A document that is being added to the index or removed from it.
    Document,
    Other,
}

unsafe extern "C" fn tokenize<const AT: usize>(
    tokenizer: *mut ffi::Fts5Tokenizer,
    context: *mut c_void,
    flags: c_int,
    text: *const c_char,
    len: c_int,
    on_token: Option<OnToken>,
) -> c_int {
    let (Some(original), Some(callback)) = (ORIGINALS[AT].get(), on_token) else {
        return ffi::SQLITE_MISUSE;
    };
    let looked_on = memory::with_watch(|watch| {
        // The parser of a query calls this for every word of it, and copies those before.
        if watch.look() {
            return ffi::SQLITE_INTERRUPT;
        }
        let mut tokens = Tokens {
            context,
            on_token: callback,
            watch,
            left: TOKENS,
            reads: if flags & ffi::FTS5_TOKENIZE_QUERY as c_int != 0 {
                let a_word = A_WORD[AT];
                Reads::Query { a_word }
            } else if flags & ffi::FTS5_TOKENIZE_DOCUMENT as c_int != 0 {
                Reads::Document
            } else {
                Reads::Other
            },
        };
        let context = (&raw mut tokens).cast();
        // SAFETY: the module's invariant: SQLite's own function, with its own arguments. The
        // callback has the context that it is written for, which outlives the call.
        let code =
            unsafe { original(tokenizer, context, flags, text, len, Some(on_token_looking)) };
        match code {
            ffi::SQLITE_OK => tokens.check(TOKENS - tokens.left),
            code => code,
        }
    });
    // SAFETY: as above.
    looked_on.unwrap_or_else(|| unsafe { original(tokenizer, context, flags, text, len, on_token) })
}

unsafe extern "C" fn on_token_looking(
    context: *mut c_void,
    flags: c_int,
    token: *const c_char,
    len: c_int,
    start: c_int,
    end: c_int,
) -> c_int {
    // SAFETY: `tokenize` has given this function and its context together, and a tokenizer calls
    // it for one token after the other. The rest is passed on as it came.
    unsafe {
        let tokens = &mut *context.cast::<Tokens<'_>>();
        if tokens.left == 0 {
            return look(tokens, flags, token, len, start, end);
        }
        tokens.left -= 1;
        (tokens.on_token)(tokens.context, flags, token, len, start, end)
    }
}

/// Separate, so that for other tokens there is only a counter between the tokenizer and FTS5.
///
/// # Safety
///
/// As [`on_token_looking`].
#[cold]
#[inline(never)]
unsafe fn look(
    tokens: &mut Tokens<'_>,
    flags: c_int,
    token: *const c_char,
    len: c_int,
    start: c_int,
    end: c_int,
) -> c_int {
    match tokens.check(TOKENS) {
        // This token is one of the next ones.
        ffi::SQLITE_OK => tokens.left = TOKENS - 1,
        code => return code,
    }
    // SAFETY: the caller's promise.
    unsafe { (tokens.on_token)(tokens.context, flags, token, len, start, end) }
}
