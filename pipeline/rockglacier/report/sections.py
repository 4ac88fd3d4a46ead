"""The sections of the report: what each shows, and what it says where its product is absent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import geopandas as gpd
import pandas as pd
from matplotlib.figure import Figure

from rockglacier.report import figures, layers, maps, tables
from rockglacier.report.layers import Products
from rockglacier.report.parts import Picture, Section, Table
from rockglacier.report.style import to_png
from rockglacier.scenes.notices import notices
from rockglacier.storage import readable
from rockglacier.study import Study

SCENE_COLUMNS: Final = (
    "id", "datetime", "cloud_cover", "basin_cloud", "basin_snow", "basin_cover",
    "offset_in_pixels", "offset_reason",
)  # fmt: skip
DROPPED_COLUMNS: Final = ("id", "datetime", "cloud_cover", "basin_cloud", "rule", "reason")
OUTSIDE: Final = "found: outside training ground"
FEW: Final = 20
"""Landforms below which a score on them is a rough figure."""


def basin(products: Products) -> Section:
    """Show where the basin lies and how high."""
    key, title = "basin", "The basin"
    if products.cube is None:
        return Section(key=key, title=title, missing="There is no cube to show it from.")
    area = gpd.GeoSeries([products.study.area], crs=4326)
    figure = maps.basin_map(products.frame, products.cube.elevation, area)
    said = f"Elevation and the outline of the area; EPSG:{products.frame.epsg}."
    return Section(key=key, title=title, pictures=(_picture("basin", said, figure),))


def scenes(products: Products) -> Section:
    """List the scenes used and dropped, with reasons."""
    study = products.study
    used = _columns(pd.read_parquet(readable(study.scenes_path)), SCENE_COLUMNS)
    found = [Table(name="scenes", caption=f"{len(used)} scenes used", frame=used)]
    if study.dropped_path.is_file():
        dropped = _columns(pd.read_parquet(readable(study.dropped_path)), DROPPED_COLUMNS)
        said = f"{len(dropped)} scenes found and not used"
        found.append(Table(name="scenes-dropped", caption=said, frame=dropped))
    note = (
        "Cloud of the scene is the item's own number for its whole tile; cloud over the basin is "
        "counted in the scene classification at full resolution."
    )
    return Section(key="scenes", title="Scenes", notes=(note,), tables=tuple(found))


def _columns(frame: pd.DataFrame, names: tuple[str, ...]) -> pd.DataFrame:
    return frame[[name for name in names if name in frame]]


def looks(products: Products) -> Section:
    """Show how often each pixel was seen clearly."""
    key, title = "looks", "Clear looks"
    cube = products.cube
    if cube is None:
        return Section(key=key, title=title, missing="There is no cube.")
    figure = maps.looks_map(products.frame, cube.n_clear, cube.n_snow, cube.n_shadow)
    said = (
        "Left: looks that make up each pixel. Right: pixels seen only in shadow, under snow, or "
        "never."
    )
    return Section(key=key, title=title, pictures=(_picture("looks", said, figure),))


def composite(products: Products) -> Section:
    """Show the composite with the outlines."""
    key, title = "composite", "Composite and outlines"
    if products.cube is None:
        return Section(key=key, title=title, missing="There is no cube.")
    figure = maps.composite_map(products.frame, products.cube.composite, products.inventory)
    bands = ", ".join(products.cube.bands)
    said = f"{bands} as red, green, blue. Outlines are candidates, coloured by their ground."
    return Section(
        key=key,
        title=title,
        warning=_training_warning(products),
        pictures=(_picture("composite", said, figure),),
    )


def _training_warning(products: Products) -> str:
    count = int((products.inventory["ground"] == "train").sum())
    if not count:
        return ""
    return (
        f"{count} of {len(products.inventory)} outlines lie on ground that the network was trained "
        "on. It was shown the answer there: they are drawn dashed and blue and are not findings."
    )


def probability(products: Products) -> Section:
    """Show the probability map."""
    key, title = "probability", "Probability"
    if products.percent is None:
        return Section(key=key, title=title, missing="There is no prediction.")
    figure = maps.probability_map(products.frame, products.percent, products.splits)
    said = "Probability of a rock glacier; training ground is veiled, grey is without data."
    return Section(key=key, title=title, pictures=(_picture("probability", said, figure),))


def split(products: Products) -> Section:
    """Show the split of the ground."""
    key, title = "split", "Split of the ground"
    if products.splits is None:
        return Section(
            key=key, title=title, missing="Nothing was trained here: all ground is unseen."
        )
    if products.cube is None:
        return Section(key=key, title=title, missing="There is no cube to draw it on.")
    figure = maps.split_map(
        products.frame, products.cube.elevation, products.splits, products.reference
    )
    said = (
        "Networks learn on training ground, validation ground chooses checkpoint and threshold, "
        "test ground is scored once, nothing uses the guard band."
    )
    return Section(key=key, title=title, pictures=(_picture("split", said, figure),))


def reference(products: Products) -> Section:
    """Show found against reference outlines."""
    key, title = "reference", "Reference and found"
    if products.reference is None or products.matches is None:
        return Section(key=key, title=title, missing="There is no reference inventory here.")
    table = Table(
        name="matches",
        caption="Outlines matched one to one at IoU ≥ 0.5, by ground",
        frame=tables.agreement_table(products.matches),
    )
    pictures: tuple[Picture, ...] = ()
    if products.cube is not None:
        figure = maps.comparison_map(
            products.frame,
            products.cube.elevation,
            products.inventory,
            products.reference,
            products.splits,
        )
        said = "Reference (black) and candidates; training ground is veiled."
        pictures = (_picture("reference", said, figure),)
    note = (
        "Only the row of test ground says what the network finds by itself. count_ratio is the "
        "number found over the number in the reference: not an accuracy."
    )
    return Section(key=key, title=title, notes=(note,), pictures=pictures, tables=(table,))


def scores(products: Products) -> Section:
    """Show the scores of the networks, each with the split that it is from."""
    key, title = "scores", "Scores of the networks"
    evaluation = products.evaluation
    if evaluation is None:
        return Section(
            key=key,
            title=title,
            missing="No network was scored here: a given model's scores are in its card.",
        )
    matrices = {
        f"{name}: {ground}": row["confusion"]
        for ground, rows in (
            (evaluation["split"], evaluation.get("networks", {})),
            (tables.LEAKING, evaluation.get("random", {})),
        )
        for name, row in rows.items()
        if row.get("confusion")
    }
    pictures = []
    if matrices:
        figure = figures.confusion_figure(matrices)
        said = "Confusion matrices, pixels; shares are of the true class."
        pictures.append(_picture("confusion", said, figure))
    histories = _histories(products.study)
    if histories:
        figure = figures.history_figure(histories)
        pictures.append(_picture("history", "Losses of the trainings by epoch.", figure))
    table = Table(
        name="metrics",
        caption="IoU, F1, precision and recall are of the rock glacier class",
        frame=tables.metrics_table(evaluation),
    )
    note = (
        f"Ground: {evaluation['split']}, each pixel once, at its natural share of landforms. "
        "Threshold and temperature come from validation ground."
    )
    return Section(key=key, title=title, notes=(note,), pictures=tuple(pictures), tables=(table,))


def _histories(study: Study) -> dict[str, pd.DataFrame]:
    wanted = {"epoch", "train_loss", "validation_loss"}
    found = {}
    for path in sorted(study.models_path.glob("*/trial-*/history.csv")):
        history = pd.read_csv(readable(path))
        if wanted <= set(history):
            found[f"{path.parent.parent.name}, {path.parent.name}"] = history
    return found


def leak(products: Products) -> Section:
    """Show how much the random split overstates."""
    key, title = "leak", "The leak of the random split"
    if not (products.evaluation and products.evaluation.get("leak")):
        return Section(key=key, title=title, missing="No network was trained on the random split.")
    figure = figures.leak_figure(products.evaluation["leak"])
    table = Table(
        name="leak",
        caption="What the random split claims, and what unseen ground says",
        frame=tables.leak_table(products.evaluation),
    )
    warning = (
        "The random 9:1 split leaks: its chips overlap, so that a network is scored on pixels that "
        "it learnt from. Its numbers are for comparison with other studies, not to be believed."
    )
    said = "IoU of the rock glacier class of the same networks."
    unseen = [
        name
        for name, row in products.evaluation["leak"].items()
        if row.get("leak") is not None and row["leak"] <= 0
    ]
    note = (
        f"No leak shows for {', '.join(unseen)}: a network that has learnt little has no pixels to "
        "remember."
    )
    return Section(
        key=key,
        title=title,
        notes=(note,) if unseen else (),
        warning=warning,
        pictures=(_picture("leak", said, figure),),
        tables=(table,),
    )


def sizes(products: Products) -> Section:
    """Show the size classes."""
    key, title = "sizes", "Size classes"
    table = tables.size_table(products.inventory, products.reference)
    if products.inventory.empty:
        return Section(key=key, title=title, missing="No rock glacier was found.")
    said = "Number and area by size class; the reference as a line."
    return Section(
        key=key,
        title=title,
        pictures=(_picture("sizes", said, figures.size_figure(table)),),
        tables=(
            Table(
                name="sizes", caption="By size class; found: outside training ground", frame=table
            ),
        ),
    )


def elevation(products: Products) -> Section:
    """Show the distribution over elevation."""
    key, title = "elevation", "Elevation"
    hypsometry = layers.read_hypsometry(products.study)
    table = tables.elevation_table(products.inventory, hypsometry)
    if table.empty:
        return Section(key=key, title=title, missing="No landform with a known elevation.")
    said = "Landforms by median elevation, and area by elevation, in bands of 100 m."
    return Section(
        key=key,
        title=title,
        pictures=(_picture("elevation", said, figures.elevation_figure(table)),),
        tables=(
            Table(
                name="elevation",
                caption="By elevation; found: outside training ground",
                frame=table,
            ),
        ),
    )


def aspect(products: Products) -> Section:
    """Show the distribution over aspect."""
    key, title = "aspect", "Aspect"
    cube, percent = products.cube, products.percent
    if products.inventory.empty or cube is None or percent is None:
        return Section(key=key, title=title, missing="No landform, or no cube to take it from.")
    is_found = layers.burnt(products.inventory, products.frame, percent.shape)
    table = tables.aspect_table(
        products.inventory,
        aspect=cube.aspect,
        elevation=cube.elevation,
        is_found=is_found,
        pixel_m=products.frame.pixel_m,
    )
    note = (
        "Mean aspect is circular. Eligible terrain lies at the elevations of the candidates; a "
        "ratio above 1 is a preference that terrain alone does not explain. Few candidates on "
        "north-facing slopes may also mean that shadow hides them."
    )
    said = "Landforms by mean aspect, and their area by the aspect of each pixel."
    return Section(
        key=key,
        title=title,
        notes=(note,),
        pictures=(_picture("aspect", said, figures.aspect_figure(table)),),
        tables=(
            Table(name="aspect", caption="By aspect; found: outside training ground", frame=table),
        ),
    )


def thin(products: Products) -> Section:
    """Say what the numbers rest on that is little."""
    study, inventory = products.study, products.inventory
    said = ["Every outline is a candidate: activity, kinematics and origin are left to a person."]
    scenes = pd.read_parquet(readable(study.scenes_path), columns=["datetime"])
    dates = scenes["datetime"].dt.date.nunique()
    if dates < 3:
        said.append(f"{dates} date(s) of imagery: a median of so few looks keeps what is odd.")
    test = (products.matches or {}).get("test")
    if test and test["n_b"] < FEW:
        said.append(f"{test['n_b']} landforms on the test ground: scores of outlines are rough.")
    if study.config.train.trials == 1 and products.evaluation:
        said.append("One trial a network: differences between networks may be chance.")
    truncated = int(inventory["truncated"].sum()) if "truncated" in inventory else 0
    if truncated:
        said.append(f"{truncated} outlines are cut by the edge of the area or of the data.")
    if products.reference is None:
        said.append("Without a reference nothing here says how right the outlines are.")
    if study.config.publish.license == "other":
        said.append("No licence was chosen: neither the data nor the model may be passed on.")
    if study.config.features.set.startswith("paper"):
        said.append("The feature set is one reading of the 2025 paper; its text allows others.")
    return Section(key="thin", title="What is thin", notes=tuple(said))


def sources(products: Products) -> Section:
    """Carry the notices that users of the data have to pass on."""
    config = products.study.config
    said = [*notices(products.study), f"Licence: {config.publish.license}."]
    if config.publish.provider:
        said.append(f"Published by {config.publish.provider}.")
    said.append("The method follows Remote Sensing 2025, 17(24), 3942, doi 10.3390/rs17243942.")
    return Section(key="sources", title="Sources and licence", notes=tuple(said))


def _picture(name: str, caption: str, figure: Figure) -> Picture:
    return Picture(name=name, caption=caption, png=to_png(figure))


SECTIONS: Final[tuple[Callable[[Products], Section], ...]] = (
    basin, scenes, looks, composite, probability, split, reference, scores, leak, sizes, elevation,
    aspect, thin, sources,
)  # fmt: skip
