"""The paper's tables, with our rows below the published ones of their method, and marks of what compares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from facecycle.probing.features import TWIN, baseline_names
from facecycle.probing.result import Result, Row

Part = dict[str, Any]
"""What a template fills in: of a table, a run or a picture that travels inside the page."""
NOTHING: tuple[str, list[str]] = ("-", [])
"""A cell without a number, and without marks."""


def table(title: str, columns: list[str], rows: list[Part], notes: list[str], pictures: Sequence[Part] = ()) -> Part:
    """Return a table as a template takes it."""
    return {"title": title, "columns": columns, "rows": rows, "notes": notes, "pictures": pictures}


def paper_tables(published: Mapping[str, Any], results: Sequence[Result]) -> Iterator[Part]:
    """Yield the paper's tables; a feature's numbers on several data sets share a row.

    Args:
        published: what `published.toml` holds.
        results: those that were measured on a column's data get rows below the published one of their method.
    """
    for given in published["tables"]:
        ours = _measured(given, results)
        rows: list[Part] = []
        for row in given["rows"]:
            values: list[tuple[str, list[str]]] = [(f"{value:.2f}", []) for value in row["values"]]
            values += [("-", [])] * (len(given["columns"]) - len(values))
            rows.append({"what": (row["name"], row.get("marks", [])), "cells": values, "ours": False})
            own = [each for each in ours if each["of"] and each["of"] in (row.get("method"), row.get("feature"))]
            rows += own
            ours = [each for each in ours if each not in own]
        lines = [[row["what"], *row["cells"]] for row in [*rows, *ours]]
        used = dict.fromkeys(mark for line in lines for _, marks in line for mark in marks)
        letters = {mark: f"({chr(ord('a') + number)})" for number, mark in enumerate(used)}
        cells = [[" ".join([text, *(letters[mark] for mark in marks)]) for text, marks in line] for line in lines]
        told = [f"{letter} {published['marks'][mark]}" for mark, letter in letters.items()]
        told += [given["note"], *(line for result in results if _places(given, result) for line in notes(result))]
        shown = [{"cells": c, "ours": row["ours"]} for c, row in zip(cells, [*rows, *ours], strict=True)]
        yield table(given["title"], ["method", *(c["title"] for c in given["columns"])], shown, told)


def _places(given: Mapping[str, Any], result: Result) -> list[int]:
    """Return the columns of a published table that a result has numbers for."""
    if result.task != given["task"]:
        return []
    return [place for place, c in enumerate(given["columns"]) if c["data"] == result.facts.get("data set")]


def _measured(given: Mapping[str, Any], results: Sequence[Result]) -> list[Part]:
    """Return our rows of a published table, each with its method or baseline; what and cells are texts with marks."""
    columns = given["columns"]
    ours: dict[str, list[Part]] = {}
    for result in results:
        places = _places(given, result)
        for row in result.rows if places else []:
            facts = _facts(result, row)
            what = f"{row.feature} ({_procedure(result, facts)})"
            lines = ours.setdefault(what, [])
            # A second result on the same data, such as another of its test sets, has a row of its own.
            if not lines or any(lines[-1]["cells"][place] != NOTHING for place in places):
                baseline = row.feature in baseline_names() or not row.dimensions
                of = row.feature if baseline else facts.get("method")
                random = baseline or row.feature.endswith(TWIN)
                marks = ["imagenet"] if facts.get("begun with") and not random else []
                lines.append({"what": (what, marks), "of": of, "cells": [NOTHING] * len(columns), "ours": True})
            for place in places:
                text = result.cell(row, columns[place]["metric"])
                lines[-1]["cells"][place] = text, _differing(given, columns[place], result)
    return [line for lines in ours.values() for line in lines]


def _differing(given: Mapping[str, Any], column: Mapping[str, Any], result: Result) -> list[str]:
    """Return the marks of a result whose procedure is not, or may not be, that of a column's published numbers."""
    known = column.get("protocol")
    protocol = known is not None and known != result.protocol
    trained_on = "trained_on" in given and given["trained_on"] != result.facts.get("trained on")
    marks = (("protocol", protocol), ("unknown", known is None), ("trained_on", trained_on))
    return [mark for mark, differs in marks if differs]


def _facts(result: Result, row: Row) -> dict[str, str]:
    """Return what is known of a row's checkpoint, or of the one whose random twin it is, and of the data."""
    of = next((facts for label, facts in result.checkpoints.items() if row.feature.startswith(f"{label}: ")), {})
    return {**result.facts, **of}


def _procedure(result: Result, facts: Mapping[str, str]) -> str:
    """Name what a row's numbers come from; rows that differ in it must not be merged."""
    alone = "" if result.checkpoints else "no checkpoint"
    parts = [
        facts.get("method", ""),
        facts.get("sha256", "")[:12] or facts.get("encoder", alone),
        result.protocol,
        facts.get("image size", ""),
        f"trained on {facts['trained on']}" if "trained on" in facts else "",
    ]
    return ", ".join(part for part in parts if part)


def notes(result: Result) -> list[str]:
    """Return what has to be known to read a result's numbers."""
    counts, classes = (
        ", ".join(f"{count:,} {name}" for name, count in counted.items()) for counted in (result.counts, result.classes)
    )
    told = [
        f"protocol {result.protocol}: {result.selection}; intervals: {result.interval}",
        f"split: {result.split}; {counts}",
        *([f"classes: {classes}"] if classes else []),
        *(
            f"{label}: " + ", ".join(f"{name} {value}" for name, value in facts.items())
            for label, facts in result.checkpoints.items()
        ),
        ", ".join(f"{name} {value}" for name, value in result.facts.items()),
        *(f"data: {line}" for line in result.coverage),
    ]
    if result.unreadable:
        told.append(f"{len(result.unreadable)} images could not be read and were left out")
    return told
