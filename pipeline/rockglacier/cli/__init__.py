"""The command line: parse, build the study, call one function, show what came of it."""

from rockglacier.cli import basin, exchange, look, many, scores, stage
from rockglacier.cli.app import app, main

__all__ = ["app", "basin", "exchange", "look", "main", "many", "scores", "stage"]
