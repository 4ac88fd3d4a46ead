"""A commented YAML file for a new basin, made from the models, so that it cannot lag behind."""

from __future__ import annotations

import textwrap
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from rockglacier.config import Config

HEADER = """\
# A study of one mountain basin. Every key below shows its default; delete what you do not change.
#   rockglacier plan {name}.yaml      what it will take, before anything is paid
#   rockglacier run {name}.yaml       every stage, resuming where it stopped
"""


def commented_yaml(name: str, *, area: str, reference: str | None) -> str:
    """Return the text of a new study's file.

    Parameters
    ----------
    name
        Names files and items.
    area
        Polygon file of the basin, relative to the file.
    reference
        Inventory to learn from; None leaves the key empty.
    """
    given = {("name",): name, ("area",): area, ("labels", "reference"): reference}
    lines = [HEADER.format(name=name)]
    for key, field in Config.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            lines.append(f"\n{_comment(field.annotation.__doc__ or '', '')}\n{key}:")
            for inner, inner_field in field.annotation.model_fields.items():
                lines += _entry(inner, inner_field, "  ", given.get((key, inner)))
        else:
            lines += _entry(key, field, "", given.get((key,)))
    return "\n".join(lines) + "\n"


def _entry(key: str, field: FieldInfo, indent: str, given: Any) -> list[str]:
    value = given if given is not None else field.get_default(call_default_factory=True)
    lines = [_comment(field.description, indent)] if field.description else []
    return [*lines, f"{indent}{key}: {_scalar(value)}".rstrip()]


def _comment(text: str, indent: str) -> str:
    return textwrap.fill(
        " ".join(text.split()), 96, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# "
    )


def _scalar(value: Any) -> str:
    plain = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(plain, default_flow_style=True, width=1000, allow_unicode=True).strip()
    return text.removesuffix("...").strip()
