"""The neighbours, as their documentation uses them: lazy stacks, a mask, a median, Zarr."""

import dask
import numpy as np
import odc.stac
import pystac
import stackstac
import xarray as xr
from case import ASSETS, BANDS, CLEAR, Case
from odc.geo.geobox import GeoBox

CLOUD_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_INGESTED_BYTES_AT_OPEN": "32768",
}
"""What their guides recommend for remote files."""


def odc_load(case: Case):
    """Load all looks with odc-stac, one mosaic a day."""
    with _threads(case):
        loaded = _odc(case).compute()

    def pixels(rows):
        bands = [loaded[ASSETS[band]].values[:, rows] for band in BANDS]
        return np.stack(bands, axis=1), loaded["scl"].values[:, rows]

    return pixels


def odc_median(case: Case):
    """Median of the clear looks with odc-stac and xarray, written to Zarr."""
    lazy = _odc(case).chunk(time=-1)
    data, scl = lazy[[ASSETS[band] for band in BANDS]], lazy["scl"]
    clear = scl.isin(CLEAR)
    with _threads(case):
        made = data.where(clear & (data != 0)).median("time")
        _whole(made).to_zarr(case.scratch / "odc.zarr", mode="w", consolidated=False)
    return _reader(case.scratch / "odc.zarr")


def stackstac_load(case: Case):
    """Load all looks with stackstac, one mosaic a day."""
    with _threads(case):
        loaded = _stackstac(case).compute()

    def pixels(rows):
        bands = [loaded.sel(band=ASSETS[band]).values[:, rows] for band in BANDS]
        return np.stack(bands, axis=1), loaded.sel(band="scl").values[:, rows]

    return pixels


def stackstac_median(case: Case):
    """Median of the clear looks with stackstac and xarray, written to Zarr."""
    lazy = _stackstac(case).chunk(day=-1)
    data = lazy.sel(band=[ASSETS[band] for band in BANDS])
    clear = lazy.sel(band="scl", drop=True).isin(CLEAR)
    with _threads(case):
        made = data.where(clear & (data != 0)).median("day").to_dataset("band")
        _whole(made).to_zarr(case.scratch / "stackstac.zarr", mode="w", consolidated=False)
    return _reader(case.scratch / "stackstac.zarr")


def _threads(case: Case):
    return dask.config.set(scheduler="threads", num_workers=case.threads)


def _whole(made: xr.Dataset) -> xr.Dataset:
    """Return stored numbers, halves rounded up as ours are, without what Zarr cannot hold."""
    return (made.fillna(0) + 0.5).astype("uint16").reset_coords(drop=True).drop_attrs()


def _reader(path):
    def pixels(rows):
        written = xr.open_zarr(path, consolidated=False)
        return (np.stack([written[ASSETS[band]].values[rows] for band in BANDS]),)

    return pixels


def _odc(case: Case) -> xr.Dataset:
    odc.stac.configure_rio(cloud_defaults=True)
    edge = case.area[2]
    return odc.stac.load(
        [pystac.Item.from_dict(item) for item in case.scenes()],
        bands=list(ASSETS.values()),
        geobox=GeoBox((edge, edge), case.transform, case.crs),
        groupby="solar_day",
        chunks={"x": case.chunk, "y": case.chunk},
    )


def _stackstac(case: Case) -> xr.DataArray:
    # raw items: pystac turns proj:epsg into proj:code, which stackstac does not know
    stack = stackstac.stack(
        case.scenes(),
        assets=list(ASSETS.values()),
        bounds=case.bounds,
        resolution=10,
        epsg=int(case.crs.removeprefix("EPSG:")),
        dtype="uint16",
        fill_value=np.uint16(0),
        rescale=False,
        chunksize=case.chunk,
        xy_coords="center",
        gdal_env=stackstac.DEFAULT_GDAL_ENV.updated(always=CLOUD_OPTIONS),
    )
    day = stack.time.values.astype("datetime64[D]").astype("datetime64[ns]")
    stack = stack.assign_coords(day=("time", day))
    return stack.groupby("day").map(lambda one: stackstac.mosaic(one, dim="time", nodata=0))
