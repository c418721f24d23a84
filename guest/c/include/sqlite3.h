/*
** Millpond's C library: the part of SQLite's C interface that works through the contract in wit/.
**
** The names, values and meanings are SQLite's: see https://sqlite.org/c3ref/intro.html. The README
** lists what differs. Functions that cannot work in a component either return an error or are
** missing here, so that the compiler reports them.
*/
#ifndef SQLITE3_H
#define SQLITE3_H
#include <stdarg.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef SQLITE_EXTERN
#define SQLITE_EXTERN extern
#endif
#ifndef SQLITE_API
#define SQLITE_API
#endif

/* The version of this interface, not of the host's SQLite. */
#define SQLITE_VERSION "3.40.1"
#define SQLITE_VERSION_NUMBER 3040001
#define SQLITE_SOURCE_ID "millpond 0.1.0"

typedef long long int sqlite_int64;
typedef unsigned long long int sqlite_uint64;
typedef sqlite_int64 sqlite3_int64;
typedef sqlite_uint64 sqlite3_uint64;

typedef struct sqlite3 sqlite3;
typedef struct sqlite3_stmt sqlite3_stmt;
typedef struct sqlite3_value sqlite3_value;
typedef struct sqlite3_context sqlite3_context;
typedef struct sqlite3_blob sqlite3_blob;
typedef struct sqlite3_backup sqlite3_backup;

typedef int (*sqlite3_callback)(void *, int, char **, char **);
typedef void (*sqlite3_destructor_type)(void *);

#define SQLITE_STATIC ((sqlite3_destructor_type)0)
#define SQLITE_TRANSIENT ((sqlite3_destructor_type)-1)

/* Result codes: https://sqlite.org/rescode.html */
#define SQLITE_OK 0
#define SQLITE_ERROR 1
#define SQLITE_INTERNAL 2
#define SQLITE_PERM 3
#define SQLITE_ABORT 4
#define SQLITE_BUSY 5
#define SQLITE_LOCKED 6
#define SQLITE_NOMEM 7
#define SQLITE_READONLY 8
#define SQLITE_INTERRUPT 9
#define SQLITE_IOERR 10
#define SQLITE_CORRUPT 11
#define SQLITE_NOTFOUND 12
#define SQLITE_FULL 13
#define SQLITE_CANTOPEN 14
#define SQLITE_PROTOCOL 15
#define SQLITE_EMPTY 16
#define SQLITE_SCHEMA 17
#define SQLITE_TOOBIG 18
#define SQLITE_CONSTRAINT 19
#define SQLITE_MISMATCH 20
#define SQLITE_MISUSE 21
#define SQLITE_NOLFS 22
#define SQLITE_AUTH 23
#define SQLITE_FORMAT 24
#define SQLITE_RANGE 25
#define SQLITE_NOTADB 26
#define SQLITE_NOTICE 27
#define SQLITE_WARNING 28
#define SQLITE_ROW 100
#define SQLITE_DONE 101

#define SQLITE_ERROR_MISSING_COLLSEQ (SQLITE_ERROR | (1 << 8))
#define SQLITE_ERROR_RETRY (SQLITE_ERROR | (2 << 8))
#define SQLITE_ERROR_SNAPSHOT (SQLITE_ERROR | (3 << 8))
#define SQLITE_IOERR_READ (SQLITE_IOERR | (1 << 8))
#define SQLITE_IOERR_SHORT_READ (SQLITE_IOERR | (2 << 8))
#define SQLITE_IOERR_WRITE (SQLITE_IOERR | (3 << 8))
#define SQLITE_IOERR_FSYNC (SQLITE_IOERR | (4 << 8))
#define SQLITE_IOERR_NOMEM (SQLITE_IOERR | (12 << 8))
#define SQLITE_IOERR_CORRUPTFS (SQLITE_IOERR | (33 << 8))
#define SQLITE_LOCKED_SHAREDCACHE (SQLITE_LOCKED | (1 << 8))
#define SQLITE_LOCKED_VTAB (SQLITE_LOCKED | (2 << 8))
#define SQLITE_BUSY_RECOVERY (SQLITE_BUSY | (1 << 8))
#define SQLITE_BUSY_SNAPSHOT (SQLITE_BUSY | (2 << 8))
#define SQLITE_BUSY_TIMEOUT (SQLITE_BUSY | (3 << 8))
#define SQLITE_CANTOPEN_NOTEMPDIR (SQLITE_CANTOPEN | (1 << 8))
#define SQLITE_CANTOPEN_ISDIR (SQLITE_CANTOPEN | (2 << 8))
#define SQLITE_CANTOPEN_FULLPATH (SQLITE_CANTOPEN | (3 << 8))
#define SQLITE_CORRUPT_VTAB (SQLITE_CORRUPT | (1 << 8))
#define SQLITE_CORRUPT_INDEX (SQLITE_CORRUPT | (3 << 8))
#define SQLITE_READONLY_RECOVERY (SQLITE_READONLY | (1 << 8))
#define SQLITE_READONLY_CANTLOCK (SQLITE_READONLY | (2 << 8))
#define SQLITE_READONLY_ROLLBACK (SQLITE_READONLY | (3 << 8))
#define SQLITE_READONLY_DBMOVED (SQLITE_READONLY | (4 << 8))
#define SQLITE_ABORT_ROLLBACK (SQLITE_ABORT | (2 << 8))
#define SQLITE_CONSTRAINT_CHECK (SQLITE_CONSTRAINT | (1 << 8))
#define SQLITE_CONSTRAINT_COMMITHOOK (SQLITE_CONSTRAINT | (2 << 8))
#define SQLITE_CONSTRAINT_FOREIGNKEY (SQLITE_CONSTRAINT | (3 << 8))
#define SQLITE_CONSTRAINT_FUNCTION (SQLITE_CONSTRAINT | (4 << 8))
#define SQLITE_CONSTRAINT_NOTNULL (SQLITE_CONSTRAINT | (5 << 8))
#define SQLITE_CONSTRAINT_PRIMARYKEY (SQLITE_CONSTRAINT | (6 << 8))
#define SQLITE_CONSTRAINT_TRIGGER (SQLITE_CONSTRAINT | (7 << 8))
#define SQLITE_CONSTRAINT_UNIQUE (SQLITE_CONSTRAINT | (8 << 8))
#define SQLITE_CONSTRAINT_VTAB (SQLITE_CONSTRAINT | (9 << 8))
#define SQLITE_CONSTRAINT_ROWID (SQLITE_CONSTRAINT | (10 << 8))
#define SQLITE_CONSTRAINT_PINNED (SQLITE_CONSTRAINT | (11 << 8))
#define SQLITE_CONSTRAINT_DATATYPE (SQLITE_CONSTRAINT | (12 << 8))
#define SQLITE_AUTH_USER (SQLITE_AUTH | (1 << 8))

/* Flags of sqlite3_open_v2. READONLY, READWRITE, CREATE and URI have an effect. */
#define SQLITE_OPEN_READONLY 0x00000001
#define SQLITE_OPEN_READWRITE 0x00000002
#define SQLITE_OPEN_CREATE 0x00000004
#define SQLITE_OPEN_URI 0x00000040
#define SQLITE_OPEN_MEMORY 0x00000080
#define SQLITE_OPEN_NOMUTEX 0x00008000
#define SQLITE_OPEN_FULLMUTEX 0x00010000
#define SQLITE_OPEN_SHAREDCACHE 0x00020000
#define SQLITE_OPEN_PRIVATECACHE 0x00040000
#define SQLITE_OPEN_NOFOLLOW 0x01000000
#define SQLITE_OPEN_EXRESCODE 0x02000000

/* Types of values. */
#define SQLITE_INTEGER 1
#define SQLITE_FLOAT 2
#define SQLITE_BLOB 4
#define SQLITE_NULL 5
#define SQLITE_TEXT 3
#define SQLITE3_TEXT 3

/* Text encodings. Only UTF-8 is supported. */
#define SQLITE_UTF8 1
#define SQLITE_UTF16LE 2
#define SQLITE_UTF16BE 3
#define SQLITE_UTF16 4
#define SQLITE_ANY 5
#define SQLITE_DETERMINISTIC 0x000000800
#define SQLITE_DIRECTONLY 0x000080000
#define SQLITE_INNOCUOUS 0x000200000

#define SQLITE_PREPARE_PERSISTENT 0x01
#define SQLITE_PREPARE_NORMALIZE 0x02
#define SQLITE_PREPARE_NO_VTAB 0x04

#define SQLITE_LIMIT_LENGTH 0
#define SQLITE_LIMIT_SQL_LENGTH 1
#define SQLITE_LIMIT_COLUMN 2
#define SQLITE_LIMIT_EXPR_DEPTH 3
#define SQLITE_LIMIT_COMPOUND_SELECT 4
#define SQLITE_LIMIT_VDBE_OP 5
#define SQLITE_LIMIT_FUNCTION_ARG 6
#define SQLITE_LIMIT_ATTACHED 7
#define SQLITE_LIMIT_LIKE_PATTERN_LENGTH 8
#define SQLITE_LIMIT_VARIABLE_NUMBER 9
#define SQLITE_LIMIT_TRIGGER_DEPTH 10
#define SQLITE_LIMIT_WORKER_THREADS 11

#define SQLITE_TXN_NONE 0
#define SQLITE_TXN_READ 1
#define SQLITE_TXN_WRITE 2

#define SQLITE_CHECKPOINT_PASSIVE 0
#define SQLITE_CHECKPOINT_FULL 1
#define SQLITE_CHECKPOINT_RESTART 2
#define SQLITE_CHECKPOINT_TRUNCATE 3

/* The library */
SQLITE_API const char *sqlite3_libversion(void);
SQLITE_API int sqlite3_libversion_number(void);
SQLITE_API const char *sqlite3_sourceid(void);
SQLITE_API int sqlite3_threadsafe(void);
SQLITE_API int sqlite3_initialize(void);
SQLITE_API int sqlite3_shutdown(void);

/* Connections */
SQLITE_API int sqlite3_open(const char *filename, sqlite3 **ppDb);
SQLITE_API int sqlite3_open_v2(const char *filename, sqlite3 **ppDb, int flags, const char *zVfs);
SQLITE_API int sqlite3_close(sqlite3 *);
SQLITE_API int sqlite3_close_v2(sqlite3 *);
SQLITE_API int sqlite3_busy_timeout(sqlite3 *, int ms);
SQLITE_API int sqlite3_busy_handler(sqlite3 *, int (*)(void *, int), void *);
SQLITE_API void sqlite3_interrupt(sqlite3 *);
SQLITE_API int sqlite3_extended_result_codes(sqlite3 *, int onoff);
SQLITE_API int sqlite3_limit(sqlite3 *, int id, int newVal);
SQLITE_API int sqlite3_get_autocommit(sqlite3 *);
SQLITE_API int sqlite3_txn_state(sqlite3 *, const char *zSchema);
SQLITE_API int sqlite3_db_readonly(sqlite3 *, const char *zDbName);
SQLITE_API const char *sqlite3_db_name(sqlite3 *, int N);
SQLITE_API const char *sqlite3_db_filename(sqlite3 *, const char *zDbName);
SQLITE_API sqlite3_int64 sqlite3_last_insert_rowid(sqlite3 *);
SQLITE_API int sqlite3_changes(sqlite3 *);
SQLITE_API sqlite3_int64 sqlite3_changes64(sqlite3 *);
SQLITE_API int sqlite3_total_changes(sqlite3 *);
SQLITE_API sqlite3_int64 sqlite3_total_changes64(sqlite3 *);

/* Errors */
SQLITE_API int sqlite3_errcode(sqlite3 *);
SQLITE_API int sqlite3_extended_errcode(sqlite3 *);
SQLITE_API const char *sqlite3_errmsg(sqlite3 *);
SQLITE_API const char *sqlite3_errstr(int);
SQLITE_API int sqlite3_error_offset(sqlite3 *);

/* Running SQL */
SQLITE_API int sqlite3_exec(sqlite3 *, const char *sql, int (*callback)(void *, int, char **, char **),
                            void *, char **errmsg);
SQLITE_API int sqlite3_get_table(sqlite3 *, const char *zSql, char ***pazResult, int *pnRow,
                                 int *pnColumn, char **pzErrmsg);
SQLITE_API void sqlite3_free_table(char **result);
SQLITE_API int sqlite3_complete(const char *sql);

/* Statements */
SQLITE_API int sqlite3_prepare(sqlite3 *, const char *zSql, int nByte, sqlite3_stmt **,
                               const char **pzTail);
SQLITE_API int sqlite3_prepare_v2(sqlite3 *, const char *zSql, int nByte, sqlite3_stmt **,
                                  const char **pzTail);
SQLITE_API int sqlite3_prepare_v3(sqlite3 *, const char *zSql, int nByte, unsigned int prepFlags,
                                  sqlite3_stmt **, const char **pzTail);
SQLITE_API int sqlite3_step(sqlite3_stmt *);
SQLITE_API int sqlite3_reset(sqlite3_stmt *);
SQLITE_API int sqlite3_finalize(sqlite3_stmt *);
SQLITE_API const char *sqlite3_sql(sqlite3_stmt *);
SQLITE_API char *sqlite3_expanded_sql(sqlite3_stmt *);
SQLITE_API int sqlite3_stmt_readonly(sqlite3_stmt *);
SQLITE_API int sqlite3_stmt_isexplain(sqlite3_stmt *);
SQLITE_API int sqlite3_stmt_busy(sqlite3_stmt *);
SQLITE_API int sqlite3_expired(sqlite3_stmt *); /* deprecated; always 0, as in SQLite today */
SQLITE_API sqlite3 *sqlite3_db_handle(sqlite3_stmt *);
SQLITE_API sqlite3_stmt *sqlite3_next_stmt(sqlite3 *, sqlite3_stmt *);

/* Parameters */
SQLITE_API int sqlite3_bind_blob(sqlite3_stmt *, int, const void *, int n, void (*)(void *));
SQLITE_API int sqlite3_bind_blob64(sqlite3_stmt *, int, const void *, sqlite3_uint64,
                                   void (*)(void *));
SQLITE_API int sqlite3_bind_double(sqlite3_stmt *, int, double);
SQLITE_API int sqlite3_bind_int(sqlite3_stmt *, int, int);
SQLITE_API int sqlite3_bind_int64(sqlite3_stmt *, int, sqlite3_int64);
SQLITE_API int sqlite3_bind_null(sqlite3_stmt *, int);
SQLITE_API int sqlite3_bind_text(sqlite3_stmt *, int, const char *, int, void (*)(void *));
SQLITE_API int sqlite3_bind_text64(sqlite3_stmt *, int, const char *, sqlite3_uint64,
                                   void (*)(void *), unsigned char encoding);
SQLITE_API int sqlite3_bind_value(sqlite3_stmt *, int, const sqlite3_value *);
SQLITE_API int sqlite3_bind_zeroblob(sqlite3_stmt *, int, int n);
SQLITE_API int sqlite3_bind_zeroblob64(sqlite3_stmt *, int, sqlite3_uint64);
SQLITE_API int sqlite3_bind_parameter_count(sqlite3_stmt *);
SQLITE_API const char *sqlite3_bind_parameter_name(sqlite3_stmt *, int);
SQLITE_API int sqlite3_bind_parameter_index(sqlite3_stmt *, const char *zName);
SQLITE_API int sqlite3_clear_bindings(sqlite3_stmt *);

/* Columns */
SQLITE_API int sqlite3_column_count(sqlite3_stmt *);
SQLITE_API int sqlite3_data_count(sqlite3_stmt *);
SQLITE_API const char *sqlite3_column_name(sqlite3_stmt *, int N);
SQLITE_API const char *sqlite3_column_decltype(sqlite3_stmt *, int);
SQLITE_API const void *sqlite3_column_blob(sqlite3_stmt *, int iCol);
SQLITE_API double sqlite3_column_double(sqlite3_stmt *, int iCol);
SQLITE_API int sqlite3_column_int(sqlite3_stmt *, int iCol);
SQLITE_API sqlite3_int64 sqlite3_column_int64(sqlite3_stmt *, int iCol);
SQLITE_API const unsigned char *sqlite3_column_text(sqlite3_stmt *, int iCol);
SQLITE_API sqlite3_value *sqlite3_column_value(sqlite3_stmt *, int iCol);
SQLITE_API int sqlite3_column_bytes(sqlite3_stmt *, int iCol);
SQLITE_API int sqlite3_column_type(sqlite3_stmt *, int iCol);

/* Values */
SQLITE_API const void *sqlite3_value_blob(sqlite3_value *);
SQLITE_API double sqlite3_value_double(sqlite3_value *);
SQLITE_API int sqlite3_value_int(sqlite3_value *);
SQLITE_API sqlite3_int64 sqlite3_value_int64(sqlite3_value *);
SQLITE_API const unsigned char *sqlite3_value_text(sqlite3_value *);
SQLITE_API int sqlite3_value_bytes(sqlite3_value *);
SQLITE_API int sqlite3_value_type(sqlite3_value *);
SQLITE_API int sqlite3_value_numeric_type(sqlite3_value *);
SQLITE_API sqlite3_value *sqlite3_value_dup(const sqlite3_value *);
SQLITE_API void sqlite3_value_free(sqlite3_value *);

/* Memory and text */
SQLITE_API void *sqlite3_malloc(int);
SQLITE_API void *sqlite3_malloc64(sqlite3_uint64);
SQLITE_API void *sqlite3_realloc(void *, int);
SQLITE_API void *sqlite3_realloc64(void *, sqlite3_uint64);
SQLITE_API void sqlite3_free(void *);
SQLITE_API char *sqlite3_mprintf(const char *, ...);
SQLITE_API char *sqlite3_vmprintf(const char *, va_list);
SQLITE_API char *sqlite3_snprintf(int, char *, const char *, ...);
SQLITE_API char *sqlite3_vsnprintf(int, char *, const char *, va_list);
SQLITE_API int sqlite3_stricmp(const char *, const char *);
SQLITE_API int sqlite3_strnicmp(const char *, const char *, int);
SQLITE_API void sqlite3_randomness(int N, void *P);
SQLITE_API int sqlite3_sleep(int);

/*
** These compile, but a component cannot do what they ask. Each returns SQLITE_ERROR (or NULL), and
** sqlite3_errmsg says why.
*/
SQLITE_API int sqlite3_create_function(sqlite3 *, const char *zFunctionName, int nArg, int eTextRep,
                                       void *pApp,
                                       void (*xFunc)(sqlite3_context *, int, sqlite3_value **),
                                       void (*xStep)(sqlite3_context *, int, sqlite3_value **),
                                       void (*xFinal)(sqlite3_context *));
SQLITE_API int sqlite3_create_function_v2(
    sqlite3 *, const char *zFunctionName, int nArg, int eTextRep, void *pApp,
    void (*xFunc)(sqlite3_context *, int, sqlite3_value **),
    void (*xStep)(sqlite3_context *, int, sqlite3_value **), void (*xFinal)(sqlite3_context *),
    void (*xDestroy)(void *));
SQLITE_API int sqlite3_create_collation(sqlite3 *, const char *zName, int eTextRep, void *pArg,
                                        int (*xCompare)(void *, int, const void *, int,
                                                        const void *));
SQLITE_API int sqlite3_blob_open(sqlite3 *, const char *zDb, const char *zTable,
                                 const char *zColumn, sqlite3_int64 iRow, int flags,
                                 sqlite3_blob **ppBlob);
SQLITE_API sqlite3_backup *sqlite3_backup_init(sqlite3 *pDest, const char *zDestName,
                                               sqlite3 *pSource, const char *zSourceName);
SQLITE_API int sqlite3_load_extension(sqlite3 *, const char *zFile, const char *zProc,
                                      char **pzErrMsg);
SQLITE_API int sqlite3_enable_load_extension(sqlite3 *, int onoff);
SQLITE_API int sqlite3_wal_checkpoint(sqlite3 *, const char *zDb);
SQLITE_API int sqlite3_wal_checkpoint_v2(sqlite3 *, const char *zDb, int eMode, int *pnLog,
                                         int *pnCkpt);
SQLITE_API int sqlite3_wal_autocheckpoint(sqlite3 *, int N);
SQLITE_API int sqlite3_db_config(sqlite3 *, int op, ...);
SQLITE_API int sqlite3_file_control(sqlite3 *, const char *zDbName, int op, void *);

/*
** Millpond's own.
*/
#define MILLPOND 1

/* The kinds of error in the contract, in its order. See wit/connections.wit for each. */
#define MILLPOND_NO_ERROR (-1)
#define MILLPOND_NO_SUCH_DATABASE 0
#define MILLPOND_NOT_AUTHORIZED 1
#define MILLPOND_TOO_MANY_HANDLES 2
#define MILLPOND_POOL_TIMEOUT 3
#define MILLPOND_POOL_CLOSED 4
#define MILLPOND_BUSY 5
#define MILLPOND_BUSY_SNAPSHOT 6
#define MILLPOND_DEADLINE_EXCEEDED 7
#define MILLPOND_TOO_LARGE 8
#define MILLPOND_QUOTA_EXCEEDED 9
#define MILLPOND_CONSTRAINT_UNIQUE 10
#define MILLPOND_CONSTRAINT_PRIMARY_KEY 11
#define MILLPOND_CONSTRAINT_FOREIGN_KEY 12
#define MILLPOND_CONSTRAINT_NOT_NULL 13
#define MILLPOND_CONSTRAINT_CHECK 14
#define MILLPOND_CONSTRAINT_OTHER 15
#define MILLPOND_SQL 16
#define MILLPOND_PARAMETERS 17
#define MILLPOND_NOT_UTF8 18
#define MILLPOND_STALE_HANDLE 19
#define MILLPOND_CORRUPT 20
#define MILLPOND_IO 21
#define MILLPOND_UNSUPPORTED 22
#define MILLPOND_UNAVAILABLE 23
#define MILLPOND_OUTCOME_UNKNOWN 24
#define MILLPOND_OTHER 25

/*
** The contract's kind of the last error of this connection. MILLPOND_NO_ERROR if the last call
** succeeded, or if this library found the error itself (a misuse, an index out of range).
*/
int millpond_errkind(sqlite3 *);

/*
** Whether SQLite or the host rolled back the open transaction at the last error. Until you run
** ROLLBACK, every statement fails with SQLITE_ABORT_ROLLBACK.
*/
int millpond_rolled_back(sqlite3 *);

/*
** Run a statement once for each of many rows, all or none, in one call to the host.
**
** Bind a row's values as usual, then call millpond_add_row instead of sqlite3_step: it copies the
** values, and the statement stays ready for the next row. millpond_run_rows runs all added rows,
** and forgets them, whether it succeeds or fails; sqlite3_changes then counts all rows. It returns
** SQLITE_DONE, or an error after which none of the rows is written. sqlite3_reset and
** sqlite3_finalize forget rows that were not run.
**
** millpond_add_row returns SQLITE_TOOBIG if the added rows would exceed 16 MiB: run them first.
*/
int millpond_add_row(sqlite3_stmt *);
int millpond_run_rows(sqlite3_stmt *);

#ifdef __cplusplus
}
#endif
#endif
