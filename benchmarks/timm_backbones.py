"""Which of timm's backbones a run can train: python benchmarks/timm_backbones.py [NAME ...] > table.md.

Of each of timm's modules the smallest model, or the models that are named, with random weights. Each takes a step at
64 pixels, forward and backward through encoder and head. A model that is refused is tried again as the hint says.
"""

from __future__ import annotations

import gc
import re
import sys
import warnings
from collections import defaultdict

import timm
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import get_pretrained_cfg, list_pretrained
from torch import nn

from facecycle.config.layers import preset_layers, resolve, set_layer
from facecycle.config.settings import RunConfig
from facecycle.errors import FacecycleError
from facecycle.networks import build_method, laid_out

TINY = "method.options={width=4, head_width=16, motion_width=16, generator_blocks=1, renormalizer_blocks=1}"
PAIRS = 4
SETTING = re.compile(r"--set (\S+=\d+)")
"""What a hint tells the user to add."""


def smallest_models() -> list[str]:
    """Return the model of fewest parameters of each of timm's modules, by module."""
    of_module: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for module in timm.list_modules():
        for name in timm.list_models(module=module):
            with torch.device("meta"):
                model = timm.create_model(name)
            of_module[module].append((sum(p.numel() for p in model.parameters()), name))
    return [min(models)[1] for _, models in sorted(of_module.items())]


def configured(name: str, *settings: str) -> RunConfig:
    """Return the configuration of a run with this backbone, as a command makes it."""
    encoder = set_layer([TINY, f"encoder.name='timm:{name}'"])
    return laid_out(resolve([*preset_layers("small"), encoder, set_layer(list(settings))]))


def step(config: RunConfig) -> str:
    """Take a step forward and backward through encoder and head, and return the shape of the map."""
    encoder: nn.Module = build_method(config).expression.train()
    images = torch.randn(PAIRS, 3, config.size, config.size, generator=torch.Generator().manual_seed(0))
    encoder(images).square().sum().backward()
    missing = [name for name, p in encoder.head.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not missing, f"no gradient, or none that is finite: {missing}"
    first = next(p for p in encoder.encoder.body.parameters() if p.requires_grad)
    assert first.grad is not None, "the backbone got no gradient"
    with torch.no_grad():
        _, channels, height, width = encoder.encoder.eval()(images).shape
    return f"{channels} x {height} x {width}"


def row(name: str) -> list[str]:
    """Return the table's row of a model: its name, whether it works, its map, and what it was told otherwise."""
    try:
        return [name, "works", step(configured(name)), ""]
    except FacecycleError as error:
        refused = error
    settings = SETTING.findall(refused.hint or "")
    reason = refused.message.removeprefix(f"timm:{name}: ")
    if not settings:
        return [name, "refused", "", reason]
    again = " ".join(settings)
    try:
        return [name, f"with `{again}`", step(configured(name, *settings)), reason]
    except FacecycleError as error:
        return [name, "refused, and the hint is wrong", "", f"{reason}; then with {again}: {error.message}"]


def other_normalisations() -> str:
    """Say how many of timm's pretrained weights expect another normalisation than ImageNet's."""
    usual = (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
    configs = [get_pretrained_cfg(name) for name in list_pretrained()]
    others = sum((tuple(config.mean), tuple(config.std)) != usual for config in configs)
    return f"of {len(configs):,} pretrained weights {others:,} expect another normalisation than ImageNet's"


def main() -> None:
    """Print the table, a line as soon as it is known; the exit code is 1 where a hint was wrong."""
    warnings.simplefilter("ignore")  # of timm, about models that it renamed
    print("| smallest model of its module | at 64 pixels | map | why not at once |\n| --- | --- | --- | --- |")
    print(other_normalisations(), file=sys.stderr)
    wrong = 0
    for name in sys.argv[1:] or smallest_models():
        found = row(name)
        wrong += "wrong" in found[1]
        print(f"| {' | '.join(' '.join(cell.split()) for cell in found)} |", flush=True)
        gc.collect()
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
