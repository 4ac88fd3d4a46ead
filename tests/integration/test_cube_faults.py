"""Faults that stay: told by block, item, asset and cause, and the rest of the cube is done."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml

from rockglacier.cube.build import build_cube
from rockglacier.cube.store import LAYERS, open_arrays
from rockglacier.engine import Receipts, Selection
from rockglacier.errors import BlocksFailedError
from rockglacier.scenes.record import read_dem_tiles, read_scenes

BLOCK = 128


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr("rockglacier.cube.surface.SHADOW_REACH_M", 500.0)
    monkeypatch.setattr("rockglacier.scenes.asset.WAIT_S", 0.0)


def assert_same_cubes(one, other):
    first, second = open_arrays(one.cube_path), open_arrays(other.cube_path)
    assert first["reflectance"][...].any()
    for name in LAYERS:
        np.testing.assert_array_equal(first[name][...], second[name][...], err_msg=name)


def spoil(path, column, row):
    """Spoil a block of a file; return its part of the file in the file's CRS, as bounds."""
    with rasterio.open(path) as file:
        start, size = (
            int(file.get_tag_item(f"BLOCK_{what}_{column}_{row}", "TIFF", bidx=1))
            for what in ("OFFSET", "SIZE")
        )
        bounds = file.window_bounds(file.block_window(1, row, column))
    data = bytearray(path.read_bytes())
    part = slice(start + 4, start + size // 2)
    data[part] = bytes(byte ^ 0xA5 for byte in data[part])
    path.write_bytes(data)
    return bounds


def blocks_under(study, bounds):
    """Return the names of the blocks that hold a pixel inside of bounds, metres."""
    west, south, east, north = bounds
    left, _, _, top = study.grid.bounds
    rows, cols = ((top - north) / 10, (top - south) / 10), ((west - left) / 10, (east - left) / 10)
    return {
        block.name
        for block in study.grid.blocks()
        if block.window.y < rows[1] and block.window.y + block.window.height > rows[0]
        if block.window.x < cols[1] and block.window.x + block.window.width > cols[0]
    }


def assert_rest_is_done_and_mended(study, failed, path, whole, twin):
    """The other blocks are done; mended, those that failed are built, and the cube is equal."""
    receipts = Receipts(study.receipts_path / "cube")
    assert receipts.failures().keys() == failed
    names = {block.name for block in study.grid.blocks()}
    assert dict(receipts.all()).keys() == names - failed
    path.write_bytes(whole)
    facts = build_cube(study, selection=Selection(only_failed=True))
    assert (facts["built"], facts["kept"]) == (len(failed), len(names - failed))
    assert not receipts.failures()
    build_cube(twin)
    assert_same_cubes(study, twin)


def test_a_corrupt_block_of_a_file_fails_only_the_blocks_over_it(quick, make_basin):
    study, twin = make_basin("study", block=BLOCK), make_basin("twin", block=BLOCK)
    scene = next(one for one in read_scenes(study.scenes_path) if one.id == "a2")
    path = Path(scene.assets["B04"])
    whole = path.read_bytes()
    failed = blocks_under(study, spoil(path, column=2, row=2))
    assert failed == {"r0000c0000", "r0000c0001", "r0001c0000", "r0001c0001"}
    with pytest.raises(BlocksFailedError) as caught:
        build_cube(study)
    told = str(caught.value)
    assert "4 block(s) failed, 5 are done" in told
    assert ", ".join(sorted(failed)[:3]) in told
    for failure in Receipts(study.receipts_path / "cube").failures().values():
        assert (failure.item, failure.asset, failure.href) == ("a2", "B04", str(path))
        assert "the block in column 2, row 2 of a2_B04.tif is corrupt" in failure.message
        assert failure.message in told
    assert_rest_is_done_and_mended(study, failed, path, whole, twin)


def test_a_missing_asset_fails_only_the_blocks_under_it(quick, make_basin):
    study, twin = make_basin("study", block=BLOCK), make_basin("twin", block=BLOCK)
    scene = next(one for one in read_scenes(study.scenes_path) if one.id == "b1")
    path = Path(scene.assets["SCL"])
    whole = path.read_bytes()
    path.unlink()
    failed = {f"r{row:04}c{col:04}" for row in range(3) for col in (1, 2)}
    with pytest.raises(BlocksFailedError) as caught:
        build_cube(study)
    told = str(caught.value)
    assert "6 block(s) failed, 3 are done" in told
    assert "r0000c0001, r0000c0002, r0001c0001 and 3 more" in told
    for failure in Receipts(study.receipts_path / "cube").failures().values():
        assert (failure.item, failure.asset, failure.href) == ("b1", "SCL", str(path))
        assert "no such file" in failure.message
    assert_rest_is_done_and_mended(study, failed, path, whole, twin)


def test_a_corrupt_part_of_the_elevation_is_named(quick, make_basin):
    study, twin = make_basin("study", block=BLOCK), make_basin("twin", block=BLOCK)
    tile = read_dem_tiles(study.dem_path)[1]
    path = Path(tile.href)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 6 // 10])  # its south is lost
    with pytest.raises(BlocksFailedError) as caught:
        build_cube(study)
    told = str(caught.value)
    failures = Receipts(study.receipts_path / "cube").failures()
    assert 0 < len(failures) < 9
    assert sorted(failures)[0] in told
    for failure in failures.values():
        assert tile.id in failure.message
        assert path.name in failure.message
    assert_rest_is_done_and_mended(study, set(failures), path, whole, twin)


FILL = """
import sys
from pathlib import Path
from rockglacier.cube.build import build_cube
from rockglacier.errors import InputError
from rockglacier.study import open_study

study = open_study(sys.argv[1])
filler = study.folder / "filler"


def fill(what, done, total):
    if done == 3:
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass


try:
    build_cube(study, progress=fill)
except InputError as error:
    print(error)
filler.unlink()
facts = build_cube(study)
print("kept", facts["kept"] >= 3, "all", facts["kept"] + facts["built"])
"""


def test_a_disk_that_fills_up_keeps_what_is_done(make_basin, tmp_path):
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rm", "true"], check=False).returncode:
        pytest.skip("this system lets nobody mount a small disk")
    study, twin = make_basin("study", block=BLOCK), make_basin("twin", block=BLOCK)
    text = yaml.safe_dump(study.config.model_dump(mode="json"))
    (study.base / "study.yaml").write_text(text)
    (tmp_path / "fill.py").write_text(FILL)
    disk, kept = tmp_path / "disk", tmp_path / "kept"
    folder, full, copy = (shlex.quote(str(path)) for path in (study.folder, disk, kept))
    fill = shlex.join([sys.executable, str(tmp_path / "fill.py"), str(study.base / "study.yaml")])
    steps = (
        f"cp -r {folder} {full} && mount -t tmpfs -o size=4m none {folder}"
        f" && cp -r {full}/. {folder} && {fill} && cp -r {folder} {copy}"
    )
    answer = subprocess.run(
        [unshare, "-rm", "sh", "-c", steps], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    assert f"the disk of {str(study.folder)!r} is full" in answer.stdout
    assert "finished blocks are kept" in answer.stdout
    assert "kept True all 9" in answer.stdout
    shutil.rmtree(study.folder)
    kept.rename(study.folder)
    build_cube(twin)
    assert_same_cubes(study, twin)
