"""Run by QGIS's own Python: open a project, tell what it holds, decide on one outline."""

import json
import sys

from qgis.core import QgsApplication, QgsProject, QgsRasterLayer


def told(layer):
    facts = {"valid": layer.isValid(), "crs": layer.crs().authid()}
    if isinstance(layer, QgsRasterLayer):
        return facts | {"kind": "raster"}
    renderer = layer.renderer()
    fields = enumerate(layer.fields())
    return facts | {
        "kind": "vector",
        "count": layer.featureCount(),
        "widgets": {one.name(): layer.editorWidgetSetup(n).type() for n, one in fields},
        "choices": {
            one.name(): [value for part in layer.editorWidgetSetup(n).config()["map"]
                         for value in part.values()]
            for n, one in enumerate(layer.fields())
            if layer.editorWidgetSetup(n).type() == "ValueMap"
        },
        "read_only": [
            one.name() for n, one in enumerate(layer.fields())
            if layer.editFormConfig().readOnly(n)
        ],
        "tabs": [tab.name() for tab in layer.editFormConfig().tabs()],
        "categories": [c.value() for c in renderer.categories()]
        if renderer.type() == "categorizedSymbol" else [],
        "sorted_by": layer.attributeTableConfig().sortExpression(),
    }  # fmt: skip


def decide(layer, reviewer):
    first = min(layer.getFeatures(), key=lambda one: one["review_rank"])
    layer.startEditing()
    for name, value in (("status", "confirmed"), ("reviewer", reviewer)):
        layer.changeAttributeValue(first.id(), layer.fields().indexOf(name), value)
    if not layer.commitChanges():
        raise SystemExit("\n".join(layer.commitErrors()))
    return first["candidate_id"]


def main():
    application = QgsApplication([], False)
    application.initQgis()
    project = QgsProject.instance()
    answer = {"is_read": project.read(sys.argv[1]), "crs": project.crs().authid(),
              "title": project.title()}  # fmt: skip
    answer["layers"] = {layer.name(): told(layer) for layer in project.mapLayers().values()}
    answer["decided"] = decide(project.mapLayersByName("to review")[0], sys.argv[3])
    with open(sys.argv[2], "w", encoding="utf-8") as file:  # noqa: PTH123  QGIS's Python is old
        json.dump(answer, file)
    application.exitQgis()


main()
