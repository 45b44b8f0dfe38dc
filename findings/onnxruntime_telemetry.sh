#!/usr/bin/env bash
# onnxruntime 1.32.0 writes an identifier of the machine to the disk on Linux as it is imported, and reports to its makers.
#
# One expects a library that computes to open no connection, as its wheels for Linux did not before 2026. A process that
# imports it and waits looks up mobile.events.data.microsoft.com within 45 seconds, as `strace -f -e connect,sendto` shows.
# Its Privacy.md says that this is on by default. disable_telemetry_events() comes too late, because the import writes and reports
# already. ORT_TELEMETRY_DISABLED, which pull request 29843 names, does nothing in this version. What to do: set
# ORT_DISABLE_TELEMETRY=1 before the import.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check onnxruntime==1.32.0
for setting in NOTHING=1 ORT_TELEMETRY_DISABLED=1 ORT_DISABLE_TELEMETRY=1; do
    home="$folder/$setting"
    mkdir "$home"
    env HOME="$home" TMPDIR="$home" XDG_CACHE_HOME="$home" CI= "$setting" "$folder/venv/bin/python" -c "import onnxruntime"
    echo "$setting: $(find "$home" -type f -printf '%f ' | sed 's/onnxruntime.db-[a-z]* //g')"
done
test -n "$(find "$folder/NOTHING=1" -name deviceid)"
test -n "$(find "$folder/ORT_TELEMETRY_DISABLED=1" -name deviceid)"
test -z "$(find "$folder/ORT_DISABLE_TELEMETRY=1" -type f)"
