"""What GDAL remembers of remote files is forgotten, and threads that read meanwhile go on."""

import subprocess
import sys

import pytest

from rockglacier.scenes.vsi import vsi_path

READS = """
import faulthandler, os, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import rasterio
from rockglacier.scenes.vsi import forget

class Busy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = b"<Error><Code>SlowDown</Code><Message>cut short"  # GDAL tells of it at once
        self.send_response(503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *args):
        pass

class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

server = Server(("127.0.0.1", 0), Busy)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ.update(
    AWS_S3_ENDPOINT=f"127.0.0.1:{server.server_port}", AWS_HTTPS="NO", AWS_REGION="here",
    AWS_VIRTUAL_HOSTING="FALSE", AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b",
)
failed = []

def read(number):
    for _ in range(25):
        try:
            rasterio.open(f"s3://bucket/{number}.tif")
        except rasterio.errors.RasterioIOError:
            failed.append(number)
        forget(f"s3://bucket/{number}.tif")

faulthandler.dump_traceback_later(120, exit=True)
threads = [threading.Thread(target=read, args=(number,)) for number in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(failed), flush=True)
os._exit(0)
"""


def test_threads_that_fail_and_forget_do_not_wait_for_one_another_for_ever():
    answer = subprocess.run(
        [sys.executable, "-c", READS], capture_output=True, text=True, check=False
    )
    assert answer.stdout.strip() == "400", answer.stderr[-2000:]


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("https://host/a.tif", "/vsicurl/https://host/a.tif"),
        ("s3://bucket/a.tif", "/vsis3/bucket/a.tif"),
        ("gs://bucket/a.tif", "/vsigs/bucket/a.tif"),
        ("az://bucket/a.tif", "/vsiaz/bucket/a.tif"),
        ("ftp://host/a.tif", None),
        ("/data/a.tif", None),
    ],
)
def test_addresses_are_spelled_as_gdal_does(address, path):
    assert vsi_path(address) == path
