"""Print what Coiled's own client would ask its service for: no account, and nothing leaves here.

Run by the Python of ``.services`` with a JSON file of the arguments of ``coiled.Cluster``. The
service is a server here that knows one workspace and the types of machines, and refuses the cluster
once it was asked for one.
"""

import json
import sys
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dask

ME = {"slug": "me", "name": "me", "id": 1}
ANSWERS = {
    "/api/v2/user/me": {"username": "me", "id": 1},
    "/api/v2/user/me/memberships": [{"account": ME, "is_admin": True, "is_default_account": True}],
    "/api/v1/me/backend_options": {"backend": "vm_aws", "options": {}},
    "/api/v1/vm-types": {
        "next": None,
        "results": [
            {"name": "c6i.large", "cores": 2, "memory": 4096, "gpus": 0},
            {"name": "g4dn.xlarge", "cores": 4, "memory": 16384, "gpus": 1},
        ],
    },
}
ASKED = {"cluster": None, "looked_for": []}
"""The request for a cluster, and what types of machines were looked for."""


class Service(BaseHTTPRequestHandler):
    """Answers, and keeps in ``ASKED`` what matters."""

    def _answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        path, _, query = self.path.partition("?")
        if "/clusters/" in path:  # none of that name
            return self._answer(404, {"message": "none"})
        if path.startswith("/api/v1/vm-types"):
            ASKED["looked_for"].append(query)
        return self._answer(200, ANSWERS.get(path.rstrip("/"), {}))

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self.path.startswith("/api/v2/clusters/"):
            return self._answer(200, {})
        ASKED["cluster"] = json.loads(body)
        return self._answer(403, {"message": "no cluster is started here"})

    def log_message(self, *arguments):
        """Say nothing."""


def main(arguments):
    """Ask for a cluster of these arguments, and print the request."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    given = {"server": address, "token": "no-token", "user": "me", "workspace": "me"}
    with dask.config.set({f"coiled.{key}": value for key, value in given.items()}):
        import coiled

        with suppress(coiled.errors.ServerError):  # as it was told
            coiled.Cluster(**arguments)
    print(json.dumps(ASKED))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
