"""The component that runs CPython's tests of sqlite3 against millpond.

Its top level runs when the component is built, and imports everything that the tests need: at run
time there are no files. It prints one line for each test, which `tests/run` reads.
"""

import sys

import databases  # aliases sqlite3; before the tests

# Imported late by the tests or the standard library.
import array  # noqa: F401
import encodings.idna  # noqa: F401
import tempfile  # noqa: F401
import traceback
import unittest
import warnings

sys.argv = ["tests"]
MODULES = [
    __import__(f"test.test_sqlite3.test_{name}", fromlist=["*"])
    for name in (
        "backup dbapi dump factory hooks regression transactions types userfunctions".split()
    )
]

import test_millpond  # noqa: E402
from wit_world import exports  # noqa: E402

MODULES.append(test_millpond)


class Result(unittest.TestResult):
    """Prints what became of each test, once it is over."""

    def startTest(self, test):
        super().startTest(test)
        self.outcome = ("pass", "")
        databases.reset()

    def stopTest(self, test):
        name = test.id().removeprefix("test.test_sqlite3.")
        print("\t".join((self.outcome[0], name, self.outcome[1])), flush=True)
        super().stopTest(test)

    def addError(self, test, error):
        self.failed(error)

    addFailure = addError

    def addSubTest(self, test, subtest, error):
        if error is not None:
            self.failed(error)

    def addSkip(self, test, reason):
        self.outcome = ("skip", reason)

    def failed(self, error):
        text = "".join(traceback.format_exception_only(error[0], error[1])).strip()
        place = traceback.extract_tb(error[2])
        lines = [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in place]
        self.outcome = ("fail", " < ".join([text.replace("\n", " ").replace("\t", " ")[:300], *lines[::-1]]))


class Run(exports.Run):
    """`wasi:cli/run`."""

    def run(self) -> None:
        warnings.simplefilter("ignore", ResourceWarning)
        suite = unittest.TestSuite()
        for module in MODULES:
            suite.addTests(unittest.defaultTestLoader.loadTestsFromModule(module))
        suite.run(Result())
