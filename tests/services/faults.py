"""A proxy before an HTTP server that spoils a share of the answers, and counts how many.

The Host header is passed on as it came, so that signed requests stay valid.
"""

import http.client
import random
import socket
import struct
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

KINDS = ("busy", "reset", "lost", "truncated", "expired")
"""503; closed before the request is passed on; closed after it was; half a body; 403."""

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding"}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def pass_on(self):
        server = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = server.draw()
        if fault == "reset":
            return self.slam()
        if fault in ("busy", "expired"):
            return self.refuse(503 if fault == "busy" else 403)
        status, headers, answer = self.ask_upstream(body)
        if fault == "lost":
            return self.slam()
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in HOP_BY_HOP | {"content-length", "date", "server"}:
                self.send_header(name, value)
        length = len(answer)
        if self.command == "HEAD":
            length = dict(headers).get("Content-Length", 0)
        if status >= 200 and status != 204:
            self.send_header("Content-Length", str(length))
        if fault == "truncated" and len(answer) > 1:
            answer = answer[: len(answer) // 2]
            self.close_connection = True
        self.end_headers()
        self.wfile.write(answer)
        return None

    def __getattr__(self, name):
        """Treat every method alike."""
        if name.startswith("do_"):
            return self.pass_on
        raise AttributeError(name)

    def ask_upstream(self, body):
        upstream = http.client.HTTPConnection(*self.server.upstream, timeout=60)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in HOP_BY_HOP | {"expect"}:
                    upstream.putheader(name, value)
            upstream.endheaders(body)
            answer = upstream.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            upstream.close()

    def refuse(self, status):
        body = b"<Error><Code>SlowDown</Code><Message>made up</Message></Error>"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def slam(self):
        """Close so that the client sees a reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def log_message(self, *args):
        """Say nothing."""


class FaultProxy(ThreadingHTTPServer):
    """Set ``rates`` by kind; read ``requests`` and ``faults``."""

    daemon_threads = True

    def __init__(self, url):
        parts = urlsplit(url)
        self.upstream = parts.hostname, parts.port
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.set()

    def set(self, seed=0, **rates):
        """Spoil these shares from now on, and count anew."""
        assert set(rates) <= set(KINDS)
        with self.lock:
            self.rates, self.random = rates, random.Random(seed)  # noqa: S311
            self.requests, self.faults = 0, dict.fromkeys(rates, 0)

    def draw(self):
        with self.lock:
            self.requests += 1
            at = self.random.random()
            for kind, rate in self.rates.items():
                if at < rate:
                    self.faults[kind] += 1
                    return kind
                at -= rate
        return None

    def handle_error(self, *args):
        """A client that went away is no news."""


@contextmanager
def fault_proxy(url):
    with FaultProxy(url) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
