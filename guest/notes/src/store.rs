//! Notes in the database: all statements of this component.

use millpond_guest::{
    Connection, OptionalExtension, Result, Row, TransactionMode, db, named_params, params,
};
use serde::Serialize;

use crate::note::{Draft, Note};
use crate::search::full_text_query;
use crate::version::IfMatch;

/// The number of notes on a page.
const PAGE_SIZE: u32 = 50;

/// One page of notes, and the totals, as shown by the API.
#[derive(Debug, Serialize)]
pub(crate) struct Listing {
    notes: Vec<Note>,
    page: u32,
    /// At least 1.
    pages: u64,
    /// Notes on all pages together.
    total: u64,
}

/// A page of the notes that match a search, best match first, or of all notes, last changed first.
pub(crate) fn list(search: &str, page: u32) -> Result<Listing> {
    let offset = u64::from(page - 1) * u64::from(PAGE_SIZE);
    // One snapshot for both statements: the count matches this page, whatever others write.
    let (notes, total) = db()?.transaction_with(TransactionMode::Deferred, |tx| {
        match full_text_query(search) {
            Some(words) => matching(tx, &words, offset),
            None => all(tx, offset),
        }
    })?;
    let pages = total.div_ceil(u64::from(PAGE_SIZE)).max(1);
    Ok(Listing {
        notes,
        page,
        pages,
        total,
    })
}

fn matching(db: &Connection, words: &str, offset: u64) -> Result<(Vec<Note>, u64)> {
    let notes = db
        .query_map(
            "SELECT notes.id, notes.title, notes.body, created, updated, version
             FROM notes_search JOIN notes ON notes.id = notes_search.rowid
             WHERE notes_search MATCH :words
             ORDER BY bm25(notes_search, 5.0, 1.0), updated DESC, notes.id DESC
             LIMIT :limit OFFSET :offset",
            named_params! { ":words": words, ":limit": PAGE_SIZE, ":offset": offset },
            note,
        )?
        .collect::<Result<_>>()?;
    let sql = "SELECT count(*) FROM notes_search WHERE notes_search MATCH ?1";
    let total = db.query_row(sql, [words], |row| row.get(0))?;
    Ok((notes, total))
}

fn all(db: &Connection, offset: u64) -> Result<(Vec<Note>, u64)> {
    let notes = db
        .query_map(
            "SELECT id, title, body, created, updated, version FROM notes
             ORDER BY updated DESC, id DESC LIMIT ?1 OFFSET ?2",
            params![PAGE_SIZE, offset],
            note,
        )?
        .collect::<Result<_>>()?;
    let total = db.query_row("SELECT count(*) FROM notes", (), |row| row.get(0))?;
    Ok((notes, total))
}

/// Stores a new note.
pub(crate) fn create(draft: &Draft) -> Result<Note> {
    db()?.query_row(
        "INSERT INTO notes (title, body) VALUES (?1, ?2)
         RETURNING id, title, body, created, updated, version",
        params![draft.title, draft.body],
        note,
    )
}

/// The note with this id, if it exists.
pub(crate) fn read(id: i64) -> Result<Option<Note>> {
    let sql = "SELECT id, title, body, created, updated, version FROM notes WHERE id = ?1";
    db()?.query_row(sql, [id], note).optional()
}

/// The result of changing a note.
#[derive(Debug)]
pub(crate) enum Change<T> {
    Made(T),
    NoSuchNote,
    /// The note has a different version.
    OtherVersion,
}

/// Replaces the title and body of a note.
pub(crate) fn replace(id: i64, draft: &Draft, if_match: &IfMatch) -> Result<Change<Note>> {
    change(id, if_match, |tx| {
        tx.query_row(
            "UPDATE notes
             SET title = ?2, body = ?3, updated = strftime('%Y-%m-%dT%H:%M:%fZ', 'now'),
                 version = version + 1
             WHERE id = ?1
             RETURNING id, title, body, created, updated, version",
            params![id, draft.title, draft.body],
            note,
        )
    })
}

/// Deletes a note.
pub(crate) fn delete(id: i64, if_match: &IfMatch) -> Result<Change<()>> {
    change(id, if_match, |tx| {
        tx.execute("DELETE FROM notes WHERE id = ?1", [id])?;
        Ok(())
    })
}

/// Changes a note if it has an allowed version.
fn change<T>(
    id: i64,
    if_match: &IfMatch,
    make: impl FnOnce(&Connection) -> Result<T>,
) -> Result<Change<T>> {
    // One transaction, so that the note does not change between the two statements.
    db()?.transaction(|tx| {
        let sql = "SELECT version FROM notes WHERE id = ?1";
        match tx.query_row(sql, [id], |row| row.get(0)).optional()? {
            None => Ok(Change::NoSuchNote),
            Some(version) if !if_match.allows(version) => Ok(Change::OtherVersion),
            Some(_) => make(tx).map(Change::Made),
        }
    })
}

fn note(row: &Row<'_>) -> Result<Note> {
    Ok(Note {
        id: row.get(0)?,
        title: row.get(1)?,
        body: row.get(2)?,
        created: row.get(3)?,
        updated: row.get(4)?,
        version: row.get(5)?,
    })
}
