#!/usr/bin/env bash
# entrypoints 0.4 gives one of two packages that claim a name, silently, by the order of the folder on the disk.
#
# Both packages register `net` in one group, which the packaging standard allows. get_group_named and get_single return
# whichever file the file system lists first. So two machines with the same packages can run other code under one name.
# importlib.metadata returns both. What to do: get_group_all, and refuse a name that comes twice.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check entrypoints==0.4
cd "$folder"
venv/bin/python - <<'END'
import glob
from importlib.metadata import distributions
from pathlib import Path

import entrypoints

for package in ("one", "two"):
    folder = Path("site", f"{package}-1.0.dist-info")
    folder.mkdir(parents=True)
    folder.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    folder.joinpath("entry_points.txt").write_text(f"[encoders]\nnet = {package}:Net\n")

both = [point.value for found in distributions(path=["site"]) for point in found.entry_points]
named = entrypoints.get_group_named("encoders", path=["site"])
single = entrypoints.get_single("encoders", "net", path=["site"])
first = Path(glob.glob("site/*.dist-info")[0]).name.partition("-")[0]
print(f"claimed by {sorted(both)}; the folder lists {first!r} first; get_group_named: {named}; get_single: {single}")
assert sorted(both) == ["one:Net", "two:Net"]
assert list(named) == ["net"] and named["net"].module_name == single.module_name == first, "the behaviour has changed"
END
