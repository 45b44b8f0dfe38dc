"""How much of a data set was found, against what its authors state."""

from __future__ import annotations

from facecycle.api import Labelled, Verification


def coverage(labels: Labelled | Verification) -> list[str]:
    """Say how much of a data set was found, wherever its authors state a number."""
    lines = []
    for name, found in labels.counts.items():
        stated = labels.published.get(name)
        if stated is not None:
            count = f"{found:,} of {stated:,} {name}"
            lines.append(f"{count}, as published" if found == stated else f"warning: {count}, the published number")
    return lines
