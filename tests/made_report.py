"""A study with everything that a report shows: maps are given, all that follows is really made."""

import numpy as np
import zarr

from made_products import HEIGHT, LANDFORMS, SPLITS, WIDTH, make_products
from rockglacier.evaluation.everywhere import GROUNDS, table_of
from rockglacier.evaluation.judge import StudyJudge
from rockglacier.evaluation.mapped import write_adjusted_area
from rockglacier.evaluation.objects import judge_outlines
from rockglacier.evaluation.worth import ABLATION
from rockglacier.features.fitted import SCALE
from rockglacier.grid import Window
from rockglacier.inventory.tables import build_inventory
from rockglacier.labels.registration import shift_scores
from rockglacier.model.metrics import as_json, confusion_matrix, scores
from rockglacier.model.scoring import Map
from rockglacier.model.summary import summarize
from rockglacier.report.page import write_report
from rockglacier.storage import read_json, write_json, write_text

NETWORKS = {"unet": 6, "deeplabv3plus": 3, "hrnet": 1}
"""Pixels by which the map of each lies off, to the right."""


def make_report(folder, **publish):
    """Make a study of ``made_products`` whole, write its report, and return it and the facts."""
    study = make_products(folder, **publish)
    labels = write_labels(study)
    write_features(study)
    write_doubts(study, labels)
    write_evaluation(study, labels)
    write_everywhere(study, labels)
    write_ablation(study)
    (study.inventory_path / "inventory.gpkg").unlink()  # else it counts as edited
    build_inventory(study)
    write_adjusted_area(study)
    write_receipts(study, labels)
    return study, write_report(study)


def write_labels(study):
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    for row, column, height, width in LANDFORMS.values():
        labels[row : row + height, column : column + width] = 1
    labels[-4:] = 255
    group = zarr.open_group(str(study.labels_path), mode="w", zarr_format=3)
    group.create_array("labels", data=labels, chunks=(64, 64))
    return labels


def write_features(study):
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    waves = [np.sin(rows / n) + np.cos(columns / (n + 2)) for n in range(3, 8)]
    group = zarr.open_group(str(study.features_path), mode="w", zarr_format=3)
    values = np.rint(SCALE * np.stack(waves)).astype(np.int16)
    group.create_array("features", data=values, chunks=(5, 64, 64))


def write_doubts(study, labels):
    group = zarr.open_group(str(study.prediction_path / "prediction.zarr"), mode="r+")
    for name, here, elsewhere in (("spread", 12, 3), ("agreement", 100, 0)):
        values = np.where(labels == 1, here, elsewhere).astype(np.uint8)
        group.create_array(name, data=values, chunks=(64, 64))


def write_evaluation(study, labels):
    column, width = SPLITS["test"]
    window = Window(y=0, x=column, height=HEIGHT, width=width)
    reach = Window(y=0, x=column - 16, height=HEIGHT, width=width + 16)
    judge, rows = StudyJudge(study), []
    for name, off in NETWORKS.items():
        called = np.roll(labels == 1, off, axis=1)
        probability = np.where(called, 0.9, 0.1).astype(np.float32)
        maps = [Map(window=window, reach=reach, probability=probability[reach.slices])]
        more = judge.judge(name, 0, maps, threshold=0.5)
        counts = confusion_matrix(
            labels[window.slices], (probability >= 0.5)[window.slices].astype(np.uint8)
        )
        speed = {"images_per_s": 10.0 + off, "parameters": 1000 * off, "device": "cpu",
                 "precision": "float32", "batch": 8, "chip": 128}  # fmt: skip
        rows.append(
            {
                "network": name, "trial": 0, "validation_iou": 0.7, "threshold": 0.5,
                "pixels": int(counts.sum()), **as_json(scores(counts)),
                "confusion": counts.tolist(), "pixels_without_data": 0, **more, "speed": speed,
            }
        )  # fmt: skip
    networks = {row["network"]: row for row in rows}
    held = read_json(study.evaluation_path)
    write_json(
        study.evaluation_path,
        {
            **held, "networks": networks, "trials": rows, "table": summarize(rows),
            **judge.conclude(dict.fromkeys(networks, 0)),
        },
    )  # fmt: skip


def write_everywhere(study, labels):
    """What ``protocol: paper`` adds: every network's map of all ground, counted."""
    judged = {
        name: judge_outlines(
            study, np.where(np.roll(labels == 1, off, axis=1), 90, 10).astype(np.uint8),
            threshold=0.5,
        )
        for name, off in NETWORKS.items()
    }  # fmt: skip
    folder = study.models_path / "evaluation"
    write_text(folder / "everywhere.csv", table_of(judged).to_csv(index=False))
    scores = {
        name: {ground: own.on(split) for ground, split in GROUNDS.items()}
        for name, own in judged.items()
    }
    write_json(folder / "everywhere.json", scores)


def write_ablation(study):
    """What ``evaluate --ablation`` leaves, by hand: training takes minutes."""
    names = ("iou_rock_glacier", "f1_rock_glacier", "boundary_f", "object_f1")
    scores = {f"{name}{part}": 0.5 for name in names for part in ("", "_spread", "_best")}
    base = {"set": "stack", "is_base": True, "channels": 9, "trials": 2, **scores}
    paired = ("difference", "low", "high", "blocks")
    rows = [
        base | dict.fromkeys(paired) | {"same_chips": True},
        base | {"set": "bands", "is_base": False, "channels": 4, "same_chips": True}
        | dict(zip(paired, (-0.1, -0.2, 0.02, 24), strict=True)),
    ]  # fmt: skip
    about = {"network": "hrnet", "base": "stack", "epochs": 60, "chips_per_epoch": 512, "of": {}}
    write_json(study.models_path / ABLATION, about | {"rows": rows})


def write_receipts(study, labels):
    shifts = shift_scores(labels, [block.window for block in study.grid.blocks()])
    write_json(
        study.receipts_path / "label.json",
        {"facts": {"used": 2, "iou_by_shift_px": shifts}, "seconds": 1.0, "output": "abc"},
    )
    write_json(
        study.receipts_path / "cube.json",
        {
            "facts": {
                "retries": 2,
                "skipped": [{"item": "S2A_X", "reason": "cut off <early>"}],
                "clear_share": 0.98,
            },
            "seconds": 2.0,
            "output": "def",
        },
    )
