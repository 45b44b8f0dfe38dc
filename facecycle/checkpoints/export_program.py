"""A method as one function of images, drivers and noise, traced by `torch.export`, and written as its program.

A graph is made of the same. A program is a file that torch alone runs, without facecycle and its plugins.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from facecycle.atomic import write_atomically
from facecycle.checkpoints import header
from facecycle.checkpoints.graph_file import ENTRY, GraphFacts
from facecycle.checkpoints.header import Checkpoint
from facecycle.checkpoints.places import Name
from facecycle.data.images import MEAN, STD
from facecycle.errors import CheckpointError
from facecycle.networks import load, shown_of, trained_of

EXPORTED, CHECKED = 2, (1, 3)
"""Sizes of the batch that is traced, and of those that are compared with torch: neither is the traced one."""
EXACT = 1e-4
"""Largest difference from torch that is allowed, relative to the largest number of an output."""
FACTS = f"{ENTRY}.json"
"""Name of the extra file of a program that holds the same facts as a graph's metadata."""


def export_program(source: Name) -> tuple[Path, float]:
    """Write a checkpoint as a program of `torch.export` beside it, with the weights in single precision.

    It is called as a graph is: with images, drivers, and a list of the noises. Its outputs are a tuple, the panels
    and then the features.

    Args:
        source: a name of weights; see `places`.

    Returns:
        The path, `NAME.pt2`, and the largest difference from torch, relative to the largest number of an output.

    Raises:
        CheckpointError: the checkpoint cannot be read, a plugin of it cannot be exported, or the program differs.
        RunError: it cannot be written.
    """
    found = own_file(source)
    out = found.path.with_suffix(".pt2")
    whole = Whole(load(source, warper="reference").method, found)
    with explained(found):
        shapes = whole.drawn_shapes()
        program = traced(whole, found.config.size, shapes)
    # Torch would pickle the traced images beside the program. Without them it writes no pickle.
    program.example_inputs = None
    trusted = Whole(load(source).method, found)
    difference = 0.0

    def write(temporary: Path) -> None:
        nonlocal difference
        with temporary.open("wb") as file:  # which has an ending that torch would warn of
            torch.export.save(program, file, extra_files={FACTS: facts_of(whole, found, shapes).model_dump_json()})
        with temporary.open("rb") as file:
            computes = torch.export.load(file).module()
        difference = difference_of("program", trusted, computes, found, shapes)

    write_atomically(out, write)
    return out, difference


def own_file(source: Name) -> Checkpoint:
    """Read a checkpoint that files can be written beside.

    Raises:
        CheckpointError: it cannot be read, or lies in the hub's cache.
    """
    found = header.read(source)
    if found.path.resolve().parent != found.path.parent.resolve():
        raise CheckpointError(
            f"{source} is a link into another folder, as in the hub's cache: nothing can be written beside it",
            hint="Export a copy: facecycle checkpoint export NAME -o FILE.safetensors --onnx",
        )
    return found


class Draws(TorchFunctionMode):
    """Notes what is drawn from a generator, or gives other tensors instead, in the order of the draws."""

    def __init__(self, given: Sequence[Tensor] | None = None) -> None:
        super().__init__()
        self.given, self.shapes = given, list[tuple[int, ...]]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if kwargs.get("generator") is None:
            return func(*args, **kwargs)
        if func is not torch.randn:
            raise ValueError(f"noise is drawn by {getattr(func, '__name__', func)}; only torch.randn is exported")
        self.shapes.append(tuple(args if isinstance(args[0], int) else args[0]))
        return func(*args, **kwargs) if self.given is None else self.given[len(self.shapes) - 1]


class Whole(nn.Module):
    """A method as one function, from images, drivers and noise to all of its trained panels and features."""

    def __init__(self, method: Any, found: Checkpoint) -> None:
        super().__init__()
        self.method, self.size = method, found.config.size
        self.panels, self.features = trained_of(method, found.trained)
        self.figure, self.captions, self.codes = shown_of(method, self.features)

    def forward(self, images: Tensor, drivers: Tensor, noise: Sequence[Tensor]) -> tuple[Tensor, ...]:
        with Draws(noise):
            panels = self._panels(images, drivers)
        features = self.method.features(images, frozenset(self.features)) if self.features else {}
        made = [panels[name].float() for name in self.panels]
        return (*made, *(features[name].flatten(1).float() for name in self.features))

    def _panels(self, images: Tensor, drivers: Tensor) -> dict[str, Tensor]:
        if not self.panels:
            return {}
        return self.method.translate(images, drivers, torch.Generator(), frozenset(self.panels))

    def drawn_shapes(self) -> list[tuple[int, ...]]:
        """Return the shapes of what the panels draw, which must not depend on the size of the batch."""
        shapes = []
        for batch in CHECKED:
            given = faces(batch, self.size)
            with Draws() as draws, torch.inference_mode():
                self._panels(*given)
            shapes.append(draws.shapes)
        if shapes[0] != shapes[1]:
            raise ValueError("every image of a batch draws noise of its own")
        if clash := {*self.panels} & {*self.features}:
            raise ValueError(f"{', '.join(sorted(clash))} is both a panel and a feature")
        return shapes[0]


def faces(batch: int, size: int) -> tuple[Tensor, Tensor]:
    """Return two batches of normalised images of random pixels."""
    noise = torch.Generator().manual_seed(batch)
    unit = torch.rand(2, batch, 3, size, size, generator=noise)
    images, drivers = (unit - torch.from_numpy(MEAN)) / torch.from_numpy(STD)
    return images, drivers


@contextlib.contextmanager
def explained(found: Checkpoint) -> Iterator[None]:
    """Turn whatever a plugin's code raises while it is traced into an error for the reader."""
    log = logging.getLogger("torch")
    level = log.level
    try:
        log.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise CheckpointError(
            f"{found.path} cannot be exported, with the encoder {found.config.encoder.name} and the method "
            f"{found.config.method.name}: {first}",
            hint="Networks can be exported that are made of torch's own operations and take the size of a batch from "
            "x.shape[0], not len(x). With torch they run as they are.",
        ) from error
    finally:
        log.setLevel(level)


def traced(whole: Whole, size: int, shapes: Sequence[tuple[int, ...]]) -> torch.export.ExportedProgram:
    """Trace a method, with a free size of the batch; what it draws has the given shapes."""
    batch, noise = torch.export.Dim("batch"), [torch.zeros(shape) for shape in shapes]
    free = ({0: batch}, {0: batch}, [None] * len(noise))
    with torch.no_grad():
        return torch.export.export(whole.eval(), (*faces(EXPORTED, size), noise), dynamic_shapes=free, strict=False)


def facts_of(whole: Whole, found: Checkpoint, shapes: Sequence[tuple[int, ...]]) -> GraphFacts:
    """Return what an exported file says of itself."""
    return GraphFacts(
        facecycle=version("facecycle"),
        weights=found.path.name,
        sha256=found.sha256(),
        size=found.config.size,
        mean=tuple(MEAN.ravel().tolist()),
        deviation=tuple(STD.ravel().tolist()),
        panels=whole.panels,
        features=whole.features,
        figure=whole.figure,
        captions=whole.captions,
        codes=whole.codes,
        noise=tuple(shapes),
        licence=found.metadata.get("licence", ""),
    )


def difference_of(
    what: str,
    trusted: Whole,
    compute: Callable[[Tensor, Tensor, list[Tensor]], Sequence[Tensor]],
    found: Checkpoint,
    shapes: Sequence[tuple[int, ...]],
) -> float:
    """Return the largest difference of outputs from torch's, in batches of other sizes than the traced one.

    Raises:
        CheckpointError: it is too large.
    """
    largest = 0.0
    for batch in CHECKED:
        images, drivers = faces(batch, found.config.size)
        source = torch.Generator().manual_seed(0)
        noise = [torch.randn(shape, generator=source) for shape in shapes]
        with torch.inference_mode():
            expected, made = trusted(images, drivers, noise), compute(images, drivers, noise)
        for name, mine, wanted in zip((*trusted.panels, *trusted.features), made, expected, strict=True):
            difference = float((mine - wanted).abs().max()) / max(float(wanted.abs().max()), 1e-30)
            if not difference <= EXACT:
                raise CheckpointError(
                    f"the {what} of {found.path} differs from torch: {name} by {difference:.1e} of its largest "
                    f"number, for {batch} images; {EXACT:.0e} are allowed",
                    hint="Nothing was written. A plugin computes otherwise when it is exported.",
                )
            largest = max(largest, difference)
    return largest
