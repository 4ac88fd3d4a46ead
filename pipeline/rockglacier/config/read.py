"""A study's file read and checked; its schema and its hash."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel, ValidationError

from rockglacier.config.whole import Config
from rockglacier.errors import InputError

ALTERNATIVE: Final = re.compile(r"(str|int|float|constrained-\w+|(literal|tuple)\[.*|\[key\])")
"""What pydantic puts into the place of a value that may be of several types."""

WORDS: Final = {
    "tuple_type": "should be a list, in square brackets",
    "list_type": "should be a list, in square brackets",
    "dict_type": "should be keys and values, in braces or indented below it",
    "model_type": "is a section: its keys are indented below it",
    "string_pattern_mismatch": "is not of the form that it should have",
}


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
        if set(path.name) & set("*?["):
            raise InputError(
                f"no file matches {str(path)!r}",
                expected="YAML files that describe a basin each",
                todo="check the folder and the pattern",
            )
        name = path.stem or "NAME"
        raise InputError(
            f"{str(path)!r} is a folder" if path.is_dir() else f"no file {str(path)!r}",
            expected="a YAML file that describes a basin",
            todo=f"check the path, or write one: rockglacier new {name} --area YOUR_AREA.gpkg",
        )
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_Plain)  # noqa: S506 - it is safe
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        tab = ", indented by spaces: YAML takes no tabs" if r"'\t'" in str(error) else ""
        raise InputError(
            f"{str(path)!r} is not YAML: {error}",
            expected=f"keys and values, in UTF-8{tab}",
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
        told = _explained(error)
        lines = [f"{len(told)} setting(s) of {source!r} cannot be used:"]
        lines += [f"    {location}: {why}" for location, why in told.items()]
        raise InputError(
            "\n".join(lines), todo="mend the file; `rockglacier schema` prints every key"
        ) from error


def _explained(error: ValidationError) -> dict[str, str]:
    """Return what is wrong with every setting, by its place in the file."""
    reasons: dict[str, list[str]] = {}
    given = {}
    for problem in error.errors():
        place = [str(part) for part in problem["loc"] if not ALTERNATIVE.fullmatch(str(part))]
        location = ".".join(place) or "the file"
        reasons.setdefault(location, []).append(_reason(problem, place))
        is_whole = problem["type"] == "value_error" and isinstance(problem["input"], dict)
        if problem["type"] not in ("extra_forbidden", "missing") and not is_whole:
            given[location] = problem["input"]  # of a whole section the message names the keys
    told = {}
    for location, found in reasons.items():
        if any(other.startswith(f"{location}.") for other in reasons):
            continue  # only says that what is inside it is wrong
        shown = repr(given[location]) if location in given else ""
        shown = f" (found {shown if len(shown) < 80 else shown[:77] + '...'})" if shown else ""
        told[location] = "; or ".join(dict.fromkeys(found)) + shown
    return told


def _reason(problem: Any, place: list[str]) -> str:
    if problem["type"] == "extra_forbidden":
        valid = _keys_of(problem["loc"][:-1])
        near = difflib.get_close_matches(place[-1], valid, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"valid: {', '.join(valid)}"
        return f"unknown key; {hint}"
    words = WORDS.get(problem["type"])
    if words is None:
        return str(problem["msg"].removeprefix("Value error, "))
    meaning = _description(problem["loc"])
    return f"{words}. {meaning.removesuffix('.')}" if meaning else words


def _description(location: tuple[Any, ...]) -> str:
    """Return what a setting is, as its schema says."""
    model: type[BaseModel] = Config
    found = ""
    for part in location:
        field = model.model_fields.get(str(part))
        if field is None:
            break
        found = field.description or ""
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            model = field.annotation
    return found


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
