// The page: it shows what the API answers, and sends what people write. What is shown of a note
// is always set as text, never as markup.

const $ = (id) => document.getElementById(id);

let search = ""; // What is looked for, and
let page = 1; // which page of it is shown: as the address says.
let typing = false; // The history's newest entry is a search that is still being typed.

let edited = null; // The note in the editor as it was read; null for a new one.
let parked = { title: "", body: "" }; // The new note, kept while another is edited.
let saving = false;
let theirs = null; // What was saved elsewhere while the note in the editor was edited.
let deleted = null; // The note that Undo brings back.
let failed = null; // What "Try again" does, and where the focus was.
let loading = null; // Aborts the listing that is on its way.
const removing = new Set(); // The ids of notes that are being deleted.
const opened = new Set(); // The ids of long notes that are shown in full.

/** Calls the API. Throws an error that can be shown. */
async function call(method, path, { body, version, signal } = {}) {
  const request = { method, signal, headers: {} };
  if (version !== undefined) request.headers["if-match"] = `"${version}"`;
  if (body !== undefined) {
    request.headers["content-type"] = "application/json";
    request.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, request);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server cannot be reached.");
  }
  if (response.status === 204) return null;
  const answer = await response.json().catch(() => null);
  if (response.ok && answer !== null) return answer;
  const message = answer?.error?.message ?? `the server answered ${response.status}`;
  const failure = new Error(message.charAt(0).toUpperCase() + message.slice(1) + ".");
  failure.status = response.status;
  throw failure;
}

function say(text, { error = false, undo = false } = {}) {
  $("status").textContent = text;
  $("status").classList.toggle("error", error);
  $("undo").hidden = !undo;
  $("retry").hidden = true;
  failed = null;
}

/** Shows an error, and offers to try again unless that would end the same way. */
function fail(error, run) {
  say(error.message, { error: true });
  if (error.status >= 400 && error.status < 500) return;
  failed = { run, focus: document.activeElement };
  $("retry").hidden = false;
}

// The list.

/** Reads from the address what to show. */
function read() {
  const query = new URLSearchParams(location.search);
  $("search").value = search = query.get("search") ?? "";
  page = Math.max(1, Number.parseInt(query.get("page"), 10) || 1);
}

/** Writes to the address what is shown, in a new entry of the history or over the newest. */
function write({ entry }) {
  const query = new URLSearchParams();
  if (search) query.set("search", search);
  if (page > 1) query.set("page", page);
  const address = query.size ? `/?${query}` : "/";
  if (address === location.pathname + location.search) return;
  if (entry) history.pushState(null, "", address);
  else history.replaceState(null, "", address);
}

/** Shows the page of notes that is asked for; of two at once, the later. */
async function load() {
  loading?.abort();
  const mine = (loading = new AbortController());
  $("notes").ariaBusy = "true";
  const query = new URLSearchParams();
  if (search) query.set("search", search);
  if (page > 1) query.set("page", page);
  try {
    const listing = await call("GET", `/api/notes?${query}`, { signal: mine.signal });
    if (page > listing.pages) {
      page = listing.pages; // Its last note was deleted.
      write({ entry: false });
      return await load();
    }
    show(listing);
    if (failed?.run === load) say("");
  } catch (error) {
    if (error.name !== "AbortError") fail(error, load);
  } finally {
    if (loading === mine) $("notes").ariaBusy = "false";
  }
}

function show({ notes, pages, total }) {
  const focus = focused();
  $("notes").replaceChildren(...notes.map(item));
  fold();
  focus();
  $("count").textContent =
    total === 0 ? "" : `${total} ${total === 1 ? "note" : "notes"}${search ? " found" : ""}`;
  $("empty").hidden = total > 0;
  $("empty").textContent = search.trim()
    ? `Nothing found for “${search.trim()}”.`
    : "No notes yet. Write the first one above.";
  $("pages").hidden = pages === 1;
  $("page").textContent = `Page ${page} of ${pages}`;
  $("previous").disabled = page === 1;
  $("next").disabled = page === pages;
}

/** Finds where in the list the focus is, to put it there again in the list that replaces this. */
function focused() {
  const note = document.activeElement?.closest(".note") ?? null;
  if (note === null) return () => {};
  const button = [".delete", ".edit", ".more"].find((it) => document.activeElement.matches(it));
  const index = [...$("notes").children].indexOf(note);
  return () => {
    const notes = [...$("notes").children];
    const same = notes.find((it) => it.dataset.id === note.dataset.id);
    const near = same ?? notes[Math.min(index, notes.length - 1)];
    (near?.querySelector(button) ?? $("title")).focus();
  };
}

/** Offers to open the notes that are longer than what is shown of them. */
function fold() {
  const items = [...$("notes").children];
  for (const item of items) item.classList.remove("open");
  const long = items.map((item) => {
    const body = item.querySelector(".body");
    return body.scrollHeight > body.clientHeight;
  });
  items.forEach((item, index) => {
    const open = long[index] && opened.has(Number(item.dataset.id));
    item.classList.toggle("long", long[index]);
    item.classList.toggle("open", open);
    const more = item.querySelector(".more");
    more.hidden = !long[index];
    more.ariaExpanded = open;
    more.textContent = open ? "Show less" : "Show all";
    more.ariaLabel = `${more.textContent} of ${item.querySelector("h3").textContent}`;
  });
}

function item(note) {
  const item = $("note").content.firstElementChild.cloneNode(true);
  const find = (selector) => item.querySelector(selector);
  item.dataset.id = note.id;
  item.classList.toggle("edited", note.id === edited?.id);
  find("h3").textContent = note.title;
  find(".body").textContent = note.body;
  find(".body").hidden = note.body === "";
  find("time").dateTime = note.updated;
  find("time").textContent = new Date(note.updated).toLocaleString(undefined, {
    dateStyle: "medium",
    timeStyle: "short",
  });
  find(".more").addEventListener("click", () => {
    if (!opened.delete(note.id)) opened.add(note.id);
    fold();
  });
  find(".edit").ariaLabel = `Edit ${note.title}`;
  find(".edit").addEventListener("click", () => edit(note));
  find(".delete").ariaLabel = `Delete ${note.title}`;
  find(".delete").addEventListener("click", () => remove(note));
  return item;
}

// The editor.

/** Puts a text into the editor: of this note, or of a new one where that is null. */
function fill(note, { title, body }) {
  const focus = document.activeElement;
  edited = note;
  $("title").value = title;
  $("body").value = body;
  $("heading").textContent = note === null ? "New note" : "Edit note";
  $("save").textContent = note === null ? "Save note" : "Save changes";
  $("cancel").hidden = note === null;
  $("conflict").hidden = true;
  // What is hidden loses the focus.
  if (!(focus?.checkVisibility() ?? true)) $("title").focus();
  for (const item of document.querySelectorAll(".note")) {
    item.classList.toggle("edited", item.dataset.id === String(note?.id));
  }
  keep();
}

const written = () => ({ title: $("title").value, body: $("body").value });

/** Keeps what is in the editor for this tab, so that it survives a reload. */
function keep() {
  try {
    sessionStorage.setItem("editor", JSON.stringify({ edited, parked, written: written() }));
  } catch {
    // Without storage, only a reload loses it.
  }
}

function recall() {
  try {
    const kept = JSON.parse(sessionStorage.getItem("editor"));
    if (kept === null) return;
    parked = kept.parked;
    fill(kept.edited, kept.written);
  } catch {
    // Nothing was kept, or no storage is allowed.
  }
}

function edit(note) {
  if (edited === null) parked = written();
  fill(note, note);
  say("");
  $("editor").scrollIntoView({ block: "nearest" });
  $("title").focus();
}

/** Saves what is in the editor: over the note that is edited, or as a new one. */
async function save({ asNew = edited === null } = {}) {
  if (saving) return;
  const note = edited;
  try {
    saving = true;
    $("save").ariaDisabled = "true";
    const body = written();
    if (asNew) await call("POST", "/api/notes", { body });
    else await call("PUT", `/api/notes/${note.id}`, { body, version: note.version });
  } catch (error) {
    // What somebody wrote stays in the editor, whatever happened.
    const elsewhere = !asNew && edited === note && [404, 412].includes(error.status);
    return elsewhere ? compare() : fail(error, () => save({ asNew }));
  } finally {
    saving = false;
    $("save").ariaDisabled = null;
  }
  if (asNew) {
    if (note === null) parked = { title: "", body: "" };
    // Show what was just written: at the top of all notes.
    $("search").value = search = "";
    page = 1;
    typing = false;
    write({ entry: true });
  }
  if (edited === note) fill(null, parked);
  say("Saved.");
  await load();
}

/** Shows what was saved elsewhere beside what is in the editor. */
async function compare() {
  const note = edited;
  try {
    theirs = await call("GET", `/api/notes/${note.id}`);
  } catch (error) {
    if (error.status !== 404) return fail(error, save);
    theirs = null;
  }
  if (edited !== note) return;
  const { title, body } = written();
  if (theirs?.title === title.trim() && theirs.body === body) {
    // Both wrote the same, or the answer to an earlier attempt was lost.
    fill(null, parked);
    say("Saved.");
    return await load();
  }
  const what = theirs === null ? "deleted" : "changed";
  $("conflict-heading").textContent =
    theirs === null ? "The note was deleted elsewhere." : "Saved elsewhere meanwhile:";
  $("theirs").hidden = $("keep-mine").hidden = $("take-theirs").hidden = theirs === null;
  $("save-as-new").hidden = theirs !== null;
  $("their-title").textContent = theirs?.title;
  $("their-body").textContent = theirs?.body;
  $("conflict").hidden = false;
  say(`Not saved: the note was ${what} elsewhere.`, { error: true });
  await load();
}

async function remove(note) {
  if (removing.has(note.id)) return;
  removing.add(note.id);
  try {
    await call("DELETE", `/api/notes/${note.id}`, { version: note.version });
  } catch (error) {
    if (error.status === 412) {
      say("Not deleted: the note was changed elsewhere. Its new text is below.", { error: true });
      return await load();
    }
    if (error.status !== 404) return fail(error, () => remove(note));
  } finally {
    removing.delete(note.id);
  }
  if (edited?.id === note.id) fill(null, parked);
  deleted = note;
  say(`Deleted “${note.title}”.`, { undo: true });
  await load();
}

async function restore() {
  if (deleted === null) return;
  const before = deleted;
  deleted = null;
  try {
    const { title, body } = before;
    const note = await call("POST", "/api/notes", { body: { title, body } });
    const focus = document.activeElement === $("undo");
    say("Brought back.");
    await load();
    // "Undo" has gone: the focus moves to the note, if this page shows it.
    const button = document.querySelector(`.note[data-id="${note.id}"] .delete`);
    if (focus) (button ?? $("title")).focus();
  } catch (error) {
    deleted = before;
    say(error.message, { error: true, undo: true });
  }
}

// What people do.

$("editor").addEventListener("submit", (event) => {
  event.preventDefault();
  save();
});
$("editor").addEventListener("input", keep);
$("editor").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("editor").requestSubmit();
  if (event.key === "Escape" && edited !== null) $("cancel").click();
});
$("cancel").addEventListener("click", () => {
  fill(null, parked);
  say("");
});
$("keep-mine").addEventListener("click", () => {
  edited = theirs;
  save();
});
$("take-theirs").addEventListener("click", () => {
  fill(theirs, theirs);
  say("");
  $("title").focus();
});
$("save-as-new").addEventListener("click", () => save({ asNew: true }));
$("undo").addEventListener("click", restore);
$("retry").addEventListener("click", () => {
  const { run, focus } = failed;
  say("");
  // The button has gone: the focus returns to where it was.
  focus.focus();
  run();
});

let pause = 0;
$("search").addEventListener("input", () => {
  clearTimeout(pause);
  pause = setTimeout(() => {
    search = $("search").value;
    page = 1;
    // One entry for one search, however it was typed.
    write({ entry: !typing });
    typing = true;
    load();
  }, 120);
});
$("search").addEventListener("change", () => (typing = false));

function turn(by) {
  page += by;
  typing = false;
  write({ entry: true });
  load();
  $("count").scrollIntoView({ block: "nearest" });
}
$("previous").addEventListener("click", () => turn(-1));
$("next").addEventListener("click", () => turn(1));

addEventListener("popstate", () => {
  clearTimeout(pause);
  typing = false;
  read();
  load();
});
addEventListener("resize", fold);

recall();
read();
load();
