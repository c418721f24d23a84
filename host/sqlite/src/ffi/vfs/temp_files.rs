//! SQLite's temporary files in memory: for sorting, and for temporary tables that outgrow their
//! cache.
//!
//! Neither of SQLite's own options works here. With `temp_store = FILE` a guest can fill the disk.
//! With `temp_store = MEMORY` SQLite sorts everything at once, in a single instruction that no
//! deadline can stop; with files it sorts in parts as large as the page cache, and checks the
//! deadline between them (<https://sqlite.org/tempfiles.html>). So connections here have temporary
//! files, in memory from SQLite's allocator, which counts towards the memory limit.
//!
//! **Invariant:** a `File` begins as SQLite's own `sqlite3_file`, and SQLite calls its methods
//! between opening and closing it, one at a time. Nothing here unwinds: no code below panics,
//! whatever SQLite asks for.

use std::ffi::{c_int, c_void};
use std::ptr::NonNull;

use rusqlite::ffi;

/// The allocation size, in bytes.
const CHUNK: usize = 32 * 1024;

/// The flags of files that SQLite opens without a name, and never again.
const TEMPORARY: c_int = ffi::SQLITE_OPEN_TEMP_DB
    | ffi::SQLITE_OPEN_TEMP_JOURNAL
    | ffi::SQLITE_OPEN_TRANSIENT_DB
    | ffi::SQLITE_OPEN_SUBJOURNAL;

/// The size of one, for SQLite to allocate.
pub(super) const SIZE: c_int = size_of::<File>() as c_int;

/// Whether SQLite opens a temporary file with these flags, and without a name.
pub(super) fn is_temporary(flags: c_int) -> bool {
    flags & TEMPORARY != 0
}

/// Open a new one.
///
/// # Safety
///
/// There is room for [`SIZE`] bytes at `file`, aligned as SQLite aligns a `sqlite3_file`.
pub(super) unsafe fn open(file: *mut ffi::sqlite3_file) {
    let content = Box::into_raw(Box::<Content>::default());
    let base = ffi::sqlite3_file { pMethods: &METHODS };
    // SAFETY: the caller's promise.
    unsafe { file.cast::<File>().write(File { base, content }) };
}

#[repr(C)]
struct File {
    base: ffi::sqlite3_file,
    content: *mut Content,
}

/// The content of a temporary file.
#[derive(Debug, Default)]
struct Content {
    chunks: Vec<Chunk>,
    len: u64,
}

/// [`CHUNK`] bytes of SQLite's memory.
#[derive(Debug)]
struct Chunk(NonNull<u8>);

impl Chunk {
    /// `None` if SQLite is out of memory.
    fn new() -> Option<Chunk> {
        // SAFETY: any size may be asked for; the memory is ours and `CHUNK` long.
        let bytes = NonNull::new(unsafe { ffi::sqlite3_malloc64(CHUNK as u64) }.cast::<u8>())?;
        // SAFETY: as above.
        unsafe { bytes.write_bytes(0, CHUNK) };
        Some(Chunk(bytes))
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the memory is initialised, `CHUNK` long, and ours alone.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_ptr(), CHUNK) }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // SAFETY: it was allocated by SQLite, and nothing refers to it any more.
        unsafe { ffi::sqlite3_free(self.0.as_ptr().cast()) };
    }
}

impl Content {
    /// Fill `into` from `offset`, with zeros after the end of the file. Returns whether the file
    /// had enough.
    fn read(&mut self, into: &mut [u8], offset: u64) -> bool {
        let there = self.len.saturating_sub(offset).min(into.len() as u64) as usize;
        let (have, beyond) = into.split_at_mut(there);
        beyond.fill(0);
        self.each_part(have.len(), offset, |part, range| {
            have[range].copy_from_slice(part);
        });
        beyond.is_empty()
    }

    /// Returns false if there was not enough memory.
    fn write(&mut self, from: &[u8], offset: u64) -> bool {
        let Some(end) = offset.checked_add(from.len() as u64) else {
            return false;
        };
        while (self.chunks.len() * CHUNK) as u64 <= end {
            let Some(chunk) = Chunk::new() else {
                return false;
            };
            self.chunks.push(chunk);
        }
        self.len = self.len.max(end);
        self.each_part(from.len(), offset, |part, range| {
            part.copy_from_slice(&from[range]);
        });
        true
    }

    /// Call a function for each part of a chunk that overlaps the `len` bytes from `offset`, with
    /// its position in those bytes.
    fn each_part(
        &mut self,
        len: usize,
        offset: u64,
        mut work: impl FnMut(&mut [u8], std::ops::Range<usize>),
    ) {
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            let (index, start) = ((at / CHUNK as u64) as usize, (at % CHUNK as u64) as usize);
            let count = (CHUNK - start).min(len - done);
            let Some(chunk) = self.chunks.get_mut(index) else {
                return;
            };
            work(&mut chunk.bytes()[start..start + count], done..done + count);
            done += count;
        }
    }

    fn truncate(&mut self, len: u64) {
        self.len = self.len.min(len);
        let chunks = self.len.div_ceil(CHUNK as u64) as usize;
        self.chunks.truncate(chunks);
        // A later write behind a gap must find zeros in it.
        let start = (self.len % CHUNK as u64) as usize;
        if let Some(last) = self.chunks.get_mut((self.len / CHUNK as u64) as usize) {
            last.bytes()[start..].fill(0);
        }
    }
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(nothing),
    xFileSize: Some(file_size),
    xLock: Some(nothing),
    xUnlock: Some(nothing),
    xCheckReservedLock: Some(is_reserved),
    xFileControl: Some(file_control),
    xSectorSize: Some(zero),
    xDeviceCharacteristics: Some(characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

/// # Safety
///
/// `file` is one that [`open`] made, is not closed, and no other reference to it is in use.
unsafe fn content<'a>(file: *mut ffi::sqlite3_file) -> &'a mut Content {
    // SAFETY: the caller's promise.
    unsafe { &mut *(*file.cast::<File>()).content }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: the module's invariant; nothing is called on it after this.
    unsafe { drop(Box::from_raw((*file.cast::<File>()).content)) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    into: *mut c_void,
    len: c_int,
    offset: i64,
) -> c_int {
    let (Ok(len), Ok(offset)) = (usize::try_from(len), u64::try_from(offset)) else {
        return ffi::SQLITE_IOERR_READ;
    };
    // SAFETY: the module's invariant; SQLite gives room for `len` bytes, which are made valid
    // before they are borrowed.
    let whole = unsafe {
        into.cast::<u8>().write_bytes(0, len);
        content(file).read(std::slice::from_raw_parts_mut(into.cast(), len), offset)
    };
    match whole {
        true => ffi::SQLITE_OK,
        false => ffi::SQLITE_IOERR_SHORT_READ,
    }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    from: *const c_void,
    len: c_int,
    offset: i64,
) -> c_int {
    let (Ok(len), Ok(offset)) = (usize::try_from(len), u64::try_from(offset)) else {
        return ffi::SQLITE_IOERR_WRITE;
    };
    // SAFETY: the module's invariant; SQLite gives `len` bytes.
    let written =
        unsafe { content(file).write(std::slice::from_raw_parts(from.cast(), len), offset) };
    match written {
        true => ffi::SQLITE_OK,
        false => ffi::SQLITE_IOERR_NOMEM,
    }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, len: i64) -> c_int {
    // SAFETY: the module's invariant.
    unsafe { content(file).truncate(u64::try_from(len).unwrap_or(0)) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, size: *mut i64) -> c_int {
    // SAFETY: the module's invariant; `size` is valid.
    unsafe { *size = content(file).len as i64 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn nothing(_: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn zero(_: *mut ffi::sqlite3_file) -> c_int {
    0
}

unsafe extern "C" fn is_reserved(_: *mut ffi::sqlite3_file, reserved: *mut c_int) -> c_int {
    // SAFETY: `reserved` is valid. No other thread can have the file.
    unsafe { *reserved = 0 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(_: *mut ffi::sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn characteristics(_: *mut ffi::sqlite3_file) -> c_int {
    // Nothing here outlives the process, so nothing needs to be ordered or synced.
    ffi::SQLITE_IOCAP_ATOMIC | ffi::SQLITE_IOCAP_SAFE_APPEND | ffi::SQLITE_IOCAP_SEQUENTIAL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_what_was_written_where_it_was() {
        let mut file = Content::default();
        let mut model: Vec<u8> = Vec::new();
        // Writes and truncations on and around the borders of chunks, with gaps.
        for (round, offset) in [0, 10, CHUNK - 3, CHUNK, 2 * CHUNK - 1, 5 * CHUNK, 7, 0]
            .into_iter()
            .enumerate()
        {
            let bytes: Vec<u8> = (0..CHUNK + 5).map(|i| (i + round) as u8 | 1).collect();
            assert!(file.write(&bytes, offset as u64));
            model.resize(model.len().max(offset + bytes.len()), 0);
            model[offset..offset + bytes.len()].copy_from_slice(&bytes);
            if round == 4 {
                file.truncate((CHUNK + 11) as u64);
                model.truncate(CHUNK + 11);
            }
            let mut read = vec![9; model.len()];
            assert!(file.read(&mut read, 0));
            assert!(read == model, "round {round}");
            let mut beyond = vec![9; 10];
            assert!(!file.read(&mut beyond, model.len() as u64 - 4));
            assert_eq!(beyond[..4], model[model.len() - 4..]);
            assert_eq!(beyond[4..], [0; 6]);
        }
        assert!(!file.write(&[1], u64::MAX));
    }
}
