"""Run by QGIS's own Python: cut an outline in two, draw another, save, and stay open."""

import sys

from qgis.core import QgsApplication, QgsFeature, QgsGeometry, QgsPointXY, QgsProject


def cut(layer, reviewer):
    first = min(layer.getFeatures(), key=lambda one: one["candidate_id"])
    name, box = first["candidate_id"], first.geometry().boundingBox()
    x = box.xMinimum() + 0.4 * box.width()
    across = [QgsPointXY(x, box.yMinimum() - 0.001), QgsPointXY(x, box.yMaximum() + 0.001)]
    layer.selectByIds([first.id()])
    layer.splitFeatures(across, False)
    for part in list(layer.getFeatures()):
        if part["candidate_id"] == name:
            layer.changeAttributeValue(part.id(), layer.fields().indexOf("reviewer"), reviewer)


def draw(layer, shape, reviewer):
    new = QgsFeature(layer.fields())
    new.setGeometry(QgsGeometry.fromWkt(shape))
    new["reviewer"] = reviewer
    layer.addFeature(new)


def main():
    application = QgsApplication([], False)
    application.initQgis()
    project = QgsProject.instance()
    if not project.read(sys.argv[1]):
        raise SystemExit("the project cannot be read")
    (layer,) = project.mapLayersByName("outlines")
    layer.startEditing()
    cut(layer, sys.argv[3])
    draw(layer, sys.argv[2], sys.argv[3])
    if not layer.commitChanges():
        raise SystemExit("\n".join(layer.commitErrors()))
    print("saved", flush=True)
    sys.stdin.read()
    project.clear()
    application.exitQgis()


main()
