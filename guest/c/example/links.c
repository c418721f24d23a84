/*
** A URL shortener, as an HTTP component:
**
**   POST /             the body is a URL; answers with its code
**   GET  /CODE         redirects to the URL, and counts
**   GET  /CODE/visits  how often that happened
**   GET  /             the most visited links
*/
#include "gen/links.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MOST_BODY 2000

/* Where an answer goes. Static: every request has a new instance. */
static wasi_http_types_own_response_outparam_t out;

static void answer(uint16_t status, const char *location, const char *body) {
  wasi_http_types_own_fields_t fields = wasi_http_types_constructor_fields();
  const char *name = location ? "location" : "content-type";
  const char *value = location ? location : "text/plain; charset=utf-8";
  links_string_t header = {(uint8_t *)name, strlen(name)};
  links_list_u8_t content = {(uint8_t *)value, strlen(value)};
  wasi_http_types_header_error_t invalid;
  wasi_http_types_method_fields_append(wasi_http_types_borrow_fields(fields), &header, &content, &invalid);
  wasi_http_types_result_own_outgoing_response_error_code_t response = {
      .val.ok = wasi_http_types_constructor_outgoing_response(fields)};
  wasi_http_types_borrow_outgoing_response_t borrowed = wasi_http_types_borrow_outgoing_response(response.val.ok);
  wasi_http_types_method_outgoing_response_set_status_code(borrowed, status);
  wasi_http_types_own_outgoing_body_t to;
  wasi_http_types_own_output_stream_t stream;
  wasi_http_types_method_outgoing_response_body(borrowed, &to);
  wasi_http_types_static_response_outparam_set(out, &response);

  wasi_http_types_method_outgoing_body_write(wasi_http_types_borrow_outgoing_body(to), &stream);
  for (size_t at = 0, n = strlen(body); at < n;) {
    /* The stream takes at most 4096 bytes at once. */
    links_list_u8_t part = {(uint8_t *)body + at, n - at < 4096 ? n - at : 4096};
    wasi_io_streams_stream_error_t error;
    if (!wasi_io_streams_method_output_stream_blocking_write_and_flush(
            wasi_io_streams_borrow_output_stream(stream), &part, &error)) {
      wasi_io_streams_stream_error_free(&error);
      break;
    }
    at += part.len;
  }
  /* The stream must be dropped before its body is finished. */
  wasi_io_streams_output_stream_drop_own(stream);
  wasi_http_types_error_code_t error;
  if (!wasi_http_types_static_outgoing_body_finish(to, NULL, &error)) wasi_http_types_error_code_free(&error);
}

/* The request's body as text, or NULL if it is empty or longer than MOST_BODY. */
static char *read_body(wasi_http_types_borrow_incoming_request_t request) {
  static char text[MOST_BODY + 1];
  size_t n = 0;
  wasi_http_types_own_incoming_body_t body;
  wasi_http_types_own_input_stream_t stream;
  if (!wasi_http_types_method_incoming_request_consume(request, &body)) return NULL;
  if (wasi_http_types_method_incoming_body_stream(wasi_http_types_borrow_incoming_body(body), &stream)) {
    links_list_u8_t part;
    wasi_io_streams_stream_error_t end;
    while (wasi_io_streams_method_input_stream_blocking_read(wasi_io_streams_borrow_input_stream(stream),
                                                             sizeof text, &part, &end)) {
      size_t size = part.len;
      if (n + size <= MOST_BODY) memcpy(text + n, part.ptr, size);
      n += size;
      if (size) links_list_u8_free(&part);
      if (n > MOST_BODY) break;
    }
    wasi_io_streams_input_stream_drop_own(stream);
  }
  wasi_http_types_incoming_body_drop_own(body);
  if (n > MOST_BODY) return NULL;
  while (n && (text[n - 1] == '\n' || text[n - 1] == '\r')) n--;
  text[n] = 0;
  return n ? text : NULL;
}

static const char digits[] = "0123456789abcdefghijkmnopqrstuvwxyz"; /* without l, which looks like 1 */
#define BASE ((sqlite3_int64)(sizeof digits - 1))

/* A link's id as its code. */
static char *code_of(sqlite3_int64 id) {
  static char code[16];
  char *at = code + sizeof code - 1;
  for (*at = 0; id > 0; id /= BASE) *--at = digits[id % BASE];
  return at;
}

/* A code as a link's id; 0, which no link has, for anything else. */
static sqlite3_int64 id_of(const char *code) {
  sqlite3_int64 id = 0;
  if (strlen(code) > 12) return 0;
  for (; *code; code++) {
    const char *digit = strchr(digits, *code);
    if (!digit) return 0;
    id = id * BASE + (digit - digits);
  }
  return id;
}

static void fail(sqlite3 *db) {
  /* Another writer had the database, or all connections were in use: the client may try again. */
  int busy = sqlite3_errcode(db) == SQLITE_BUSY;
  fprintf(stderr, "%s\n", sqlite3_errmsg(db));
  answer(busy ? 503 : 500, NULL, busy ? "Busy: try again\n" : "Internal error\n");
}

static void shorten(sqlite3 *db, const char *url) {
  if (!url || (strncasecmp(url, "https://", 8) != 0 && strncasecmp(url, "http://", 7) != 0)) {
    answer(400, NULL, "The body must be a URL of at most 2000 bytes, with http: or https:\n");
    return;
  }
  for (const char *c = url; *c; c++) {
    if (*c <= ' ' || *c > '~') {
      answer(400, NULL, "The URL must be of printable ASCII characters\n");
      return;
    }
  }
  sqlite3_stmt *s = NULL;
  const char *sql = "INSERT INTO links(url) VALUES (?1) ON CONFLICT(url) DO UPDATE SET url = url RETURNING id";
  if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK &&
      sqlite3_bind_text(s, 1, url, -1, SQLITE_STATIC) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW) {
    char line[32];
    sqlite3_snprintf(sizeof line, line, "%s\n", code_of(sqlite3_column_int64(s, 0)));
    /* Only the end of the rows confirms the commit. */
    if (sqlite3_step(s) == SQLITE_DONE) answer(201, NULL, line);
    else fail(db);
  } else {
    fail(db);
  }
  sqlite3_finalize(s);
}

static void follow(sqlite3 *db, const char *code) {
  sqlite3_stmt *s = NULL;
  const char *sql = "UPDATE links SET visits = visits + 1 WHERE id = ?1 RETURNING url";
  int rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);
  if (rc == SQLITE_OK) {
    sqlite3_bind_int64(s, 1, id_of(code));
    rc = sqlite3_step(s);
  }
  if (rc == SQLITE_ROW) {
    char *url = sqlite3_mprintf("%s", sqlite3_column_text(s, 0));
    if (sqlite3_step(s) == SQLITE_DONE && url) answer(302, url, "");
    else fail(db);
    sqlite3_free(url);
  } else if (rc == SQLITE_DONE) {
    answer(404, NULL, "No such link\n");
  } else {
    fail(db);
  }
  sqlite3_finalize(s);
}

static void visits(sqlite3 *db, const char *code) {
  sqlite3_stmt *s = NULL;
  int rc = sqlite3_prepare_v2(db, "SELECT visits FROM links WHERE id = ?1", -1, &s, NULL);
  if (rc == SQLITE_OK) {
    sqlite3_bind_int64(s, 1, id_of(code));
    rc = sqlite3_step(s);
  }
  if (rc == SQLITE_ROW) {
    char line[32];
    sqlite3_snprintf(sizeof line, line, "%lld\n", sqlite3_column_int64(s, 0));
    answer(200, NULL, line);
  } else if (rc == SQLITE_DONE) {
    answer(404, NULL, "No such link\n");
  } else {
    fail(db);
  }
  sqlite3_finalize(s);
}

static void list(sqlite3 *db) {
  sqlite3_stmt *s = NULL;
  char *body = sqlite3_mprintf("%s", "");
  const char *sql = "SELECT id, visits, url FROM links ORDER BY visits DESC, id LIMIT 10";
  int rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);
  while (rc == SQLITE_OK && (rc = sqlite3_step(s)) == SQLITE_ROW) {
    body = sqlite3_mprintf("%z%s\t%d\t%s\n", body, code_of(sqlite3_column_int64(s, 0)),
                           sqlite3_column_int(s, 1), sqlite3_column_text(s, 2));
    rc = SQLITE_OK;
  }
  if (rc == SQLITE_DONE && body) answer(200, NULL, body);
  else fail(db);
  sqlite3_free(body);
  sqlite3_finalize(s);
}

void exports_wasi_http_incoming_handler_handle(
    exports_wasi_http_incoming_handler_own_incoming_request_t request,
    exports_wasi_http_incoming_handler_own_response_outparam_t response_out) {
  out = response_out;
  wasi_http_types_borrow_incoming_request_t incoming = wasi_http_types_borrow_incoming_request(request);
  wasi_http_types_method_t method;
  links_string_t target;
  char path[MOST_BODY] = "/";
  wasi_http_types_method_incoming_request_method(incoming, &method);
  if (wasi_http_types_method_incoming_request_path_with_query(incoming, &target)) {
    sqlite3_snprintf(sizeof path, path, "%.*s", (int)target.len, (char *)target.ptr);
    links_string_free(&target);
  }
  path[strcspn(path, "?")] = 0;
  char *after = strchr(path + 1, '/');
  int is_visits = after && strcmp(after, "/visits") == 0;
  if (is_visits) *after = 0;

  sqlite3 *db = NULL;
  if (sqlite3_open("default", &db) != SQLITE_OK) fail(db);
  else if (method.tag == WASI_HTTP_TYPES_METHOD_POST && strcmp(path, "/") == 0) shorten(db, read_body(incoming));
  else if (method.tag != WASI_HTTP_TYPES_METHOD_GET) answer(405, NULL, "Only GET, and POST to /\n");
  else if (strcmp(path, "/") == 0) list(db);
  else if (is_visits) visits(db, path + 1);
  else follow(db, path + 1);
  sqlite3_close(db);

  wasi_http_types_method_free(&method);
  wasi_http_types_incoming_request_drop_own(request);
  /* A reactor never reaches exit(). */
  fflush(NULL);
}
