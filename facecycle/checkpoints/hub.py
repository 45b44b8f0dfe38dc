"""Weights on the Hugging Face hub: downloaded into the hub's own cache, and pushed.

`huggingface_hub` does both. What it says of a failure is put into one message, without addresses or tokens.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from facecycle.checkpoints.folders import MODEL
from facecycle.checkpoints.graph_file import graph_of
from facecycle.checkpoints.places import FOLDER, HUB, Name, repository_of
from facecycle.errors import CheckpointError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from facecycle.checkpoints.shared_folder import Score

ANSWER = 2.0
"""Seconds in which the hub has to answer first: without an answer, the library would try again for 23 seconds."""
GRAPH = graph_of(Path(MODEL)).name


def download(repository: str, revision: str | None = None, token: str | bool | None = None) -> Path:
    """Return the model file of a repository, in the cache of the hub; its graph lies beside it where it has one.

    Without an answer of the hub, what the cache holds of this revision is taken.

    Args:
        repository: `OWNER/NAME`.
        revision: branch, tag or commit; None is the newest of the main branch.
        token: of a private or gated repository; None takes that of `hf auth login`, if any.

    Raises:
        CheckpointError: the hub cannot be reached and nothing is cached, or it does not give the file.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, LocalEntryNotFoundError

    name = f"{HUB}{repository}" + (f"@{revision}" if revision else "")

    def fetch(*, cached: bool) -> Path:
        return Path(
            snapshot_download(
                repository,
                revision=revision,
                allow_patterns=[MODEL, GRAPH],
                token=token,
                local_files_only=cached,
            ),
            MODEL,
        )

    with _explained(name):
        try:
            there = HfApi().model_info(repository, revision=revision, timeout=ANSWER, token=token).siblings or ()
        except HfHubHTTPError:
            raise  # an answer
        except (HTTPError, OSError) as error:
            try:
                return fetch(cached=True)
            except LocalEntryNotFoundError:
                raise CheckpointError(
                    f"the hub does not answer, and its cache here does not hold {name}",
                    hint=f"{_why_silent()} Or name a copy: {FOLDER}PATH.",
                ) from error
        if MODEL not in {file.rfilename for file in there}:
            raise CheckpointError(
                f"{name} has no file {MODEL}", hint="Expected what `facecycle checkpoint push` puts there."
            )
        return fetch(cached=False)


def push(
    weights: Name,
    repository: str,
    *,
    private: bool = False,
    revision: str | None = None,
    scores: Sequence[Score] = (),
    token: str | bool | None = None,
) -> str:
    """Put weights, their graph if there is one, `config.json` and a card into a repository, which is made if need be.

    Args:
        weights: their name; see `places`.
        repository: `OWNER/NAME`.
        private: make it private, where it is new.
        revision: branch, which is made if need be; None is the main one.
        scores: of probes, for the card.
        token: that may write there; None takes that of `hf auth login`.

    Returns:
        The address of the commit.

    Raises:
        CheckpointError: the weights cannot be read, or the hub refuses them or cannot be reached.
    """
    from huggingface_hub import HfApi

    from facecycle.checkpoints.shared_folder import CARD, is_edited, write_folder

    repository, named = repository_of(repository)
    revision = revision or named
    api, name = HfApi(token=token), f"{HUB}{repository}" + (f"@{revision}" if revision else "")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "folder")
        files = write_folder(weights, folder, scores, name)
        with _explained(name):
            if CARD in _made_ready(api, repository, revision, private):
                card = api.hf_hub_download(repository, CARD, revision=revision, local_dir=temporary)
                if is_edited(Path(card)):
                    files.remove(CARD)
            made = api.upload_folder(
                repo_id=repository,
                folder_path=folder,
                revision=revision,
                commit_message="Push weights of facecycle",
                allow_patterns=files,
                delete_patterns=[GRAPH],  # of the weights that were there
            )
    return str(made.commit_url)


def _made_ready(api: HfApi, repository: str, revision: str | None, private: bool) -> set[str]:
    """Make a repository and its branch where they are missing, and return the files that are there."""
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    try:
        there = api.model_info(repository, revision=revision, timeout=ANSWER)
    except RevisionNotFoundError:
        api.create_branch(repository, branch=str(revision))
        there = api.model_info(repository, revision=revision)
    except RepositoryNotFoundError:
        api.create_repo(repository, private=private)
        if revision is not None:
            api.create_branch(repository, branch=revision)
        return set()
    return {file.rfilename for file in there.siblings or ()}


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turn what the library raises into an error for the reader, which shows no address and no token."""
    from huggingface_hub.errors import (
        FileMetadataError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        HTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except GatedRepoError as error:
        raise CheckpointError(
            f"{name} is gated: its owners decide who gets it",
            hint="Ask for access on its page, then log in with `hf auth login`, or set HF_TOKEN.",
        ) from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"the hub has no {name}, or it is private",
            hint="Compare the name with its page. For a private one, `hf auth login`, or set HF_TOKEN.",
        ) from error
    except RevisionNotFoundError as error:
        raise CheckpointError(
            f"{name} has no such revision", hint="Name a branch, a tag or a commit, or leave @ and what follows out."
        ) from error
    except HfHubHTTPError as error:
        raise _refusal(name, error.response.status_code) from error
    except HFValidationError as error:
        raise CheckpointError(f"{name} names nothing on the hub", hint=f"Expected {HUB}OWNER/NAME.") from error
    except RuntimeError as error:
        raise CheckpointError(
            f"the connection to the hub broke while files of {name} were on their way",
            hint="Nothing was changed there. Try again.",
        ) from error
    except (LocalEntryNotFoundError, FileMetadataError, HTTPError, ConnectionError) as error:
        raise CheckpointError(
            f"the hub does not answer, or something else answers in its place: {name}",
            hint=_why_silent(),
        ) from error
    except OSError as error:
        raise CheckpointError(
            f"{name} cannot be stored: {error.strerror or type(error).__name__}",
            hint="Look at the disk that HF_HOME names.",
        ) from error


def _why_silent() -> str:
    """Say what to set where the hub does not answer."""
    from huggingface_hub.constants import HF_HUB_OFFLINE

    if HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set: unset it, so that the hub is asked."
    return "Look at the network and its proxy. HF_ENDPOINT has to be unset, or the address of a mirror."


def _refusal(name: str, status: int) -> CheckpointError:
    """Say what an answer of the hub means that names no cause of its own."""
    if status in {401, 403}:
        hint = "Log in with `hf auth login`, or set HF_TOKEN; to push takes a token that may write."
        return CheckpointError(f"the hub does not allow it: {name} ({status})", hint=hint)
    if status == 429:
        return CheckpointError(f"the hub gets too many requests from here (429): {name}", hint="Try again in minutes.")
    hint = "Try again later. If it stays, look at HF_ENDPOINT."
    return CheckpointError(f"the hub answered with the error {status}: {name}", hint=hint)
