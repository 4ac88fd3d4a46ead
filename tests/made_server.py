"""Servers on a free port of this machine, for the time of a test."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Silent:
    """What handlers begin with: nothing that is asked for goes into the output of the tests."""

    def log_message(self, *args):
        """Say nothing."""


@contextmanager
def serving(handler):
    """Serve, and yield the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answering(answer, *, failing=lambda: 502):
    """Return a handler that says what ``answer`` of path and body is, or ``failing`` if None."""

    class Handler(Silent, BaseHTTPRequestHandler):
        def do_GET(self):
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size)) if size else {}
            found = answer(self.path, body)
            self.send_response(failing() if found is None else 200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(found).encode())

        do_POST = do_GET  # noqa: N815 - the name that http.server calls

    return Handler
