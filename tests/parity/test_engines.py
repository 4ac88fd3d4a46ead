"""Three engines, one answer: odc-stac, stackstac and our windows on the same scenes."""

import numpy as np
import odc.geo.xr  # noqa: F401  registers the accessor
import pytest

from rockglacier.cube.lazy import open_scenes
from rockglacier.errors import InputError


@pytest.fixture
def study(make_basin):
    return make_basin()


def test_engines_agree_on_every_pixel_of_the_grids_own_zone(study):
    ours = open_scenes(study, engine="window").compute(scheduler="threads", num_workers=2)
    assert ours.scene.values.tolist() == ["a1", "b1", "a2", "z3"]
    assert ours.B04.dtype == np.uint16
    assert ours.SCL.dtype == np.uint8
    same_zone = ours.scene != "z3"
    for engine in ("odc-stac", "stackstac"):
        theirs = open_scenes(study, engine=engine)
        assert theirs.B04.chunks is not None
        theirs = theirs.compute(scheduler="threads", num_workers=2)
        assert theirs.odc.geobox == ours.odc.geobox
        np.testing.assert_array_equal(theirs.x, ours.x)
        np.testing.assert_array_equal(theirs.scene, ours.scene)
        for name in ("B04", "B11", "SCL"):
            np.testing.assert_array_equal(
                theirs[name][same_zone], ours[name][same_zone], err_msg=f"{engine} {name}"
            )


def test_engines_agree_about_where_the_other_zone_has_data(study):
    seen = {}
    for engine in ("window", "odc-stac", "stackstac"):
        scenes = open_scenes(study, engine=engine).compute(scheduler="threads", num_workers=2)
        seen[engine] = scenes.B04[scenes.scene == "z3"].values[0]
    for engine in ("odc-stac", "stackstac"):
        both = (seen["window"] > 0) & (seen[engine] > 0)
        assert ((seen["window"] > 0) == (seen[engine] > 0)).mean() > 0.98
        apart = np.abs(seen["window"][both].astype(int) - seen[engine][both])
        assert np.median(apart) <= 40  # of a texture of 500: approximate transforms differ


def test_offset_is_harmonised_and_nodata_stays(study):
    scenes = open_scenes(study, engine="odc-stac")
    late = scenes.B04[scenes.scene == "a2"].values
    assert late[late > 0].min() >= 1300  # stored from 300: the offset was taken off
    assert (late == 0).any() or late.min() > 0
    assert scenes.B04.attrs["harmonised"]


def test_unknown_engine_is_refused(study):
    with pytest.raises(InputError, match="no engine 'gdal'") as caught:
        open_scenes(study, engine="gdal")
    assert "odc-stac, stackstac, window" in str(caught.value)
