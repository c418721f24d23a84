/*
** Prints what the library does. Compiled against SQLite itself it must print the same: tests/run
** compares.
*/
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static sqlite3 *db;

/* After a row, SQLite leaves an old message. */
static const char *message_after(int rc) {
  return rc == SQLITE_ROW || rc == SQLITE_DONE ? sqlite3_errstr(rc) : sqlite3_errmsg(db);
}

static void say(const char *what, int rc) {
  printf("%s -> %d, errcode %d, extended %d, offset %d: %s\n", what, rc, sqlite3_errcode(db),
         sqlite3_extended_errcode(db), sqlite3_error_offset(db), message_after(rc));
}

static void counters(void) {
  printf("  changes %d %lld, total %d %lld, rowid %lld, autocommit %d\n", sqlite3_changes(db),
         sqlite3_changes64(db), sqlite3_total_changes(db), sqlite3_total_changes64(db),
         sqlite3_last_insert_rowid(db), sqlite3_get_autocommit(db));
}

static int print_row(void *arg, int n, char **values, char **names) {
  printf("  %s:", (const char *)arg);
  for (int i = 0; i < n; i++) printf(" %s=%s", names[i], values[i] ? values[i] : "(null)");
  printf("\n");
  return 0;
}

static int stop(void *arg, int n, char **values, char **names) {
  (void)n, (void)values, (void)names;
  return --*(int *)arg == 0;
}

static void run(const char *sql) {
  char *message = NULL;
  int rc = sqlite3_exec(db, sql, print_row, "row", &message);
  say(sql, rc);
  printf("  message %s\n", message ? message : "(null)");
  sqlite3_free(message);
  counters();
}

static sqlite3_stmt *prepare(const char *sql) {
  sqlite3_stmt *s = NULL;
  const char *tail = NULL;
  int rc = sqlite3_prepare_v2(db, sql, -1, &s, &tail);
  say(sql, rc);
  if (rc == SQLITE_OK) printf("  %s, tail [%s]\n", s ? "statement" : "none", tail);
  return s;
}

static void blob(const void *z, int n) {
  const unsigned char *p = z;
  printf("%d:", n);
  for (int i = 0; i < n; i++) printf("%02x", p[i]);
}

static void value(sqlite3_value *v) {
  int type = sqlite3_value_type(v);
  printf("    type %d", type);
  printf(" int %d int64 %lld double %.10g", sqlite3_value_int(v), sqlite3_value_int64(v),
         sqlite3_value_double(v));
  const char *text = (const char *)sqlite3_value_text(v);
  printf(" text [%s] bytes %d blob ", text ? text : "(null)", sqlite3_value_bytes(v));
  const void *z = sqlite3_value_blob(v);
  if (z) blob(z, sqlite3_value_bytes(v));
  else printf("(null)");
  /* Last, because SQLite converts the value itself. Undefined for a blob that was read as text. */
  if (type != SQLITE_BLOB) printf(" numeric %d", sqlite3_value_numeric_type(v));
  printf("\n");
}

static void cells(sqlite3_stmt *s) {
  for (int i = 0; i < sqlite3_data_count(s); i++) {
    int type = sqlite3_column_type(s, i);
    sqlite3_value *copy = sqlite3_value_dup(sqlite3_column_value(s, i));
    printf("    type %d int %d int64 %lld double %.10g", type, sqlite3_column_int(s, i),
           sqlite3_column_int64(s, i), sqlite3_column_double(s, i));
    const char *text = (const char *)sqlite3_column_text(s, i);
    int n = sqlite3_column_bytes(s, i);
    printf(" text [%s] bytes %d blob ", text ? text : "(null)", n);
    const void *z = sqlite3_column_blob(s, i);
    if (z) blob(z, sqlite3_column_bytes(s, i));
    else printf("(null)");
    printf("\n");
    value(copy);
    sqlite3_value_free(copy);
  }
}

static void columns(sqlite3_stmt *s) {
  printf("  columns %d, parameters %d, read only %d, explain %d\n", sqlite3_column_count(s),
         sqlite3_bind_parameter_count(s), sqlite3_stmt_readonly(s) != 0, sqlite3_stmt_isexplain(s));
  for (int i = 0; i < sqlite3_column_count(s); i++) {
    const char *type = sqlite3_column_decltype(s, i);
    printf("    %s %s\n", sqlite3_column_name(s, i), type ? type : "(null)");
  }
  for (int i = 0; i <= sqlite3_bind_parameter_count(s) + 1; i++) {
    const char *name = sqlite3_bind_parameter_name(s, i);
    if (name) printf("    parameter %d %s %d\n", i, name, sqlite3_bind_parameter_index(s, name));
  }
}

static void steps(sqlite3_stmt *s) {
  int rc;
  do {
    rc = sqlite3_step(s);
    printf("  step %d, busy %d, data %d, errcode %d: %s\n", rc, sqlite3_stmt_busy(s),
           sqlite3_data_count(s), sqlite3_errcode(db), message_after(rc));
    cells(s);
  } while (rc == SQLITE_ROW);
}

static void expanded(sqlite3_stmt *s) {
  char *z = sqlite3_expanded_sql(s);
  printf("  sql [%s] expanded [%s]\n", sqlite3_sql(s), z ? z : "(null)");
  sqlite3_free(z);
}

static int freed;
static void count_free(void *p) {
  freed++;
  free(p);
}

static void test_formatting(void) {
  char small[8], *z;
#define F(...) z = sqlite3_mprintf(__VA_ARGS__), printf("[%s]\n", z), sqlite3_free(z)
  F("plain %% %d %5d|%-5d|%05d|%+d|% d", 1, 2, 3, 4, 5, 6);
  F("%u %x %X %o %#x %lld %llu %ld", 7u, 255, 255, 8, 255, -9000000000000LL, 18446744073709551615ULL, 5L);
  F("%s|%10s|%-10s|%.2s|%.*s|%s", "a", "right", "left", "precise", 3, "stars", (char *)0);
  F("%c|%5c|%.3c", 'x', 'y', 'z');
  F("%q|%Q|%w|%q|%Q", "it's", "it's", "a\"b", (char *)0, (char *)0);
  F("%10q|%-10Q|%.3q", "a'b", "c", "x'yz");
  F("%f|%.2f|%8.3f|%-8.1f|%e|%g|%g", 1.5, 2.345, 3.14159, 2.5, 12345.678, 0.0001, 1e20);
  F("%!.15g|%!.15g|%!.15g|%!g", 1.0, 0.1, 1e100, 3.0);
  F("%z", sqlite3_mprintf("freed by %s", "the format"));
  printf("[%s]\n", sqlite3_snprintf(sizeof small, small, "%s", "truncated"));
  printf("[%s]\n", sqlite3_snprintf(sizeof small, small, "%d", 42));
  z = sqlite3_malloc(10);
  strcpy(z, "memory");
  z = sqlite3_realloc(z, 1000);
  printf("%s %d\n", z, sqlite3_malloc(0) == NULL);
  sqlite3_free(z);
  z = sqlite3_realloc64(sqlite3_malloc64(1), 5);
  sqlite3_free(z);
  sqlite3_free(NULL);
  printf("%d %d %d\n", sqlite3_stricmp("abc", "ABC"), sqlite3_strnicmp("abcd", "ABCE", 3),
         sqlite3_stricmp("a", "b") < 0);
  char random[300] = {0};
  sqlite3_randomness(sizeof random, random);
  printf("sleep %d\n", sqlite3_sleep(1));
}

static void test_complete(void) {
  static const char *const texts[] = {
      "", ";", "select 1", "select 1;", "select 1; -- comment", "select ';", "select ';';",
      "/* ; */", "/* ; */;", "create trigger t after insert on x begin select 1;",
      "create trigger t after insert on x begin select 1; end", "create trigger t after insert on x begin select 1; end;",
      "create temp trigger t begin select 1; END ;", "explain create trigger t begin select 1;",
      "create table t(a);", "explain select 1;", "select [;", "select [;];", "select \"a;", "select `a;`;",
      "create trigger t begin select case 1 when 1 then 2 end; end;", "select 1 -- ;", "select 1 /* ;"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    printf("complete %d [%s]\n", sqlite3_complete(texts[i]), texts[i]);
}

static void test_errors(void) {
  for (int i = 0; i <= 28; i++) printf("errstr %d %s\n", i, sqlite3_errstr(i));
  printf("errstr %s %s %s %s\n", sqlite3_errstr(100), sqlite3_errstr(101), sqlite3_errstr(516), sqlite3_errstr(2067));
  sqlite3_stmt *s = NULL;
  run("create table c(a integer primary key, u unique, n not null, k check (k > 0), p references c(a))");
  run("insert into c values(1, 2, 3, 4, null)");
  run("insert into c values(1, 5, 3, 4, null)");
  run("insert into c values(2, 2, 3, 4, null)");
  run("insert into c values(2, 5, null, 4, null)");
  run("insert into c values(2, 5, 3, 0, null)");
  run("insert into c values(2, 5, 3, 1, 99)");
  run("insert into c values('text', 5, 3, 1, 99)");
  run("select * frm c");
  run("select missing from c");
  run("select * from missing");
  run("select 1; selec 2; select 3");
  run("selec");
  run("select 'open");
  run("insert into c values(1)");
  run("commit");
  run("rollback");
  s = prepare("select nothing(1)");
  printf("  %d\n", s == NULL);
  sqlite3_extended_result_codes(db, 1);
  printf("  extended %d", sqlite3_exec(db, "insert into c values(1, 5, 3, 4, null)", 0, 0, 0));
  printf(" %d\n", sqlite3_errcode(db));
  sqlite3_extended_result_codes(db, 0);
  s = prepare("insert into c values(?, 2, 3, 4, null)");
  sqlite3_bind_int(s, 1, 1);
  say("constraint", sqlite3_step(s));
  say("reset", sqlite3_reset(s));
  say("reset again", sqlite3_reset(s));
  sqlite3_bind_int(s, 1, 3);
  say("constraint", sqlite3_step(s));
  say("finalize", sqlite3_finalize(s));
  sqlite3_prepare(db, "insert into c values(1, 2, 3, 4, null)", -1, &s, NULL);
  say("legacy step", sqlite3_step(s));
  say("legacy reset", sqlite3_reset(s));
  say("legacy finalize", sqlite3_finalize(s));
  say("null statements", sqlite3_finalize(NULL) + sqlite3_reset(NULL));
  s = prepare("select ?1");
  say("range", sqlite3_bind_int(s, 2, 1));
  say("range", sqlite3_bind_int(s, 0, 1));
  say("row", sqlite3_step(s));
  say("bind while running", sqlite3_bind_int(s, 1, 1));
  printf("  %d\n", sqlite3_column_type(s, 5));
  say("column out of range", 0);
  say("close", sqlite3_close(db));
  sqlite3_reset(s);
  sqlite3_finalize(s);
}

static void test_values(void) {
  run("create table v(id integer primary key, a, b text, c real, d blob, e varchar(10) default 'x')");
  sqlite3_stmt *s = prepare("insert into v(a, b, c, d) values(?, ?2, :c, @d) ; select 1");
  columns(s);
  expanded(s);
  sqlite3_bind_int(s, 1, -7);
  sqlite3_bind_text(s, 2, "it's text", -1, SQLITE_STATIC);
  sqlite3_bind_double(s, sqlite3_bind_parameter_index(s, ":c"), 1.5);
  sqlite3_bind_blob(s, sqlite3_bind_parameter_index(s, "@d"), "\x00\xff\x10", 3, SQLITE_TRANSIENT);
  expanded(s);
  steps(s);
  counters();
  sqlite3_reset(s);
  sqlite3_bind_int64(s, 1, 9223372036854775807LL);
  sqlite3_bind_null(s, 2);
  sqlite3_bind_double(s, 3, 1e300);
  sqlite3_bind_zeroblob(s, 4, 4);
  expanded(s);
  steps(s);
  sqlite3_reset(s);
  sqlite3_clear_bindings(s);
  expanded(s);
  steps(s);
  sqlite3_reset(s);
  sqlite3_bind_text(s, 1, "abc", 2, SQLITE_TRANSIENT);
  sqlite3_bind_text64(s, 2, "12.75e1 and more", 16, SQLITE_STATIC, SQLITE_UTF8);
  sqlite3_bind_text(s, 3, " 42 ", -1, SQLITE_STATIC);
  sqlite3_bind_blob64(s, 4, "", 0, SQLITE_STATIC);
  steps(s);
  sqlite3_reset(s);
  sqlite3_bind_text(s, 1, strdup("mine"), -1, count_free);
  sqlite3_bind_text(s, 2, "", 0, SQLITE_STATIC);
  sqlite3_bind_text(s, 3, NULL, 0, SQLITE_STATIC);
  sqlite3_bind_blob(s, 4, NULL, 5, SQLITE_STATIC);
  steps(s);
  sqlite3_reset(s);
  printf("  freed %d", freed);
  sqlite3_bind_int(s, 1, 1);
  printf(" %d", freed);
  sqlite3_bind_text(s, 2, strdup("more"), -1, count_free);
  say(" bind", sqlite3_bind_text(s, 9, strdup("out of range"), -1, count_free));
  sqlite3_finalize(s);
  printf("  freed %d\n", freed);

  s = prepare("select *, id * 1.0 / 3 as third, typeof(a), '' as empty, x'' from v order by id");
  columns(s);
  steps(s);
  steps(s);
  sqlite3_finalize(s);

  s = prepare("select 1e15, 1e16, 123456789012345678, -0.0, 1e-5, 0.1, 100.0, 1e999, -1e999, 3.0e-10, 'a' || char(0) || 'b', '9223372036854775808', '-5e2x', '0x10', '.5', '5.', '+7', 'abc', x'3132', 2147483648, -9223372036854775808, 9.3e18");
  steps(s);
  sqlite3_finalize(s);

  /* Text before the number, and the other way round. */
  s = prepare("select 'a', 'b', 'c' union all select 'dd', 'ee', 'ff' union all select 1, x'', 'gg'");
  while (sqlite3_step(s) == SQLITE_ROW) {
    printf("  %s", sqlite3_column_text(s, 2));
    printf(" %s", sqlite3_column_text(s, 0));
    printf(" %d", sqlite3_column_bytes(s, 1));
    const char *z = (const char *)sqlite3_column_text(s, 1);
    printf(" %s\n", z ? z : "(null)");
  }
  sqlite3_finalize(s);

  sqlite3_stmt *from = prepare("select a, b, c, d from v order by id");
  sqlite3_stmt *to = prepare("insert into v(a, b, c, d) values($a, $b::x(1), ?7, #)");
  sqlite3_finalize(to);
  to = prepare("insert into v(a, b, c, d) values($a, $b::x(1), ?7, ?)");
  columns(to);
  for (int i = 0; i < 3 && sqlite3_step(from) == SQLITE_ROW; i++) {
    sqlite3_bind_value(to, 1, sqlite3_column_value(from, 0));
    sqlite3_bind_value(to, 2, sqlite3_column_value(from, 1));
    sqlite3_bind_value(to, 7, sqlite3_column_value(from, 2));
    sqlite3_bind_value(to, 8, sqlite3_column_value(from, 3));
    expanded(to);
    steps(to);
    sqlite3_reset(to);
  }
  sqlite3_finalize(from);
  sqlite3_finalize(to);
  counters();
  s = prepare("select ?5, ?1, :x, ?, :x, ?2");
  columns(s);
  for (int i = 1; i <= sqlite3_bind_parameter_count(s); i++) sqlite3_bind_int(s, i, i * 10);
  steps(s);
  sqlite3_finalize(s);
}

static void test_tails(void) {
  static const char *const texts[] = {
      "select 1; select 2", "  select 1 ;  ", ";;select 1", "-- only a comment", "", "  ;  ", "/* a */ select ';' ; x",
      "select \"a;b\" from (select 1 as \"a;b\"); rest", "select 1 /* ; */ + 2; rest", "select 1 -- ;\n + 2; rest",
      "create trigger tails after insert on v begin select 1; delete from v where 0; end; select 3",
      "explain create trigger tails2 after insert on v begin select 1; end; select 4",
      "create temp table if not exists [a;b](x); rest", "select 'it''s;' ; rest", "select `a;` from (select 2 as `a;`); rest"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    if (strstr(texts[i], "temp")) continue; /* the grant allows no temporary objects */
    sqlite3_stmt *s = prepare(texts[i]);
    if (s) expanded(s);
    sqlite3_finalize(s);
  }
  sqlite3_stmt *s;
  const char *tail;
  say("nByte", sqlite3_prepare_v3(db, "select 12345", 9, SQLITE_PREPARE_PERSISTENT, &s, &tail));
  printf("  [%s] [%s]\n", sqlite3_sql(s), tail);
  steps(s);
  sqlite3_finalize(s);
  /* As the shell reads a script. */
  for (tail = "create table s(x); insert into s values(1),(2); -- comment\n select x from s; "; *tail;) {
    say("script", sqlite3_prepare_v2(db, tail, -1, &s, &tail));
    if (s) steps(s);
    sqlite3_finalize(s);
  }
}

static void test_transactions(void) {
  printf("txn %d %d %d\n", sqlite3_txn_state(db, NULL), sqlite3_txn_state(db, "main"), sqlite3_txn_state(db, "no"));
  run("begin");
  printf("txn %d\n", sqlite3_txn_state(db, NULL));
  run("select count(*) from c");
  printf("txn %d\n", sqlite3_txn_state(db, NULL));
  run("insert into s values(3)");
  printf("txn %d\n", sqlite3_txn_state(db, NULL));
  run("begin");
  run("savepoint a; insert into s values(4); rollback to a; release a");
  run("commit");
  run("begin immediate; insert into s values(5), (6); rollback");
  run("begin exclusive; insert into s values(5); end transaction");
  run("insert or rollback into c values(1, 2, 3, 4, null)");
  run("select x from s");
  run("update s set x = x + 1 where x > 1");
  run("delete from s where x = 99");
  run("replace into c values(1, 2, 3, 4, null)");
  run("with t as (select 7 as y) insert into s select y from t");
  run("with t as (select replace('a', 'a', 'b') as y) select y from t");
  run("with t as (select 8 as y) insert into s select y from t returning x, rowid");
  run("insert into s values(9), (10) returning x");
  run("delete from s where x > 8 returning x as gone");
  run("create table copy as select * from s");
  run("create index i on s(x); drop index i; alter table s add column y; drop table copy");
  sqlite3_stmt *s = prepare("explain query plan select * from s where x = 1");
  columns(s);
  sqlite3_finalize(s);
  s = prepare("explain select 1");
  columns(s);
  sqlite3_finalize(s);
  s = prepare("insert into s(x) values(?) returning x + 1 as more");
  columns(s);
  sqlite3_bind_int(s, 1, 20);
  steps(s);
  sqlite3_finalize(s);
  counters();
}

static void test_schema_changes(void) {
  run("create table w(a); insert into w values(1)");
  sqlite3_stmt *s = prepare("select * from w");
  columns(s);
  steps(s);
  sqlite3_reset(s);
  run("alter table w add column b default 'new'");
  steps(s);
  sqlite3_reset(s);
  sqlite3_step(s);
  columns(s);
  sqlite3_finalize(s);
  run("drop table w");
}

static void test_tables(void) {
  char **table = NULL, *message = NULL;
  int rows = 0, width = 0;
  int rc = sqlite3_get_table(db, "select x, y from s order by x; select 1, 'a'", &table, &rows, &width, &message);
  printf("table %d %d %d %s\n", rc, rows, width, message ? message : "(null)");
  for (int i = 0; i < (rows + 1) * width; i++) printf("  [%s]\n", table[i] ? table[i] : "(null)");
  sqlite3_free_table(table);
  rc = sqlite3_get_table(db, "select x from s where 0", &table, &rows, &width, &message);
  printf("table %d %d %d %d\n", rc, rows, width, table != NULL);
  sqlite3_free_table(table);
  rc = sqlite3_get_table(db, "select 1; select 2, 3", &table, &rows, &width, &message);
  printf("table %d %d %d %s\n", rc, rows, width, message ? message : "(null)");
  sqlite3_free(message);
  message = NULL;
  rc = sqlite3_get_table(db, "selec", &table, &rows, &width, &message);
  printf("table %d %d %d %s\n", rc, rows, width, message ? message : "(null)");
  sqlite3_free(message);
  int left = 2;
  say("stopped", sqlite3_exec(db, "select 1; select 2; select 3", stop, &left, &message));
  printf("  left %d %s\n", left, message);
  sqlite3_free(message);
  say("null", sqlite3_exec(db, NULL, NULL, NULL, NULL));
  say("comments", sqlite3_exec(db, " ; -- nothing\n ;; ", NULL, NULL, NULL));
  say("parameters", sqlite3_exec(db, "insert into s(x) values(?)", NULL, NULL, NULL));
}

static int asked;
static int ask(void *arg, int n) {
  (void)arg, (void)n;
  return ++asked < 3;
}

static void test_statements(void) {
  sqlite3_stmt *s[200];
  char sql[40];
  int sum = 0;
  for (int i = 0; i < 200; i++) {
    sqlite3_snprintf(sizeof sql, sql, "select %d, ?1", i);
    if (sqlite3_prepare_v2(db, sql, -1, &s[i], NULL)) say(sql, 0);
    sqlite3_bind_int(s[i], 1, i);
  }
  for (int i = 0; i < 200; i++)
    for (; sqlite3_step(s[i]) == SQLITE_ROW; sum++) sum += sqlite3_column_int(s[i], 0) + sqlite3_column_int(s[i], 1);
  int open = 0;
  for (sqlite3_stmt *t = sqlite3_next_stmt(db, NULL); t; t = sqlite3_next_stmt(db, t)) open++;
  printf("200 statements: sum %d, open %d, handle %d\n", sum, open, sqlite3_db_handle(s[7]) == db);
  for (int i = 0; i < 200; i++) sqlite3_finalize(s[i]);
  printf("next %d\n", sqlite3_next_stmt(db, NULL) == NULL);

  /* More rows than a page, and an interrupt in the middle. */
  sqlite3_stmt *many = prepare("with recursive n(i) as (select 1 union all select i + 1 from n where i < 100000) select i, 'row ' || i from n");
  long long total = 0, bytes = 0;
  while (sqlite3_step(many) == SQLITE_ROW) {
    total += sqlite3_column_int64(many, 0);
    bytes += (long long)strlen((const char *)sqlite3_column_text(many, 1));
  }
  printf("total %lld bytes %lld\n", total, bytes);
  sqlite3_reset(many);
  for (int i = 0; i < 70; i++) sqlite3_step(many);
  printf("at %s,", sqlite3_column_text(many, 1));
  printf(" reset %d\n", sqlite3_reset(many));
  sqlite3_step(many);
  sqlite3_interrupt(db);
  say("interrupted", sqlite3_step(many));
  say("reset", sqlite3_reset(many));
  say("step", sqlite3_step(many));
  sqlite3_finalize(many);
  sqlite3_interrupt(db);
  run("select 'not interrupted'");

  /* A read that goes on while its connection writes. */
  sqlite3_stmt *ids = prepare("select id from v order by id");
  sqlite3_stmt *update = prepare("update v set e = 'seen ' || id where id = ?");
  while (sqlite3_step(ids) == SQLITE_ROW) {
    sqlite3_bind_int64(update, 1, sqlite3_column_int64(ids, 0));
    sqlite3_step(update);
    sqlite3_reset(update);
  }
  sqlite3_finalize(ids);
  sqlite3_finalize(update);
  run("select group_concat(e) from v");
}

static void test_connections(const char *name) {
  sqlite3 *second = NULL, *reader = NULL;
  printf("open %d\n", sqlite3_open_v2(name, &reader, SQLITE_OPEN_READONLY, NULL));
  printf("read only %d %d %d %d\n", sqlite3_db_readonly(reader, "main"), sqlite3_db_readonly(db, "main"),
         sqlite3_db_readonly(db, NULL), sqlite3_db_readonly(db, "no"));
  int rc = sqlite3_exec(reader, "select count(*) from s", print_row, "reader", NULL);
  printf("read %d\n", rc);
  printf("write %d\n", sqlite3_exec(reader, "insert into s values(1, 1)", 0, 0, 0) != SQLITE_OK);
  sqlite3_close(reader);

  printf("open %d\n", sqlite3_open(name, &second));
  sqlite3_busy_timeout(second, 10);
  run("begin immediate");
  rc = sqlite3_exec(second, "insert into s values(1, 1)", 0, 0, 0);
  printf("busy %d %s\n", rc, sqlite3_errstr(rc));
  sqlite3_busy_handler(second, ask, NULL);
  rc = sqlite3_exec(second, "begin immediate", 0, 0, 0);
  printf("busy %d, asked %d\n", rc, asked);
  run("commit");
  rc = sqlite3_exec(second, "insert into s values(1, 1)", 0, 0, 0);
  printf("free %d, changes here %d, there %d\n", rc, sqlite3_changes(second), sqlite3_changes(db));
  /* A snapshot that is too old. */
  sqlite3_exec(second, "begin; select * from s", 0, 0, 0);
  run("insert into s values(2, 2)");
  rc = sqlite3_exec(second, "insert into s values(3, 3)", 0, 0, 0);
  printf("snapshot %d %d %s\n", rc, sqlite3_extended_errcode(second), sqlite3_errstr(rc));
  printf("rollback %d\n", sqlite3_exec(second, "rollback", 0, 0, 0));
  sqlite3_stmt *s = NULL;
  sqlite3_prepare_v2(second, "select 'after close_v2'", -1, &s, NULL);
  printf("close %d", sqlite3_close_v2(second));
  printf(" step %d", sqlite3_step(s));
  printf(" %s", sqlite3_column_text(s, 0));
  printf(" finalize %d\n", sqlite3_finalize(s));
  printf("null %d %d\n", sqlite3_close(NULL), sqlite3_close_v2(NULL));
  printf("name %s %s %s\n", sqlite3_db_name(db, 0), sqlite3_db_name(db, 1), sqlite3_db_name(db, 9) ? "?" : "(null)");
  printf("limit %d %d\n", sqlite3_limit(db, SQLITE_LIMIT_COLUMN, -1), sqlite3_limit(db, 99, -1));
}

int main(int argc, char **argv) {
  const char *name = argc > 1 ? argv[1] : "default";
  int rc = sqlite3_open_v2(name, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL);
  say("open", rc);
  printf("version %d %d, initialize %d\n", strcmp(sqlite3_libversion(), SQLITE_VERSION),
         sqlite3_libversion_number() == SQLITE_VERSION_NUMBER, sqlite3_initialize());
#ifndef MILLPOND
  /* As the host opens databases. */
  sqlite3_exec(db, "pragma journal_mode = wal; pragma foreign_keys = on", 0, 0, 0);
#endif
  test_formatting();
  test_complete();
  test_errors();
  test_values();
  test_tails();
  test_transactions();
  test_schema_changes();
  test_tables();
  test_statements();
  test_connections(name);
  say("close", 0);
  printf("close %d\n", sqlite3_close(db));
  return 0;
}
