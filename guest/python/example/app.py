"""A URL shortener: a Bottle application, served by `wasi:http`.

- `POST /`: the body is a URL; answers with its code
- `GET /CODE`: redirects to the URL, and counts
- `GET /CODE/visits`: how often that happened
- `GET /`: the most visited links
"""

import re

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
    rows = db.execute("SELECT id, url, visits FROM links ORDER BY visits DESC, id LIMIT 10")
    return text("".join(f"{to_code(row['id'])}\t{row['visits']}\t{row['url']}\n" for row in rows))


@app.post("/")
def shorten():
    url = request.body.read().decode("utf-8", "replace").strip()
    if len(url) > 2000 or not re.fullmatch("https?://[!-~]+", url):
        abort(400, "Send one URL, https: or http:, as the body of the request")
    with db:
        row = db.execute(
            """INSERT INTO links (url) VALUES (?)
               ON CONFLICT (url) DO UPDATE SET url = excluded.url RETURNING id""",
            (url,),
        ).fetchone()
    response.status = 201
    return text(to_code(row["id"]) + "\n")


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
    row = db.execute("SELECT visits FROM links WHERE id = ?", (to_id(code),)).fetchone()
    if row is None:
        abort(404, "No such link")
    return text(f"{row['visits']}\n")


@app.error(500)
def failed(error):
    busy = getattr(error.exception, "kind", None) in ("busy", "pool-timeout")
    if busy:
        response.status = 503
    return text("Busy: try again\n" if busy else "Internal error\n")


def text(body: str) -> str:
    response.content_type = "text/plain; charset=utf-8"
    return body


IncomingHandler = handler(app)
