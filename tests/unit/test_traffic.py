"""What receipts of the cube tell of bytes: read from scenes as they are stored, and written."""

import numpy as np
import rasterio
from affine import Affine
from rasterio.enums import Resampling

from rockglacier.cube.build import build_cube, cube_tasks
from rockglacier.cube.raster import stored_blocks, warp
from rockglacier.grid import Window


def test_blocks_of_a_file_are_counted_with_their_stored_bytes(tmp_path):
    profile = {
        "driver": "GTiff", "height": 200, "width": 300, "count": 1, "dtype": "uint16",
        "crs": "EPSG:32643", "transform": Affine(10, 0, 500_000, 0, -10, 4_000_000),
        "tiled": True, "blockxsize": 64, "blockysize": 64,
    }  # fmt: skip
    values = np.arange(60_000, dtype="uint16").reshape(200, 300)
    window = Window(y=60, x=70, height=10, width=60)  # two rows of blocks, two columns
    for name, more in (("plain", {}), ("packed", {"compress": "deflate"})):
        with rasterio.open(tmp_path / f"{name}.tif", "w", **profile, **more) as file:
            file.write(values, 1)
        with rasterio.open(tmp_path / f"{name}.tif") as file:
            found = stored_blocks(file, window)
        if name == "plain":
            assert found == (4, 4 * 64 * 64 * 2)
        else:
            assert found[0] == 4
            assert 0 < found[1] < 4 * 64 * 64 * 2


def test_file_that_is_warped_tells_nothing(make_basin):
    study = make_basin()
    with rasterio.open(study.base / "z3_B04.tif") as raster:
        placed = warp(raster, study.grid.geobox, resampling=Resampling.nearest, nodata=0)
        with placed.raster:
            assert stored_blocks(placed.raster, Window(y=0, x=0, height=64, width=64)) == (0, 0)


def test_receipts_hold_what_was_read_and_written(make_basin):
    study = make_basin()
    facts = build_cube(study)
    tasks, receipts = cube_tasks(study)
    told = [receipts.read(task.name) for task in tasks]
    for name in ("reads", "read_bytes", "written_bytes"):
        assert facts[name] == sum(receipt[name] for receipt in told)
    stored = sum(
        (study.cube_path / key).stat().st_size for receipt in told for key in receipt["objects"]
    )
    assert facts["written_bytes"] == stored
    # every block of a file once: no more than the files of the grid's zone hold
    held = sum(
        path.stat().st_size for name in ("a1", "b1", "a2") for path in study.base.glob(f"{name}_*")
    )
    assert 0.1 * held < facts["read_bytes"] < held
    assert facts["reads"] > 100
