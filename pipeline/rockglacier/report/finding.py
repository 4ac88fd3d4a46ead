"""Sections on what was found: probability, outlines, their sizes, and where they sit."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from rockglacier.inventory.match import SIZE_CLASSES
from rockglacier.report import figures, layers, maps, tables
from rockglacier.report.layers import Products
from rockglacier.report.overview import training_warning
from rockglacier.report.parts import Picture, Section, Table, picture
from rockglacier.storage import listing, readable

FILTERED: Final = "_filtered"
BY: Final = {
    "aspect area": "Area by the aspect of each pixel",
    "aspect landforms": "Landforms by their mean aspect",
    "illumination": "By light: cosine of the angle between the sun and the normal of the slope",
}
"""Captions of tables whose file names do not say enough."""
DECIDED: Final = (
    "reviewed", "confirmed", "edited", "rejected", "precision", "precision_low", "precision_high",
)  # fmt: skip
FOUND: Final = "found: outside training ground"


def composite(products: Products) -> Section:
    """Show the composite with the outlines."""
    key, title = "composite", "Outlines over the composite"
    if products.cube is None:
        return Section(key=key, title=title, missing="There is no cube.")
    bands = ", ".join(products.cube.bands)
    drawn = picture(
        "composite",
        maps.composite_map(products.frame, products.cube.composite, products.inventory),
        alt="False-colour map with the outlines of all candidates.",
        caption=f"{bands} as red, green, blue. Outlines are candidates, coloured by their ground.",
    )
    return Section(
        key=key, title=title, warning=training_warning(products), pictures=(drawn,)
    )  # fmt: skip


def probability(products: Products) -> Section:
    """Show the probability map."""
    key, title = "probability", "Probability"
    if products.percent is None:
        return Section(key=key, title=title, missing="There is no prediction.")
    drawn = picture(
        "probability",
        maps.probability_map(products.frame, products.percent, products.splits),
        alt="Map of the probability of a rock glacier, training ground veiled.",
        caption="Probability of a rock glacier; training ground is veiled, grey is without data.",
    )
    pictures = [drawn]
    if products.doubts:
        pictures.append(
            picture(
                "doubts",
                maps.doubts_map(products.frame, products.doubts),
                alt=f"Maps of the {' and the '.join(products.doubts)} of the networks.",
                caption="Spread: standard deviation of the probabilities of networks and views. "
                "Agreement: share of the networks that call it a rock glacier.",
            )
        )
    return Section(key=key, title=title, pictures=tuple(pictures))


def reference(products: Products) -> Section:
    """Show found against reference outlines."""
    key, title = "reference", "Reference and found"
    if products.reference is None or products.matches is None:
        return Section(key=key, title=title, missing="There is no reference inventory here.")
    found = [
        Table(
            name="matches",
            caption="Outlines matched one to one at IoU ≥ 0.5, by ground",
            frame=tables.agreement_table(products.matches),
        )
    ]
    pictures: list[Picture] = []
    if products.cube is not None:
        drawn = maps.comparison_map(
            products.frame,
            products.cube.elevation,
            products.inventory,
            products.reference,
            products.splits,
        )
        pictures.append(
            picture(
                "reference",
                drawn,
                alt="Map of the reference in black and the candidates in the colour of their "
                "ground.",
                caption="Reference (black) and candidates; training ground is veiled.",
            )
        )
    ground, curve = tables.curve_table(products.matches)
    if len(curve):
        said = f"Precision, recall and F1 of outlines by the IoU that counts as a match, {ground}"
        pictures.append(
            picture("curve", figures.curve_figure(curve), alt=f"{said}.", caption=f"{said}.")
        )
        found.append(Table(name="curve", caption=said, frame=curve))
    note = (
        "Only the row of test ground says what the network finds by itself. The count ratio is "
        "the number found over the number in the reference: not an accuracy."
    )
    return Section(
        key=key, title=title, notes=(note,), pictures=tuple(pictures), tables=tuple(found)
    )


def sizes(products: Products) -> Section:
    """Show the size classes."""
    key, title = "sizes", "Size classes"
    if products.inventory.empty:
        return Section(key=key, title=title, missing="No rock glacier was found.")
    table = tables.size_table(products.inventory, products.reference)
    drawn = picture(
        "sizes",
        figures.size_figure(table),
        alt=f"Bars of number and area by size class: {', '.join(SIZE_CLASSES)} km².",
        caption="Number and area by size class; the reference as a line.",
    )
    return Section(
        key=key,
        title=title,
        pictures=(drawn,),
        tables=(Table(name="sizes", caption=f"By size class; {FOUND}", frame=table),),
    )


def elevation(products: Products) -> Section:
    """Show the distribution over elevation."""
    key, title = "elevation", "Elevation"
    hypsometry = layers.read_hypsometry(products.study)
    table = tables.elevation_table(products.inventory, hypsometry)
    if table.empty:
        return Section(key=key, title=title, missing="No landform with a known elevation.")
    drawn = picture(
        "elevation",
        figures.elevation_figure(table),
        alt="Bars of landforms by median elevation, and of area by elevation.",
        caption="Landforms by median elevation, and area by elevation, in bands of 100 m.",
    )
    return Section(
        key=key,
        title=title,
        pictures=(drawn,),
        tables=(Table(name="elevation", caption=f"By elevation; {FOUND}", frame=table),),
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
    exact = products.csv(products.study.inventory_path / "tables" / "aspect_area.csv")
    if exact is not None:
        table = tables.with_exact_aspect(table, exact)
    note = (
        "Mean aspect is circular. Eligible terrain lies at the elevations of the candidates; a "
        "ratio above 1 is a preference that terrain alone does not explain. Few candidates on "
        "north-facing slopes may also mean that shadow hides them."
    )
    drawn = picture(
        "aspect",
        figures.aspect_figure(table),
        alt="Two roses of eight sectors: landforms by mean aspect, and their area by the aspect of "
        "each pixel.",
        caption="Landforms by mean aspect, and their area by the aspect of each pixel.",
    )
    return Section(
        key=key,
        title=title,
        notes=(note,),
        pictures=(drawn,),
        tables=(Table(name="aspect", caption=f"By aspect; {FOUND}", frame=table),),
    )


def terrain(products: Products) -> Section:
    """Show every table of where the rock glaciers sit."""
    key, title = "terrain", "Terrain that they take"
    paths = listing(products.study.inventory_path / "tables", ".csv")
    if not paths:
        return Section(key=key, title=title, missing="The inventory brought no tables of terrain.")
    note = (
        "Counted at full resolution. Found is all that was drawn, unseen what lies off training "
        "and validation ground; eligible terrain is no glacier. Recall is the share of the "
        "reference that was found, all ground."
    )
    found = []
    for path in paths:
        words = path.stem.removesuffix(FILTERED).replace("_", " ").replace("-", " ")
        said = BY.get(words, f"By {words}")
        if path.stem.endswith(FILTERED):
            said += ", between the elevations of `train.elevation` alone"
        frame = pd.read_csv(readable(path)).rename(columns=tables.words_of)
        name = f"terrain-{path.stem.replace('_', '-')}"
        found.append(Table(name=name, caption=said, frame=frame, is_folded=True))
    return Section(key=key, title=title, notes=(note,), tables=tuple(found))


def water(products: Products) -> Section:
    """Show the water equivalent, a range, if it was asked for."""
    key, title = "water", "Water equivalent"
    summary = products.json(products.study.inventory_path / "water.json")
    if summary is None:
        return Section(
            key=key, title=title, missing="Not asked for: `inventory.hydrology` is not set."
        )
    bound = "at most " if summary["is_upper_bound"] else ""
    low, high = summary["water_low_km3"], summary["water_high_km3"]
    notes = (
        (
            f"{bound}{low:.4f} to {high:.4f} km³ of water in {summary['landforms']} landforms, "
            f"{summary['activity_unknown']} of them of unknown activity; relict ones left out: "
            f"{summary['left_out_relict']}."
        ),
        f"Assumptions: {'; '.join(summary['assumptions'])}.",
        (
            f"Every outline drawn as two would change it by "
            f"{summary['change_if_every_outline_were_two_percent']} %."
        ),
    )
    table = products.csv(products.study.inventory_path / "water.csv")
    tables_ = () if table is None else (Table(name="water", caption="By landform", frame=table),)
    return Section(key=key, title=title, notes=notes, tables=tables_)


def reviews(products: Products) -> Section:
    """Show what people decided in every period, and the precision that follows."""
    key, title = "reviews", "What people decided"
    every = [(one, _counts(one)) for one in products.periods]
    decided = [(one, c) for one, c in every if c["reviewed"] + c["added"]]
    if not decided:
        waiting = sum(counts["waiting"] for _, counts in every)
        return Section(
            key=key, title=title, missing=f"Nobody has looked yet; {waiting} outlines wait."
        )
    are_several = len(products.study.periods) > 1
    notes = [
        (f"{one.study.period.name}: " if are_several else "")
        + f"{counts['reviewed']} outlines of the model were reviewed, {counts['added']} were added "
        f"by people, {counts['waiting']} wait."
        for one, counts in decided
    ]
    unseen = [one.study.period.name for one, c in every if not c["reviewed"] + c["added"]]
    if unseen:
        notes.append(f"Nobody has looked at {', '.join(unseen)} yet.")
    notes.append(
        "Precision is the share of the reviewed ones that are rock glaciers; only that of test or "
        "unseen ground says how the model does elsewhere."
    )
    frame = pd.DataFrame(
        [
            ({"period": one.study.period.name} if are_several else {})
            | {"ground": tables.GROUND_NAMES.get(ground, ground)}
            | {tables.words_of(name): row[name] for name in DECIDED}
            for one, counts in decided
            for ground, row in (("all", counts), *counts["splits"].items())
        ]
    )
    table = Table(
        name="reviews", caption="Precision with its interval of 95 % (Wilson)", frame=frame
    )
    return Section(key=key, title=title, notes=tuple(notes), tables=(table,))


def _counts(products: Products) -> dict[str, Any]:
    """Return how the outlines of a period fared with people; without a record all of them wait."""
    counts = products.json(products.study.inventory_path / "reviews.json")
    return counts or {"reviewed": 0, "added": 0, "waiting": len(products.inventory)}
