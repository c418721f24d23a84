"""An HTTP handler of Spin's SDK for Python, with its SQLite."""

from componentize_py_types import Err
from spin_sdk import http, variables
from spin_sdk.http import Request, Response
from spin_sdk.sqlite import Connection, Value_Blob, Value_Integer, Value_Real, Value_Text
from spin_sdk.util import collect
from spin_sdk.wit.imports.spin_sqlite_sqlite_3_1_0 import Error_AccessDenied, Error_Io, Value_Null

ROWS = """WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)
    SELECT hex(zeroblob(250000)) FROM n"""


class HttpHandler(http.Handler):
    async def handle_request(self, request: Request) -> Response:
        path, _, query = request.uri.partition("?")
        answer = await ROUTES[path](query)
        return Response(200, {"content-type": "text/plain"}, answer.encode())


async def execute(db: Connection, sql: str, parameters: list) -> list:
    _, rows, end = await db.execute(sql, parameters)
    return await collect((rows, end))


async def add(name: str) -> str:
    with await Connection.open_default() as db:
        await execute(db, "CREATE TABLE IF NOT EXISTS names(id INTEGER PRIMARY KEY, name TEXT)", [])
        await execute(db, "BEGIN", [])
        await execute(db, "INSERT INTO names(name) VALUES (?)", [Value_Text(name)])
        answer = f"{await db.last_insert_rowid()} {await db.changes()}"
        await execute(db, "COMMIT", [])
        return answer


async def list_names(_: str) -> str:
    with await Connection.open("default") as db:
        columns, rows, end = await db.execute("SELECT name FROM names ORDER BY id", [])
    # The connection's handle is dropped before the rows are read.
    rows = await collect((rows, end))
    return " ".join([",".join(columns), *(row.values[0].value for row in rows)])


async def values(_: str) -> str:
    given = [Value_Integer(-2**63), Value_Real(-0.5), Value_Text("né"), Value_Blob(b"\0\xff"), Value_Null()]
    with await Connection.open_default() as db:
        [row] = await execute(db, "SELECT ?, ?, ?, ?, ?", given)
        types = "SELECT typeof(?), typeof(?), typeof(?), typeof(?), typeof(?)"
        [types] = await execute(db, types, given)
    return " ".join([*(value.value for value in types.values), str(row.values == given).lower()])


async def errors(_: str) -> str:
    kinds = [await kind(Connection.open("forbidden"))]
    with await Connection.open_default() as db:
        for sql in ["SELECT * FROM missing", "ATTACH 'file' AS other", "SELECT ?"]:
            kinds.append(await kind(execute(db, sql, [])))
    return " ".join(kinds)


async def kind(call) -> str:
    try:
        await call
        return "none"
    except Err as error:
        match error.value:
            case Error_AccessDenied():
                return "access-denied"
            case Error_Io(message):
                return message.partition(":")[0]
        raise


async def unfinished(_: str) -> str:
    global left
    left = await Connection.open_default()
    await execute(left, "BEGIN IMMEDIATE", [])
    await execute(left, "INSERT INTO names(name) VALUES ('never')", [])
    return "left"


async def connections(_: str) -> str:
    opened = []
    try:
        while True:
            opened.append(await Connection.open_default())
    except Err as error:
        return f"{len(opened)} {error.value.value.partition(':')[0]}"


async def large(_: str) -> str:
    with await Connection.open_default() as db:
        rows = await execute(db, ROWS, [])
    return f"{len(rows)} rows of {len(rows[0].values[0].value)}"


async def other(_: str) -> str:
    return await variables.get("name")


ROUTES = {
    "/add": add, "/list": list_names, "/values": values, "/errors": errors,
    "/unfinished": unfinished, "/connections": connections, "/large": large, "/variable": other,
}
