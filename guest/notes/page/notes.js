// The page: it shows what the API answers, and sends what people write. What is shown of a note
// is always set as text, never as markup.

const $ = (id) => document.getElementById(id);

const address = new URL(location.href);
let search = address.searchParams.get("search") ?? "";
let page = Math.max(1, Number.parseInt(address.searchParams.get("page"), 10) || 1);

let edited = null; // The id of the note in the editor; null for a new one.
let draft = { title: "", body: "" }; // The new note, kept while another is edited.
let deleted = null; // The note that Undo brings back.
let loading = null; // Aborts the listing that is on its way.

/** Calls the API. Throws an error that can be shown. */
async function call(method, path, { body, signal } = {}) {
  const request = { method, signal };
  if (body !== undefined) {
    request.headers = { "content-type": "application/json" };
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

function say(text, { error = false, undo = false, retry = false } = {}) {
  $("status").textContent = text;
  $("status").classList.toggle("error", error);
  $("undo").hidden = !undo;
  $("retry").hidden = !retry;
}

// The list.

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
      return await load();
    }
    history.replaceState(null, "", query.size ? `/?${query}` : "/");
    show(listing);
    if (!$("retry").hidden) say("");
  } catch (error) {
    if (error.name !== "AbortError") say(error.message, { error: true, retry: true });
  } finally {
    if (loading === mine) $("notes").ariaBusy = "false";
  }
}

function show({ notes, pages, total }) {
  $("notes").replaceChildren(...notes.map(item));
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

function item(note) {
  const item = $("note").content.firstElementChild.cloneNode(true);
  const find = (selector) => item.querySelector(selector);
  item.dataset.id = note.id;
  item.classList.toggle("edited", note.id === edited);
  find("h3").textContent = note.title;
  find(".body").textContent = note.body;
  find(".body").hidden = note.body === "";
  find("time").dateTime = note.updated;
  find("time").textContent = new Date(note.updated).toLocaleString(undefined, {
    dateStyle: "medium",
    timeStyle: "short",
  });
  find(".edit").ariaLabel = `Edit ${note.title}`;
  find(".edit").addEventListener("click", () => edit(note));
  find(".delete").ariaLabel = `Delete ${note.title}`;
  find(".delete").addEventListener("click", () => remove(note, find(".delete")));
  return item;
}

// The editor.

function fill(id, { title, body }) {
  edited = id;
  $("title").value = title;
  $("body").value = body;
  $("heading").textContent = id === null ? "New note" : "Edit note";
  $("save").textContent = id === null ? "Save note" : "Save changes";
  $("cancel").hidden = id === null;
  for (const item of document.querySelectorAll(".note")) {
    item.classList.toggle("edited", item.dataset.id === String(id));
  }
}

function edit(note) {
  if (edited === null) draft = { title: $("title").value, body: $("body").value };
  fill(note.id, note);
  say("");
  $("editor").scrollIntoView({ block: "nearest" });
  $("title").focus();
}

async function save() {
  const note = { title: $("title").value, body: $("body").value };
  const id = edited;
  $("save").disabled = true;
  try {
    if (id === null) {
      await call("POST", "/api/notes", { body: note });
      draft = { title: "", body: "" };
      // What was just written is to be seen: at the top of all notes.
      $("search").value = search = "";
      page = 1;
    } else {
      await call("PUT", `/api/notes/${id}`, { body: note });
    }
    if (edited === id) fill(null, draft);
    say("Saved.");
    await load();
  } catch (error) {
    // What somebody wrote stays in the editor, whatever happened.
    say(error.message, { error: true });
  } finally {
    $("save").disabled = false;
  }
}

async function remove(note, button) {
  button.disabled = true;
  try {
    await call("DELETE", `/api/notes/${note.id}`);
  } catch (error) {
    if (error.status !== 404) {
      button.disabled = false;
      say(error.message, { error: true });
      return;
    }
  }
  if (edited === note.id) fill(null, draft);
  deleted = note;
  say(`Deleted “${note.title}”.`, { undo: true });
  await load();
}

async function restore() {
  const { title, body } = deleted;
  $("undo").hidden = true;
  try {
    await call("POST", "/api/notes", { body: { title, body } });
    say("Brought back.");
    await load();
  } catch (error) {
    say(error.message, { error: true, undo: true });
  }
}

// What people do.

$("editor").addEventListener("submit", (event) => {
  event.preventDefault();
  save();
});
$("editor").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("editor").requestSubmit();
  if (event.key === "Escape" && edited !== null) $("cancel").click();
});
$("cancel").addEventListener("click", () => {
  fill(null, draft);
  say("");
});
$("undo").addEventListener("click", restore);
$("retry").addEventListener("click", () => {
  say("");
  load();
});

let typing = 0;
$("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => {
    search = $("search").value;
    page = 1;
    load();
  }, 120);
});

function turn(by) {
  page += by;
  load();
  $("count").scrollIntoView({ block: "nearest" });
}
$("previous").addEventListener("click", () => turn(-1));
$("next").addEventListener("click", () => turn(1));

$("search").value = search;
load();
