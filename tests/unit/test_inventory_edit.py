"""The editing loop: exported for QGIS, edited with OGR, taken over, kept by every later run."""

import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from contextlib import contextmanager
from datetime import datetime
from xml.etree import ElementTree as ET

import geopandas as gpd
import pandas as pd
import pyogrio
import pytest
import shapely
import shapely.affinity
import yaml
from typer.testing import CliRunner

from made_products import make_products
from made_study import changed
from rockglacier.cli import app
from rockglacier.errors import InputError
from rockglacier.inventory.corrected import write_corrected
from rockglacier.inventory.edited import import_edited, lines_of, precision_line
from rockglacier.inventory.export import export_csv, export_qgis
from rockglacier.inventory.reviews import outline_hash, read_reviews, review_counts
from rockglacier.inventory.tables import build_inventory
from rockglacier.labels.reference import read_reference
from rockglacier.run import run_stages, standings
from rockglacier.stages import Context, stage_named
from rockglacier.storage import read_json
from rockglacier.study import Study

NOON = datetime(2026, 3, 1, 12)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A study with its inventory; to copy."""
    made = make_products(tmp_path_factory.mktemp("built"))
    shutil.rmtree(made.inventory_path)
    build_inventory(made)
    (made.folder / "study.yaml").write_text(f"name: {made.config.name}")
    gpd.read_parquet(made.label_table_path).to_file(made.base / "reference.gpkg")
    return made


@pytest.fixture
def study(built, tmp_path):
    shutil.copytree(built.base, tmp_path / "study")
    return Study(config=built.config, base=tmp_path / "study")


def inventory(study):
    return gpd.read_parquet(study.inventory_path / "inventory.parquet")


def exported(study):
    package, *_ = export_qgis(study, study.folder / "export" / "qgis")
    return package


def edit(package, *, drop=(), add=None, **rows):
    """Rewrite the outlines with OGR, as an editor does; values of a row by candidate."""
    table = gpd.read_file(package, layer="outlines")
    table = table[~table["candidate_id"].isin(list(drop))]
    for name, values in rows.items():
        place = table.index[table["candidate_id"] == name][0]
        for column, value in values.items():
            if column == "geometry":
                table.loc[[place], "geometry"] = gpd.GeoSeries([value], index=[place], crs=4326)
            else:
                table.loc[place, column] = value
    if add is not None:
        table = gpd.GeoDataFrame(pd.concat([table, add], ignore_index=True), crs=4326)
    table.to_file(package, layer="outlines", driver="GPKG", geometry_type="MultiPolygon",
                  promote_to_multi=True)  # fmt: skip


def free_ground(study):
    """Return a box where no model drew anything, degrees."""
    west, south, east, _ = study.area.bounds
    shape = shapely.box(
        west + 0.4 * (east - west), south + 0.0005, west + 0.5 * (east - west), south + 0.003
    )
    assert not shape.intersects(inventory(study).geometry.union_all())
    return shape


def test_project_names_layers_that_are_there_with_forms_of_the_domains(study):
    package, project = export_qgis(study, study.folder / "qgis")
    with zipfile.ZipFile(project) as archive:
        (name,) = archive.namelist()
        root = ET.fromstring(archive.read(name))  # noqa: S314
    held = {str(layer) for layer, _ in pyogrio.list_layers(package)}
    sources = [layer.findtext("datasource") for layer in root.iter("maplayer")]
    named = [source.split("|layername=")[1].split("|")[0] for source in sources if "|" in source]
    assert {"outlines", "markers", "aoi", "reference", "matches", "moving_areas"} <= held
    assert set(named) <= held
    assert any("subset=\"status\" = 'candidate'" in source for source in sources)
    tree = {layer.get("id") for layer in root.iter("layer-tree-layer")}
    assert tree == {layer.findtext("id") for layer in root.iter("maplayer")}
    outlines = next(
        layer for layer in root.iter("maplayer") if "outlines" in str(layer.findtext("layername"))
    )
    columns = set(pyogrio.read_info(package, layer="outlines")["fields"])
    assert {field.get("name") for field in outlines.iter("field")} == columns
    choices = outlines.findall(".//field[@name='status']//Option[@name='map']/Option/Option")
    assert [option.get("value") for option in choices] == [
        "candidate", "confirmed", "edited", "rejected",
    ]  # fmt: skip
    locked = outlines.find(".//editable/field[@name='area_km2']")
    assert locked.get("editable") == "0"


def test_styles_of_all_layers_lie_in_the_geopackage(study):
    with sqlite3.connect(study.inventory_path / "inventory.gpkg") as data:
        rows = data.execute("SELECT f_table_name, styleQML, useAsDefault FROM layer_styles")
        styles = {
            name: (ET.fromstring(qml), default)  # noqa: S314
            for name, qml, default in rows
        }
    assert set(styles) == {
        "outlines", "aoi", "markers", "moving_areas", "reference", "matches",
    }  # fmt: skip
    values = [c.get("value") for c in styles["outlines"][0].iter("category")]
    assert values == ["candidate", "confirmed", "edited", "rejected"]
    assert all(default for _, default in styles.values())


def test_an_untouched_export_changes_nothing(study):
    before = inventory(study)
    taken = import_edited(study, exported(study))
    assert (taken.confirmed, taken.edited, taken.rejected, taken.added) == (0, 0, 0, 0)
    assert taken.waiting == len(before) == 2
    build_inventory(study)
    pd.testing.assert_frame_equal(inventory(study), before)


def test_round_trip_keeps_status_reviewer_outline_and_is_learned_from(study):
    a, b = inventory(study)["candidate_id"]
    before = inventory(study)
    shape = before.geometry.iloc[1]
    smaller = shapely.affinity.scale(shape, 0.8, 0.8)
    package = exported(study)
    edit(
        package,
        **{
            a: {"status": "rejected", "reviewer": "A", "Comment": "a moraine"},
            b: {"status": "confirmed", "reviewer": "B", "ActiCl": "relict", "geometry": smaller},
        },
    )
    taken = import_edited(study, package, today=NOON)
    assert (taken.rejected, taken.edited, taken.proposed) == (1, 1, 1)
    assert "1 edited" in lines_of(taken)[0]
    build_inventory(study)
    (row,) = inventory(study).to_dict("records")
    assert (row["candidate_id"], row["status"], row["reviewer"]) == (b, "edited", "B")
    assert (row["ActiCl"], row["review_date"]) == ("relict", pd.Timestamp(NOON))
    assert row["PrimaryID"] == f"RGU{b[3:]}"
    assert pd.isna(row["review_reason"])
    assert pd.isna(row["review_rank"])
    assert row["geometry"].symmetric_difference(smaller).area == 0
    assert row["area_km2"] == pytest.approx(0.64 * before["area_km2"].iloc[1])
    assert row["elevation_min_m"] < row["elevation_max_m"]
    changes = pd.read_csv(study.inventory_path / "CHANGES.csv")
    last = changes[changes["version"] == changes["version"].max()]
    assert dict(zip(last["candidate_id"], last["change"], strict=True)) == {a: "gone", b: "changed"}
    counts = read_json(study.inventory_path / "reviews.json")
    assert (counts["reviewed"], counts["precision"], counts["waiting"]) == (2, 0.5, 0)
    reference, complete = write_corrected(study)
    labels = read_reference(str(reference), area=study.area)
    used = labels[labels["used"]]
    assert used["candidate_id"].dropna().tolist() == [b]
    reviews = read_reviews(study)
    rejected = reviews.geometry[reviews["status"] == "rejected"].iloc[0]
    inside = shapely.union_all(used.geometry).intersection(rejected)
    assert inside.area < 1e-12  # the rejected one teaches that there is none
    assert gpd.read_file(complete).geometry.iloc[0].contains(shape.centroid)


def test_later_runs_never_overwrite_a_decision(study):
    a, b = inventory(study)["candidate_id"]
    package = exported(study)
    edit(
        package,
        **{
            a: {"status": "rejected", "reviewer": "A"},
            b: {"status": "confirmed", "reviewer": "A", "Morpho": "simple"},
        },
    )
    import_edited(study, package)
    kept = read_reviews(study)
    for _ in range(2):
        build_inventory(study)
        assert inventory(study)[["candidate_id", "status", "Morpho"]].to_numpy().tolist() == [
            [b, "confirmed", "simple"]
        ]
    again = exported(study)  # rejected ones are there again, and the file as it is changes nothing
    assert sorted(gpd.read_file(again, layer="outlines")["status"]) == ["confirmed", "rejected"]
    import_edited(study, again)
    pd.testing.assert_frame_equal(read_reviews(study), kept)


def test_import_makes_the_inventory_stale_and_nothing_before_it(study):
    stage = stage_named("inventory")
    run_stages(study, [stage], Context())
    (a, _) = inventory(study)["candidate_id"]
    package = exported(study)
    edit(package, **{a: {"status": "rejected", "reviewer": "A"}})
    import_edited(study, package)
    (standing,) = standings(study, [stage], Context())
    assert (standing.state, standing.why) == ("stale", "changed: reviews.parquet")


def test_an_older_export_does_not_undo_a_newer_decision(study):
    (a, _) = inventory(study)["candidate_id"]
    package = exported(study)
    untouched = package.with_name("untouched.gpkg")
    untouched.write_bytes(package.read_bytes())
    edit(package, **{a: {"status": "rejected", "reviewer": "A"}})
    import_edited(study, package, today=datetime(2026, 3, 2))
    import_edited(study, untouched)
    assert read_reviews(study)["status"].tolist() == ["rejected"]
    edit(untouched, **{a: {"status": "confirmed", "reviewer": "B"}})
    assert import_edited(study, untouched, today=datetime(2026, 3, 1)).older == (a,)
    assert read_reviews(study)["reviewer"].tolist() == ["A"]
    assert import_edited(study, untouched, today=datetime(2026, 3, 3)).older == ()
    assert read_reviews(study)["reviewer"].tolist() == ["B"]


def test_a_cut_outline_keeps_its_id_for_the_larger_part(study):
    row = inventory(study).iloc[0]
    west, south, east, north = row.geometry.bounds
    middle = west + 0.6 * (east - west)
    large = row.geometry.intersection(shapely.box(west, south, middle, north))
    small = row.geometry.intersection(shapely.box(middle, south, east, north))
    package = exported(study)
    table = gpd.read_file(package, layer="outlines")
    part = table[table["candidate_id"] == row["candidate_id"]].copy()
    part["geometry"] = small
    part["reviewer"] = "A"
    edit(package, add=part, **{row["candidate_id"]: {"geometry": large, "reviewer": "A"}})
    taken = import_edited(study, package)
    assert (taken.edited, taken.added) == (1, 1)
    build_inventory(study)
    found = inventory(study)
    kept = found[found["status"] == "edited"].set_index("candidate_id")
    assert len(kept) == 2
    assert kept.loc[row["candidate_id"]].geometry.area == pytest.approx(large.area)
    other = kept.drop(row["candidate_id"]).iloc[0]
    assert other["replaces"] == row["candidate_id"]
    assert kept["PrimaryID"].nunique() == 2


@pytest.mark.parametrize("primary", [None, "RGU361388N0750055E"])
def test_a_file_that_is_edited_on_may_be_imported_again(study, primary):
    a, b = inventory(study)["candidate_id"]
    row = inventory(study).iloc[0]
    west, south, east, north = row.geometry.bounds
    middle = west + 0.6 * (east - west)
    package = exported(study)
    table = gpd.read_file(package, layer="outlines")
    part = table[table["candidate_id"] == a].assign(reviewer="A", PrimaryID=primary)
    part["geometry"] = row.geometry.intersection(shapely.box(middle, south, east, north))
    new = gpd.GeoDataFrame({"reviewer": ["A"]}, geometry=[free_ground(study)], crs=4326)
    larger = row.geometry.intersection(shapely.box(west, south, middle, north))
    edit(
        package,
        add=pd.concat([part, new], ignore_index=True),
        **{
            a: {"geometry": larger, "reviewer": "A", "PrimaryID": primary},
            b: {"status": "confirmed", "reviewer": "A"},
        },
    )
    import_edited(study, package, today=NOON)
    build_inventory(study)
    before = read_reviews(study)
    assert len(import_edited(study, package, today=datetime(2026, 4, 1)).again) == 2
    pd.testing.assert_frame_equal(read_reviews(study), before)  # dates and ids stay

    table = gpd.read_file(package, layer="outlines")
    moved = shapely.affinity.scale(table.geometry.iloc[-1], 0.9, 0.9)
    table.loc[table.index[-1:], "geometry"] = gpd.GeoSeries([moved], index=table.index[-1:])
    table.loc[table["candidate_id"] == b, "Comment"] = "seen in the field"
    table.to_file(package, layer="outlines")
    taken = import_edited(study, package, today=datetime(2026, 4, 1))
    after = read_reviews(study)
    assert taken.older == ()
    assert after[["candidate_id", "PrimaryID"]].equals(before[["candidate_id", "PrimaryID"]])
    changed = after["review_date"] != before["review_date"]
    (drawn,) = after["candidate_id"][after.geometry.intersects(moved)]
    assert set(after["candidate_id"][changed]) == {b, drawn}


def test_outlines_that_a_file_lacks_are_told_unless_another_took_their_place(study):
    table = inventory(study)
    a, b = table["candidate_id"]
    package = exported(study)
    both = shapely.box(*table.total_bounds)
    edit(package, drop=[b])
    assert import_edited(study, package).missing == 1
    edit(package, **{a: {"geometry": both, "reviewer": "A"}})
    assert import_edited(study, package).missing == 0


def test_an_outline_that_a_person_drew_joins_and_is_no_hit_of_the_model(study):
    package = exported(study)
    add = gpd.GeoDataFrame({"reviewer": ["A"]}, geometry=[free_ground(study)], crs=4326)
    edit(package, add=add)
    assert import_edited(study, package).added == 1
    build_inventory(study)
    found = inventory(study)
    assert sorted(found["status"]) == ["candidate", "candidate", "confirmed"]
    counts = review_counts(read_reviews(study), waiting=2)
    assert (counts["reviewed"], counts["precision"], counts["added"]) == (0, None, 1)


def test_an_inventory_of_nothing_is_edited_too(study):
    none = changed(study, inventory={"threshold": 0.99})
    place = free_ground(study)
    assert build_inventory(none)["objects"] == 0
    package = exported(none)
    assert import_edited(none, package).waiting == 0
    edit(package, add=gpd.GeoDataFrame({"reviewer": ["A"]}, geometry=[place], crs=4326))
    assert import_edited(none, package).added == 1
    build_inventory(none)
    assert inventory(none)["status"].tolist() == ["confirmed"]


def test_names_that_a_shapefile_cut_are_told(study):
    path = study.folder / "edited.geojson"
    inventory(study).rename(columns={"candidate_id": "candidate_"}).to_file(path)
    with pytest.raises(InputError, match="no column 'candidate_id'") as told:
        import_edited(study, path)
    assert "Shapefile" in str(told.value.todo)


def test_a_date_that_cannot_be_read_is_refused(study):
    package = exported(study)
    table = gpd.read_file(package, layer="outlines").drop(columns="review_date")
    table.assign(review_date=["soon", None]).to_file(package, layer="outlines")
    with pytest.raises(InputError, match="review_date 'soon' is no date like 2026-03-01"):
        import_edited(study, package)


def test_an_outline_without_a_reviewer_is_named_by_its_place(study):
    package = exported(study)
    shape = shapely.box(*study.area.bounds).centroid.buffer(0.0001)
    edit(package, add=gpd.GeoDataFrame({"Comment": ["new"]}, geometry=[shape], crs=4326))
    with pytest.raises(InputError, match=r"a new outline \(latitude 36\..*names no reviewer"):
        import_edited(study, package)


def test_another_crs_and_a_layer_of_another_name_move_nothing(study):
    (a, _) = inventory(study)["candidate_id"]
    package = exported(study)
    edit(package, **{a: {"status": "confirmed", "reviewer": "A"}})
    other = package.with_name("other.gpkg")
    for layer, name in (("reference", "reference"), ("outlines", "my edits"), ("aoi", "aoi")):
        table = gpd.read_file(package, layer=layer)
        table.to_crs(study.grid.epsg).to_file(other, layer=name)
    taken = import_edited(study, other)
    assert (taken.confirmed, taken.edited, taken.waiting) == (1, 0, 1)
    kept, before = read_reviews(study).geometry.iloc[0], inventory(study).geometry.iloc[0]
    assert kept.equals_exact(before)  # to the last digit
    wrong = gpd.read_file(package, layer="outlines").set_crs(32643, allow_override=True)
    wrong.to_file(package.with_name("wrong.gpkg"), layer="outlines")
    with pytest.raises(InputError, match=r"outside the study's grid.*in another CRS"):
        import_edited(study, package.with_name("wrong.gpkg"))
    wrong.to_file(other, layer="more")
    with pytest.raises(InputError, match="2 layers of outlines: my edits, more"):
        import_edited(study, other)


def test_the_inventorys_own_geopackage_may_be_edited(study):
    (_, b) = inventory(study)["candidate_id"]
    package = study.inventory_path / "inventory.gpkg"
    smaller = shapely.affinity.scale(inventory(study).geometry.iloc[1], 0.8, 0.8)
    edit(package, **{b: {"geometry": smaller, "reviewer": "B"}})
    taken = import_edited(study, package)
    assert (taken.edited, taken.waiting) == (1, 1)
    build_inventory(study)
    assert list(study.inventory_path.glob("inventory-edited-1.gpkg"))
    assert inventory(study).set_index("candidate_id")["status"][b] == "edited"


def test_a_decision_is_not_taken_back_by_silence(study):
    (a, _) = inventory(study)["candidate_id"]
    package = exported(study)
    edit(package, **{a: {"status": "rejected", "reviewer": "A"}})
    import_edited(study, package)
    build_inventory(study)
    again = exported(study)
    edit(again, **{a: {"status": "candidate", "reviewer": None, "review_date": None,
                       "PrimaryID": None}})  # fmt: skip
    with pytest.raises(InputError, match=f"{a}: was decided on, and is a candidate again"):
        import_edited(study, again)


def test_primary_ids_that_collide_move_east(study):
    a, b = inventory(study)["candidate_id"]
    package = exported(study)
    own = f"RGU{a[3:]}"
    edit(
        package,
        **{
            a: {"status": "confirmed", "reviewer": "A"},
            b: {"status": "confirmed", "reviewer": "A", "PrimaryID": own},
        },
    )
    import_edited(study, package)
    names = read_reviews(study).set_index("candidate_id")["PrimaryID"]
    assert names[b] == own
    east = int(a[10:17]) + 1
    assert names[a] == f"RGU{a[3:10]}{east:07d}E"


BOW_TIE = shapely.Polygon([(75.0, 36.0), (75.01, 36.01), (75.01, 36.0), (75.0, 36.01)])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"status": "maybe"}, r"status is 'maybe', and may be candidate, confirmed"),
        ({"status": "confirmed"}, r"is confirmed, and names no reviewer"),
        (
            {"ActiCl": "asleep", "status": "confirmed", "reviewer": "A"},
            r"ActiCl is 'asleep', and may be active",
        ),
        ({"ActiCl": "active"}, r"has ActiCl and is a candidate: set its status"),
        ({"RelFr": 3, "status": "confirmed", "reviewer": "A"}, r"RelFr is 3.*0, 1 or 2"),
        ({"PrimaryID": "x", "status": "confirmed", "reviewer": "A"}, r"PrimaryID 'x' is not like"),
        ({"geometry": BOW_TIE, "reviewer": "A"}, r"is no valid polygon \(Self-intersection"),
        ({"geometry": shapely.box(10, 10, 11, 11), "reviewer": "A"}, r"outside the study's grid"),
        ({"candidate_id": "RGC1"}, r"RGC1: no such candidate in hunza, 2024"),
    ],
)
def test_what_is_not_right_is_named_and_nothing_is_taken(study, values, message):
    (a, b) = inventory(study)["candidate_id"]
    package = exported(study)
    edit(package, **{b: {"status": "rejected", "reviewer": "B"}, a: values})
    with pytest.raises(InputError, match=f"(?s)1 problem.*nothing was taken.*{message}"):
        import_edited(study, package)
    assert read_reviews(study).empty


def test_an_outline_that_is_gone_may_be_rejected_and_nothing_else(study):
    table = inventory(study)
    (a, _) = table["candidate_id"]
    package = exported(study)
    edit(package, **{a: {"geometry": None, "reviewer": "A"}})
    with pytest.raises(InputError, match=f"{a}: has no outline; set its status to rejected"):
        import_edited(study, package)
    edit(package, **{a: {"status": "rejected"}})
    assert import_edited(study, package).rejected == 1
    assert read_reviews(study).geometry.iloc[0].equals(table.geometry.iloc[0])


def test_two_kept_outlines_of_one_landform_are_refused(study):
    table = inventory(study)
    a, b = table["candidate_id"]
    package = exported(study)
    edit(
        package,
        **{
            a: {"status": "confirmed", "reviewer": "A"},
            b: {"reviewer": "A", "geometry": table.geometry.iloc[0]},
        },
    )
    with pytest.raises(InputError, match="are the same ground"):
        import_edited(study, package)


@pytest.fixture
def two_years(make_products):
    """A study of two periods, each with its inventory."""
    study = make_products(years=("2023", "2024"))
    (study.folder / "study.yaml").write_text(f"name: {study.config.name}")
    (study.inventory_path / "inventory.gpkg").unlink()  # else it counts as edited
    gpd.read_parquet(study.label_table_path).to_file(study.base / "reference.gpkg")
    run_stages(study, [stage_named("inventory")], Context())
    return study


def test_edits_go_to_the_period_that_they_are_of(two_years):
    first, last = two_years.each_period()
    a, b = inventory(first)["candidate_id"]
    assert inventory(last)["candidate_id"].tolist() == [a, b]
    package = exported(two_years.of_period(None))
    assert package.name == "hunza-2024.gpkg"
    edit(
        package,
        **{
            a: {"status": "rejected", "reviewer": "A", "review_date": "2026-01-01"},
            b: {"status": "confirmed", "reviewer": "A", "review_date": "2026-01-01"},
        },
    )
    with pytest.raises(InputError, match=r"(?s)inventory of hunza, 2024.*that of hunza, 2023"):
        import_edited(two_years.of_period("2023"), package)
    assert import_edited(two_years, package).rejected == 1
    assert read_reviews(first).empty
    (standing,) = standings(two_years, [stage_named("inventory")], Context())
    assert (standing.state, standing.why) == ("stale", "changed: reviews.parquet")
    run_stages(two_years, [stage_named("inventory")], Context())
    assert inventory(first)["candidate_id"].tolist() == [a, b]
    assert inventory(last)[["candidate_id", "status"]].to_numpy().tolist() == [[b, "confirmed"]]

    package = exported(two_years.of_period("2023"))
    smaller = shapely.affinity.scale(inventory(first).geometry.iloc[1], 0.9, 0.9)
    later = {"reviewer": "B", "review_date": "2026-02-01"}
    edit(package, **{b: {"geometry": smaller, **later}})
    assert import_edited(two_years, package).edited == 1
    (primary,) = read_reviews(first)["PrimaryID"]
    assert primary == read_reviews(last).set_index("candidate_id")["PrimaryID"][b]
    reference, _ = write_corrected(two_years)
    assert reference.parent == first.inventory_path / "reviewed"
    taught = gpd.read_file(reference)
    assert taught["candidate_id"].tolist() == [b]  # what was rejected in 2024 still is
    assert taught.geometry.iloc[0].symmetric_difference(smaller).area < 1e-14


def test_a_period_that_there_is_not_is_named(two_years):
    with pytest.raises(InputError, match="no period '2022'") as caught:
        two_years.of_period("2022")
    assert caught.value.expected == "2023, 2024"


def test_another_studys_file_is_refused(study, make_products, tmp_path):
    other = make_products(tmp_path / "other", name="gilgit")
    build_inventory(other)
    with pytest.raises(InputError, match=r"(?s)inventory of gilgit, 2024.*hunza, 2024"):
        import_edited(study, exported(other))


EDITOR = """
import sqlite3, sys
package, candidate, column, value = sys.argv[1:]
data = sqlite3.connect(package)
data.execute("PRAGMA journal_mode = WAL")
for name in ("IsEmpty", "MinX", "MaxX", "MinY", "MaxY"):
    data.create_function(f"ST_{name}", 1, None)  # of triggers, which do not fire
data.execute(f"UPDATE outlines SET {column} = ? WHERE candidate_id = ?", (value, candidate))
data.commit()
print("saved", flush=True)
sys.stdin.read()
data.close()
"""


@contextmanager
def open_in_editor(package, candidate, column, value):
    """Save a value into a GeoPackage and keep it open, as QGIS does: in a process of its own."""
    editor = subprocess.Popen(
        [sys.executable, "-c", EDITOR, str(package), candidate, column, value],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with editor:
        assert editor.stdout.readline() == "saved\n"
        yield
        editor.stdin.close()


def test_what_is_saved_in_an_open_editor_is_imported_and_never_replaced(study):
    (a, _) = inventory(study)["candidate_id"]
    package = exported(study)
    edit(package, **{a: {"status": "rejected"}})
    with open_in_editor(package, a, "reviewer", "A"):
        assert package.with_name(f"{package.name}-wal").stat().st_size > 0
        assert import_edited(study, package).rejected == 1
        with pytest.raises(InputError, match="is open in another program"):
            exported(study)
    *_, kept = export_qgis(study, package.parent)
    assert kept.name == f"{package.stem}-edited-1.gpkg"
    edited = gpd.read_file(kept, layer="outlines").set_index("candidate_id")
    assert edited.loc[a, "reviewer"] == "A"


def test_an_inventory_that_is_being_edited_is_told_before_the_work(study):
    (a, _) = inventory(study)["candidate_id"]
    stage = stage_named("inventory")
    told = set()
    with (
        open_in_editor(study.inventory_path / "inventory.gpkg", a, "Comment", "?"),
        pytest.raises(InputError, match="is open in another program"),
    ):
        run_stages(study, [stage], Context(progress=lambda what, *_: told.add(what)))
    assert not told
    run_stages(study, [stage], Context())
    kept = study.inventory_path / "inventory-edited-1.gpkg"
    assert "?" in set(gpd.read_file(kept, layer="outlines")["Comment"])


def test_an_edited_export_is_never_overwritten(study):
    (a, _) = inventory(study)["candidate_id"]
    package = exported(study)
    edit(package, **{a: {"Comment": "not imported yet"}})
    files = export_qgis(study, package.parent)
    assert files[-1].name == f"{package.stem}-edited-1.gpkg"
    assert "not imported yet" in set(gpd.read_file(files[-1], layer="outlines")["Comment"])


def test_reliability_index_is_the_sum(study):
    (a, _) = inventory(study)["candidate_id"]
    package = exported(study)
    rel = {"RelFr": 2, "RelLeftLM": 1, "RelRightLM": 0, "RelUpsCon": 2}
    edit(package, **{a: {"status": "confirmed", "reviewer": "A", **rel}})
    import_edited(study, package)
    assert read_reviews(study)["RelIndex"].tolist() == [5]


def test_a_study_without_a_reference_learns_where_it_was_reviewed(make_products):
    study = make_products(learned=False)
    before = inventory(study)
    a, b = before["candidate_id"]
    package = exported(study)
    edit(
        package,
        **{
            a: {"status": "confirmed", "reviewer": "A"},
            b: {"status": "rejected", "reviewer": "A"},
        },
    )
    import_edited(study, package)
    reference, complete = (gpd.read_file(path) for path in write_corrected(study))
    assert reference["candidate_id"].tolist() == [a]
    assert complete.geometry.iloc[0].area == pytest.approx(before.geometry.union_all().area)


def test_hash_of_an_outline_ignores_how_its_rings_are_written():
    ring = shapely.Polygon([(0, 0), (1, 0), (1, 1), (0, 1)])
    turned = shapely.Polygon([(1, 1), (1, 0), (0, 0), (0, 1)])
    assert outline_hash(ring) == outline_hash(shapely.MultiPolygon([turned]))
    assert outline_hash(ring) != outline_hash(shapely.box(0, 0, 1, 1.00001))


def test_precision_is_told_with_its_interval(study):
    a, b = inventory(study)["candidate_id"]
    assert precision_line(study) == "precision: no outline of the model is reviewed yet"
    package = exported(study)
    edit(
        package,
        **{
            a: {"status": "confirmed", "reviewer": "A"},
            b: {"status": "rejected", "reviewer": "A"},
        },
    )
    import_edited(study, package)
    told = precision_line(study)
    assert told.startswith("precision: 0.50 (1 of 2 reviewed, 95 % interval 0.09 to 0.91;")


def test_the_commands_go_round(study, tmp_path):
    config = {"name": "hunza", "area": list(study.config.area), "output": "study/products"}
    config["labels"] = {"reference": "study/reference.gpkg"}
    (tmp_path / "hunza.yaml").write_text(yaml.safe_dump(config))
    here = str(tmp_path / "hunza.yaml")
    shown = CliRunner().invoke(app, ["export", here, "--to", "qgis"])
    assert shown.exit_code == 0, shown.output
    (package,) = (study.folder / "export" / "qgis").glob("*.gpkg")
    (a, _) = inventory(study)["candidate_id"]
    edit(package, **{a: {"status": "rejected", "reviewer": "A"}})
    shown = CliRunner().invoke(app, ["import", str(package), "--study", here])
    assert shown.exit_code == 0, shown.output
    assert "0 confirmed, 0 edited, 1 rejected" in shown.output
    assert a not in set(inventory(study)["candidate_id"])
    assert (study.inventory_path / "reviewed" / "outlines.gpkg").is_file()
    without = CliRunner().invoke(app, ["import", str(package)])
    assert isinstance(without.exception, InputError)


def test_an_import_of_what_is_not_there_says_so(study, tmp_path):
    for given, message in (
        (["none.gpkg"], "there is nothing at '.*none.gpkg'"),
        (["outlines.zip!edited.shp"], "there is nothing at"),
        ([".", "reference.gpkg"], "2 paths, of which some are files"),
    ):
        paths = [str(study.base / name) for name in given]
        failed = CliRunner().invoke(app, ["import", *paths, "--study", "hunza.yaml"])
        assert isinstance(failed.exception, InputError)
        assert re.search(message, str(failed.exception))


def test_table_for_spreadsheets_holds_every_outline_and_explains_every_column(study):
    rows, columns = (pd.read_csv(path) for path in export_csv(study, study.folder / "export"))
    held = inventory(study)
    assert rows["candidate_id"].tolist() == held["candidate_id"].tolist()
    for name in ("area_km2", "area_uncertainty_km2", "elevation_front_m", "elevation_max_m"):
        assert rows[name].to_numpy() == pytest.approx(held[name].to_numpy())
    places = shapely.points(rows["longitude"], rows["latitude"])
    assert (shapely.distance(held.geometry.to_numpy(), places) < 1e-5).all()
    assert columns["column"].tolist() == rows.columns.tolist()
    assert columns["meaning"].notna().all()


def test_next_command_is_one_that_a_shell_takes(study):
    folder = study.base / "my basin [old]"
    study.folder.rename(folder)
    values = {**study.resolved(), "output": str(folder)}
    (study.base / "here.yaml").write_text(yaml.safe_dump(values))
    answer = CliRunner().invoke(app, ["export", str(study.base / "here.yaml"), "--to", "qgis"])
    said = re.search(r"then (rockglacier import .*)", answer.output).group(1)
    _, _, package, *_ = shlex.split(said)
    assert package.startswith(f"{folder}/export/qgis/")
