"""Runs as tables: medians, ratios within a round, and what was aimed at."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

Run = dict[str, Any]
"""What one process measured: ``part``, ``round``, ``name`` and numbers."""

COLUMNS = (
    ("wall", "wall s", "{:.2f}"),
    ("ratio", "ratio", "{:.2f}"),
    ("cpu", "CPU s", "{:.2f}"),
    ("cpu_ratio", "ratio", "{:.2f}"),
    ("peak_mb", "peak MB", "{:.0f}"),
    ("fetched_mb", "fetched MB", "{:.0f}"),
    ("times_ideal", "x ideal", "{:.2f}"),
    ("requests", "requests", "{:.0f}"),
    ("heads", "HEAD", "{:.0f}"),
    ("mb", "MB", "{:.0f}"),
    ("objects", "objects", "{:.0f}"),
    ("equal", "right", "{:.4%}"),
)


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A number that is aimed at."""

    said: str
    value: Callable[["Summary"], float | None]
    """None where it was not measured."""
    cpu: Callable[["Summary"], float | None] | None = None
    """The same of CPU time: steadier on a busy machine."""
    most: float | None = None
    least: float | None = None


class Summary:
    """The runs of a benchmark, by part and name."""

    def __init__(self, runs: Iterable[Run], ideal_mb: float = 0.0) -> None:
        self.runs = [run for run in runs if "wall" in run]
        self.ideal_mb = ideal_mb

    def of(self, part: str, name: str) -> list[Run]:
        """Return the runs of a contender, by round."""
        found = [run for run in self.runs if (run["part"], run["name"]) == (part, name)]
        return sorted(found, key=lambda run: run["round"])

    def middle(self, part: str, name: str, key: str = "wall") -> float | None:
        """Return the median of a number."""
        found = [run[key] for run in self.of(part, name) if key in run]
        return median(found) if found else None

    def ratio(self, part: str, name: str, to: str, key: str = "wall") -> float | None:
        """Return the median of the ratios of those rounds in which both ran."""
        others = {run["round"]: run for run in self.of(part, to)}
        found = [
            run[key] / others[run["round"]][key]
            for run in self.of(part, name)
            if run["round"] in others and others[run["round"]].get(key, 0) > 0
        ]
        return median(found) if found else None

    def rows(self, part: str) -> dict[str, dict[str, float]]:
        """Return name to column to number, in the order of the runs; the first is the limit."""
        names = list(dict.fromkeys(run["name"] for run in self.runs if run["part"] == part))
        rows = {}
        for name in names:
            row = {key: self.middle(part, name, key) for key, _, _ in COLUMNS}
            row["ratio"] = self.ratio(part, name, names[0])
            row["cpu_ratio"] = self.ratio(part, name, names[0], "cpu")
            if row["fetched_mb"] and self.ideal_mb:
                row["times_ideal"] = row["fetched_mb"] / self.ideal_mb
            rows[name] = {key: value for key, value in row.items() if value is not None}
        return rows

    def text(self, part: str, title: str) -> str:
        """Return the table of a part."""
        rows = self.rows(part)
        columns = [column for column in COLUMNS if any(column[0] in row for row in rows.values())]
        lines = [["", *(head for _, head, _ in columns)]]
        for name, row in rows.items():
            cells = [form.format(row[key]) if key in row else "" for key, _, form in columns]
            lines.append([name, *cells])
        wide = [max(len(line[at]) for line in lines) for at in range(len(columns) + 1)]
        told = [
            "  ".join([line[0].ljust(wide[0]), *map(str.rjust, line[1:], wide[1:])])
            for line in lines
        ]
        return "\n".join([title, *told, ""])


def growth(summary: Summary, small: str, large: str) -> float | None:
    """Return by how many percent the peak memory differs."""
    ratio = summary.ratio("growth", large, small, "peak_mb")
    return None if ratio is None else abs(100 * (ratio - 1))


def goals(small: str, large: str) -> list[Goal]:
    """Return what is aimed at; ``small`` and ``large`` name the basins that are compared."""
    idiom = "odc-stac + xarray median + to_zarr"

    def ratio(said: str, part: str, name: str, to: str = "decode", **aim: float) -> Goal:
        return Goal(
            said=f"{said}: x {to}",
            value=lambda found: found.ratio(part, name, to),
            cpu=lambda found: found.ratio(part, name, to, "cpu"),
            **aim,
        )

    def fetched(part: str, name: str) -> Callable[[Summary], float | None]:
        return lambda found: found.rows(part).get(name, {}).get("times_ideal")

    def highest(found: Summary) -> float | None:
        peaks = [run["peak_mb"] for run in found.runs if run["name"] == "ours cube stage"]
        peaks += [run["peak_mb"] for run in found.runs if run["part"] == "growth"]
        return max(peaks) * 1e6 / 2**30 if peaks else None

    return [
        ratio("load, local", "local", "ours load", most=1.3),
        ratio("load, HTTP", "http", "ours load", most=1.3),
        ratio("load, HTTP + latency", "latency", "ours load", most=1.4),
        ratio("load + median, local", "local", "ours load + median", most=1.7),
        ratio("cube stage, local", "local", "ours cube stage", most=2.2),
        ratio("odc-stac + xarray idiom", "local", idiom, "ours load + median", least=15),
        ratio("odc-stac + xarray idiom", "local", idiom, "ours cube stage"),
        Goal(said="bytes of load: x ideal", value=fetched("http", "ours load"), most=1.1),
        Goal(
            said="bytes of the cube stage: x ideal",
            value=fetched("http", "ours cube stage"),
            most=1.1,
        ),
        Goal(said="peak memory of a worker, GiB", value=highest, most=1.5),
        Goal(
            said="change of peak memory, basin x 16, %",
            value=lambda found: growth(found, small, large),
            most=10,
        ),
        ratio("slope + aspect", "terrain", "ours slope + aspect", "copy two outputs", most=2),
        ratio("Zarr blocks", "zarr", "ours blocks", "zarr-python default", most=0.3),
        Goal(
            said="bytes of Zarr blocks: x zarr-python default",
            value=lambda found: found.ratio("zarr", "ours blocks", "zarr-python default", "mb"),
            most=0.9,
        ),
    ]


def goals_text(summary: Summary, aims: list[Goal]) -> str:
    """Return the goals beside what was measured."""
    lines = [f"{'goals':<52}{'found':>8}{'CPU':>8}"]
    for goal in aims:
        value = goal.value(summary)
        if value is None:
            continue
        cpu = goal.cpu(summary) if goal.cpu else None
        aim, met = "", True
        if goal.most is not None:
            aim, met = f"<= {goal.most:g}", value <= goal.most
        elif goal.least is not None:
            aim, met = f">= {goal.least:g}", value >= goal.least
        numbers = f"{value:>8.2f}{'' if cpu is None else f'{cpu:.2f}':>8}"
        lines.append(f"  {goal.said:<50}{numbers}  {aim:<8}{'' if met else 'missed'}".rstrip())
    return "\n".join(lines)
