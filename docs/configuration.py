"""Write docs/configuration.md from the configuration's models: python docs/configuration.py [--check]."""

from __future__ import annotations

import sys
import types
import typing
from pathlib import Path

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from facecycle.config.preset_files import preset_names
from facecycle.config.settings import (
    AugmentationConfig,
    Choice,
    LossConfig,
    OptimizerConfig,
    RunConfig,
    StageConfig,
)

PAGE = Path(__file__).with_suffix(".md")
HEAD = """\
# Configuration

Written by `make docs` from the models in `facecycle/config/settings.py`. A test compares the two.

A run's configuration is layered: defaults, then the preset, then `--config FILE`, then flags, then `--set key=value`.
Every flag of `facecycle pretrain` that changes what is trained is one key, but `--from`, so a file can say it too.

* The preset (`{presets}`) is that of `--preset`, or of the key `preset` in a `.toml` file, or else
  `small`. Without `--data` and `--config` it is `demo`. A `.json` file is complete and is laid over none, and so is a
  `.toml` file of another method that names no preset.
* Tables merge key by key. A plugin that gets another name loses the options of the former one.
* A stage's `steps` beat its `epochs`. A layer that gives `epochs` alone takes the place of steps below it.
* `--set KEY=none` removes a stage, a loss or a view. In a `.json` file that is `null`, and TOML has no such value.
* The complete result is written to `config.json` in the run folder and into every checkpoint.

    facecycle pretrain --data faces/ --set pairs=32 --set stages.identity=none
    facecycle pretrain --preset small --set 'data=[{{name="turned", options={{path="stills/", turns=4}}}}]'
"""

FOOT = """\
## Views

Views are what losses look at. These are the views of the method `facecycle`, where `x` and `y` are the two images of a
pair. A stage computes the views that its losses name, and runs no network that none of them needs. The preset `small`
begins with the direct path alone: `direct` and `frontal`, which need no generator. [methods.md](methods.md) has other
methods.

The cycle `expression` is the paper's motion cycle. De-expression takes a face to its neutral face by the facial motion
`flow`, and re-expression takes the neutral face back.

| view of the cycle `expression` | | is compared with |
| --- | --- | --- |
| `frontal` | de-expression of the pixels: `x` warped to the neutral pose | `x`, and for `symmetry` nothing |
| `direct` | re-expression of the pixels: `frontal` of `y`, warped back by the flow of `x` | `x` |
| `neutral` | de-expression: the neutral face of `x`, by the generator | `x`, and for `symmetry` nothing |
| `swapped_warp` | the neutral face of `y`, its pixels warped back by the flow of `x` | `x` |
| `reconstruction` | re-expression: the neutral face of `y`, taken back by the generator with the flow of `x` | `x` |
| `identity_reconstruction` | `x` through the generator without being moved | `x` |
| `flow` | the facial motion, (2P, 2, 16, 16), for `smoothness` and `folding` | |
| `expression` | the code of `x`, (P, 256), for losses of embeddings | the code of `y` |

In the cycle `identity`, de-identity takes a neutral face to the mean face, and re-identity takes the mean face back.

| view of the cycle `identity` | | is compared with |
| --- | --- | --- |
| `mean_face` | de-identity: the neutral face of `x` without its identity | the neutral face of `x` |
| `common_mean_face` | the same | the mean of the batch's mean faces |
| `restored_neutral` | re-identity: the batch's mean face given the identity of `x` | the neutral face of `x` |
| `swapped_neutral` | the batch's mean face given the identity of `y` | the neutral face of `x` |
| `direct` | `restored_neutral`, its pixels warped back by the flow of `x` | `x` |
| `reconstruction` | `restored_neutral`, taken back by the generator | `x` |
| `identity` | the code of `x`, (P, 256), for losses of embeddings such as `nt-xent` | the code of `y` |
"""


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
        assert field.description, f"{model.__name__}.{key} needs a string below it that says what it is"
        meaning = " ".join(field.description.split())
        lines.append(f"| `{key}` | {name_of(field.annotation)} | {default} | {meaning} |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """Return the whole page."""
    models = [
        RunConfig,
        StageConfig,
        LossConfig,
        OptimizerConfig,
        AugmentationConfig,
        Choice,
    ]
    head = HEAD.format(presets="`, `".join(preset_names()))
    return "\n".join([head, *(section(model) for model in models), FOOT])


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text() == page() else f"{PAGE.name} is out of date: run `make docs`")
    PAGE.write_text(page())
