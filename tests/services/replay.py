"""A STAC API that answers with items that were recorded, in the manners of real providers."""

import datetime as dt
import json
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

QUERY, FILTER = "item-search#query", "item-search#filter"
LARGEST_BYTES = 60_000
"""Larger pages end in 502 where a gateway limits answers."""
SLOW_S = 0.6
CONSTANTS = ("NaN", "Infinity", "-Infinity")
"""What Python writes as JSON and JSON has not."""


class Replay(ThreadingHTTPServer):
    """Set ``faults`` (a list of what the next searches meet) and the manners.

    Parameters
    ----------
    items
        As a provider wrote them.
    conformance
        What it says that it can.
    """

    daemon_threads = True

    def __init__(self, items, *, conformance=(QUERY,)):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.items, self.conformance = items, conformance
        self.asked, self.faults, self.signed = [], [], []
        self.ignores_filters = self.repeats = self.counts = self.limits_bytes = False
        self.endless = False
        self.lock = threading.Lock()

    def landing(self):
        search = {"rel": "search", "href": f"{self.url}/search", "type": "application/geo+json"}
        links = [
            {"rel": "self", "href": self.url},
            {"rel": "root", "href": self.url},
            {"rel": "data", "href": f"{self.url}/collections"},
            {**search, "method": "GET"},
            {**search, "method": "POST"},
        ]
        says = ["core", "collections", "item-search", *self.conformance]
        return {
            "type": "Catalog",
            "stac_version": "1.0.0",
            "id": "replay",
            "description": "recorded items",
            "links": links,
            "conformsTo": [f"https://api.stacspec.org/v1.0.0/{name}" for name in says],
        }

    def collections(self):
        names = sorted({item["collection"] for item in self.items})
        return {"collections": [{"id": name} for name in names], "links": []}

    def search(self, body):
        found = [item for item in self.items if item["collection"] in body["collections"]]
        if not self.ignores_filters:
            found = [item for item in found if clear_enough(item, body)]
        start, limit = int(body.get("token", 0)), int(body.get("limit", 10))
        first = max(0, start - 1) if self.repeats else start
        page = found[first : start + limit]
        links = []
        if self.endless or start + limit < len(found):
            following = {**body, "token": 0 if self.endless else start + limit}
            links = [
                {"rel": "next", "href": f"{self.url}/search", "method": "POST", "body": following}
            ]
        answer = {"type": "FeatureCollection", "features": page, "links": links}
        if self.counts:
            answer["numberMatched"] = len(found)
        return answer


def clear_enough(item, body):
    """Numbers as numbers; both ways of asking."""
    cloud = item["properties"].get("eo:cloud_cover")
    limits = body.get("query", {}).get("eo:cloud_cover", {})
    asked = body.get("filter")
    if asked:
        parts = asked["args"] if asked["op"] == "and" else [asked]
        limits = {{"<": "lt", ">=": "gte"}[part["op"]]: part["args"][1] for part in parts}
    assert all(isinstance(value, int | float) for value in limits.values())
    if not limits:
        return True
    return cloud is not None and cloud < limits.get("lt", 101) and cloud >= limits.get("gte", -1)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        parts = urlsplit(self.path)
        body = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if "collections" in body:
            body["collections"] = body["collections"].split(",")
        size = int(self.headers.get("Content-Length") or 0)
        if size:
            body = json.loads(self.rfile.read(size))
        server = self.server
        if parts.path.startswith("/token/"):
            server.signed.append(parts.path.removeprefix("/token/"))
            end = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
            return self.answer({"token": "sig=made-up", "msft:expiry": end.isoformat()})
        if parts.path == "/collections":
            return self.answer(server.collections())
        if parts.path != "/search":
            return self.answer(server.landing())
        with server.lock:
            server.asked.append(body)
            fault = server.faults.pop(0) if server.faults else None
        if isinstance(fault, int):
            return self.answer({"message": "made up"}, status=fault)
        if isinstance(fault, tuple):
            return self.answer({"message": "made up"}, status=fault[0], **fault[1])
        if fault == "slow":  # nothing at all, longer than anybody waits
            time.sleep(SLOW_S)
        if fault == "page":
            return self.send(200, b"<!DOCTYPE html><html>maintenance</html>", "text/html")
        if fault == "away":
            target = {"Location": "http://169.254.169.254/latest/meta-data/"}
            return self.send(307, b"", **target)
        data = json.dumps(server.search(body)).encode()
        if fault in CONSTANTS:
            data = data.replace(b'"links"', f'"context": {{"time": {fault}}}, "links"'.encode(), 1)
        if server.limits_bytes and len(data) > LARGEST_BYTES:
            return self.answer({"message": "too large"}, status=502)
        if fault == "cut":  # a gateway that closes the answer neatly
            return self.send(200, data[: len(data) // 2])
        if fault == "text":
            return self.send(200, data, "text/plain")
        if fault == "moved":
            location = {"Location": f"{server.url}/search"}
            return self.send(307, b"", **location)
        return self.send(200, data)

    do_POST = do_GET  # noqa: N815 - the name that http.server calls

    def answer(self, values, *, status=200, **headers):
        return self.send(status, json.dumps(values).encode(), **headers)

    def send(self, status, data, kind="application/json", **headers):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        with suppress(OSError):  # of a client that waits no longer
            self.wfile.write(data)

    def log_message(self, *args):
        """Say nothing."""


@contextmanager
def replay(items, **manners):
    with Replay(items, **manners) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
