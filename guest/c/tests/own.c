/*
** What SQLite itself does not have or does otherwise: Millpond's own functions, what is refused,
** and the errors of the contract. Exits with 1 if a check fails. tests/run grants the database
** `default` for writing and `reading` for reading only.
*/
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int failed, passed;

#define CHECK(condition)                                                                           \
  do {                                                                                             \
    if (condition) passed++;                                                                       \
    else failed++, printf("line %d: %s: %s\n", __LINE__, #condition, db ? sqlite3_errmsg(db) : ""); \
  } while (0)

static sqlite3_int64 number(sqlite3 *db, const char *sql) {
  sqlite3_stmt *s;
  sqlite3_int64 n = -1;
  if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
    n = sqlite3_column_int64(s, 0);
  sqlite3_finalize(s);
  return n;
}

static void test_open(void) {
  static const char *const refused[] = {"", ":memory:", "missing", "/tmp/file.db"};
  sqlite3 *db = NULL;
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    CHECK(sqlite3_open(refused[i], &db) == SQLITE_CANTOPEN);
    CHECK(strlen(sqlite3_errmsg(db)) > 10);
    CHECK(millpond_errkind(db) == (i < 2 ? MILLPOND_NO_ERROR : MILLPOND_NO_SUCH_DATABASE));
    sqlite3_stmt *s;
    CHECK(sqlite3_prepare_v2(db, "SELECT 1", -1, &s, NULL) != SQLITE_OK);
    CHECK(sqlite3_exec(db, "SELECT 1", NULL, NULL, NULL) != SQLITE_OK);
    CHECK(sqlite3_close(db) == SQLITE_OK);
  }
  CHECK(sqlite3_open(NULL, &db) == SQLITE_CANTOPEN);
  CHECK(sqlite3_close(db) == SQLITE_OK);
  CHECK(sqlite3_open_v2("file:x?mode=memory", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_URI, NULL) == SQLITE_CANTOPEN);
  sqlite3_close(db);
  CHECK(sqlite3_open_v2("default", &db, 0, NULL) == SQLITE_MISUSE);
  sqlite3_close(db);
  CHECK(sqlite3_open_v2("default", &db, SQLITE_OPEN_READWRITE, "unix") == SQLITE_ERROR);
  sqlite3_close(db);
  CHECK(sqlite3_open_v2("file:default?mode=ro", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_URI, NULL) == SQLITE_OK);
  CHECK(sqlite3_db_readonly(db, "main") == 1);
  CHECK((sqlite3_exec(db, "CREATE TABLE no(x)", NULL, NULL, NULL) & 0xff) != SQLITE_OK);
  CHECK(millpond_errkind(db) == MILLPOND_NOT_AUTHORIZED);
  sqlite3_close(db);
  CHECK(sqlite3_open("reading", &db) == SQLITE_OK);
  CHECK(sqlite3_db_readonly(db, NULL) == 1);
  sqlite3_close(db);
  /* A request may hold four connections: closing returns them. */
  for (int i = 0; i < 20; i++) {
    CHECK(sqlite3_open("default", &db) == SQLITE_OK);
    CHECK(sqlite3_close(db) == SQLITE_OK);
  }
  CHECK(sqlite3_threadsafe() == 0);
}

static void test_many(sqlite3 *db) {
  sqlite3_stmt *s;
  CHECK(sqlite3_exec(db, "DROP TABLE IF EXISTS many; CREATE TABLE many(i INTEGER PRIMARY KEY, t, r, b)", NULL, NULL, NULL) == 0);
  CHECK(sqlite3_prepare_v2(db, "INSERT INTO many VALUES (?, ?, ?, ?)", -1, &s, NULL) == 0);
  for (int i = 1; i <= 10000; i++) {
    sqlite3_bind_int(s, 1, i);
    sqlite3_bind_text(s, 2, "text", -1, SQLITE_STATIC);
    sqlite3_bind_double(s, 3, i / 2.0);
    sqlite3_bind_zeroblob(s, 4, 3);
    if (millpond_add_row(s) != SQLITE_OK) CHECK(0);
  }
  CHECK(millpond_run_rows(s) == SQLITE_DONE);
  CHECK(sqlite3_changes(db) == 10000);
  CHECK(sqlite3_last_insert_rowid(db) == 10000);
  CHECK(number(db, "SELECT count(*) FROM many WHERE t = 'text' AND r = i / 2.0 AND b = x'000000'") == 10000);
  CHECK(millpond_run_rows(s) == SQLITE_DONE); /* nothing left */
  /* All or none. */
  sqlite3_bind_int(s, 1, 20000);
  CHECK(millpond_add_row(s) == SQLITE_OK);
  sqlite3_bind_int(s, 1, 1);
  CHECK(millpond_add_row(s) == SQLITE_OK);
  CHECK(millpond_run_rows(s) == SQLITE_CONSTRAINT);
  CHECK(millpond_errkind(db) == MILLPOND_CONSTRAINT_PRIMARY_KEY);
  CHECK(number(db, "SELECT count(*) FROM many") == 10000);
  /* The statement is still of use. */
  sqlite3_bind_int(s, 1, 20001);
  CHECK(sqlite3_step(s) == SQLITE_DONE);
  CHECK(millpond_add_row(s) == SQLITE_MISUSE);
  sqlite3_reset(s);
  char *large = malloc(9000000);
  memset(large, 'x', 9000000);
  sqlite3_bind_text(s, 2, large, 9000000, SQLITE_STATIC);
  CHECK(millpond_add_row(s) == SQLITE_OK);
  CHECK(millpond_add_row(s) == SQLITE_TOOBIG);
  sqlite3_reset(s);
  /* The host's limit for a value is 1 MiB. */
  sqlite3_bind_int(s, 1, 30000);
  CHECK(sqlite3_step(s) == SQLITE_TOOBIG);
  CHECK(millpond_errkind(db) == MILLPOND_TOO_LARGE);
  CHECK(sqlite3_finalize(s) == SQLITE_TOOBIG);
  free(large);
}

static void test_errors(sqlite3 *db) {
  sqlite3_stmt *s;
  CHECK(sqlite3_exec(db, "SELECT 1", NULL, NULL, NULL) == 0);
  CHECK(millpond_errkind(db) == MILLPOND_NO_ERROR);
  CHECK(sqlite3_exec(db, "ATTACH 'x' AS y", NULL, NULL, NULL) == SQLITE_AUTH);
  CHECK(millpond_errkind(db) == MILLPOND_NOT_AUTHORIZED);
  CHECK(sqlite3_exec(db, "selec", NULL, NULL, NULL) == SQLITE_ERROR);
  CHECK(millpond_errkind(db) == MILLPOND_SQL);
  CHECK(sqlite3_error_offset(db) == 0);
  CHECK(sqlite3_prepare_v2(db, " /* x */ selec", -1, &s, NULL) == SQLITE_ERROR);
  CHECK(sqlite3_error_offset(db) == 9);
  CHECK(sqlite3_prepare_v2(db, "SELECT ?", -1, &s, NULL) == 0);
  sqlite3_bind_text(s, 1, "\xff", 1, SQLITE_STATIC);
  CHECK(sqlite3_step(s) == SQLITE_MISMATCH);
  CHECK(millpond_errkind(db) == MILLPOND_NOT_UTF8);
  sqlite3_finalize(s);
  CHECK(sqlite3_prepare_v2(db, "SELECT CAST(x'ff' AS TEXT)", -1, &s, NULL) == 0);
  CHECK(sqlite3_step(s) == SQLITE_MISMATCH);
  sqlite3_finalize(s);
  CHECK(sqlite3_exec(db, "BEGIN", NULL, NULL, NULL) == 0);
  CHECK(sqlite3_exec(db, "INSERT INTO many(i) VALUES (40000)", NULL, NULL, NULL) == 0);
  CHECK(sqlite3_exec(db, "INSERT OR ROLLBACK INTO many(i) VALUES (40000)", NULL, NULL, NULL) == SQLITE_CONSTRAINT);
  /* The transaction counts as open until it is ended here too. */
  CHECK(millpond_rolled_back(db) && sqlite3_get_autocommit(db) == 0);
  CHECK(sqlite3_exec(db, "SELECT 1", NULL, NULL, NULL) == SQLITE_ABORT);
  CHECK(sqlite3_extended_errcode(db) == SQLITE_ABORT_ROLLBACK);
  CHECK(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL) == SQLITE_OK);
  CHECK(sqlite3_get_autocommit(db) == 1);
  CHECK(number(db, "SELECT count(*) FROM many WHERE i = 40000") == 0);
}

static void test_refused(sqlite3 *db) {
  sqlite3_blob *blob;
  char *message;
  CHECK(sqlite3_create_function(db, "f", 0, SQLITE_UTF8, NULL, NULL, NULL, NULL) == SQLITE_ERROR);
  CHECK(strstr(sqlite3_errmsg(db), "functions"));
  CHECK(sqlite3_create_function_v2(db, "f", 0, SQLITE_UTF8, NULL, NULL, NULL, NULL, NULL) == SQLITE_ERROR);
  CHECK(sqlite3_create_collation(db, "c", SQLITE_UTF8, NULL, NULL) == SQLITE_ERROR);
  CHECK(sqlite3_blob_open(db, "main", "many", "b", 1, 0, &blob) == SQLITE_ERROR && !blob);
  CHECK(sqlite3_backup_init(db, "main", db, "main") == NULL);
  CHECK(strstr(sqlite3_errmsg(db), "backs up"));
  CHECK(sqlite3_load_extension(db, "x", NULL, &message) == SQLITE_ERROR);
  CHECK(message && strstr(message, "extensions"));
  sqlite3_free(message);
  CHECK(sqlite3_enable_load_extension(db, 1) == SQLITE_ERROR);
  CHECK(sqlite3_enable_load_extension(db, 0) == SQLITE_OK);
  CHECK(sqlite3_wal_checkpoint(db, NULL) == SQLITE_ERROR);
  CHECK(sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_FULL, NULL, NULL) == SQLITE_ERROR);
  CHECK(sqlite3_wal_autocheckpoint(db, 0) == SQLITE_ERROR);
  CHECK(sqlite3_db_config(db, 1002, 1, NULL) == SQLITE_ERROR);
  CHECK(sqlite3_file_control(db, "main", 7, NULL) == SQLITE_NOTFOUND);
  CHECK(strcmp(sqlite3_db_filename(db, "main"), "") == 0);
  CHECK(sqlite3_limit(db, SQLITE_LIMIT_SQL_LENGTH, -1) == 100000);
  sqlite3_stmt *s;
  CHECK(sqlite3_prepare_v2(db, "SELECT ?", -1, &s, NULL) == 0);
  CHECK(sqlite3_bind_text64(s, 1, "x", 2, SQLITE_STATIC, SQLITE_UTF16) == SQLITE_ERROR);
  sqlite3_finalize(s);
}

/* 70 statements that are all running cannot share 64 handles; the others still work. */
static void test_handles(sqlite3 *db) {
  sqlite3_stmt *s[70];
  int running = 0, refused = 0;
  for (int i = 0; i < 70; i++) {
    int rc = sqlite3_prepare_v2(db, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000) SELECT i FROM n", -1, &s[i], NULL);
    if (rc == SQLITE_OK) rc = sqlite3_step(s[i]);
    if (rc == SQLITE_ROW) running++;
    else if (millpond_errkind(db) == MILLPOND_TOO_MANY_HANDLES) refused++;
  }
  CHECK(running == 64 && refused == 6);
  for (int i = 0; i < 70; i++) sqlite3_finalize(s[i]);
  CHECK(number(db, "SELECT 7") == 7);
}

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* With an argument: measure that many reads of one row. */
static void measure(sqlite3 *db, int n) {
  sqlite3_stmt *s;
  sqlite3_int64 sum = 0;
  sqlite3_prepare_v2(db, "SELECT t, r FROM many WHERE i = ?", -1, &s, NULL);
  double start = seconds();
  for (int i = 0; i < n; i++) {
    sqlite3_bind_int(s, 1, 1 + i % 10000);
    if (sqlite3_step(s) == SQLITE_ROW) sum += sqlite3_column_bytes(s, 0);
    sqlite3_reset(s);
  }
  printf("prepared point read: %.2f µs (%lld)\n", (seconds() - start) * 1e6 / n, sum);
  sqlite3_finalize(s);
  start = seconds();
  for (int i = 0; i < n; i++) {
    sqlite3_prepare_v2(db, "SELECT t, r FROM many WHERE i = ?", -1, &s, NULL);
    sqlite3_bind_int(s, 1, 1 + i % 10000);
    if (sqlite3_step(s) == SQLITE_ROW) sum += sqlite3_column_bytes(s, 0);
    sqlite3_finalize(s);
  }
  printf("the same, prepared each time: %.2f µs\n", (seconds() - start) * 1e6 / n);
  int rows = 0;
  start = seconds();
  sqlite3_prepare_v2(db, "SELECT i, t, r FROM many", -1, &s, NULL);
  for (int i = 0; i < 20; i++) {
    for (; sqlite3_step(s) == SQLITE_ROW; rows++) sum += sqlite3_column_int64(s, 0) + *sqlite3_column_text(s, 1);
    sqlite3_reset(s);
  }
  printf("row of a scan: %.2f µs\n", (seconds() - start) * 1e6 / rows);
  sqlite3_finalize(s);
}

int main(int argc, char **argv) {
  sqlite3 *db = NULL;
  test_open();
  CHECK(sqlite3_open("default", &db) == SQLITE_OK);
  test_many(db);
  test_errors(db);
  test_refused(db);
  test_handles(db);
  if (argc > 1) measure(db, atoi(argv[1]));
  CHECK(sqlite3_close(db) == SQLITE_OK);
  printf("%d checks passed, %d failed\n", passed, failed);
  return failed != 0;
}
