"""Writes notes with four clients at once: `write.py ADDRESS COUNT`."""

import http.client
import json
import sys
from concurrent.futures import ThreadPoolExecutor

CLIENTS = 4


def write(address: str, count: int) -> None:
    client = http.client.HTTPConnection(address, timeout=60)
    # Some pages each, so that the log is checkpointed several times.
    note = json.dumps({"title": "A note", "body": "Still water. " * 1200})
    for _ in range(count):
        client.request("POST", "/api/notes", note, {"content-type": "application/json"})
        response = client.getresponse()
        response.read()
        if response.status != 201:
            raise SystemExit(f"status {response.status}")


with ThreadPoolExecutor(CLIENTS) as pool:
    each = int(sys.argv[2]) // CLIENTS
    for written in [pool.submit(write, sys.argv[1], each) for _ in range(CLIENTS)]:
        written.result()
