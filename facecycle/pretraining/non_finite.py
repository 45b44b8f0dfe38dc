"""A loss that is not finite: its batch and networks are kept, to look into it.

`python -m facecycle.pretraining.non_finite RUN/non_finite/STAGE-STEP` computes the losses of such a batch again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from facecycle.api import Pairs
from facecycle.atomic import write_text
from facecycle.checkpoints import folders, model_file
from facecycle.checkpoints.tensor_file import save_tensors
from facecycle.errors import CheckpointError, FacecycleError, RunError
from facecycle.networks import load
from facecycle.pretraining.step import Objective, select_trainable, training_step

FOLDER = "non_finite"
BATCH = "batch.safetensors"
RECORD = "batch.json"
NAMED = 3


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
    model_file.save_model(folder / folders.MODEL, method, metadata)
    save_tensors(folder / BATCH, pairs.apply(_plain).tensors())
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
    loaded = load(folder / folders.MODEL)
    config, method = loaded.checkpoint.config, loaded.method
    objective = Objective(config, name, method)
    parameters = select_trainable(method, objective.cycle)
    losses, _ = training_step(method, objective, pairs, config, step, process, approximate)
    norm = nn.utils.get_total_norm(p.grad for p in parameters if p.grad is not None)
    return {**{label: value.item() for label, value in losses.items()}, "gradient_norm": norm.item()}


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m facecycle.pretraining.non_finite RUN/non_finite/STAGE-STEP")
    try:
        for label, value in replay(Path(sys.argv[1])).items():
            print(f"{label:24} {value:.6g}")
    except FacecycleError as error:
        sys.exit(f"error: {error}")
