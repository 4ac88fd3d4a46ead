"""Products served on this machine: pieces of files, and no file that is none of them."""

import http.client
import signal
import subprocess
import sys
import threading
from urllib.parse import urlsplit

import pytest
import rasterio
import yaml

from rockglacier.errors import InputError
from rockglacier.report.serve import HOST, serving

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def port(tmp_path):
    folder = tmp_path / "products"
    (folder / "report").mkdir(parents=True)
    (folder / "report" / "index.html").write_text("<h1>report</h1>")
    (folder / "data.bin").write_bytes(CONTENT)
    (folder / "empty.bin").write_bytes(b"")
    (folder / ".lease").write_text("mine")
    (folder / "of täl 1%.txt").write_text("name")
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    with serving(folder) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def ask(port, path, method="GET", **headers):
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def test_the_root_leads_to_the_report(port):
    answer, _ = ask(port, "/")
    assert (answer.status, answer.headers["Location"]) == (302, "/report/index.html")
    answer, body = ask(port, "/report/index.html")
    assert (answer.status, answer.headers["Content-Type"], body) == (
        200,
        "text/html",
        b"<h1>report</h1>",
    )


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=100-299", (100, 300)),
        ("bytes=10000-", (10000, 10240)),
        ("bytes=-7", (10233, 10240)),
        ("bytes=-99999", (0, 10240)),
        ("bytes=10200-99999", (10200, 10240)),
    ],
)
def test_ranges_are_the_bytes_asked_for(port, asked, expected):
    answer, body = ask(port, "/data.bin", Range=asked)
    first, end = expected
    assert answer.status == 206
    assert body == CONTENT[first:end]
    assert answer.headers["Content-Range"] == f"bytes {first}-{end - 1}/10240"


@pytest.mark.parametrize("asked", ["bytes=10240-", "bytes=99999-100000", "bytes=-0"])
def test_ranges_beyond_the_end_are_told_the_size(port, asked):
    answer, body = ask(port, "/data.bin", Range=asked)
    assert (answer.status, answer.headers["Content-Range"], body) == (416, "bytes */10240", b"")


@pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "lines=1-2", "bytes=-", "bytes=5-2", "x"])
def test_ranges_that_make_no_sense_get_the_whole_file(port, asked):
    answer, body = ask(port, "/data.bin", Range=asked)
    assert (answer.status, body) == (200, CONTENT)


def test_head_tells_the_size_alone(port):
    answer, body = ask(port, "/data.bin", "HEAD")
    assert (answer.status, answer.headers["Content-Length"], body) == (200, "10240", b"")
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert ask(port, "/empty.bin")[1] == b""


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/report/../../secret.txt",
        "/report/..%2f..%2fsecret.txt",
        "/..%5csecret.txt",
        "//etc/passwd",
        "/link.txt",
        "/.lease",
        "/report",
        "/report/",
        "/data.bin%00.txt",
        "/none",
    ],
)
def test_nothing_but_files_of_the_folder_is_served(port, path):
    answer, body = ask(port, path)
    assert (answer.status, body) == (404, b"404 Not Found\n")


def test_names_are_decoded_once(port):
    assert ask(port, "/of%20t%C3%A4l%201%25.txt")[1] == b"name"


def test_a_page_from_elsewhere_gets_nothing(port):
    answer, _ = ask(port, "/data.bin", Host="evil.example:80")
    assert answer.status == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_written(port, method):
    assert ask(port, "/data.bin", method)[0].status == 501


READER = """
import sys, rasterio
with rasterio.open(sys.argv[1]) as file:
    window = rasterio.windows.Window(20, 30, 50, 40)
    print(file.read(1, window=window).tobytes().hex())
"""


def test_gdal_reads_a_part_of_a_raster_by_ranges(make_products):
    study = make_products()
    raster = study.prediction_path / "probability.tif"
    with serving(study.folder) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        place = f"http://{HOST}:{server.server_address[1]}/{raster.relative_to(study.folder)}"
        # in a process of its own: GDAL waits for its answer without letting this one work
        answer = subprocess.run(
            [sys.executable, "-c", READER, place],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        server.shutdown()
        thread.join()
    with rasterio.open(raster) as here:
        expected = here.read(1, window=rasterio.windows.Window(20, 30, 50, 40))
    assert answer.stdout.strip() == expected.tobytes().hex(), answer.stderr


def test_the_command_serves_until_it_is_interrupted(make_products, tmp_path):
    study = make_products()
    config = {"name": "hunza", "area": list(study.config.area), "output": "products"}
    (tmp_path / "hunza.yaml").write_text(yaml.safe_dump(config))
    # a shell that runs the tests in the background lets its children ignore Ctrl-C
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    code += "from rockglacier.cli import main; main()"
    command = [sys.executable, "-c", code, "view", "hunza.yaml", "--port", "0"]
    without = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert without.returncode != 0
    assert "rockglacier report" in without.stderr + without.stdout
    study.report_path.parent.mkdir(exist_ok=True)
    study.report_path.write_text("<h1>here</h1>")
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        place = process.stdout.readline().split()[-1]
        answer, body = ask(urlsplit(place).port, "/report/index.html")
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert (answer.status, body) == (200, b"<h1>here</h1>")
    assert "probability.tif" in rest
    assert "stopped" in rest
    assert process.returncode == 0


def test_what_cannot_be_served_is_told(tmp_path):
    with pytest.raises(InputError, match="no folder"), serving(tmp_path / "none"):
        pass
    with serving(tmp_path) as server:
        taken = server.server_address[1]
        with pytest.raises(InputError, match=f"port {taken}"), serving(tmp_path, port=taken):
            pass
