"""Blocks as tasks: bounded work in flight, a receipt for each finished block, resume by receipt.

Tasks come in groups: a group shares what its blocks read, and its work yields block by block. The
receipt of a block goes before its data is written and comes back afterwards, wherever the work
runs; so whatever is killed, the next run finds what is finished. A block that fails is set aside
with its cause, and the others are done.
"""

from rockglacier.engine.progress import Progress, silent
from rockglacier.engine.receipts import Failure, Receipts, Task
from rockglacier.engine.run import run_groups, run_tasks
from rockglacier.engine.selection import EVERYTHING, Selection
from rockglacier.engine.tally import Outcome

__all__ = [
    "EVERYTHING",
    "Failure",
    "Outcome",
    "Progress",
    "Receipts",
    "Selection",
    "Task",
    "run_groups",
    "run_tasks",
    "silent",
]
