"""`sqlite3` as another name of millpond, and the tests' paths as names of granted databases.

Each `connect(":memory:")` gets a granted database of its own, emptied before; it is free again when
the connection is closed or collected. The path of the tests' one file is the database `file`,
emptied before each test. Any other path reaches millpond as it is.
"""

import gc
import sys
import types
from os import fspath

import millpond
from millpond import connection as implementation

MEMORY = 12
FILE = "@test"

free = [f"memory{index}" for index in range(MEMORY)]
file_used = False


class Lease:
    """A database of `free`, until this is collected or released."""

    def __init__(self):
        if not free:
            gc.collect()
        self.name = free.pop(0)
        empty(self.name)

    def release(self):
        if self.name is not None:
            name, self.name = self.name, None
            free.append(name)

    __del__ = release


def empty(name):
    """Drop everything in a database."""
    db = millpond.Connection.__new__(millpond.Connection)
    original_init(db, name, isolation_level=None)
    try:
        db.execute("PRAGMA defer_foreign_keys = ON")
        for kind in ("trigger", "view", "table"):
            sql = (f"SELECT name FROM sqlite_master WHERE type = '{kind}' "
                   "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")
            for (item,) in db.execute(sql).fetchall():
                db.execute(f"DROP {kind} IF EXISTS " + '"' + item.replace('"', '""') + '"')
    finally:
        db.close()


def reset():
    """Before each test."""
    global file_used
    if file_used:
        gc.collect()
        empty("file")
        file_used = False


original_init = implementation.Connection.__init__
original_return = implementation.Connection._return


def init(self, database, *arguments, **options):
    global file_used
    database = fspath(database)
    lease = None
    if isinstance(database, str) and database == ":memory:":
        lease = Lease()
        database = lease.name
    elif isinstance(database, str) and FILE in database:
        file_used = True
        path, _, query = database.partition("?")
        database = ("file:file" if path.startswith("file:") else "file") + (query and "?" + query)
    original_init(self, database, *arguments, **options)
    self._lease = lease


def give_back(self):
    original_return(self)
    lease = getattr(self, "_lease", None)
    if lease is not None:
        lease.release()


implementation.Connection.__init__ = init
implementation.Connection._return = give_back

sqlite3 = types.ModuleType("sqlite3")
sqlite3.__dict__.update({k: v for k, v in vars(millpond).items() if not k.startswith("__")})
sqlite3.__getattr__ = millpond.__getattr__
sys.modules["sqlite3"] = sqlite3

# Of CPython's own test helpers in C, the tests need two numbers.
testcapi = types.ModuleType("_testcapi")
testcapi.INT_MAX = 2**31 - 1
testcapi.ULLONG_MAX = 2**64 - 1
sys.modules["_testcapi"] = testcapi
