"""A URL shortener: a Bottle application, served by `wasi:http`."""

from bottle import Bottle, abort, redirect, request, response

import millpond
from wsgi import handler

app = Bottle()
# Nothing is opened here: this line runs when the component is built.
db = millpond.connect("default", isolation_level="IMMEDIATE")
db.row_factory = millpond.Row

DIGITS = "0123456789abcdefghijkmnopqrstuvwxyz"  # without l, which looks like 1


def to_code(number: int) -> str:
    """A link's id as its short code."""
    code = ""
    while number:
        number, digit = divmod(number, len(DIGITS))
        code = DIGITS[digit] + code
    return code


def to_id(code: str) -> int:
    """A short code as the link's id; 0, which no link has, for anything else."""
    number = 0
    for digit in code:
        if digit not in DIGITS or number >= 2**56:
            return 0
        number = number * len(DIGITS) + DIGITS.index(digit)
    return number


@app.get("/")
def index():
    rows = db.execute("SELECT * FROM links ORDER BY visits DESC, id LIMIT 100")
    return {"links": [{**dict(row), "code": to_code(row["id"])} for row in rows]}


@app.post("/")
def shorten():
    url = request.body.read().decode("utf-8", "replace").strip()
    if not url.startswith(("http://", "https://")) or len(url) > 2000 or not url.isprintable():
        abort(400, "Send one URL, http: or https:, as the body of the request")
    with db:
        row = db.execute(
            """INSERT INTO links (url) VALUES (?)
               ON CONFLICT (url) DO UPDATE SET url = excluded.url RETURNING id""",
            (url,),
        ).fetchone()
    response.status = 201
    response.content_type = "text/plain"
    return to_code(row["id"]) + "\n"


@app.get("/<code>")
def follow(code):
    with db:
        row = db.execute(
            "UPDATE links SET visits = visits + 1 WHERE id = ? RETURNING url", (to_id(code),)
        ).fetchone()
    if row is None:
        abort(404, "No such link")
    redirect(row["url"], 302)


@app.get("/<code>/visits")
def visits(code):
    row = db.execute("SELECT url, visits FROM links WHERE id = ?", (to_id(code),)).fetchone()
    if row is None:
        abort(404, "No such link")
    return dict(row)


IncomingHandler = handler(app)
