"""The commands `score` and `benchmark` as a person runs them."""

import geopandas as gpd
import pytest
from typer.testing import CliRunner

from rockglacier.cli import app
from rockglacier.errors import InputError
from rockglacier.evaluation.benchmark import read_benchmark


def run(*arguments):
    return CliRunner().invoke(
        app, [str(argument) for argument in arguments], catch_exceptions=False
    )


@pytest.fixture
def pair(tmp_path):
    folder = tmp_path / "pair"
    answer = run("benchmark", "synthetic", folder, "--size-km", 3, 2.5, "--no-scenes")
    assert answer.exit_code == 0
    return folder


def test_a_map_is_scored_on_the_synthetic_pair(pair, tmp_path):
    benchmark = read_benchmark(pair)
    truth = benchmark.outlines("unseen", use="landform")
    truth.to_file(tmp_path / "truth.gpkg", engine="pyogrio")
    truth.iloc[1:].to_file(tmp_path / "fewer.gpkg", engine="pyogrio")
    answer = run(
        "score", tmp_path / "fewer.gpkg", "--benchmark", pair, "--to", tmp_path / "out",
        "--against", tmp_path / "truth.gpkg",
    )  # fmt: skip
    assert answer.exit_code == 0
    assert (tmp_path / "out" / "score.json").is_file()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "score.json",
        "score.csv",
        "objects.csv",
    }


def test_a_benchmark_is_written_over_only_when_that_is_said(pair):
    before = read_benchmark(pair)
    with pytest.raises(InputError, match="holds benchmark '") as caught:
        run("benchmark", "synthetic", pair, "--size-km", 4, 3, "--no-scenes")
    assert "--replace" in caught.value.todo
    assert read_benchmark(pair).areas.equals(before.areas)
    answer = run("benchmark", "synthetic", pair, "--size-km", 4, 3, "--no-scenes", "--replace")
    assert answer.exit_code == 0
    assert not read_benchmark(pair).areas.equals(before.areas)


def test_other_sources_and_missing_data_are_refused(tmp_path):
    with pytest.raises(InputError, match="no benchmark 'nothing' is known"):
        run("benchmark", "nothing", tmp_path / "x")
    with pytest.raises(InputError, match="rogi-cci without its data"):
        run("benchmark", "rogi-cci", tmp_path / "x")


def test_a_benchmark_keeps_its_reference_when_it_is_written(pair):
    benchmark = read_benchmark(pair)
    written = gpd.read_parquet(pair / "reference.parquet")
    assert set(written["area"]) == {"learn", "unseen"}
    assert len(written) == len(benchmark.reference)
    assert benchmark.kinds[2] == "talus"
    assert benchmark.areas["split"].tolist() == ["train", "test"]
