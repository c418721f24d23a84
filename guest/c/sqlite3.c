/*
** SQLite's C interface over Millpond's contract: see include/sqlite3.h and README.md.
**
** A statement keeps the host's handle and the current page of its rows. Rows are read in place in
** the page. A component is single-threaded, so nothing here locks.
*/
#include <sqlite3.h>

#include "gen/contract.h"

#include <ctype.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* The generated names average 60 characters. */
typedef millpond_sqlite_connections_error_t wit_error;
typedef millpond_sqlite_connections_own_connection_t wit_connection;
typedef millpond_sqlite_connections_own_statement_t wit_statement;
typedef millpond_sqlite_connections_own_cursor_t wit_cursor;
typedef millpond_sqlite_connections_rows_t wit_rows;
typedef millpond_sqlite_connections_page_t wit_page;
typedef millpond_sqlite_connections_summary_t wit_summary;
typedef millpond_sqlite_connections_description_t wit_description;
typedef millpond_sqlite_connections_result_set_t wit_result_set;
#define CONNECTION(db) millpond_sqlite_connections_borrow_connection((db)->connection)
#define STATEMENT(s) millpond_sqlite_connections_borrow_statement((s)->handle)

/* Rows asked for at first: a query of one row needs no cursor. Later pages are whole. */
#define FIRST_PAGE 64
/* Bytes of rows that millpond_add_row collects at most. The host's own limit is 32 MiB. */
#define MOST_BATCH (16 * 1024 * 1024)
/* SQLite's own limit. */
#define MOST_PARAMETERS 32766
/* Larger buffers for parameters are not kept. */
#define MOST_KEPT (64 * 1024)

/* The contract's code of a named value is not used: names are resolved here. */
enum { CODE_INTEGER = 1, CODE_REAL, CODE_TEXT, CODE_BLOB, CODE_NULL };

/* A growing list of bytes. */
typedef struct Buffer {
  char *z;
  size_t n, cap;
  int fixed;  /* memory of the caller: never grows, and drops what does not fit */
  int failed; /* out of memory */
} Buffer;

/* A value: a column of the current row, a parameter, or a copy of either. */
struct sqlite3_value {
  int type;
  sqlite3_int64 i;
  double r;
  const char *z; /* of text and blobs, and of numbers once they have been read as text */
  int n;
  int terminated;      /* z[n] is 0 */
  int zeroblob;        /* bound by sqlite3_bind_zeroblob */
  char *own;           /* memory of its own */
  void (*del)(void *); /* frees z */
  sqlite3_stmt *stmt;  /* whose page z points into */
  int last;            /* the last column of its row */
  char number[32];     /* a number as text */
};

typedef struct Failure {
  int code; /* extended result code */
  int kind;
  int offset;
  int rolled_back;
  char *message;
} Failure;

struct sqlite3 {
  wit_connection connection;
  int open;   /* `connection` is held */
  char *name; /* NULL if it was never opened */
  int read_only;
  int closing; /* sqlite3_close_v2 was called, and statements are left */
  int mask;    /* of result codes: 0xff unless extended ones are asked for */
  Failure failure;
  int (*busy)(void *, int);
  void *busy_arg;
  sqlite3_int64 changes, total_changes, rowid;
  int changes_stale, total_stale; /* must be asked of the host first; a stale `changes` covers rowid */
  int has_read, has_written;      /* in the open transaction */
  int in_transaction;             /* as of the last statement that could begin or end one */
  Buffer parameters;              /* memory, reused by every run */
};

/* What the scanner says of one statement. */
enum Kind {
  KIND_NONE,    /* there is no statement, only space, comments and semicolons */
  KIND_EXECUTE, /* yields no rows */
  KIND_CHANGE,  /* likewise, and counts changes */
  KIND_READ,    /* yields rows, and does not write */
  KIND_RETURN,  /* yields rows, and writes */
  KIND_WITH,    /* one of the three before: the host knows */
};

typedef struct Use {
  int offset, length, index;
} Use; /* a parameter's place in the text */

typedef struct Scan {
  const char *start; /* the first token */
  const char *end;   /* after the semicolon */
  enum Kind kind;
  int explain;     /* 1 EXPLAIN, 2 EXPLAIN QUERY PLAN */
  int begin;       /* BEGIN: 1 deferred, 2 immediate */
  int transaction; /* COMMIT, ROLLBACK and so on: writes nothing itself */
  int nvar, nuse, capuse;
  Use *uses;
} Scan;

enum State { READY, RUNNING, HALTED };

struct sqlite3_stmt {
  sqlite3 *db;
  sqlite3_stmt *next, *prev;
  wit_statement handle;
  int has_handle;
  unsigned used; /* when, for the choice of a handle to drop */
  char *sql;     /* the text up to the end of this statement */
  int skip;      /* what precedes the first token */
  Scan scan;     /* its pointers are not valid any more */
  char **names;  /* of parameters, with prefix; NULL for `?` */
  sqlite3_value *vars;
  int legacy; /* sqlite3_prepare: step reports only SQLITE_ERROR */
  enum State state;
  int interrupted;
  Failure failure; /* of the last run, for sqlite3_reset */
  int described;
  wit_description description;
  char **columns, **declared; /* NUL-terminated, made when asked for */
  int ncolumn;                /* -1 if not known yet */
  wit_rows page;
  uint8_t *at;      /* the next row */
  char *saved_at;   /* a byte of the next row that a terminator replaced */
  char saved;
  wit_cursor cursor;
  int has_cursor;
  int width; /* of the current row; 0 if there is none */
  sqlite3_value *cells;
  int ncell;
  Buffer batch;
};

/* All statements, the newest first. The limit on handles is one for the request. */
static sqlite3_stmt *statements;
static unsigned used;

/* ---- Memory and text ---------------------------------------------------------------------- */

void *sqlite3_malloc64(sqlite3_uint64 n) { return n == 0 || n > INT_MAX ? NULL : malloc((size_t)n); }
void *sqlite3_malloc(int n) { return n <= 0 ? NULL : malloc((size_t)n); }
void sqlite3_free(void *p) { free(p); }

void *sqlite3_realloc64(void *p, sqlite3_uint64 n) {
  if (!p) return sqlite3_malloc64(n);
  if (n == 0) {
    free(p);
    return NULL;
  }
  return n > INT_MAX ? NULL : realloc(p, (size_t)n);
}

void *sqlite3_realloc(void *p, int n) { return sqlite3_realloc64(p, n < 0 ? 0 : (sqlite3_uint64)n); }

static char *copy_text(const char *z, size_t n) {
  char *copy = malloc(n + 1);
  if (copy) {
    memcpy(copy, z, n);
    copy[n] = 0;
  }
  return copy;
}

static void append(Buffer *b, const void *bytes, size_t n) {
  if (b->failed) return;
  if (b->fixed) {
    size_t room = b->cap - b->n;
    if (n > room) n = room;
  } else if (b->cap - b->n < n) {
    size_t cap = b->cap * 2 + n + 64;
    char *z = realloc(b->z, cap);
    if (!z) {
      b->failed = 1;
      return;
    }
    b->z = z;
    b->cap = cap;
  }
  if (n) memcpy(b->z + b->n, bytes, n);
  b->n += n;
}

static void append_times(Buffer *b, char c, int n) {
  for (; n > 0; n--) append(b, &c, 1);
}

/* SQLite's text of a real number: 15 digits, and always a point. */
static void real_text(double r, int digits, char *to, size_t size) {
  if (isinf(r) || isnan(r)) {
    snprintf(to, size, "%s", isnan(r) ? "NaN" : r < 0 ? "-Inf" : "Inf");
    return;
  }
  if (r == 0) r = 0; /* without a sign */
  snprintf(to, size - 2, "%.*g", digits, r);
  if (strchr(to, '.')) return;
  char *e = strchr(to, 'e');
  if (!e) e = to + strlen(to);
  memmove(e + 2, e, strlen(e) + 1);
  memcpy(e, ".0", 2);
}

/* SQLite's printf: https://sqlite.org/printf.html. `%,d` has no comma here. */
static void format(Buffer *out, const char *f, va_list ap) {
  for (; *f; f++) {
    if (*f != '%') {
      const char *end = strchr(f, '%');
      size_t n = end ? (size_t)(end - f) : strlen(f);
      append(out, f, n);
      f += n - 1;
      continue;
    }
    int left = 0, zero = 0, hash = 0, bang = 0, width = 0, precision = -1, l = 0;
    char sign = 0;
    for (f++;; f++) {
      if (*f == '-') left = 1;
      else if (*f == '+' || *f == ' ') sign = *f;
      else if (*f == '0') zero = 1;
      else if (*f == '#') hash = 1;
      else if (*f == '!') bang = 1;
      else if (*f != ',') break;
    }
    if (*f == '*') {
      width = va_arg(ap, int), f++;
      if (width < 0) left = 1, width = -width;
    } else {
      while (isdigit((unsigned char)*f)) width = width * 10 + *f++ - '0';
    }
    if (*f == '.') {
      f++, precision = 0;
      if (*f == '*') {
        precision = va_arg(ap, int), f++;
        if (precision < 0) precision = -precision;
      } else {
        while (isdigit((unsigned char)*f)) precision = precision * 10 + *f++ - '0';
      }
    }
    for (; *f == 'l'; f++) l++;
    if (!*f) return;

    char spec[32], number[400];
    const char *text = number;
    size_t n = 0;
    char *owned = NULL;
    Buffer quoted = {0};
    int padded = 0;
    switch (*f) {
    case '%':
      number[0] = '%', n = 1;
      break;
    case 'n':
      continue;
    case 'd': case 'i': case 'u': case 'x': case 'X': case 'o': case 'p': {
      sqlite3_uint64 v;
      char c = *f == 'i' ? 'd' : *f == 'p' ? 'x' : *f;
      if (*f == 'p') v = (sqlite3_uint64)(uintptr_t)va_arg(ap, void *);
      else if (l >= 2) v = va_arg(ap, sqlite3_uint64);
      else if (c == 'd') v = (sqlite3_uint64)(sqlite3_int64)(l ? va_arg(ap, long) : va_arg(ap, int));
      else v = l ? va_arg(ap, unsigned long) : va_arg(ap, unsigned int);
      char prefix = 0;
      if (c == 'd') {
        prefix = (sqlite3_int64)v < 0 ? '-' : sign;
        if (prefix == '-') v = -v;
      }
      if (v == 0) hash = 0;
      if (zero && precision < width - (prefix != 0)) precision = width - (prefix != 0);
      if (precision > 300) precision = 300;
      char *at = number + sizeof number, *end = at;
      unsigned base = c == 'x' || c == 'X' ? 16 : c == 'o' ? 8 : 10;
      do *--at = (c == 'X' ? "0123456789ABCDEF" : "0123456789abcdef")[v % base];
      while ((v /= base) != 0);
      while (end - at < precision) *--at = '0';
      if (prefix) *--at = prefix;
      if (hash && base == 16) *--at = c;
      if (hash && base != 10) *--at = '0';
      text = at, n = (size_t)(end - at);
      break;
    }
    case 'e': case 'E': case 'f': case 'g': case 'G': {
      double r = va_arg(ap, double);
      if (precision > 300) precision = 300;
      if (isinf(r) || isnan(r)) {
        snprintf(number, sizeof number, "%s", isnan(r) ? "NaN" : r < 0 ? "-Inf" : sign == '+' ? "+Inf" : "Inf");
        n = strlen(number);
      } else if (*f == 'g' && bang) {
        real_text(r, precision < 0 ? 6 : precision > 20 ? 20 : precision, number, 64);
        n = strlen(number);
      } else {
        snprintf(spec, sizeof spec, "%%%s%s%s%s%s*.*%c", left ? "-" : "", sign == '+' ? "+" : "",
                 sign == ' ' ? " " : "", zero ? "0" : "", hash ? "#" : "", *f);
        if (width > 300) width = 300;
        size_t size = fabs(r) < 1e60 ? sizeof number : (size_t)snprintf(NULL, 0, spec, width, precision < 0 ? 6 : precision, r) + 1;
        if (size > sizeof number) {
          owned = malloc(size);
          if (!owned) {
            out->failed = 1;
            return;
          }
          text = owned;
        }
        n = (size_t)snprintf(owned ? owned : number, size, spec, width, precision < 0 ? 6 : precision, r);
        padded = 1;
      }
      break;
    }
    case 'c': {
      number[0] = (char)va_arg(ap, int);
      n = 1;
      if (precision > 1) {
        width -= precision - 1;
        if (width > 1 && !left) append_times(out, ' ', width - 1), width = 0;
        append_times(out, number[0], precision - 1);
      }
      break;
    }
    case 's': case 'z':
      text = va_arg(ap, const char *);
      if (*f == 'z') owned = (char *)text;
      if (!text) text = "";
      n = precision >= 0 ? strnlen(text, (size_t)precision) : strlen(text);
      break;
    case 'q': case 'Q': case 'w': {
      const char *z = va_arg(ap, const char *);
      char quote = *f == 'w' ? '"' : '\'';
      if (!z) {
        text = *f == 'Q' ? "NULL" : "(NULL)";
        n = strlen(text);
        break;
      }
      if (*f == 'Q') append(&quoted, "'", 1);
      for (int i = 0; z[i] && (precision < 0 || i < precision); i++) {
        if (z[i] == quote) append(&quoted, &quote, 1);
        append(&quoted, z + i, 1);
      }
      if (*f == 'Q') append(&quoted, "'", 1);
      text = quoted.z ? quoted.z : "", n = quoted.n, owned = quoted.z;
      if (quoted.failed) out->failed = 1;
      break;
    }
    default:
      return; /* as SQLite does */
    }
    int pad = padded || (int)n >= width ? 0 : width - (int)n;
    if (!left) append_times(out, ' ', pad);
    append(out, text, n);
    if (left) append_times(out, ' ', pad);
    free(owned);
  }
}

char *sqlite3_vmprintf(const char *f, va_list ap) {
  Buffer b = {0};
  if (!f) return NULL;
  format(&b, f, ap);
  append(&b, "", 1);
  if (b.failed) {
    free(b.z);
    return NULL;
  }
  return b.z;
}

char *sqlite3_mprintf(const char *f, ...) {
  va_list ap;
  va_start(ap, f);
  char *z = sqlite3_vmprintf(f, ap);
  va_end(ap);
  return z;
}

char *sqlite3_vsnprintf(int n, char *to, const char *f, va_list ap) {
  if (n <= 0) return to;
  Buffer b = {.z = to, .cap = (size_t)n - 1, .fixed = 1};
  format(&b, f, ap);
  to[b.n] = 0;
  return to;
}

char *sqlite3_snprintf(int n, char *to, const char *f, ...) {
  va_list ap;
  va_start(ap, f);
  sqlite3_vsnprintf(n, to, f, ap);
  va_end(ap);
  return to;
}

static int lower(char c) { return c >= 'A' && c <= 'Z' ? c + 32 : (unsigned char)c; }

int sqlite3_strnicmp(const char *a, const char *b, int n) {
  if (!a) return b ? -1 : 0;
  if (!b) return 1;
  for (; n > 0 && *a && lower(*a) == lower(*b); n--) a++, b++;
  return n <= 0 ? 0 : lower(*a) - lower(*b);
}

int sqlite3_stricmp(const char *a, const char *b) { return sqlite3_strnicmp(a, b, INT_MAX); }

void sqlite3_randomness(int n, void *to) {
  for (char *p = to; n > 0; p += 256, n -= 256)
    if (getentropy(p, n < 256 ? (size_t)n : 256) != 0) abort();
}

int sqlite3_sleep(int ms) {
  if (ms <= 0) return 0;
  usleep((useconds_t)ms * 1000);
  return ms;
}

const char *sqlite3_libversion(void) { return SQLITE_VERSION; }
int sqlite3_libversion_number(void) { return SQLITE_VERSION_NUMBER; }
const char *sqlite3_sourceid(void) { return SQLITE_SOURCE_ID; }
int sqlite3_threadsafe(void) { return 0; }
int sqlite3_initialize(void) { return SQLITE_OK; }
int sqlite3_shutdown(void) { return SQLITE_OK; }

/* ---- The scanner: where a statement ends, and its parameters ------------------------------- */

enum Token { SPACE, SEMICOLON, WORD, VARIABLE, OTHER };

static int is_id(char c) { return isalnum((unsigned char)c) || c == '_' || c == '$' || (c & 0x80); }

/* The next token of a text that is not empty, as SQLite's tokenizer sees it. */
static enum Token token(const char *z, const char *end, const char **after) {
  const char *p = z + 1;
  enum Token type = OTHER;
  char c = *z;
  if (c == ' ' || (c >= '\t' && c <= '\r')) {
    while (p < end && (*p == ' ' || (*p >= '\t' && *p <= '\r'))) p++;
    type = SPACE;
  } else if (c == '-' && p < end && *p == '-') {
    while (p < end && *p != '\n') p++;
    type = SPACE;
  } else if (c == '/' && p < end && *p == '*') {
    for (p++; p < end && !(p > z + 2 && *p == '/' && p[-1] == '*'); p++) {}
    if (p < end) p++;
    type = SPACE;
  } else if (c == '\'' || c == '"' || c == '`') {
    for (; p < end; p++)
      if (*p == c) {
        p++;
        if (p >= end || *p != c) break;
      }
  } else if (c == '[') {
    while (p < end && *p != ']') p++;
    if (p < end) p++;
  } else if (c == ';') {
    type = SEMICOLON;
  } else if (c == '?') {
    while (p < end && isdigit((unsigned char)*p)) p++;
    type = VARIABLE;
  } else if (c == ':' || c == '@' || c == '$') {
    int n = 0;
    for (; p < end; p++) {
      if (is_id(*p)) {
        n++;
      } else if (*p == '(' && n > 0) {
        while (p < end && *p != ')' && !isspace((unsigned char)*p)) p++;
        if (p < end && *p == ')') p++;
        break;
      } else if (*p == ':' && p + 1 < end && p[1] == ':') {
        p++;
      } else {
        break;
      }
    }
    type = n ? VARIABLE : OTHER;
  } else if (is_id(c)) {
    while (p < end && is_id(*p)) p++;
    type = isdigit((unsigned char)c) ? OTHER : WORD;
  }
  *after = p;
  return type;
}

static int is_word(const char *z, const char *after, const char *word) {
  size_t n = strlen(word);
  return (size_t)(after - z) == n && strncasecmp(z, word, n) == 0;
}

/* The number of a parameter: as SQLite numbers them. 0 if it can have none. */
static int number_parameter(Scan *s, const char *base, const char *z, int length) {
  if (*z == '?') {
    if (length == 1) return ++s->nvar;
    long n = strtol(z + 1, NULL, 10);
    if (n < 1 || n > MOST_PARAMETERS) return 0;
    if (n > s->nvar) s->nvar = (int)n;
    return (int)n;
  }
  for (int i = 0; i < s->nuse; i++)
    if (s->uses[i].length == length && memcmp(base + s->uses[i].offset, z, (size_t)length) == 0)
      return s->uses[i].index;
  return ++s->nvar;
}

/*
** Find the first statement of a text: up to its semicolon, or to the end. As in sqlite3_complete,
** the definition of a trigger ends at a semicolon that follows `; END`. Returns 0 without memory.
*/
static int scan(const char *sql, const char *end, Scan *s) {
  memset(s, 0, sizeof *s);
  /* In a trigger: 1 in its body, 2 after a semicolon, 3 after `; END`. */
  int words = 0, trigger = 0, create = 0, returning = 0, plan = 0;
  const char *z = sql, *after;
  for (; z < end; z = after) {
    enum Token type = token(z, end, &after);
    if (type == SPACE) continue;
    if (!s->start) {
      if (type == SEMICOLON) continue;
      s->start = z;
    }
    if (type == SEMICOLON) {
      if (trigger == 0 || trigger == 3) {
        z = after;
        break;
      }
      trigger = 2;
      continue;
    }
    if (trigger) trigger = trigger == 2 && type == WORD && is_word(z, after, "END") ? 3 : 1;
    if (type == VARIABLE) {
      if (s->nuse == s->capuse) {
        Use *uses = realloc(s->uses, sizeof *uses * (size_t)(s->capuse = s->capuse * 2 + 8));
        if (!uses) return 0;
        s->uses = uses;
      }
      int length = (int)(after - z);
      int index = s->nvar < MOST_PARAMETERS ? number_parameter(s, sql, z, length) : 0;
      s->uses[s->nuse++] = (Use){(int)(z - sql), length, index};
    }
    words++;
    if (type != WORD) {
      if (words == 1) s->kind = KIND_EXECUTE;
      continue;
    }
    if (words == 1) {
      if (is_word(z, after, "EXPLAIN")) s->explain = 1, words = 0;
      else if (is_word(z, after, "SELECT") || is_word(z, after, "VALUES") || is_word(z, after, "PRAGMA"))
        s->kind = KIND_READ;
      else if (is_word(z, after, "INSERT") || is_word(z, after, "UPDATE") ||
               is_word(z, after, "DELETE") || is_word(z, after, "REPLACE"))
        s->kind = KIND_CHANGE;
      else if (is_word(z, after, "WITH")) s->kind = KIND_WITH;
      else if (s->explain && is_word(z, after, "QUERY")) words = 0, plan = 1;
      else if (plan && is_word(z, after, "PLAN")) words = 0, s->explain = 2, plan = 0;
      else {
        s->kind = KIND_EXECUTE;
        create = is_word(z, after, "CREATE");
        s->begin = is_word(z, after, "BEGIN");
        s->transaction = s->begin || is_word(z, after, "COMMIT") || is_word(z, after, "END") ||
                         is_word(z, after, "ROLLBACK") || is_word(z, after, "SAVEPOINT") ||
                         is_word(z, after, "RELEASE");
      }
    } else if (create && words == 2 && (is_word(z, after, "TEMP") || is_word(z, after, "TEMPORARY"))) {
      words = 1;
    } else if (create && words == 2 && is_word(z, after, "TRIGGER")) {
      trigger = 1;
    } else if (s->begin && words == 2 && (is_word(z, after, "IMMEDIATE") || is_word(z, after, "EXCLUSIVE"))) {
      s->begin = 2;
    } else if (is_word(z, after, "RETURNING")) {
      returning = 1;
    }
  }
  s->end = z;
  if (!s->start) {
    s->kind = KIND_NONE;
    s->start = z;
  } else if (s->explain) {
    s->kind = KIND_READ;
  } else if (s->kind == KIND_CHANGE && returning) {
    s->kind = KIND_RETURN;
  }
  return 1;
}

int sqlite3_complete(const char *sql) {
  /* 0: between statements; 1: in one; 2: after EXPLAIN; 3: after CREATE; in a trigger: 4, 5 after
     a semicolon, 6 after `; END`. */
  int state = 0, seen = 0;
  const char *end = sql + strlen(sql), *after;
  for (const char *z = sql; z < end; z = after) {
    enum Token type = token(z, end, &after);
    if (type == VARIABLE || *z == '$') { /* here only a character, or part of a word */
      after = z + 1;
      while (*z == '$' && after < end && is_id(*after)) after++;
    }
    if (type == SPACE) {
      if (z[0] == '/' && after == end && (after - z < 4 || after[-1] != '/' || after[-2] != '*')) return 0;
      continue;
    }
    if ((*z == '\'' || *z == '"' || *z == '`') && (after - z < 2 || after[-1] != *z)) return 0;
    if (*z == '[' && after[-1] != ']') return 0;
    if (type == SEMICOLON) {
      seen = 1;
      state = state == 4 || state == 5 ? 5 : 0;
    } else if (state == 0) {
      state = type == WORD && is_word(z, after, "EXPLAIN") ? 2
              : type == WORD && is_word(z, after, "CREATE") ? 3 : 1;
    } else if (state == 2) {
      if (type == WORD && is_word(z, after, "CREATE")) state = 3;
      else if (!is_word(z, after, "QUERY") && !is_word(z, after, "PLAN")) state = 1;
    } else if (state == 3) {
      if (is_word(z, after, "TRIGGER")) state = 4;
      else if (!is_word(z, after, "TEMP") && !is_word(z, after, "TEMPORARY")) state = 1;
    } else if (state == 5 || state == 6) {
      state = state == 5 && is_word(z, after, "END") ? 6 : 4;
    }
  }
  return seen && state == 0;
}

/* ---- Errors ------------------------------------------------------------------------------- */

const char *sqlite3_errstr(int code) {
  static const char *const texts[] = {
      "not an error", "SQL logic error", NULL, "access permission denied", "query aborted",
      "database is locked", "database table is locked", "out of memory",
      "attempt to write a readonly database", "interrupted", "disk I/O error",
      "database disk image is malformed", "unknown operation", "database or disk is full",
      "unable to open database file", "locking protocol", NULL, "database schema has changed",
      "string or blob too big", "constraint failed", "datatype mismatch",
      "bad parameter or other API misuse", NULL, "authorization denied", NULL,
      "column index out of range", "file is not a database", "notification message",
      "warning message"};
  if (code == SQLITE_ABORT_ROLLBACK) return "abort due to ROLLBACK";
  if (code == SQLITE_ROW) return "another row available";
  if (code == SQLITE_DONE) return "no more rows available";
  unsigned primary = (unsigned)code & 0xff;
  const char *text = primary < sizeof texts / sizeof *texts ? texts[primary] : NULL;
  return text ? text : "unknown error";
}

static void set_failure(Failure *f, int code, int kind, const char *message, size_t n) {
  free(f->message);
  f->code = code;
  f->kind = kind;
  f->offset = -1;
  f->rolled_back = 0;
  f->message = message ? copy_text(message, n) : NULL;
}

/* Note the result of a call, and return its code as the caller asked for it. */
static int result(sqlite3 *db, int code) {
  if (db->failure.message || db->failure.kind >= 0 || db->failure.offset >= 0)
    set_failure(&db->failure, code, -1, NULL, 0);
  db->failure.code = code;
  return code & db->mask;
}

static int result_message(sqlite3 *db, int code, const char *message) {
  set_failure(&db->failure, code, -1, message, strlen(message));
  return code & db->mask;
}

/* The result code of an error that is not SQLite's. */
static int code_of_kind(const wit_error *e) {
  switch (e->kind) {
  case MILLPOND_NO_SUCH_DATABASE: case MILLPOND_POOL_CLOSED: case MILLPOND_UNAVAILABLE:
    return SQLITE_CANTOPEN;
  case MILLPOND_NOT_AUTHORIZED: return SQLITE_AUTH;
  case MILLPOND_TOO_MANY_HANDLES: return SQLITE_NOMEM;
  case MILLPOND_POOL_TIMEOUT: case MILLPOND_BUSY: return SQLITE_BUSY;
  case MILLPOND_BUSY_SNAPSHOT: return SQLITE_BUSY_SNAPSHOT;
  case MILLPOND_DEADLINE_EXCEEDED: return SQLITE_INTERRUPT;
  case MILLPOND_TOO_LARGE: return SQLITE_TOOBIG;
  case MILLPOND_QUOTA_EXCEEDED: return SQLITE_FULL;
  case MILLPOND_CONSTRAINT_UNIQUE: return SQLITE_CONSTRAINT_UNIQUE;
  case MILLPOND_CONSTRAINT_PRIMARY_KEY: return SQLITE_CONSTRAINT_PRIMARYKEY;
  case MILLPOND_CONSTRAINT_FOREIGN_KEY: return SQLITE_CONSTRAINT_FOREIGNKEY;
  case MILLPOND_CONSTRAINT_NOT_NULL: return SQLITE_CONSTRAINT_NOTNULL;
  case MILLPOND_CONSTRAINT_CHECK: return SQLITE_CONSTRAINT_CHECK;
  case MILLPOND_CONSTRAINT_OTHER: return SQLITE_CONSTRAINT;
  case MILLPOND_PARAMETERS: return SQLITE_RANGE;
  case MILLPOND_NOT_UTF8: return SQLITE_MISMATCH;
  case MILLPOND_STALE_HANDLE: return e->rolled_back ? SQLITE_ABORT_ROLLBACK : SQLITE_ABORT;
  case MILLPOND_CORRUPT: return SQLITE_CORRUPT;
  case MILLPOND_IO: case MILLPOND_OUTCOME_UNKNOWN: return SQLITE_IOERR;
  default: return SQLITE_ERROR;
  }
}

/* Take an error of the host. `skip` is what was not sent of the text. */
static int result_host(sqlite3 *db, wit_error *e, int skip) {
  set_failure(&db->failure, e->code ? e->code : code_of_kind(e), e->kind, (const char *)e->message.ptr,
              e->message.len);
  if (e->offset.is_some) db->failure.offset = (int)e->offset.val + skip;
  db->failure.rolled_back = e->rolled_back;
  millpond_sqlite_connections_error_free(e);
  return db->failure.code & db->mask;
}

static void copy_failure(Failure *to, const Failure *from) {
  char *old = to->message;
  *to = *from;
  to->message = from->message ? copy_text(from->message, strlen(from->message)) : NULL;
  free(old);
}

int sqlite3_errcode(sqlite3 *db) { return db ? db->failure.code & db->mask : SQLITE_NOMEM; }
int sqlite3_extended_errcode(sqlite3 *db) { return db ? db->failure.code : SQLITE_NOMEM; }
int sqlite3_error_offset(sqlite3 *db) { return db && db->failure.code ? db->failure.offset : -1; }
int millpond_errkind(sqlite3 *db) { return db ? db->failure.kind : MILLPOND_NO_ERROR; }
int millpond_rolled_back(sqlite3 *db) { return db && db->failure.rolled_back; }

const char *sqlite3_errmsg(sqlite3 *db) {
  if (!db) return sqlite3_errstr(SQLITE_NOMEM);
  if (db->failure.code && db->failure.message) return db->failure.message;
  return sqlite3_errstr(db->failure.code);
}

int sqlite3_extended_result_codes(sqlite3 *db, int on) {
  db->mask = on ? -1 : 0xff;
  return SQLITE_OK;
}

/* ---- Connections -------------------------------------------------------------------------- */

static contract_string_t text_of(const char *z, size_t n) {
  return (contract_string_t){(uint8_t *)z, n};
}

static int get_connection(sqlite3 *db, contract_string_t *name, wit_error *e) {
  int access = db->read_only ? MILLPOND_SQLITE_POOL_ACCESS_READ_ONLY : MILLPOND_SQLITE_POOL_ACCESS_READ_WRITE;
  db->open = millpond_sqlite_pool_get_connection(name, (millpond_sqlite_pool_access_t)access, &db->connection, e);
  return db->open;
}

/* Get another connection, if the host has taken the last one back. */
static int connect(sqlite3 *db) {
  wit_error e;
  if (db->open) return SQLITE_OK;
  if (!db->name) return db->failure.code ? db->failure.code & db->mask : SQLITE_MISUSE;
  contract_string_t name = text_of(db->name, strlen(db->name));
  return get_connection(db, &name, &e) ? SQLITE_OK : result_host(db, &e, 0);
}

int sqlite3_open_v2(const char *name, sqlite3 **out, int flags, const char *vfs) {
  if (!out) return SQLITE_MISUSE;
  *out = NULL;
  sqlite3 *db = calloc(1, sizeof *db);
  if (!db) return SQLITE_NOMEM;
  *out = db;
  db->mask = flags & SQLITE_OPEN_EXRESCODE ? -1 : 0xff;
  db->failure.kind = db->failure.offset = -1;
  if (!(flags & (SQLITE_OPEN_READONLY | SQLITE_OPEN_READWRITE))) return result(db, SQLITE_MISUSE);
  if (vfs) return result_message(db, SQLITE_ERROR, "A component has no VFS: pass NULL");
  if (!name) name = "";
  size_t n = strlen(name);
  int access = flags & SQLITE_OPEN_READWRITE ? MILLPOND_SQLITE_POOL_ACCESS_READ_WRITE
                                             : MILLPOND_SQLITE_POOL_ACCESS_READ_ONLY;
  int memory = (flags & SQLITE_OPEN_MEMORY) != 0;
  if (flags & SQLITE_OPEN_URI && strncmp(name, "file:", 5) == 0) {
    name += 5;
    n = strcspn(name, "?#");
    if (strstr(name + n, "mode=ro")) access = MILLPOND_SQLITE_POOL_ACCESS_READ_ONLY;
    if (strstr(name + n, "mode=memory")) memory = 1;
  }
  if (memory || n == 0 || (n == 8 && memcmp(name, ":memory:", 8) == 0))
    return result_message(db, SQLITE_CANTOPEN,
                          "A component has no temporary or in-memory databases of its own: open a "
                          "database by the name that the host granted, such as \"default\"");
  contract_string_t database = text_of(name, n);
  wit_error e;
  db->read_only = access == MILLPOND_SQLITE_POOL_ACCESS_READ_ONLY;
  int ok = get_connection(db, &database, &e);
  if (!ok && e.kind == MILLPOND_NOT_AUTHORIZED && !db->read_only) {
    /* SQLite too opens a file that it may not write for reading. */
    millpond_sqlite_connections_error_free(&e);
    db->read_only = 1;
    ok = get_connection(db, &database, &e);
  }
  if (!ok) return result_host(db, &e, 0);
  db->name = copy_text(name, n);
  return db->name ? SQLITE_OK : result(db, SQLITE_NOMEM);
}

int sqlite3_open(const char *name, sqlite3 **out) {
  return sqlite3_open_v2(name, out, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
}

sqlite3_stmt *sqlite3_next_stmt(sqlite3 *db, sqlite3_stmt *s) {
  for (s = s ? s->next : statements; s && s->db != db; s = s->next) {}
  return s;
}

static void free_connection(sqlite3 *db) {
  if (db->open) millpond_sqlite_pool_return_connection(db->connection);
  free(db->name);
  free(db->failure.message);
  free(db->parameters.z);
  free(db);
}

int sqlite3_close(sqlite3 *db) {
  if (!db) return SQLITE_OK;
  if (sqlite3_next_stmt(db, NULL))
    return result_message(db, SQLITE_BUSY,
                          "unable to close due to unfinalized statements or unfinished backups");
  free_connection(db);
  return SQLITE_OK;
}

int sqlite3_close_v2(sqlite3 *db) {
  if (!db) return SQLITE_OK;
  if (sqlite3_next_stmt(db, NULL)) db->closing = 1;
  else free_connection(db);
  return SQLITE_OK;
}

int sqlite3_busy_handler(sqlite3 *db, int (*handler)(void *, int), void *arg) {
  db->busy = handler;
  db->busy_arg = arg;
  return SQLITE_OK;
}

/* The host's own time-out applies: see the README. */
int sqlite3_busy_timeout(sqlite3 *db, int ms) {
  (void)ms;
  return sqlite3_busy_handler(db, NULL, NULL);
}

/* Whether to run again what failed as `busy`, because the application's handler says so. */
static int busy_again(sqlite3 *db, wit_error *e, int *tries) {
  if (e->kind != MILLPOND_BUSY || !db->busy) return 0;
  if (millpond_sqlite_connections_method_connection_in_transaction(CONNECTION(db))) return 0;
  if (!db->busy(db->busy_arg, (*tries)++)) return 0;
  millpond_sqlite_connections_error_free(e);
  return 1;
}

void sqlite3_interrupt(sqlite3 *db) {
  for (sqlite3_stmt *s = NULL; (s = sqlite3_next_stmt(db, s)) != NULL;)
    if (s->state == RUNNING) s->interrupted = 1;
}

int sqlite3_limit(sqlite3 *db, int id, int value) {
  static const int limits[] = {1024 * 1024, 100000, 2000, 1000, 500,  250000000,
                               1000,        0,      1000, MOST_PARAMETERS, 1000, 0};
  (void)db, (void)value;
  return id < 0 || id >= (int)(sizeof limits / sizeof *limits) ? -1 : limits[id];
}

int sqlite3_get_autocommit(sqlite3 *db) {
  return !db->open || !millpond_sqlite_connections_method_connection_in_transaction(CONNECTION(db));
}

int sqlite3_txn_state(sqlite3 *db, const char *schema) {
  if (schema && sqlite3_stricmp(schema, "main") != 0) return sqlite3_stricmp(schema, "temp") ? -1 : 0;
  if (!sqlite3_get_autocommit(db)) {
    if (db->has_written) return SQLITE_TXN_WRITE;
    if (db->has_read) return SQLITE_TXN_READ;
  }
  int state = SQLITE_TXN_NONE;
  for (sqlite3_stmt *s = NULL; (s = sqlite3_next_stmt(db, s)) != NULL;)
    if (s->state == RUNNING)
      state = s->scan.kind == KIND_RETURN ? SQLITE_TXN_WRITE : state ? state : SQLITE_TXN_READ;
  return state;
}

int sqlite3_db_readonly(sqlite3 *db, const char *name) {
  if (name && sqlite3_stricmp(name, "main") != 0) return sqlite3_stricmp(name, "temp") ? -1 : 0;
  return db->read_only;
}

const char *sqlite3_db_name(sqlite3 *db, int n) {
  (void)db;
  return n == 0 ? "main" : n == 1 ? "temp" : NULL;
}

const char *sqlite3_db_filename(sqlite3 *db, const char *name) {
  (void)db;
  return !name || sqlite3_stricmp(name, "main") == 0 ? "" : NULL;
}

/* Read integers, the only columns of a row. Returns 0 if the host cannot say. */
static int integers(sqlite3 *db, const char *sql, size_t n, sqlite3_int64 *to) {
  contract_string_t text = text_of(sql, strlen(sql));
  wit_rows none = {0};
  wit_result_set set;
  wit_error e;
  if (!millpond_sqlite_connections_method_connection_query(CONNECTION(db), &text, &none, false, &set, &e)) {
    millpond_sqlite_connections_error_free(&e);
    return 0;
  }
  int known = set.rows.len == 4 + n * 9;
  for (size_t i = 0; known && i < n; i++) memcpy(&to[i], set.rows.ptr + 5 + i * 9, 8);
  millpond_sqlite_connections_result_set_free(&set);
  return known;
}

/* Ask the host for the counters. What it cannot say stays as it was last known: a libSQL server has no
** rowid before this connection has inserted, and may have no total of this connection alone. */
static void count(sqlite3 *db) {
  sqlite3_int64 now[3] = {0};
  if (!db->open) return;
  if (integers(db, "SELECT changes(), last_insert_rowid(), total_changes()", 3, now)) {
    db->total_changes = now[2];
    db->total_stale = 0;
  } else {
    now[1] = db->rowid;
    if (!integers(db, "SELECT changes(), last_insert_rowid()", 2, now) &&
        !integers(db, "SELECT changes()", 1, now)) return;
  }
  if (db->changes_stale) {
    db->changes = now[0];
    db->rowid = now[1];
  }
  db->changes_stale = 0;
}

sqlite3_int64 sqlite3_changes64(sqlite3 *db) {
  if (db->changes_stale) count(db);
  return db->changes;
}

sqlite3_int64 sqlite3_total_changes64(sqlite3 *db) {
  if (db->changes_stale || db->total_stale) count(db);
  return db->total_changes;
}

sqlite3_int64 sqlite3_last_insert_rowid(sqlite3 *db) {
  if (db->changes_stale) count(db);
  return db->rowid;
}

int sqlite3_changes(sqlite3 *db) { return (int)sqlite3_changes64(db); }
int sqlite3_total_changes(sqlite3 *db) { return (int)sqlite3_total_changes64(db); }

/* Note what a statement did that ran for its effect. */
static void note_execution(sqlite3 *db, const Scan *s, const wit_summary *summary) {
  if (s->kind == KIND_CHANGE) {
    db->changes = (sqlite3_int64)summary->changes;
    db->rowid = summary->last_insert_rowid;
    db->changes_stale = 0;
    db->total_stale = 1;
  } else if (!s->transaction) {
    db->total_stale = 1;
  }
  if (s->transaction) db->in_transaction = !sqlite3_get_autocommit(db);
  if (s->begin) {
    db->has_read = 0;
    db->has_written = s->begin == 2;
  } else if (!s->transaction) {
    db->has_written = 1;
  }
}

/* ---- Values ------------------------------------------------------------------------------- */

static const sqlite3_value null_value = {.type = SQLITE_NULL};

static void release_value(sqlite3_value *v) {
  if (v->del) v->del((void *)v->z);
  free(v->own);
  *v = null_value;
}

static sqlite3_int64 real_to_integer(double r) {
  if (r <= -9223372036854775808.0) return LLONG_MIN;
  if (r >= 9223372036854775808.0) return LLONG_MAX;
  return (sqlite3_int64)r;
}

/* The longest beginning of a text that is a number, as SQLite reads it. */
static size_t number_length(const char *z, size_t n, int *is_real) {
  size_t i = 0, digits = 0;
  *is_real = 0;
  while (i < n && isspace((unsigned char)z[i])) i++;
  if (i < n && (z[i] == '-' || z[i] == '+')) i++;
  while (i < n && isdigit((unsigned char)z[i])) i++, digits++;
  if (i < n && z[i] == '.') {
    size_t j = i + 1;
    while (j < n && isdigit((unsigned char)z[j])) j++, digits++;
    if (digits) *is_real = 1, i = j;
  }
  if (!digits) return 0;
  if (i < n && (z[i] == 'e' || z[i] == 'E')) {
    size_t j = i + 1;
    if (j < n && (z[j] == '-' || z[j] == '+')) j++;
    if (j < n && isdigit((unsigned char)z[j])) {
      while (j < n && isdigit((unsigned char)z[j])) j++;
      *is_real = 1, i = j;
    }
  }
  return i;
}

static double text_to_real(const char *z, size_t n) {
  int is_real;
  size_t length = number_length(z, n, &is_real);
  char small[64], *copy = length < sizeof small ? small : malloc(length + 1);
  if (!length || !copy) return 0;
  memcpy(copy, z, length);
  copy[length] = 0;
  double r = strtod(copy, NULL);
  if (copy != small) free(copy);
  return r;
}

static sqlite3_int64 text_to_integer(const char *z, size_t n) {
  size_t i = 0;
  int negative = 0;
  sqlite3_uint64 v = 0;
  while (i < n && isspace((unsigned char)z[i])) i++;
  if (i < n && (z[i] == '-' || z[i] == '+')) negative = z[i++] == '-';
  for (; i < n && isdigit((unsigned char)z[i]); i++) {
    if (v > (LLONG_MAX - (unsigned)(z[i] - '0')) / 10) return negative ? LLONG_MIN : LLONG_MAX;
    v = v * 10 + (unsigned)(z[i] - '0');
  }
  return negative ? -(sqlite3_int64)v : (sqlite3_int64)v;
}

int sqlite3_value_type(sqlite3_value *v) { return v->type; }

sqlite3_int64 sqlite3_value_int64(sqlite3_value *v) {
  switch (v->type) {
  case SQLITE_INTEGER: return v->i;
  case SQLITE_FLOAT: return real_to_integer(v->r);
  case SQLITE_TEXT: case SQLITE_BLOB: return text_to_integer(v->z, (size_t)v->n);
  default: return 0;
  }
}

int sqlite3_value_int(sqlite3_value *v) { return (int)sqlite3_value_int64(v); }

double sqlite3_value_double(sqlite3_value *v) {
  switch (v->type) {
  case SQLITE_INTEGER: return (double)v->i;
  case SQLITE_FLOAT: return v->r;
  case SQLITE_TEXT: case SQLITE_BLOB: return text_to_real(v->z, (size_t)v->n);
  default: return 0;
  }
}

/* Write a number as text. */
static void number_to_text(sqlite3_value *v) {
  if (v->z) return;
  if (v->type == SQLITE_INTEGER) snprintf(v->number, sizeof v->number, "%lld", v->i);
  else real_text(v->r, 15, v->number, sizeof v->number);
  v->z = v->number;
  v->n = (int)strlen(v->number);
  v->terminated = 1;
}

const unsigned char *sqlite3_value_text(sqlite3_value *v) {
  if (v->type == SQLITE_NULL) return NULL;
  if (v->type == SQLITE_INTEGER || v->type == SQLITE_FLOAT) number_to_text(v);
  if (!v->terminated) {
    sqlite3_stmt *s = v->stmt;
    char *end = (char *)v->z + v->n;
    if (s && end < (char *)s->page.ptr + s->page.len) {
      /* What follows is the code of the next value. It has been read, unless in the next row. */
      if (v->last) s->saved_at = end, s->saved = *end;
      *end = 0;
    } else {
      v->own = copy_text(v->z, (size_t)v->n);
      if (!v->own) return NULL;
      v->z = v->own;
    }
    v->terminated = 1;
  }
  return (const unsigned char *)v->z;
}

const void *sqlite3_value_blob(sqlite3_value *v) {
  if (v->type == SQLITE_NULL) return NULL;
  if (v->type == SQLITE_INTEGER || v->type == SQLITE_FLOAT) number_to_text(v);
  return v->n ? v->z : NULL;
}

int sqlite3_value_bytes(sqlite3_value *v) {
  if (v->type == SQLITE_NULL) return 0;
  if (v->type == SQLITE_INTEGER || v->type == SQLITE_FLOAT) number_to_text(v);
  return v->n;
}

int sqlite3_value_numeric_type(sqlite3_value *v) {
  if (v->type != SQLITE_TEXT) return v->type;
  int is_real;
  size_t n = number_length(v->z, (size_t)v->n, &is_real), i = n;
  while (i < (size_t)v->n && isspace((unsigned char)v->z[i])) i++;
  if (!n || i < (size_t)v->n) return SQLITE_TEXT;
  sqlite3_int64 integer = text_to_integer(v->z, n);
  if (!is_real && (integer == LLONG_MAX || integer == LLONG_MIN)) is_real = 1;
  if (is_real) return SQLITE_FLOAT;
  return SQLITE_INTEGER;
}

sqlite3_value *sqlite3_value_dup(const sqlite3_value *v) {
  sqlite3_value *copy = v ? malloc(sizeof *copy) : NULL;
  if (!copy) return NULL;
  *copy = null_value;
  copy->type = v->type;
  copy->i = v->i;
  copy->r = v->r;
  if (v->type == SQLITE_TEXT || v->type == SQLITE_BLOB) {
    copy->own = copy_text(v->n ? v->z : "", (size_t)v->n);
    if (!copy->own) {
      free(copy);
      return NULL;
    }
    copy->z = copy->own;
    copy->n = v->n;
    copy->terminated = 1;
  }
  return copy;
}

void sqlite3_value_free(sqlite3_value *v) {
  if (!v) return;
  release_value(v);
  free(v);
}

/* ---- Statements --------------------------------------------------------------------------- */

static void drop_handle(sqlite3_stmt *s) {
  if (s->has_handle) millpond_sqlite_connections_statement_drop_own(s->handle);
  s->has_handle = 0;
}

/*
** A request may hold 64 statements, an application for SQLite any number. Drop the handle that was
** not used for longest, of a statement that is not running: it is prepared again when needed.
*/
static int drop_oldest_handle(void) {
  sqlite3_stmt *oldest = NULL;
  for (sqlite3_stmt *s = statements; s; s = s->next)
    if (s->has_handle && s->state != RUNNING && (!oldest || s->used < oldest->used)) oldest = s;
  if (oldest) drop_handle(oldest);
  return oldest != NULL;
}

/*
** The host takes a connection back at the end of a request, and an instance may serve several: forget
** it. Whether to try again on another connection: not in a transaction, whose statements are lost.
*/
static int connect_again(sqlite3 *db, wit_error *e) {
  if (e->kind != MILLPOND_STALE_HANDLE || e->rolled_back || !db->open) return 0;
  for (sqlite3_stmt *s = NULL; (s = sqlite3_next_stmt(db, s)) != NULL;) drop_handle(s);
  millpond_sqlite_pool_return_connection(db->connection);
  int lost = db->in_transaction;
  db->open = db->in_transaction = 0;
  if (lost) return 0;
  millpond_sqlite_connections_error_free(e);
  return 1;
}

/* Get the host's handle. */
static int prepare_handle(sqlite3_stmt *s) {
  s->used = ++used;
  if (s->has_handle) return SQLITE_OK;
  wit_error e;
  int rc = connect(s->db);
  if (rc) return rc;
  contract_string_t text = text_of(s->sql + s->skip, strlen(s->sql + s->skip));
  while (!millpond_sqlite_connections_method_connection_prepare(CONNECTION(s->db), &text, &s->handle, &e)) {
    if (connect_again(s->db, &e)) {
      if ((rc = connect(s->db)) != SQLITE_OK) return rc;
      continue;
    }
    if (e.kind != MILLPOND_TOO_MANY_HANDLES || !drop_oldest_handle()) return result_host(s->db, &e, s->skip);
    millpond_sqlite_connections_error_free(&e);
  }
  s->has_handle = 1;
  return SQLITE_OK;
}

static void forget_description(sqlite3_stmt *s) {
  if (!s->described) return;
  size_t n = s->description.columns.len;
  for (size_t i = 0; i < n; i++) {
    if (s->columns) free(s->columns[i]);
    if (s->declared) free(s->declared[i]);
  }
  free(s->columns);
  free(s->declared);
  s->columns = s->declared = NULL;
  millpond_sqlite_connections_description_free(&s->description);
  s->described = 0;
}

static int describe(sqlite3_stmt *s) {
  if (s->described) return SQLITE_OK;
  int rc = prepare_handle(s);
  wit_error e;
  while (!rc && !millpond_sqlite_connections_method_statement_describe(STATEMENT(s), &s->description, &e))
    rc = connect_again(s->db, &e) ? prepare_handle(s) : result_host(s->db, &e, s->skip);
  if (rc) return rc;
  s->described = 1;
  s->ncolumn = (int)s->description.columns.len;
  if (s->scan.kind == KIND_WITH)
    s->scan.kind = s->ncolumn == 0 ? KIND_CHANGE : s->description.read_only ? KIND_READ : KIND_RETURN;
  return SQLITE_OK;
}

/* End the run, if there is one: the statement is ready again. */
static void end_run(sqlite3_stmt *s, enum State state) {
  for (int i = 0; i < s->width; i++) free(s->cells[i].own), s->cells[i].own = NULL;
  s->width = 0;
  s->saved_at = NULL;
  if (s->page.len) millpond_sqlite_connections_rows_free(&s->page);
  s->page = (wit_rows){0};
  s->at = NULL;
  if (s->has_cursor) millpond_sqlite_connections_cursor_drop_own(s->cursor);
  s->has_cursor = 0;
  s->interrupted = 0;
  s->state = state;
}

static void free_statement(sqlite3_stmt *s) {
  end_run(s, READY);
  drop_handle(s);
  forget_description(s);
  if (s->next) s->next->prev = s->prev;
  if (s->prev) s->prev->next = s->next;
  if (statements == s) statements = s->next;
  for (int i = 0; i < s->scan.nvar; i++) {
    if (s->names) free(s->names[i]);
    if (s->vars) release_value(&s->vars[i]);
  }
  free(s->names);
  free(s->vars);
  free(s->scan.uses);
  free(s->cells);
  free(s->batch.z);
  free(s->failure.message);
  free(s->sql);
  free(s);
}

static int prepare(sqlite3 *db, const char *sql, int bytes, sqlite3_stmt **out, const char **tail, int legacy) {
  if (out) *out = NULL;
  if (!db || !sql || !out || db->closing) return SQLITE_MISUSE;
  if (connect(db)) return sqlite3_errcode(db) ? sqlite3_errcode(db) : SQLITE_MISUSE;
  const char *end = sql + (bytes < 0 ? strlen(sql) : strnlen(sql, (size_t)bytes));
  Scan found;
  if (tail) *tail = end;
  if (!scan(sql, end, &found)) {
    free(found.uses);
    return result(db, SQLITE_NOMEM);
  }
  if (tail) *tail = found.end;
  if (found.kind == KIND_NONE) return result(db, SQLITE_OK);

  sqlite3_stmt *s = calloc(1, sizeof *s);
  if (!s) {
    free(found.uses);
    return result(db, SQLITE_NOMEM);
  }
  s->db = db;
  s->next = statements;
  if (statements) statements->prev = s;
  statements = s;
  s->scan = found;
  s->skip = (int)(found.start - sql);
  s->legacy = legacy;
  s->failure.kind = s->failure.offset = -1;
  s->ncolumn = found.kind == KIND_EXECUTE || found.kind == KIND_CHANGE ? 0 : -1;
  s->sql = copy_text(sql, (size_t)(found.end - sql));
  if (found.nvar) {
    s->names = calloc((size_t)found.nvar, sizeof *s->names);
    s->vars = malloc((size_t)found.nvar * sizeof *s->vars);
    for (int i = 0; s->vars && i < found.nvar; i++) s->vars[i] = null_value;
  }
  if (!s->sql || (found.nvar && (!s->names || !s->vars))) {
    free_statement(s);
    return result(db, SQLITE_NOMEM);
  }
  for (int i = 0; i < found.nuse; i++) {
    Use u = found.uses[i];
    if (u.length > 1 && u.index && !s->names[u.index - 1])
      s->names[u.index - 1] = copy_text(sql + u.offset, (size_t)u.length);
  }
  result(db, SQLITE_OK);
  int rc = prepare_handle(s);
  if (rc) free_statement(s);
  else *out = s;
  return rc;
}

int sqlite3_prepare_v2(sqlite3 *db, const char *sql, int n, sqlite3_stmt **out, const char **tail) {
  return prepare(db, sql, n, out, tail, 0);
}

int sqlite3_prepare_v3(sqlite3 *db, const char *sql, int n, unsigned flags, sqlite3_stmt **out,
                       const char **tail) {
  (void)flags;
  return prepare(db, sql, n, out, tail, 0);
}

int sqlite3_prepare(sqlite3 *db, const char *sql, int n, sqlite3_stmt **out, const char **tail) {
  return prepare(db, sql, n, out, tail, 1);
}

const char *sqlite3_sql(sqlite3_stmt *s) { return s ? s->sql : NULL; }
sqlite3 *sqlite3_db_handle(sqlite3_stmt *s) { return s ? s->db : NULL; }
int sqlite3_stmt_busy(sqlite3_stmt *s) { return s && s->state == RUNNING; }

/* A statement is compiled again by itself. */
int sqlite3_expired(sqlite3_stmt *s) {
  (void)s;
  return 0;
}

int sqlite3_stmt_isexplain(sqlite3_stmt *s) { return s ? s->scan.explain : 0; }

int sqlite3_stmt_readonly(sqlite3_stmt *s) {
  return !s || (describe(s) == SQLITE_OK && s->description.read_only);
}

char *sqlite3_expanded_sql(sqlite3_stmt *s) {
  if (!s) return NULL;
  Buffer b = {0};
  int at = 0;
  for (int i = 0; i < s->scan.nuse; i++) {
    Use u = s->scan.uses[i];
    append(&b, s->sql + at, (size_t)(u.offset - at));
    at = u.offset + u.length;
    sqlite3_value *v = &s->vars[u.index - 1];
    char *z = NULL;
    if (v->type == SQLITE_NULL) {
      append(&b, "NULL", 4);
    } else if (v->type == SQLITE_INTEGER || v->type == SQLITE_FLOAT) {
      number_to_text(v);
      append(&b, v->z, (size_t)v->n);
    } else if (v->type == SQLITE_TEXT) {
      z = sqlite3_mprintf("'%.*q'", v->n, v->z);
      if (z) append(&b, z, strlen(z));
    } else if (v->zeroblob) {
      z = sqlite3_mprintf("zeroblob(%d)", v->n);
      if (z) append(&b, z, strlen(z));
    } else {
      append(&b, "x'", 2);
      for (int j = 0; j < v->n; j++) {
        append(&b, &"0123456789abcdef"[(unsigned char)v->z[j] >> 4], 1);
        append(&b, &"0123456789abcdef"[v->z[j] & 15], 1);
      }
      append(&b, "'", 1);
    }
    free(z);
  }
  append(&b, s->sql + at, strlen(s->sql + at) + 1);
  if (b.failed) free(b.z), b.z = NULL;
  return b.z;
}

/* ---- Parameters --------------------------------------------------------------------------- */

/* The parameter's value, emptied, or NULL with an error noted. */
static sqlite3_value *parameter(sqlite3_stmt *s, int i, int *rc) {
  if (!s) {
    *rc = SQLITE_MISUSE;
    return NULL;
  }
  if (s->state != READY) {
    *rc = result_message(s->db, SQLITE_MISUSE, "bad parameter or other API misuse");
    return NULL;
  }
  if (i < 1 || i > s->scan.nvar) {
    *rc = result(s->db, SQLITE_RANGE);
    return NULL;
  }
  release_value(&s->vars[i - 1]);
  *rc = result(s->db, SQLITE_OK);
  return &s->vars[i - 1];
}

static int bind_bytes(sqlite3_stmt *s, int i, int type, const void *z, sqlite3_uint64 n, void (*del)(void *)) {
  int rc;
  sqlite3_value *v = parameter(s, i, &rc);
  int owned = del != SQLITE_STATIC && del != SQLITE_TRANSIENT;
  if (!v || !z || n > INT_MAX - 1) {
    if (owned && z) del((void *)z);
    if (v && z) rc = result(s->db, SQLITE_TOOBIG);
    return rc;
  }
  if (del == SQLITE_TRANSIENT) {
    v->own = copy_text(z, (size_t)n);
    if (!v->own) return result(s->db, SQLITE_NOMEM);
    z = v->own;
    v->terminated = 1;
  }
  v->type = type;
  v->z = z;
  v->n = (int)n;
  if (owned) v->del = del;
  return rc;
}

int sqlite3_bind_blob(sqlite3_stmt *s, int i, const void *z, int n, void (*del)(void *)) {
  if (n < 0) return s ? result(s->db, SQLITE_MISUSE) : SQLITE_MISUSE;
  return bind_bytes(s, i, SQLITE_BLOB, z, (sqlite3_uint64)n, del);
}

int sqlite3_bind_blob64(sqlite3_stmt *s, int i, const void *z, sqlite3_uint64 n, void (*del)(void *)) {
  return bind_bytes(s, i, SQLITE_BLOB, z, n, del);
}

int sqlite3_bind_text(sqlite3_stmt *s, int i, const char *z, int n, void (*del)(void *)) {
  return bind_bytes(s, i, SQLITE_TEXT, z, n < 0 ? (z ? strlen(z) : 0) : (sqlite3_uint64)n, del);
}

int sqlite3_bind_text64(sqlite3_stmt *s, int i, const char *z, sqlite3_uint64 n, void (*del)(void *),
                        unsigned char encoding) {
  if (encoding != SQLITE_UTF8) {
    if (z && del != SQLITE_STATIC && del != SQLITE_TRANSIENT) del((void *)z);
    return s ? result_message(s->db, SQLITE_ERROR, "Only UTF-8 text can be bound") : SQLITE_MISUSE;
  }
  return bind_bytes(s, i, SQLITE_TEXT, z, n, del);
}

int sqlite3_bind_int64(sqlite3_stmt *s, int i, sqlite3_int64 value) {
  int rc;
  sqlite3_value *v = parameter(s, i, &rc);
  if (v) v->type = SQLITE_INTEGER, v->i = value;
  return rc;
}

int sqlite3_bind_int(sqlite3_stmt *s, int i, int value) { return sqlite3_bind_int64(s, i, value); }

int sqlite3_bind_double(sqlite3_stmt *s, int i, double value) {
  int rc;
  sqlite3_value *v = parameter(s, i, &rc);
  if (v && !isnan(value)) v->type = SQLITE_FLOAT, v->r = value;
  return rc;
}

int sqlite3_bind_null(sqlite3_stmt *s, int i) {
  int rc;
  parameter(s, i, &rc);
  return rc;
}

int sqlite3_bind_zeroblob64(sqlite3_stmt *s, int i, sqlite3_uint64 n) {
  int rc;
  sqlite3_value *v = parameter(s, i, &rc);
  if (!v) return rc;
  if (n > INT_MAX - 1) return result(s->db, SQLITE_TOOBIG);
  v->own = calloc((size_t)n + 1, 1);
  if (!v->own) return result(s->db, SQLITE_NOMEM);
  v->type = SQLITE_BLOB;
  v->z = v->own;
  v->n = (int)n;
  v->terminated = v->zeroblob = 1;
  return rc;
}

int sqlite3_bind_zeroblob(sqlite3_stmt *s, int i, int n) {
  return sqlite3_bind_zeroblob64(s, i, n < 0 ? 0 : (sqlite3_uint64)n);
}

int sqlite3_bind_value(sqlite3_stmt *s, int i, const sqlite3_value *v) {
  switch (v ? v->type : SQLITE_NULL) {
  case SQLITE_INTEGER: return sqlite3_bind_int64(s, i, v->i);
  case SQLITE_FLOAT: return sqlite3_bind_double(s, i, v->r);
  case SQLITE_TEXT: case SQLITE_BLOB:
    return bind_bytes(s, i, v->type, v->z, (sqlite3_uint64)v->n, SQLITE_TRANSIENT);
  default: return sqlite3_bind_null(s, i);
  }
}

int sqlite3_bind_parameter_count(sqlite3_stmt *s) { return s ? s->scan.nvar : 0; }

const char *sqlite3_bind_parameter_name(sqlite3_stmt *s, int i) {
  return !s || i < 1 || i > s->scan.nvar ? NULL : s->names[i - 1];
}

int sqlite3_bind_parameter_index(sqlite3_stmt *s, const char *name) {
  if (!s || !name) return 0;
  for (int i = 0; i < s->scan.nvar; i++)
    if (s->names[i] && strcmp(s->names[i], name) == 0) return i + 1;
  return 0;
}

int sqlite3_clear_bindings(sqlite3_stmt *s) {
  for (int i = 0; i < s->scan.nvar; i++) release_value(&s->vars[i]);
  return SQLITE_OK;
}

/* Append the bound values in the contract's form. */
static void append_values(Buffer *b, const sqlite3_stmt *s) {
  for (int i = 0; i < s->scan.nvar; i++) {
    const sqlite3_value *v = &s->vars[i];
    /* The contract's codes are SQLite's types. */
    char head[9] = {(char)v->type};
    uint32_t n = (uint32_t)v->n;
    switch (v->type) {
    case SQLITE_INTEGER:
      memcpy(head + 1, &v->i, 8);
      append(b, head, 9);
      break;
    case SQLITE_FLOAT:
      memcpy(head + 1, &v->r, 8);
      append(b, head, 9);
      break;
    case SQLITE_TEXT: case SQLITE_BLOB:
      memcpy(head + 1, &n, 4);
      append(b, head, 5);
      append(b, v->z, n);
      break;
    default: append(b, head, 1);
    }
  }
}

/* ---- Running ------------------------------------------------------------------------------ */

/* Begin with the next row of the page. */
static int read_row(sqlite3_stmt *s) {
  const uint8_t *end = s->page.ptr + s->page.len;
  for (int i = 0; i < s->width; i++)
    if (s->cells[i].own) free(s->cells[i].own), s->cells[i].own = NULL;
  if (s->saved_at) *s->saved_at = s->saved, s->saved_at = NULL;
  uint32_t width;
  memcpy(&width, s->page.ptr, 4);
  if (s->ncell < (int)width) {
    sqlite3_value *cells = realloc(s->cells, width * sizeof *cells);
    if (!cells) return 0;
    memset(cells + s->ncell, 0, (width - (unsigned)s->ncell) * sizeof *cells);
    s->cells = cells;
    s->ncell = (int)width;
  }
  uint8_t *p = s->at;
  for (uint32_t i = 0; i < width && p < end; i++) {
    sqlite3_value *v = &s->cells[i];
    v->type = *p++;
    v->z = NULL;
    v->n = 0;
    v->terminated = 0;
    v->stmt = s;
    v->last = i + 1 == width;
    uint32_t n;
    switch (v->type) {
    case SQLITE_INTEGER:
      memcpy(&v->i, p, 8);
      p += 8;
      break;
    case SQLITE_FLOAT:
      memcpy(&v->r, p, 8);
      p += 8;
      break;
    case SQLITE_TEXT: case SQLITE_BLOB:
      memcpy(&n, p, 4);
      v->z = (const char *)p + 4;
      v->n = (int)n;
      p += 4 + n;
      break;
    }
  }
  s->width = (int)width;
  s->at = p;
  return 1;
}

/* Take the rows of a page. */
static void take_page(sqlite3_stmt *s, wit_rows rows) {
  if (s->page.len) {
    for (int i = 0; i < s->width; i++) free(s->cells[i].own), s->cells[i].own = NULL;
    s->width = 0;
    s->saved_at = NULL;
    millpond_sqlite_connections_rows_free(&s->page);
  }
  s->page = rows;
  s->at = rows.len ? rows.ptr + 4 : NULL;
  if (!rows.len) return;
  uint32_t width;
  memcpy(&width, rows.ptr, 4);
  if (s->ncolumn != (int)width) {
    /* The schema has changed. */
    forget_description(s);
    s->ncolumn = (int)width;
  }
}

/* End a run with the error that the connection has. */
static int fail_run(sqlite3_stmt *s, int rc) {
  copy_failure(&s->failure, &s->db->failure);
  end_run(s, HALTED);
  if (s->scan.kind != KIND_READ) s->db->changes_stale = s->db->total_stale = 1;
  /* The reason then comes from sqlite3_reset. */
  return s->legacy && (rc & 0xff) != SQLITE_BUSY ? result(s->db, SQLITE_ERROR) : rc;
}

static int run(sqlite3_stmt *s) {
  sqlite3 *db = s->db;
  int rc = SQLITE_OK, tries = 0;
  set_failure(&s->failure, SQLITE_OK, -1, NULL, 0);
  rc = s->scan.kind == KIND_WITH ? describe(s) : SQLITE_OK;
  if (!rc) rc = prepare_handle(s);
  if (rc) return fail_run(s, rc);

  Buffer *b = &db->parameters;
  b->n = 0;
  b->failed = 0;
  uint32_t width = (uint32_t)s->scan.nvar;
  if (width) append(b, &width, 4);
  append_values(b, s);
  if (b->failed) return fail_run(s, result(db, SQLITE_NOMEM));
  wit_rows parameters = {(uint8_t *)b->z, b->n};
  wit_error e;
  wit_summary summary;
  wit_page page;
  int rows = s->scan.kind == KIND_READ || s->scan.kind == KIND_RETURN, ok;
  do {
    if ((rc = prepare_handle(s)) != SQLITE_OK) return fail_run(s, rc);
    ok = rows ? millpond_sqlite_connections_method_statement_query(
                    STATEMENT(s), &parameters, s->scan.kind == KIND_READ ? FIRST_PAGE : 0, false, &page, &e)
              : millpond_sqlite_connections_method_statement_execute(STATEMENT(s), &parameters, &summary, &e);
  } while (!ok && (busy_again(db, &e, &tries) || connect_again(db, &e)));
  if (b->cap > MOST_KEPT) {
    free(b->z);
    *b = (Buffer){0};
  }
  if (!ok) return fail_run(s, result_host(db, &e, s->skip));
  if (!rows) {
    note_execution(db, &s->scan, &summary);
    s->state = HALTED;
    return result(db, SQLITE_DONE);
  }
  if (s->scan.kind == KIND_RETURN) {
    db->changes_stale = db->total_stale = 1;
    db->has_written = 1;
  } else {
    db->has_read = 1;
  }
  s->state = RUNNING;
  s->has_cursor = page.rest.is_some;
  if (s->has_cursor) s->cursor = page.rest.val;
  take_page(s, page.rows);
  return SQLITE_OK;
}

int sqlite3_step(sqlite3_stmt *s) {
  if (!s) return SQLITE_MISUSE;
  sqlite3 *db = s->db;
  int rc;
  if (s->state != RUNNING) {
    rc = run(s);
    if (s->state != RUNNING) return rc;
  }
  if (s->interrupted) return fail_run(s, result(db, SQLITE_INTERRUPT));
  for (;;) {
    if (s->at && s->at < s->page.ptr + s->page.len) {
      if (!read_row(s)) return fail_run(s, result(db, SQLITE_NOMEM));
      return result(db, SQLITE_ROW);
    }
    if (!s->has_cursor) break;
    wit_rows rows;
    wit_error e;
    if (!millpond_sqlite_connections_method_cursor_next(
            millpond_sqlite_connections_borrow_cursor(s->cursor), 0, &rows, &e))
      return fail_run(s, result_host(db, &e, s->skip));
    if (!rows.len) break;
    take_page(s, rows);
  }
  end_run(s, HALTED);
  return result(db, SQLITE_DONE);
}

int sqlite3_reset(sqlite3_stmt *s) {
  if (!s) return SQLITE_OK;
  int ran = s->state != READY, code = s->failure.code;
  end_run(s, READY);
  s->batch.n = 0;
  if (ran) copy_failure(&s->db->failure, &s->failure);
  set_failure(&s->failure, SQLITE_OK, -1, NULL, 0);
  return ran ? code & s->db->mask : SQLITE_OK;
}

int sqlite3_finalize(sqlite3_stmt *s) {
  if (!s) return SQLITE_OK;
  sqlite3 *db = s->db;
  int rc = sqlite3_reset(s);
  free_statement(s);
  if (db->closing && !sqlite3_next_stmt(db, NULL)) free_connection(db);
  return rc;
}

int millpond_add_row(sqlite3_stmt *s) {
  if (!s || s->state != READY || !s->scan.nvar) return s ? result(s->db, SQLITE_MISUSE) : SQLITE_MISUSE;
  size_t size = s->batch.n + 4;
  for (int i = 0; i < s->scan.nvar; i++) size += 9 + (size_t)s->vars[i].n;
  if (size > MOST_BATCH) return result(s->db, SQLITE_TOOBIG);
  uint32_t width = (uint32_t)s->scan.nvar;
  if (!s->batch.n) append(&s->batch, &width, 4);
  append_values(&s->batch, s);
  if (!s->batch.failed) return result(s->db, SQLITE_OK);
  s->batch.failed = 0;
  s->batch.n = 0;
  return result(s->db, SQLITE_NOMEM);
}

int millpond_run_rows(sqlite3_stmt *s) {
  if (!s || s->state != READY) return s ? result(s->db, SQLITE_MISUSE) : SQLITE_MISUSE;
  if (!s->batch.n) return result(s->db, SQLITE_DONE);
  int rc, ok, tries = 0;
  wit_rows rows = {(uint8_t *)s->batch.z, s->batch.n};
  wit_summary summary;
  wit_error e;
  do {
    if ((rc = prepare_handle(s)) != SQLITE_OK) return rc;
    ok = millpond_sqlite_connections_method_statement_execute_many(STATEMENT(s), &rows, &summary, &e);
  } while (!ok && (busy_again(s->db, &e, &tries) || connect_again(s->db, &e)));
  s->batch.n = 0;
  if (!ok) return result_host(s->db, &e, s->skip);
  note_execution(s->db, &s->scan, &summary);
  return result(s->db, SQLITE_DONE);
}

/* ---- Columns ------------------------------------------------------------------------------ */

int sqlite3_column_count(sqlite3_stmt *s) {
  if (!s) return 0;
  if (s->ncolumn < 0) describe(s);
  return s->ncolumn < 0 ? 0 : s->ncolumn;
}

int sqlite3_data_count(sqlite3_stmt *s) { return s ? s->width : 0; }

/* A column's name or declared type, NUL-terminated. */
static const char *column_text(sqlite3_stmt *s, int i, int declared) {
  if (!s || i < 0 || s->ncolumn == 0 || describe(s) != SQLITE_OK) return NULL;
  size_t n = s->description.columns.len;
  if ((size_t)i >= n) return NULL;
  char ***texts = declared ? &s->declared : &s->columns;
  if (!*texts && !(*texts = calloc(n, sizeof **texts))) return NULL;
  millpond_sqlite_connections_column_t *c = &s->description.columns.ptr[i];
  if (!(*texts)[i] && (!declared || c->declared_type.is_some)) {
    contract_string_t text = declared ? c->declared_type.val : c->name;
    (*texts)[i] = copy_text((const char *)text.ptr, text.len);
  }
  return (*texts)[i];
}

const char *sqlite3_column_name(sqlite3_stmt *s, int i) { return column_text(s, i, 0); }
const char *sqlite3_column_decltype(sqlite3_stmt *s, int i) { return column_text(s, i, 1); }

static sqlite3_value *column(sqlite3_stmt *s, int i) {
  static sqlite3_value null = {.type = SQLITE_NULL};
  if (s && i >= 0 && i < s->width) return &s->cells[i];
  if (s) result(s->db, SQLITE_RANGE);
  return &null;
}

sqlite3_value *sqlite3_column_value(sqlite3_stmt *s, int i) { return column(s, i); }
const void *sqlite3_column_blob(sqlite3_stmt *s, int i) { return sqlite3_value_blob(column(s, i)); }
double sqlite3_column_double(sqlite3_stmt *s, int i) { return sqlite3_value_double(column(s, i)); }
int sqlite3_column_int(sqlite3_stmt *s, int i) { return sqlite3_value_int(column(s, i)); }
sqlite3_int64 sqlite3_column_int64(sqlite3_stmt *s, int i) { return sqlite3_value_int64(column(s, i)); }
const unsigned char *sqlite3_column_text(sqlite3_stmt *s, int i) { return sqlite3_value_text(column(s, i)); }
int sqlite3_column_bytes(sqlite3_stmt *s, int i) { return sqlite3_value_bytes(column(s, i)); }
int sqlite3_column_type(sqlite3_stmt *s, int i) { return column(s, i)->type; }

/* ---- sqlite3_exec and sqlite3_get_table ---------------------------------------------------- */

/* Run one statement for its effect, in one call to the host. */
static int execute(sqlite3 *db, const char *sql, const Scan *s) {
  contract_string_t text = text_of(s->start, (size_t)(s->end - s->start));
  wit_rows none = {0};
  wit_summary summary;
  wit_error e;
  int tries = 0;
  int rc = connect(db);
  while (!rc && !millpond_sqlite_connections_method_connection_execute(CONNECTION(db), &text, &none, &summary, &e)) {
    if (busy_again(db, &e, &tries)) continue;
    if (connect_again(db, &e)) {
      rc = connect(db);
      continue;
    }
    db->changes_stale = db->total_stale = 1;
    rc = result_host(db, &e, (int)(s->start - sql));
  }
  if (rc) return rc;
  note_execution(db, s, &summary);
  return result(db, SQLITE_OK);
}

/* Run one statement, and pass its rows to the callback. */
static int query(sqlite3 *db, const char *sql, const Scan *found, sqlite3_callback callback, void *arg) {
  sqlite3_stmt *s;
  int rc = prepare(db, sql, (int)(found->end - sql), &s, NULL, 0);
  if (rc) return rc;
  char **texts = NULL;
  int n = 0;
  while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
    if (!callback) continue;
    if (!texts) {
      n = sqlite3_column_count(s);
      texts = calloc((size_t)n * 2 + 1, sizeof *texts);
      if (!texts) {
        rc = result(db, SQLITE_NOMEM);
        break;
      }
      for (int i = 0; i < n; i++) texts[i] = (char *)sqlite3_column_name(s, i);
    }
    for (int i = 0; i < n; i++) texts[n + i] = (char *)sqlite3_column_text(s, i);
    if (callback(arg, n, texts + n, texts)) {
      free(texts);
      sqlite3_finalize(s);
      return result(db, SQLITE_ABORT);
    }
  }
  free(texts);
  return rc == SQLITE_NOMEM ? sqlite3_finalize(s), result(db, rc) : sqlite3_finalize(s);
}

int sqlite3_exec(sqlite3 *db, const char *sql, sqlite3_callback callback, void *arg, char **errmsg) {
  if (errmsg) *errmsg = NULL;
  if (!db || !db->name) return SQLITE_MISUSE;
  if (!sql) sql = "";
  int rc = result(db, SQLITE_OK);
  const char *end = sql + strlen(sql);
  while (rc == SQLITE_OK) {
    while (isspace((unsigned char)*sql)) sql++;
    Scan found;
    if (!scan(sql, end, &found)) rc = result(db, SQLITE_NOMEM);
    else if (found.kind == KIND_NONE) end = NULL;
    else if (found.nuse || (callback && found.kind != KIND_EXECUTE && found.kind != KIND_CHANGE) ||
             found.kind == KIND_RETURN || found.kind == KIND_WITH)
      rc = query(db, sql, &found, callback, arg);
    else rc = execute(db, sql, &found);
    free(found.uses);
    if (!end) break;
    sql = found.end;
  }
  if (rc && errmsg) {
    const char *message = sqlite3_errmsg(db);
    *errmsg = copy_text(message, strlen(message));
  }
  return rc;
}

typedef struct Table {
  char **cells;
  int n, cap, rows, columns, failure;
} Table;

static int add_cell(Table *t, const char *z) {
  if (t->n == t->cap) {
    char **cells = realloc(t->cells, sizeof *cells * (size_t)(t->cap = t->cap * 2 + 20));
    if (!cells) return 0;
    t->cells = cells;
  }
  char *copy = z ? copy_text(z, strlen(z)) : NULL;
  if (z && !copy) return 0;
  t->cells[t->n++] = copy;
  return 1;
}

static int add_row(void *arg, int n, char **values, char **names) {
  Table *t = arg;
  if (t->columns && t->columns != n) {
    t->failure = SQLITE_ERROR;
    return 1;
  }
  for (int i = 0; !t->columns && i < n; i++)
    if (!add_cell(t, names[i])) t->failure = SQLITE_NOMEM;
  t->columns = n;
  for (int i = 0; i < n; i++)
    if (!add_cell(t, values[i])) t->failure = SQLITE_NOMEM;
  t->rows++;
  return t->failure;
}

int sqlite3_get_table(sqlite3 *db, const char *sql, char ***out, int *nrow, int *ncolumn, char **errmsg) {
  Table t = {0};
  if (!out) return SQLITE_MISUSE;
  *out = NULL;
  if (nrow) *nrow = 0;
  if (ncolumn) *ncolumn = 0;
  if (errmsg) *errmsg = NULL;
  /* The first cell, before the result, holds the number of cells. */
  if (!add_cell(&t, NULL)) return SQLITE_NOMEM;
  int rc = sqlite3_exec(db, sql, add_row, &t, errmsg);
  t.cells[0] = (char *)(intptr_t)t.n;
  if (rc) {
    sqlite3_free_table(t.cells + 1);
    if (t.failure) {
      if (errmsg) sqlite3_free(*errmsg), *errmsg = NULL;
      if (errmsg && t.failure == SQLITE_ERROR)
        *errmsg = sqlite3_mprintf("sqlite3_get_table() called with two or more incompatible queries");
      db->failure.code = rc = t.failure;
    }
    return rc;
  }
  *out = t.cells + 1;
  if (nrow) *nrow = t.rows;
  if (ncolumn) *ncolumn = t.columns;
  return SQLITE_OK;
}

void sqlite3_free_table(char **table) {
  if (!table) return;
  table--;
  int n = (int)(intptr_t)table[0];
  for (int i = 1; i < n; i++) free(table[i]);
  free(table);
}

/* ---- What a component cannot do ------------------------------------------------------------ */

static int refuse(sqlite3 *db, const char *message) {
  return db ? result_message(db, SQLITE_ERROR, message) : SQLITE_MISUSE;
}

#define FUNCTIONS "SQL functions and collations run in the host: a component cannot define them"

int sqlite3_create_function(sqlite3 *db, const char *name, int nargs, int encoding, void *app,
                            void (*f)(sqlite3_context *, int, sqlite3_value **),
                            void (*step)(sqlite3_context *, int, sqlite3_value **),
                            void (*final)(sqlite3_context *)) {
  (void)name, (void)nargs, (void)encoding, (void)app, (void)f, (void)step, (void)final;
  return refuse(db, FUNCTIONS);
}

int sqlite3_create_function_v2(sqlite3 *db, const char *name, int nargs, int encoding, void *app,
                               void (*f)(sqlite3_context *, int, sqlite3_value **),
                               void (*step)(sqlite3_context *, int, sqlite3_value **),
                               void (*final)(sqlite3_context *), void (*destroy)(void *)) {
  (void)name, (void)nargs, (void)encoding, (void)f, (void)step, (void)final;
  if (destroy) destroy(app);
  return refuse(db, FUNCTIONS);
}

int sqlite3_create_collation(sqlite3 *db, const char *name, int encoding, void *arg,
                             int (*compare)(void *, int, const void *, int, const void *)) {
  (void)name, (void)encoding, (void)arg, (void)compare;
  return refuse(db, FUNCTIONS);
}

int sqlite3_blob_open(sqlite3 *db, const char *schema, const char *table, const char *name,
                      sqlite3_int64 row, int flags, sqlite3_blob **out) {
  (void)schema, (void)table, (void)name, (void)row, (void)flags;
  if (out) *out = NULL;
  return refuse(db, "Blobs cannot be opened: read parts with substr()");
}

sqlite3_backup *sqlite3_backup_init(sqlite3 *to, const char *to_name, sqlite3 *from, const char *from_name) {
  (void)to_name, (void)from, (void)from_name;
  refuse(to, "The host backs up databases, not a component");
  return NULL;
}

int sqlite3_load_extension(sqlite3 *db, const char *file, const char *proc, char **errmsg) {
  (void)file, (void)proc;
  int rc = refuse(db, "A component cannot load extensions into the host");
  if (errmsg) *errmsg = sqlite3_mprintf("%s", sqlite3_errmsg(db));
  return rc;
}

int sqlite3_enable_load_extension(sqlite3 *db, int on) {
  return on ? refuse(db, "A component cannot load extensions into the host") : SQLITE_OK;
}

#define CHECKPOINTS "The host runs checkpoints"

int sqlite3_wal_checkpoint_v2(sqlite3 *db, const char *schema, int mode, int *log, int *checkpointed) {
  (void)schema, (void)mode;
  if (log) *log = -1;
  if (checkpointed) *checkpointed = -1;
  return refuse(db, CHECKPOINTS);
}

int sqlite3_wal_checkpoint(sqlite3 *db, const char *schema) {
  return sqlite3_wal_checkpoint_v2(db, schema, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
}

int sqlite3_wal_autocheckpoint(sqlite3 *db, int n) {
  (void)n;
  return refuse(db, CHECKPOINTS);
}

int sqlite3_db_config(sqlite3 *db, int op, ...) {
  (void)op;
  return refuse(db, "The host configures connections");
}

int sqlite3_file_control(sqlite3 *db, const char *schema, int op, void *arg) {
  (void)schema, (void)op, (void)arg;
  return db ? result_message(db, SQLITE_NOTFOUND, "A component has no database file") : SQLITE_MISUSE;
}
