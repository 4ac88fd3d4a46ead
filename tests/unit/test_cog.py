"""Cloud-optimized GeoTIFFs of a prediction."""

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import zarr
from affine import Affine
from rio_cogeo import cog_validate

from made_study import grid_of, study_in
from rockglacier.errors import InputError
from rockglacier.prediction.cog import classify, write_cogs


def make_study(folder, percent, *, block=512, **values):
    study = study_in(folder, grid_of(percent.shape, block=block), **values)
    study.prediction_path.mkdir(parents=True)
    group = zarr.open_group(study.prediction_path / "prediction.zarr", mode="w")
    group.create_array("probability", data=percent, chunks=(128, 128))
    return study


def make_percent(shape, seed=1):
    """Blocks of 64 px of one percent each, with noise, and a wedge of nodata."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 101, (-(-shape[0] // 64), -(-shape[1] // 64)))
    percent = np.kron(coarse, np.ones((64, 64), int))[: shape[0], : shape[1]]
    percent = np.clip(percent + rng.integers(-5, 6, shape), 0, 100).astype(np.uint8)
    rows, cols = np.indices(shape)
    percent[rows + 3 * cols < shape[0] // 2] = 255
    return percent


def reduced(values, factor):
    """Values as (row, column, pixel of the cell)."""
    rows, cols = (side // factor for side in values.shape)
    cells = values[: rows * factor, : cols * factor].reshape(rows, factor, cols, factor)
    return cells.transpose(0, 2, 1, 3).reshape(rows, cols, factor * factor)


def test_files_are_valid_cogs_that_hold_the_stored_values(tmp_path):
    percent = make_percent((700, 900))
    paths = write_cogs(make_study(tmp_path, percent), 0.4, {})
    assert [path.name for path in paths] == ["probability.tif", "classes.tif"]
    for path, expected in zip(paths, [percent, classify(percent, 0.4)], strict=True):
        valid, errors, warnings = cog_validate(path, strict=True)
        assert (valid, errors, warnings) == (True, [], [])
        with rasterio.open(path) as file:
            assert np.array_equal(file.read(1), expected)
            assert file.crs.to_epsg() == 32643
            assert file.transform == Affine(10, 0, 500_000, 0, -10, 4_000_000)
            assert (file.nodata, file.dtypes[0], file.block_shapes[0]) == (255, "uint8", (512, 512))
            assert file.compression.name == "deflate"


def test_every_overview_of_probability_is_the_mean_of_known_pixels(tmp_path):
    percent = make_percent((1024, 2048))
    probability, _ = write_cogs(make_study(tmp_path, percent), 0.5, {})
    with rasterio.open(probability) as file:
        factors = file.overviews(1)
    assert factors == [2, 4]
    for level, factor in enumerate(factors):
        with rasterio.open(probability, overview_level=level) as file:
            held = file.read(1)
        cells = reduced(percent, factor).astype(float)
        cells[cells == 255] = np.nan
        known = ~np.isnan(cells).all(-1)
        assert np.array_equal(held != 255, known)
        mean = np.nanmean(cells[known], axis=-1)
        # each level is made of the rounded one below; a cell at the rim of nodata weighs its
        # quarters alike
        assert np.abs(held[known] - mean).max() <= (0.5 if level == 0 else 6)
        assert np.quantile(np.abs(held[known] - mean), 0.95) <= 1


def test_every_overview_of_classes_holds_the_commonest_known_class(tmp_path):
    percent = make_percent((1024, 2048))
    _, classes = write_cogs(make_study(tmp_path, percent), 0.5, {})
    expected = classify(percent, 0.5)
    with rasterio.open(classes) as file:
        factors = file.overviews(1)
    for level, factor in enumerate(factors):
        with rasterio.open(classes, overview_level=level) as file:
            held = file.read(1)
        assert set(np.unique(held)) <= {0, 1, 255}
        cells = reduced(expected, factor)
        ones, zeros = (cells == 1).sum(-1), (cells == 0).sum(-1)
        clear = np.abs(ones - zeros) > (0 if level == 0 else factor * factor // 2)
        assert clear.mean() > 0.5
        assert np.array_equal(held[clear], (ones > zeros)[clear].astype(np.uint8))
        assert np.array_equal(held == 255, ones + zeros == 0)


@pytest.mark.parametrize("shape", [(1025, 1537), (513, 2)])
def test_edges_of_overviews_count_the_pixels_that_there_are(tmp_path, shape):
    paths = write_cogs(make_study(tmp_path, np.full(shape, 70, np.uint8)), 0.5, {})
    for path, value in zip(paths, (70, 1), strict=True):
        with rasterio.open(path) as file:
            factors = file.overviews(1)
        assert factors
        for level, factor in enumerate(factors):
            with rasterio.open(path, overview_level=level) as file:
                assert file.shape == tuple(-(-side // factor) for side in shape)
                assert (file.read(1) == value).all()


def test_the_blocks_of_the_store_do_not_change_the_files(tmp_path):
    percent = make_percent((700, 900))
    one = write_cogs(make_study(tmp_path / "a", percent, block=128), 0.5, {})
    other = write_cogs(make_study(tmp_path / "b", percent, block=640), 0.5, {})
    assert [p.read_bytes() for p in one] == [p.read_bytes() for p in other]


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (130, 129)])
def test_rasters_smaller_than_a_block(tmp_path, shape):
    percent = np.full(shape, 70, np.uint8)
    for path in write_cogs(make_study(tmp_path, percent), 0.5, {}):
        assert cog_validate(path, strict=True)[0]
        with rasterio.open(path) as file:
            assert file.shape == shape
            assert set(np.unique(file.read(1))) <= {1, 70}


def test_tags_carry_notices_statistics_threshold_and_model(tmp_path):
    percent = np.array([[10, 20], [60, 255]], np.uint8)
    paths = write_cogs(make_study(tmp_path, percent), 0.5, {"ROCKGLACIER_MODEL": "hrnet 1"})
    for path, mean in zip(paths, [30, 1 / 3], strict=True):
        with rasterio.open(path) as file:
            tags, band = file.tags(), file.tags(1)
        assert "Contains modified Copernicus Sentinel data 2024" in tags["TIFFTAG_COPYRIGHT"]
        assert "© DLR e.V. 2010-2014" in tags["TIFFTAG_COPYRIGHT"]
        assert (tags["ROCKGLACIER_MODEL"], tags["ROCKGLACIER_THRESHOLD"]) == ("hrnet 1", "0.5")
        assert float(band["STATISTICS_MEAN"]) == pytest.approx(mean)
        assert float(band["STATISTICS_VALID_PERCENT"]) == 75


def test_classes_have_colours_and_names(tmp_path):
    _, classes = write_cogs(make_study(tmp_path, np.full((9, 9), 70, np.uint8)), 0.5, {})
    with rasterio.open(classes) as file:
        assert file.colormap(1)[1] == (178, 34, 34, 255)
        assert file.tags(1)["CLASS_1"] == "rock glacier"
    rasterio.shutil.copy(classes, tmp_path / "seen.vrt", driver="VRT")
    assert "<Category>rock glacier</Category>" in (tmp_path / "seen.vrt").read_text()


def test_a_prediction_without_any_known_pixel(tmp_path):
    for path in write_cogs(make_study(tmp_path, np.full((40, 40), 255, np.uint8)), 0.5, {}):
        with rasterio.open(path) as file:
            assert (file.read(1) == 255).all()
            assert float(file.tags(1)["STATISTICS_VALID_PERCENT"]) == 0


def test_spread_and_agreement_of_an_ensemble_are_files_of_their_own(tmp_path):
    percent = make_percent((600, 700))
    study = make_study(tmp_path, percent)
    group = zarr.open_group(study.prediction_path / "prediction.zarr", mode="r+")
    layers = {"spread": percent // 3, "agreement": np.where(percent > 50, 67, 0)}
    for name, values in layers.items():
        data = np.where(percent == 255, 255, values).astype(np.uint8)
        group.create_array(name, data=data, chunks=(128, 128))
    paths = write_cogs(study, 0.5, {"ROCKGLACIER_MODEL": "3 models"})
    assert [path.stem for path in paths] == ["probability", "classes", "spread", "agreement"]
    words = {"spread": "percentage points", "agreement": "share of the networks"}
    for path in paths[2:]:
        assert cog_validate(path, strict=True) == (True, [], [])
        with rasterio.open(path) as file:
            held, tags, band = file.read(1), file.tags(), file.tags(1)
            assert (file.nodata, file.overviews(1)) == (255, [2])
        assert np.array_equal(held, group[path.stem][:])
        assert words[path.stem] in tags["TIFFTAG_IMAGEDESCRIPTION"]
        assert tags["ROCKGLACIER_MODEL"] == "3 models"
        known = held[held != 255]
        assert float(band["STATISTICS_MEAN"]) == pytest.approx(known.mean())
        assert float(band["STATISTICS_STDDEV"]) == pytest.approx(known.std())
    del group["spread"], group["agreement"]
    write_cogs(study, 0.5, {})
    assert not paths[2].exists()
    assert not paths[3].exists()


def test_nothing_temporary_is_left(tmp_path):
    study = make_study(tmp_path, make_percent((600, 600)))
    write_cogs(study, 0.5, {})
    names = {path.name for path in study.prediction_path.iterdir()}
    assert names == {"prediction.zarr", "probability.tif", "classes.tif", "classes.tif.aux.xml"}


def test_nothing_temporary_is_left_after_a_failure(tmp_path, monkeypatch):
    study = make_study(tmp_path, make_percent((600, 600)))

    def no_luck(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rasterio.shutil.copy", no_luck)
    with pytest.raises(InputError, match="is full"):
        write_cogs(study, 0.5, {})
    assert {path.name for path in study.prediction_path.iterdir()} == {"prediction.zarr"}


def test_an_area_too_large_for_one_file_is_several_under_one_name(tmp_path, monkeypatch):
    percent = make_percent((700, 1300))
    whole = write_cogs(make_study(tmp_path / "whole", percent, block=128), 0.5, {})
    study = make_study(tmp_path / "cut", percent, block=128)
    plain = write_cogs(study, 0.5, {})
    monkeypatch.setattr("rockglacier.prediction.cog.LARGEST", 600)
    paths = write_cogs(study, 0.5, {"ROCKGLACIER_MODEL": "hrnet 1"})
    assert [path.name for path in paths] == ["probability.vrt", "classes.vrt"]
    for path, one in zip(paths, whole, strict=True):
        parts = sorted(path.parent.glob(f"{path.stem}-*.tif"))
        corners = [(y, x) for y in (0, 512) for x in (0, 1024, 512)]
        assert [part.name for part in parts] == [f"{path.stem}-{y}-{x}.tif" for y, x in corners]
        assert all(cog_validate(part, strict=True)[0] for part in parts)
        with rasterio.open(path) as cut, rasterio.open(one) as file:
            assert np.array_equal(cut.read(1), file.read(1))
            assert (cut.transform, cut.crs, cut.nodata) == (file.transform, file.crs, 255)
            assert cut.tags(1) == file.tags(1)
            assert cut.tags()["ROCKGLACIER_MODEL"] == "hrnet 1"
            assert cut.descriptions == file.descriptions
            assert cut.colorinterp == file.colorinterp
    with rasterio.open(paths[1]) as classes:
        assert classes.colormap(1)[1] == (178, 34, 34, 255)
    assert not any(path.exists() for path in plain)
    monkeypatch.undo()
    assert write_cogs(study, 0.5, {}) == plain
    kept = {"prediction.zarr", "probability.tif", "classes.tif", "classes.tif.aux.xml"}
    assert {path.name for path in study.prediction_path.iterdir()} == kept


def test_a_pixel_at_the_threshold_is_a_rock_glacier():
    percent = np.array([28, 29, 30, 255], np.uint8)
    assert classify(percent, 0.29).tolist() == [0, 1, 1, 255]
