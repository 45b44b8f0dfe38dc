"""Weights for a timm model: its own, of the hub, or those of a file, which is read but never run."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from timm.models import load_state_dict
from torch import Tensor

from facecycle.errors import CheckpointError
from facecycle.pickles import UNREADABLE, check_pickles

ANSWER = 5.0
"""Seconds in which the hub has to answer first: timm asks for two names, and the library tries each for 23 seconds."""
SHOWN = 1000
"""Characters of what torch says about tensors that do not fit."""


def from_hub(model: str) -> dict[str, Any]:
    """Return the keywords that make timm load a model's own weights, once the hub answers or its cache has them.

    Args:
        model: timm's name of the model.

    Raises:
        ConnectionError: the hub does not answer, and its cache here holds nothing of the model.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, LocalEntryNotFoundError

    known = timm.get_pretrained_cfg(model)
    if known is not None and known.hf_hub_id:
        try:
            snapshot_download(known.hf_hub_id, local_files_only=True)
        except LocalEntryNotFoundError:
            try:
                HfApi().model_info(known.hf_hub_id, timeout=ANSWER)
            except HfHubHTTPError:
                pass  # an answer, and what it means is said when the file is asked for
            except (HTTPError, OSError) as error:
                raise ConnectionError(f"the hub does not answer ({error})") from error
    return {"pretrained": True}


def from_file(path: Path, model: str, create: Callable[..., Any]) -> dict[str, Any]:
    """Return the keywords that make timm load a file, once it is known to fit the model.

    timm looks at nothing but names when it loads a backbone: of another model's file it takes what is alike, in
    silence. So the whole model is loaded first, for as many classes as the file has, and every tensor has to fit.

    Args:
        path: the file.
        model: timm's name of the model, for messages.
        create: creates it, with keywords added.

    Raises:
        CheckpointError: the file cannot be read, holds something other than finite tensors, or does not fit.
    """
    tensors = _read(path)
    known = timm.get_pretrained_cfg(model)
    classifier = known.classifier if known else None
    names = [classifier] if isinstance(classifier, str) else list(classifier or ())
    weight = next((tensors[f"{name}.weight"] for name in names if f"{name}.weight" in tensors), None)
    classes = 0 if weight is None else len(weight)
    source = {"pretrained": True, "pretrained_cfg_overlay": {"file": str(path), "num_classes": classes}}
    try:
        create(features_only=False, num_classes=classes, **source)
    except (RuntimeError, KeyError, AttributeError, ValueError) as error:
        said = " ".join(re.sub(r"Error\(s\) in loading state_dict for \w+:", "", str(error)).split())
        raise CheckpointError(
            f"{path} does not hold the weights of timm's {model!r}: {said[:SHOWN]}",
            hint="Name the model that the file was saved from: --encoder timm:NAME.",
        ) from error
    return source


def _read(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name."""
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}", hint="Expected weights of a timm model, as safetensors.")
    try:
        if path.suffix != ".safetensors":
            check_pickles(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's advice on what it refuses is to trust the file
            tensors = load_state_dict(str(path), weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is refused: it holds something other than tensors, which would have to be run, or it was cut "
            "short; nothing in it was run",
            hint="Save the model's state_dict() alone, best as safetensors.",
        ) from error
    except (*UNREADABLE, SafetensorError) as error:
        raise CheckpointError(
            f"{path} is damaged, cut short, or neither safetensors nor a state dict; nothing in it was run",
            hint="Files with the ending .safetensors are read as such, all others as written by torch.save.",
        ) from error
    if not isinstance(tensors, Mapping) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise CheckpointError(f"{path} does not hold tensors by name", hint="Save the model's state_dict() alone.")
    bad = [name for name, value in tensors.items() if not bool(torch.isfinite(value).all())]
    if bad:
        raise CheckpointError(f"{path} holds numbers that are not finite: {', '.join(bad[:5])}")
    return dict(tensors)
