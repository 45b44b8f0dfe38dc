"""Results of probes to the scores of a card: what the features of these very weights reached."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from facecycle.checkpoints import header
from facecycle.checkpoints.places import Name
from facecycle.checkpoints.shared_folder import Score
from facecycle.errors import DataError
from facecycle.probing.features import TWINS
from facecycle.probing.protocols import PROTOCOLS
from facecycle.probing.result import read_result


def scores_of(weights: Name, results: Sequence[Path]) -> list[Score]:
    """Return the headline metric of each feature that weights learned, from files `result.json`.

    Raises:
        CheckpointError: the weights cannot be read.
        DataError: a file cannot be read, is of other weights, or probes none of their features.
    """
    sha256 = header.read(weights).sha256()
    found = []
    for path in results:
        result = read_result(path)
        if result.facts.get("sha256") != sha256:
            raise DataError(
                f"{path} is the result of other weights than {weights}",
                hint=f"`facecycle probe --checkpoint {weights}` measures these.",
            )
        protocol, features = PROTOCOLS[result.protocol], {row.feature for row in result.rows}
        metric = protocol.headline
        shown = protocol.metrics[metric]
        beside = {row.feature for row in result.rows if any(row.feature + twin in features for twin in TWINS)}
        learned = [row for row in result.rows if row.feature in beside and metric in row.metrics]
        if not learned:
            raise DataError(f"{path} has no score of a feature of the weights")
        found += [
            Score(
                task=result.task,
                protocol=result.protocol,
                data=result.facts["data set"],
                feature=row.feature,
                metric=metric,
                title=shown.title,
                value=round(row.metrics[metric] * (100 if shown.percent else 1), shown.decimals),
                cell=result.cell(row, metric),
            )
            for row in learned
        ]
    return found
