"""Tables of scenes, as they may be published."""

from rockglacier import origin
from rockglacier.publish import publish


def test_a_table_is_made_fit_for_publication_once_for_all_items(make_products, monkeypatch):
    made, written = [], []

    def count(name, seen):
        real = getattr(origin, name)

        def counted(*arguments):
            seen.append(arguments)
            return real(*arguments)

        monkeypatch.setattr(origin, name, counted)

    study = make_products()
    origin._told_table.cache_clear()  # of other tests, whose tables may be equal
    count("table_bytes", made)
    count("write_bytes", written)
    publish(study)
    assert len(made) == 1  # of scenes; that of the DEM tiles is published as it is
    assert [path.name for path, _ in written] == ["scenes.parquet"]
    (study.stac_path / "records" / "scenes.parquet").unlink()
    publish(study)
    assert len(written) == 2
    assert (study.stac_path / "records" / "scenes.parquet").is_file()
