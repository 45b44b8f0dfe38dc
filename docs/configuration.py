"""Write docs/configuration.md from the configuration's models: python docs/configuration.py [--check]."""

from __future__ import annotations

import ast
import inspect
import itertools
import sys
import textwrap
import types
import typing
from pathlib import Path

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from facecycle import config
from facecycle.config import RunConfig

PAGE = Path(__file__).with_suffix(".md")
HEAD = """\
# Configuration

Written by `make docs` from the models in `facecycle/config.py`; a test compares the two.

A run's configuration is layered: defaults, then `--preset` (`{presets}`), then `--config FILE`, then flags,
then `--set key=value`. Tables merge key by key, `none` removes a stage, a loss or a view, and a component
that gets another name loses the options of the former one. The complete result is written to
`config.json` in the run folder and into every checkpoint.
"""


def descriptions(model: type[BaseModel]) -> dict[str, str]:
    """Return the string that follows each field in the model's source."""
    body = ast.parse(textwrap.dedent(inspect.getsource(model))).body[0].body  # type: ignore[attr-defined]
    found = {}
    for statement, following in itertools.pairwise(body):
        if isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr):
            assert isinstance(statement.target, ast.Name)
            assert isinstance(following.value, ast.Constant)
            found[statement.target.id] = " ".join(str(following.value.value).split())
    return found


def name_of(annotation: object) -> str:
    """Return a type as a reader would write it."""
    arguments = [name_of(a) for a in typing.get_args(annotation)]
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return " or ".join(f"`{a}`" for a in typing.get_args(annotation))
    if origin in {typing.Union, types.UnionType}:
        return " or ".join(arguments)
    if origin is not None:
        return f"{getattr(origin, '__name__', origin)} of {', '.join(arguments)}"
    return "none" if annotation is type(None) else getattr(annotation, "__name__", str(annotation))


def section(model: type[BaseModel]) -> str:
    """Return the section of one model."""
    texts = descriptions(model)
    lines = [f"## {model.__name__}", "", " ".join((model.__doc__ or "").split()), "", "| key | type | default | |"]
    lines.append("| --- | --- | --- | --- |")
    for key, field in model.model_fields.items():
        if field.default is PydanticUndefined:
            default = "required"
        elif isinstance(field.default, BaseModel):
            default = f"see {type(field.default).__name__}"
        elif isinstance(field.default, list):
            default = ", ".join(f"`{item.name}`" for item in field.default)
        else:
            default = f"`{field.default}`"
        lines.append(f"| `{key}` | {name_of(field.annotation)} | {default} | {texts[key]} |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """Return the whole page."""
    models = [
        RunConfig,
        config.StageConfig,
        config.LossConfig,
        config.OptimizerConfig,
        config.AugmentationConfig,
        config.Component,
    ]
    head = HEAD.format(presets="`, `".join(config.preset_names()))
    return "\n".join([head, *(section(model) for model in models)])


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text() == page() else f"{PAGE.name} is out of date: run `make docs`")
    PAGE.write_text(page())
