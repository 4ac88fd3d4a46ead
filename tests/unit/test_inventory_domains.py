"""Values of the RGIK columns: those known here, and a user's own in their place."""

import sqlite3

import pandas as pd
import pytest

from rockglacier.errors import InputError
from rockglacier.inventory.domains import RGIK_DOMAINS, domains_of, outside_domains
from rockglacier.inventory.qgis_style import style

OWN = ("moving", "still")


def yaml_template(path):
    path.write_text("Acti.Cl.: [moving, still]\nHeight: [1, 2]\nstatus: [done]\n")


def value_map_template(path):
    qml = style("outlines", "Polygon", ["fid", "ActiCl"], {"ActiCl": OWN})
    with sqlite3.connect(path) as data:
        data.execute("CREATE TABLE layer_styles (styleQML TEXT)")
        data.execute("INSERT INTO layer_styles VALUES (?)", [qml])


def enumeration_template(path):
    with sqlite3.connect(path) as data:
        data.execute("CREATE TABLE gpkg_data_columns (table_name, column_name, constraint_name)")
        data.execute(
            "CREATE TABLE gpkg_data_column_constraints (constraint_name, constraint_type, value)"
        )
        data.execute("INSERT INTO gpkg_data_columns VALUES ('markers', 'Acti.Cl.', 'acts')")
        rows = [("acts", "enum", value) for value in OWN]
        data.executemany("INSERT INTO gpkg_data_column_constraints VALUES (?, ?, ?)", rows)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("t.yaml", yaml_template),
        ("map.gpkg", value_map_template),
        ("enum.gpkg", enumeration_template),
    ],
)
def test_a_template_replaces_what_it_names_and_nothing_else(tmp_path, name, make):
    make(tmp_path / name)
    found = domains_of(str(tmp_path / name))
    assert found["ActiCl"] == OWN
    assert found["KinAtt"] == RGIK_DOMAINS["KinAtt"]
    assert found["status"] == ("candidate", "confirmed", "edited", "rejected")
    assert "Height" not in found


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("none.yaml", None, "there is no template"),
        ("other.yaml", "Height: [1]", "none of the RGIK columns"),
        ("flat.yaml", "ActiCl: active", "not a list of values"),
        ("broken.yaml", "a: [", "cannot be read"),
        ("broken.gpkg", "no database" * 100, "cannot be read"),
    ],
)
def test_templates_that_cannot_be_used_are_refused(tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        domains_of(str(tmp_path / name))


def test_values_outside_are_named_and_empty_ones_are_fine():
    table = pd.DataFrame(
        {
            "candidate_id": ["x", None, "z"],
            "ActiCl": ["active", "asleep", None],
            "RelFr": [0, 9, None],
        }
    )
    lines = outside_domains(table, domains_of(None))
    assert [line.split(", and")[0] for line in lines] == [
        "a new outline: ActiCl is 'asleep'",
        "a new outline: RelFr is 9.0",
    ]
