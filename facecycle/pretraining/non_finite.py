"""A loss that is not finite: what a skipped step must not move, and a batch kept to look into it.

`python -m facecycle.pretraining.non_finite RUN/non_finite/STAGE-STEP` computes the losses of such a batch again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from facecycle.api import Pairs
from facecycle.atomic import write_text
from facecycle.checkpoints import model_file
from facecycle.errors import CheckpointError, FacecycleError, RunError
from facecycle.networks import load
from facecycle.pretraining.objective import Objective
from facecycle.pretraining.step import training_step

FOLDER = "non_finite"
BATCH = "batch.safetensors"
RECORD = "batch.json"
NAMED = 3


class KeptBuffers:
    """The buffers of networks, such as batch norm's running statistics, as they were before a step's forward pass."""

    def __init__(self, networks: Iterable[nn.Module]) -> None:
        self._live = list({id(b): b for network in networks for b in network.buffers()}.values())
        self._kept = [torch.empty_like(b) for b in self._live]

    def keep(self) -> None:
        """Remember them."""
        for kept, live in zip(self._kept, self._live, strict=True):
            kept.copy_(live)

    def restore(self) -> None:
        """Put back what was remembered."""
        for kept, live in zip(self._kept, self._live, strict=True):
            live.copy_(kept)


def stop(
    run: Path, method: nn.Module, metadata: Mapping[str, str], pairs: Pairs, record: dict[str, Any], steps: int
) -> RunError:
    """Write the batch and the networks that give a non-finite loss, and return the error that ends the run.

    Args:
        run: the run folder.
        method: the networks; nothing of them moved since the last good step.
        metadata: of a checkpoint of the run.
        pairs: the batch.
        record: stage, step, seed, process, precision and the images' names, for `replay` and the reader.
        steps: how many in a row were not finite.

    Raises:
        RunError: the files cannot be written.
    """
    process = record["process"]
    # Each process has images of its own, and only some of them may be at fault.
    folder = run / FOLDER / (f"{record['stage']}-{record['step']:06d}" + (f"-process-{process}" if process else ""))
    model_file.save_model(folder / model_file.MODEL, method, metadata)
    model_file.save_tensors(folder / BATCH, {"first": _plain(pairs.first), "second": _plain(pairs.second)})
    write_text(folder / RECORD, json.dumps(record, indent=1) + "\n")
    names = record["images"]
    more = f" (+{len(names) - NAMED} more)" if len(names) > NAMED else ""
    return RunError(
        f"the loss of stage {record['stage']} was not finite for {steps} steps in a row; the last, step "
        f"{record['step']}, read {', '.join(names[:NAMED])}{more}",
        hint=f"Its batch, the images' names and the networks are in {folder}; see which loss it is with\n"
        f"    python -m facecycle.pretraining.non_finite {folder}\n"
        "and start a new run from the last checkpoint, for example with a lower learning rate:\n"
        f"    facecycle pretrain --from {run} --set stages.{record['stage']}.optimizer.lr=…",
    )


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous()


def replay(folder: Path) -> dict[str, float]:
    """Compute the losses of a kept batch again, and the gradient's norm, as the skipped step did.

    Of several processes it is what one of them computed of its share, without the others.

    Raises:
        CheckpointError: the folder is not one that `stop` wrote.
    """
    try:
        record = json.loads((folder / RECORD).read_text("utf-8"))
        pairs = Pairs(**load_file(folder / BATCH))
        name, step, process, approximate = (record[key] for key in ("stage", "step", "process", "bfloat16"))
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise CheckpointError(f"{folder} holds no batch of a run that stopped: {error}") from error
    loaded = load(folder / model_file.MODEL)
    config, method = loaded.checkpoint.config, loaded.method
    stage = config.trained_stages[name]
    for network in method.trainable(stage.cycle):
        network.requires_grad_(True).train()
    objective = Objective(stage, name, method, torch.device("cpu"), config.seed)
    losses, _ = training_step(method, objective, pairs, config, step, process, approximate)
    gradients = [p.grad for p in method.parameters() if p.grad is not None]
    values = {label: value.item() for label, value in losses.items()}
    return {**values, "gradient_norm": nn.utils.get_total_norm(gradients).item()}


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m facecycle.pretraining.non_finite RUN/non_finite/STAGE-STEP")
    try:
        for label, value in replay(Path(sys.argv[1])).items():
            print(f"{label:24} {value:.6g}")
    except FacecycleError as error:
        sys.exit(f"error: {error}")
