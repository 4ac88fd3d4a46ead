"""The whole job on a made-up basin, then its model on a second basin that has no labels."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rockglacier.console import out
from rockglacier.demo.basin import make_basin
from rockglacier.engine import Progress, silent
from rockglacier.errors import ContractError
from rockglacier.mapping import pack_model, study_for_bundle
from rockglacier.run import Standing, run_stages, timings
from rockglacier.stages import STAGES, Context, Stage, stages_of
from rockglacier.storage import read_json, write_text
from rockglacier.study import Study, open_study

Told = Callable[[Stage, Standing | None, dict[str, Any], float], None]
ELSEWHERE_SEED_STEP = 1000  # the second basin's seed, away from the first's


def _settings() -> str:
    """Return the study's file: packaged beside this module, in a checkout with the other basins."""
    here = Path(__file__).resolve()
    places = (here.with_name("demo.yaml"), here.parents[2] / "basins" / "demo.yaml")
    for place in places:
        if place.is_file():
            return place.read_text(encoding="utf-8")
    raise ContractError(
        f"no demo.yaml in {str(places[0].parent)!r}",
        expected="the file that the package brings",
        todo="install rockglacier again",
    )


def run_demo(
    folder: Path,
    *,
    seed: int = 7,
    progress: Progress = silent,
    told: Told | None = None,
    picture: Path | None = None,
) -> None:
    """Make two basins, run every stage on the first, map the second with the packed model.

    Parameters
    ----------
    folder
        Where it all goes; what is done there already is kept.
    seed
        Of the first basin.
    progress, told
        As for :func:`rockglacier.run.run_stages`.
    picture
        Where the three-panel picture of the first basin goes, if anywhere.
    """
    start = time.perf_counter()
    study = _first_basin(folder, seed, progress)
    made = time.perf_counter() - start
    out.print(f"[bold]basin[/bold]      {made:6.1f} s  made in {study.base}")
    run_stages(study, STAGES, Context(progress=progress), told=told)
    elsewhere = _second_basin(folder, study, seed + ELSEWHERE_SEED_STEP, progress, told)
    if picture is not None:
        from rockglacier.report.figures import basin_picture

        basin_picture(study, picture)
    _summary(study, elsewhere, seconds=time.perf_counter() - start)


def _first_basin(folder: Path, seed: int, progress: Progress) -> Study:
    catalog = folder / "catalog"
    marker = catalog / f".complete-{seed}"
    if not marker.is_file():
        shutil.rmtree(catalog, ignore_errors=True)
        make_basin(catalog, seed=seed, name="demo", progress=progress)
        marker.touch()
    write_text(folder / "demo.yaml", _settings())
    return open_study(folder / "demo.yaml")


def _second_basin(
    folder: Path, study: Study, seed: int, progress: Progress, told: Told | None
) -> Study:
    from rockglacier.model.bundle import read_bundle

    out.print("[bold]elsewhere[/bold]  a second basin, without labels, by the packed model:")
    catalog = folder / "elsewhere-catalog"
    marker = catalog / f".complete-{seed}"
    if not marker.is_file():
        shutil.rmtree(catalog, ignore_errors=True)
        make_basin(
            catalog, seed=seed, size_km=(10, 8), name="elsewhere", labelled=False, progress=progress
        )
        marker.touch()
    bundle = read_bundle(pack_model(study, folder / "demo.rgbundle.zip"))
    mapped = study_for_bundle(
        str((catalog / "area.gpkg").absolute()),
        bundle,
        name="elsewhere",
        search={
            "catalog": str((catalog / "items.parquet").absolute()),
            "start": "2024-07-01",
            "end": "2024-10-31",
        },
        cube={"block": study.config.cube.block},
        output=str((folder / "elsewhere").absolute()),
    )
    run_stages(
        mapped,
        stages_of(mapped, mapping=True),
        Context(progress=progress, bundle=bundle),
        told=told,
    )
    return mapped


def _summary(study: Study, elsewhere: Study, *, seconds: float) -> None:
    evaluation = read_json(study.evaluation_path)
    matches = read_json(study.inventory_path / "matches.json")
    found = read_json(study.receipts_path / "inventory.json")["facts"]
    mapped = read_json(elsewhere.receipts_path / "inventory.json")["facts"]
    out.print()
    out.print(f"products   {study.folder}")
    out.print(f"report     {study.report_path}")
    out.print(f"catalog    {study.stac_path / 'catalog.json'}")
    out.print(f"found      {found['objects']} rock glaciers, {found['area_km2']:.2f} km²")
    for ground, words in (("all", "on all ground"), ("test", "on test ground, never seen")):
        scores = matches.get(ground)
        if scores:
            matched = scores["iou_0.5"]["matched_b"]
            out.print(
                f"matched    {matched} of {scores['n_b']} outlines of the reference 1:1 at "
                f"IoU >= 0.5, by {scores['n_a']} found, {words}"
            )
    for name, scores in evaluation["networks"].items():
        out.print(
            f"test IoU   {name:<14} {scores['iou_rock_glacier']:.3f}  ({evaluation['split']})"
        )
    for name, leak in evaluation["leak"].items():
        out.print(
            f"leak       {name:<14} {leak['leak']:+.3f}: the random split says "
            f"{leak['random_split_iou']:.3f}, unseen ground {leak['test_iou']:.3f}"
        )
    for line in hardly_trained(study):
        out.print(line)
    out.print(f"elsewhere  {mapped['objects']} rock glaciers, {mapped['area_km2']:.2f} km²")
    stages = ", ".join(f"{name} {spent:.0f}" for name, spent in timings(study, STAGES))
    out.print(f"time       {seconds:.0f} s in all; stages in seconds: {stages}")


def hardly_trained(study: Study) -> list[str]:
    """Return lines that say so if a slow or busy machine left a network too few steps to learn."""
    from rockglacier.model.trial import HARDLY_TRAINED

    steps = {}
    for name in study.config.train.networks:
        history = study.models_path / name / "trial-0" / "history.jsonl"
        *_, last = history.read_text(encoding="utf-8").splitlines()
        steps[name] = int(json.loads(last)["step"])
    if min(steps.values()) >= HARDLY_TRAINED:
        return []
    told = ", ".join(f"{name} {n}" for name, n in steps.items())
    file = study.base / "demo.yaml"
    return [
        f"[yellow]untrained[/yellow]  steps in the time they had: {told}. That is too few, and no",
        "           number above says anything: this machine is slow, or busy. Raise",
        f"           train.max_minutes in {file}, then: rockglacier run {file}",
    ]
