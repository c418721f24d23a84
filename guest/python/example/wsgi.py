"""Serves a WSGI application by `wasi:http/incoming-handler`. Requests and responses are in memory."""

import io
import sys
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote_to_bytes

from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports import types
from wit_world.imports.streams import StreamError_Closed

# Python finds these modules late, when it needs them. At run time there are no files to find.
import encodings.idna
import encodings.latin_1  # noqa: F401

MAX_BODY = 1 << 20

Application = Callable[..., Iterable[bytes]]


def handler(application: Application) -> type:
    """The class that componentize-py exports as `wasi:http/incoming-handler`."""

    class IncomingHandler(exports.IncomingHandler):
        def handle(self, request: Any, response_out: Any) -> None:
            environ, body = _environ(request)
            if body is None:
                _respond(response_out, 413, [], b"The request body is too large\n")
            else:
                environ["wsgi.input"] = io.BytesIO(body)
                environ["CONTENT_LENGTH"] = str(len(body))
                _respond(response_out, *_run(application, environ))

    return IncomingHandler


def _run(application: Application, environ: dict[str, Any]) -> tuple[int, list[Any], bytes]:
    """Call the application, and collect its response."""
    started: list[Any] = []
    written: list[bytes] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        started[:] = [int(status.split(" ", 1)[0]), headers]
        return written.append

    chunks = application(environ, start_response)
    try:
        written.extend(chunks)
    finally:
        if hasattr(chunks, "close"):
            chunks.close()
    return started[0], started[1], b"".join(written)


def _environ(request: Any) -> tuple[dict[str, Any], bytes | None]:
    """The WSGI environment, and the body unless it is too large."""
    path, _, query = (request.path_with_query() or "/").partition("?")
    host, _, port = (request.authority() or "localhost").partition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": _method(request.method()),
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "SERVER_NAME": host,
        "SERVER_PORT": port or "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": request.authority() or "localhost",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    with request.headers() as headers:
        for name, value in headers.entries():
            key = name.upper().replace("-", "_")
            if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
                key = "HTTP_" + key
            text = value.decode("latin-1")
            known = environ.get(key) if key != "HTTP_HOST" else None
            environ[key] = f"{known},{text}" if known else text
    return environ, _read(request)


def _method(method: Any) -> str:
    """`Method_Get` as `GET`; any other method by its own name."""
    other = getattr(method, "value", None)
    return other if isinstance(other, str) else type(method).__name__.removeprefix("Method_").upper()


def _read(request: Any) -> bytes | None:
    """The request's body, or `None` if it is too large."""
    data = bytearray()
    # The stream must be dropped before the body.
    with request.consume() as body, body.stream() as stream:
        while len(data) <= MAX_BODY:
            try:
                data += stream.blocking_read(1 << 16)
            except Err as error:
                if isinstance(error.value, StreamError_Closed):
                    return bytes(data)
                raise
    return None


def _respond(response_out: Any, status: int, headers: list[Any], data: bytes) -> None:
    fields = types.Fields.from_list([(name, value.encode("latin-1")) for name, value in headers])
    response = types.OutgoingResponse(fields)
    response.set_status_code(status)
    body = response.body()
    types.ResponseOutparam.set(response_out, Ok(response))
    with body.write() as stream:
        for start in range(0, len(data), 4096):  # the most that one call takes
            stream.blocking_write_and_flush(data[start : start + 4096])
    types.OutgoingBody.finish(body, None)
