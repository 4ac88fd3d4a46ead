"""A study's file read and checked; its schema and its hash."""

from __future__ import annotations

import difflib
import hashlib
import json
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from rockglacier.config.whole import Config
from rockglacier.errors import InputError


class _Plain(yaml.SafeLoader):
    """YAML in which dates stay text: the settings read them, and name the key of a wrong one."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as its base has it
        first: [(tag, pattern) for tag, pattern in known if not tag.endswith(":timestamp")]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def load_config(path: Path) -> Config:
    """Read and check a study's YAML file.

    Raises
    ------
    InputError
        The file is missing, is not YAML, or has a wrong or unknown key; the message names the
        nearest valid key.
    """
    if not path.is_file():
        name = path.stem or "NAME"
        raise InputError(
            f"{str(path)!r} is a folder" if path.is_dir() else f"no file {str(path)!r}",
            expected="a YAML file that describes a basin",
            todo=f"check the path, or write one: rockglacier new {name} --area YOUR_AREA.gpkg",
        )
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_Plain)  # noqa: S506 - it is safe
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise InputError(
            f"{str(path)!r} is not YAML: {error}",
            expected="keys and values, in UTF-8",
            todo="mend the file, or begin anew with `rockglacier new`",
        ) from error
    return parse_config(values, source=str(path))


def parse_config(values: Any, *, source: str) -> Config:
    """Check values that came from YAML, JSON or a test; ``source`` names them in messages."""
    if not isinstance(values, dict):
        raise InputError(
            f"{source!r} holds {'nothing' if values is None else f'a {type(values).__name__}'}",
            expected="keys and values, at least `name` and `area`",
            todo="begin anew with `rockglacier new`",
        )
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        lines = [f"{len(error.errors())} setting(s) of {source!r} cannot be used:"]
        lines += [f"    {_explain(problem)}" for problem in error.errors()]
        raise InputError(
            "\n".join(lines), todo="mend the file; `rockglacier schema` prints every key"
        ) from error


def _explain(problem: Any) -> str:
    location = ".".join(str(part) for part in problem["loc"]) or "the file"
    if problem["type"] == "extra_forbidden":
        valid = _keys_of(problem["loc"][:-1])
        near = difflib.get_close_matches(str(problem["loc"][-1]), valid, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"valid: {', '.join(valid)}"
        return f"{location}: unknown key; {hint}"
    message = problem["msg"].removeprefix("Value error, ")
    given = problem.get("input")
    if isinstance(given, dict) and problem["type"] == "value_error":  # the message names the keys
        return f"{location}: {message}"
    shown = repr(given)
    return f"{location}: {message} (found {shown if len(shown) < 80 else shown[:77] + '...'})"


def _keys_of(location: tuple[Any, ...]) -> list[str]:
    model: type[BaseModel] = Config
    for part in location:
        field = model.model_fields.get(str(part))
        if field is None or not isinstance(field.annotation, type):
            break
        if issubclass(field.annotation, BaseModel):
            model = field.annotation
    return list(model.model_fields)


def json_schema() -> str:
    """Return the JSON Schema of a study's file."""
    return json.dumps(Config.model_json_schema(), indent=2)


def fingerprint(values: Any) -> str:
    """Return a short stable hash of JSON-able values; what receipts and caches are keyed by."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), default=str, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
