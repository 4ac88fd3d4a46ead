"""A study that shares what was made before its features with another, and goes on by itself."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

from rockglacier.config import Config
from rockglacier.periods import Period
from rockglacier.study import Study


@dataclass(frozen=True, kw_only=True)
class Branch(Study):
    """A fold of a study, a study with other features, or a basin that teaches another.

    Grid, scenes, cube and labels are those of the trunk. Features, models and all that follows lie
    in a folder of its own.
    """

    trunk: Study
    own: Path
    """Its folder."""
    has_split: bool = False
    """Whether the split of the ground is its own too."""
    is_of_one_period: bool = False
    """Whether it has the trunk's teaching period alone."""

    @cached_property
    def folder(self) -> Path:
        """Folder of what is its own."""
        return self.own

    @cached_property
    def periods(self) -> tuple[Period, ...]:
        """Those of the trunk, or the one that teaches."""
        trunk = self.trunk
        return (trunk.teaching_period,) if self.is_of_one_period else trunk.periods

    @property
    def grid_path(self) -> Path:
        """The trunk's."""
        return self.trunk.grid_path

    @property
    def scenes_path(self) -> Path:
        """The trunk's."""
        return self.trunk.scenes_path

    @property
    def cube_path(self) -> Path:
        """The trunk's."""
        return self.trunk.cube_path

    @property
    def cube_receipts_path(self) -> Path:
        """The trunk's."""
        return self.trunk.cube_receipts_path

    @property
    def labels_path(self) -> Path:
        """The trunk's."""
        return self.trunk.labels_path

    @property
    def label_table_path(self) -> Path:
        """The trunk's."""
        return self.trunk.label_table_path

    @property
    def splits_path(self) -> Path:
        """The trunk's, unless the branch has its own."""
        return super().splits_path if self.has_split else self.trunk.splits_path


def branch_of(
    trunk: Study,
    own: Path,
    *,
    config: Config,
    has_split: bool = False,
    is_of_one_period: bool = False,
) -> Branch:
    """Return a branch of a study with settings of its own.

    Parameters
    ----------
    trunk
        Whose cube and labels it shares.
    own
        Its folder.
    config
        Its settings.
    has_split, is_of_one_period
        See :class:`Branch`.
    """
    given = {field.name: getattr(trunk, field.name) for field in fields(Study)} | {"config": config}
    return Branch(
        **given, trunk=trunk, own=own, has_split=has_split, is_of_one_period=is_of_one_period
    )
