"""A catalog behind a signed address: its signature is in no message, no log and no file."""

import shutil
from functools import partial
from http.server import SimpleHTTPRequestHandler

import pyarrow.parquet as pq
import pytest
import yaml
from stac_geoparquet.arrow import stac_table_to_items
from typer.testing import CliRunner

from made_server import serving
from rockglacier.cli import app
from rockglacier.demo.basin import make_basin
from rockglacier.demo.catalog import write_items

SIGNATURE = "?X-Amz-Signature=unspeakable"


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """Say nothing: what it is asked for holds the signature."""


@pytest.fixture(scope="module")
def basin(tmp_path_factory):
    made = make_basin(tmp_path_factory.mktemp("signed"), size_km=(3.0, 2.0))
    shutil.copyfile(made.area, made.items.with_name("broken.parquet"))
    return made


@pytest.fixture(scope="module")
def server(basin):
    serve = partial(Silent, directory=str(basin.items.parent))
    with serving(serve) as url:
        yield url


@pytest.fixture
def search(basin, tmp_path):
    """What `search` prints and raises with a catalog; the output folder is ``tmp_path / out``."""

    def run(catalog):
        study = {
            "name": "signed",
            "area": str(basin.area),
            "output": str(tmp_path / "out"),
            "search": {"catalog": catalog, "start": "2024-07-01", "end": "2024-10-31"},
        }
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
        answer = CliRunner().invoke(app, ["search", str(tmp_path / "study.yaml")])
        return answer, f"{answer.output} {answer.exception!r}"

    return run


def files_with_it(folder):
    return [
        path for path in folder.rglob("*") if path.is_file() and b"unspeakable" in said_in(path)
    ]


def said_in(path):
    """What a file holds; that of a table, which is compressed, row by row."""
    if path.suffix != ".parquet":
        return path.read_bytes()
    return repr(pq.read_table(path).to_pylist()).encode()


@pytest.mark.parametrize("name", ["none.parquet", "broken.parquet", "none.json"])
def test_no_message_and_no_log_tells_the_signature(server, search, tmp_path, name):
    answer, said = search(f"{server}/{name}{SIGNATURE}")
    assert answer.exit_code == 1
    assert name in said
    assert "unspeakable" not in said
    assert "Traceback" in (tmp_path / "out" / "logs" / "run.log").read_text()
    assert not files_with_it(tmp_path / "out")


def test_what_is_made_of_it_does_not_tell_it_either(server, search, tmp_path):
    answer, said = search(f"{server}/items.parquet{SIGNATURE}")
    assert answer.exit_code == 0, said
    assert "unspeakable" not in said
    assert not files_with_it(tmp_path / "out")
    record = yaml.safe_load((tmp_path / "out" / "study.yaml").read_text())
    assert record["search"]["catalog"].endswith("/items.parquet?X-Amz-Signature=***")


def sign_pixels(server, basin, signature=SIGNATURE):
    """A table of the same items, whose rasters have signed addresses."""
    items = list(stac_table_to_items(pq.read_table(basin.items)))
    for item in items:
        for asset in item["assets"].values():
            asset["href"] = f"{server}/{asset['href'].removeprefix('./')}{signature}"
    write_items(items, basin.items.with_name("pixels.parquet"))


def test_signatures_of_pixels_are_kept_where_pixels_are_read_by_and_nowhere_else(
    server, search, basin, tmp_path
):
    sign_pixels(server, basin)
    answer, said = search(f"{server}/pixels.parquet")
    assert answer.exit_code == 0, said
    built = CliRunner().invoke(app, ["cube", str(tmp_path / "study.yaml")])
    assert built.exit_code == 0, built.output
    assert "unspeakable" not in said + built.output
    assert_in_tables_alone(tmp_path / "out")
    assert (tmp_path / "out/receipts/cube/r0000c0000.json").is_file()


def assert_in_tables_alone(folder):
    assert {path.name for path in files_with_it(folder)} == {"scenes.parquet", "dem.parquet"}


def test_a_scene_that_cannot_be_read_is_told_without_its_signature(server, search, basin, tmp_path):
    sign_pixels(server, basin, f"{SIGNATURE}-too")  # GDAL keeps what it read of others
    answer, said = search(f"{server}/pixels.parquet")
    assert answer.exit_code == 0, said
    band = next(basin.items.parent.glob("S2A*20240904*/B11.tif"))
    hidden = band.rename(band.with_suffix(".away"))
    built = CliRunner().invoke(app, ["cube", str(tmp_path / "study.yaml")])
    hidden.rename(band)
    assert built.exit_code == 1
    told = f"{built.output} {built.exception!r}"
    assert "B11.tif" in told
    assert "unspeakable" not in told
    (failure,) = (tmp_path / "out/receipts/cube").glob("*.failed.json")
    assert "B11.tif" in failure.read_text()
    assert_in_tables_alone(tmp_path / "out")
