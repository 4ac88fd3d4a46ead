"""Small products of every stage, written by hand to their contracts: 192 x 256 px, two landforms.

The left half of the ground trained, a guard band follows, the right third is test ground.
"""

import hashlib
from datetime import UTC, datetime

import geopandas as gpd
import numpy as np
import shapely
import zarr

from made_study import NORTH, WEST, grid_of, study_in
from rockglacier.cube.store import create_cube
from rockglacier.grid import geodesic_area_km2, projected
from rockglacier.inventory import geoparquet, qgis
from rockglacier.inventory.schema import table_of
from rockglacier.prediction.cog import write_cogs
from rockglacier.scenes.record import DemTile, Scene, write_dem_tiles, write_scenes, write_table
from rockglacier.storage import write_json, write_text

HEIGHT, WIDTH, BLOCK = 192, 256, 128
BANDS = ("B02", "B03", "B04", "B08", "B11")
SPLITS = {"train": (0, 112), "validation": (112, 32), "guard": (144, 16), "test": (160, 96)}
LANDFORMS = {"seen": (40, 30, 50, 40), "unseen": (60, 180, 60, 50)}
"""Row, column, height, width."""


def make_products(folder, *, name="hunza", learned=True, catalog=None, years=("2024",), **publish):
    """Write the products of a study into ``folder/products`` and return the study.

    Of several years each is a period with a prediction; the first has the inventory.
    """
    grid = grid_of((HEIGHT, WIDTH), block=BLOCK)
    area = projected(shapely.box(*grid.bounds), epsg=4326, source_epsg=grid.epsg)
    study = study_in(
        folder,
        grid,
        name=name,
        area=[round(edge, 9) for edge in area.bounds],
        output="products",
        search={"start": f"{years[0]}-01-01", "end": f"{years[-1]}-12-31"},
        cube={
            "bands": BANDS,
            "block": BLOCK,
            "periods": "years" if len(years) > 1 else "one",
        },
        labels={"reference": "reference.gpkg" if learned else None},
        publish=publish,
    )
    write_search(study, catalog)
    write_cube(study)
    for one in study.each_period():
        write_prediction(one)
    if learned:
        write_learned(study)
    write_inventory(study, learned=learned)
    return study


def box_of(study, place):
    row, column, height, width = place
    west, north = WEST + 10 * column, NORTH - 10 * row
    return shapely.box(west, north - 10 * height, west + 10 * width, north)


def write_search(study, catalog):
    footprint = study.area.buffer(0.1).envelope
    scenes = [
        Scene(
            id=f"S2B_43SDA_202408{day:02d}_0_L2A",
            collection="sentinel-2-c1-l2a",
            datetime=datetime(2024, 8, day, 5, 40, tzinfo=UTC),
            tile="43SDA",
            platform="sentinel-2b",
            epsg=32643,
            cloud_cover=1.5,
            baseline="05.11",
            sequence=0,
            datatake="",
            nodata_percent=0.0,
            offset_in_pixels=0,
            offset_reason="baseline 05.11",
            assets={},
            self_href=href,
            sun_azimuth=140.0,
            sun_elevation=55.0,
            basin_cloud=0.4,
            basin_snow=3.0,
            basin_shadow=1.0,
            basin_clear=95.6,
            basin_cover=100.0,
            geometry=footprint,
            bbox=footprint.bounds,
        )
        for day, href in (
            (4, "https://earth-search.example/v1/items/S2B_4?token=SECRET"),
            (14, str(catalog) if catalog else ""),
        )
    ]
    write_scenes(scenes, study.scenes_path)
    dropped = gpd.GeoDataFrame(
        {
            "id": ["S2A_43SDA_20240826_0_L2A"],
            "datetime": [datetime(2024, 8, 26, 5, 40, tzinfo=UTC)],
            "cloud_cover": [41.0],
            "basin_cloud": [float("nan")],
            "rule": ["scene_cloud_max"],
            "reason": ["41 % cloud <in the scene>, more than 5 %"],
        },
        geometry=[footprint],
        crs=4326,
    )
    write_table(dropped, study.dropped_path)
    tile = DemTile(
        id="Copernicus_DSM_COG_10_N36_00_E075_00_DEM",
        href="dem.tif",
        collection="cop-dem-glo-30",
        geometry=footprint,
        self_href="",
    )
    write_dem_tiles([tile], study.dem_path)


def surface():
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    return 4000 + 4 * rows + 60 * np.sin(columns / 20)


def write_cube(study):
    create_cube(study)
    group = zarr.open_group(str(study.cube_path), mode="r+")
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    for time in range(len(study.periods)):
        for index in range(len(BANDS)):
            numbers = 1500 + 300 * index + 3 * rows + (1 + time) * columns
            group["reflectance"][time, index] = numbers.astype("uint16")
        group["reflectance"][time, :, :8, :8] = 0
        group["n_clear"][time] = (1 + time + columns // 100).astype("uint8")
    group["elevation"][:] = surface()
    group["slope"][:] = 20
    group["aspect"][:] = (columns % 360).astype("float32")


def write_prediction(study):
    percent = np.full((HEIGHT, WIDTH), 3, np.uint8)
    for row, column, height, width in LANDFORMS.values():
        percent[row : row + height, column : column + width] = 90
    percent[:8, :8] = 255
    group = zarr.open_group(str(study.prediction_path / "prediction.zarr"), mode="w")
    group.create_array("probability", data=percent, chunks=(64, 64))
    write_cogs(study, 0.5, {})


def write_learned(study):
    cells = [
        {"split": name, "row0": 0, "col0": column, "height": HEIGHT, "width": width}
        for name, (column, width) in SPLITS.items()
    ]
    boxes = [box_of(study, (0, cell["col0"], HEIGHT, cell["width"])) for cell in cells]
    write_table(gpd.GeoDataFrame(cells, geometry=boxes, crs=study.grid.epsg), study.splits_path)
    labels = [
        projected(box_of(study, place), epsg=4326, source_epsg=study.grid.epsg)
        for place in LANDFORMS.values()
    ]
    write_table(
        gpd.GeoDataFrame(
            {
                "label_id": ["a", "b"],
                "used": [True, True],
                "area_km2": [geodesic_area_km2(label) for label in labels],
                "action": ["kept", "kept"],
            },
            geometry=labels,
            crs=4326,
        ),
        study.label_table_path,
    )
    write_models(study)


def write_models(study):
    channels = ["B02", "B04", "B08", "B11", "slope"]
    fusion = {
        "set": "stack",
        "channels": channels,
        "layers": channels,
        "mean": [0.1, 0.2, 0.3, 0.4, 20.0],
        "std": [0.05, 0.06, 0.07, 0.08, 9.0],
        "loadings": None,
        "explained_variance": None,
        "bands": list(BANDS),
        "hash": "abc",
    }
    write_json(study.fusion_path, fusion)
    folder = study.models_path / "hrnet" / "trial-0"
    folder.mkdir(parents=True)
    (folder / "model.ckpt").write_bytes(b"weights")
    settings = {
        "network": "hrnet",
        "size": "small",
        "channels": channels,
        "fusion": "abc",
        "set": "stack",
        "chip": 128,
        "batch": 16,
        "split": "strip",
        "trial": 0,
        "seed": 7,
        "threshold": 0.5,
        "temperature": 1.1,
        "epochs": 9,
        "best_epoch": 7,
        "steps": 90,
        "seconds": 12.0,
        "parameters": 1234,
        "precision": "32-true",
        "weights": hashlib.sha256(b"weights").hexdigest(),
        "validation": {"iou_rock_glacier": 0.7},
    }
    write_json(folder / "model.json", settings)
    write_text(
        folder / "history.csv",
        "epoch,train_loss,validation_loss,score\n0,0.9,0.8,0.3\n1,0.5,0.6,0.6\n",
    )
    write_json(
        study.selection_path,
        {
            "network": "hrnet",
            "trial": 0,
            "path": "hrnet/trial-0",
            "threshold": 0.5,
            "temperature": 1.1,
            "reason": "best on validation",
        },
    )
    write_json(study.evaluation_path, evaluation())


def evaluation():
    scores = {
        "iou_background": 0.95,
        "iou_rock_glacier": 0.6,
        "recall_background": 0.98,
        "recall_rock_glacier": 0.75,
        "precision_background": 0.97,
        "precision_rock_glacier": 0.75,
        "f1_background": 0.97,
        "f1_rock_glacier": 0.75,
        "miou": 0.775,
        "accuracy": 0.96,
        "mean_recall": 0.86,
        "mean_precision": 0.86,
        "f1_macro": 0.86,
        "confusion": [[15000, 1000], [1000, 3000]],
        "pixels_without_data": 0,
    }
    hrnet = {"network": "hrnet", "trial": 0, "threshold": 0.5, "pixels": 20000, **scores}
    unet = {**hrnet, "network": "unet", "iou_rock_glacier": 0.5, "f1_background": None}
    return {
        "split": "test (strip)",
        "networks": {"unet": unet, "hrnet": hrnet},
        "trials": [unet, hrnet],
        "random": {
            "hrnet": {
                **hrnet,
                "iou_rock_glacier": 0.8,
                "split": "held-out chips of the random 9:1 split, leaking",
            }
        },
        "leak": {
            "hrnet": {
                "random_split_iou": 0.8,
                "test_iou": 0.6,
                "leak": 0.2,
                "test_iou_on_chips": 0.62,
                "leak_on_chips": 0.18,
                "meaning": "made",
            }
        },
    }


def write_inventory(study, *, learned):
    grounds = {"seen": "train", "unseen": "test"} if learned else dict.fromkeys(LANDFORMS, "unseen")
    rows = []
    for number, (name, place) in enumerate(LANDFORMS.items()):
        outline = projected(box_of(study, place), epsg=4326, source_epsg=study.grid.epsg)
        area = geodesic_area_km2(outline)
        rows.append(
            {
                "candidate_id": f"RGC36000{number}N0750000E",
                "split": grounds[name],
                "train_share": float(grounds[name] == "train"),
                "truncated": False,
                "area_km2": area,
                "area_uncertainty_km2": area / 20,
                "perimeter_km": 2.0,
                "pixels": place[2] * place[3],
                "elevation_min_m": 4100.0,
                "elevation_front_m": 4110.0,
                "elevation_median_m": 4200.0 + 300 * number,
                "elevation_mean_m": 4200.0 + 300 * number,
                "elevation_max_m": 4600.0,
                "relief_m": 500.0,
                "slope_mean_deg": 20.0,
                "aspect_mean_deg": 350.0,
                "aspect_resultant": 0.9,
                "aspect_sector": 1,
                "length_m": 600.0,
                "width_m": 400.0,
                "probability_mean": 0.9,
                "probability_p10": 0.9,
                "valid_share": 1.0,
                "snow_share": 0.0,
                "shadow_share": 0.0,
                "model_id": "hunza/hrnet/trial-0",
                "run_id": "r",
                "period": study.period.name,
                "geometry": outline,
            }
        )
    table = table_of(rows)
    points = table.geometry.representative_point()
    geoparquet.write_geoparquet(table, study.inventory_path / "inventory.parquet")
    qgis.write_geopackage(
        study.inventory_path / "inventory.gpkg",
        table,
        points,
        study.area,
        name=study.config.name,
        period=study.period.name,
    )
    write_text(study.inventory_path / "hypsometry.csv", "candidate_id,band_from_m\n")
    if learned:
        write_json(study.inventory_path / "matches.json", {"left_out": {}, **matches()})


def matches():
    def ground(found, reference):
        return {
            "n_a": found,
            "n_b": reference,
            "area_a_km2": 0.2 * found,
            "area_b_km2": 0.2 * reference,
            "count_ratio": found / reference,
            "area_bias": 0.0,
            "iou_0.5": {
                "iou": 0.5,
                "matched_a": found,
                "matched_b": found,
                "precision": 1.0,
                "recall": found / reference,
                "f1": 0.9,
            },
            "cover_0.5": {
                "matched_a": found,
                "matched_b": found,
                "precision": 1.0,
                "recall": None,
                "f1": None,
            },
            "size_classes": [],
        }

    return {"all": ground(2, 2), "train": ground(1, 1), "test": ground(1, 1)}
