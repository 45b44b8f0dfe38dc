#!/usr/bin/env bash
# webdataset 1.0.2 merges tracks whose names differ after a dot into one sample.
#
# The writer takes any key, and the reader takes a key to end at the first dot of the last part of the path. Frames of
# track.01 and track.02 come back as one sample `track` with the fields 01.png and 02.png. Dots in folders, as in
# VoxCeleb's 1.6/, do no harm. A second surprise: files belong to the user and group `bigdata` and carry the present
# time, so the same tracks never give the same bytes. What to do: number the samples, and pass user, group and mtime.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check webdataset==1.0.2 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'END'
import io
import tarfile

from webdataset import TarWriter
from webdataset.tariterators import group_by_keys, tar_file_expander

shard = io.BytesIO()
with TarWriter(shard, encoder=False, compress=False) as writer:
    writer.write({"__key__": "id01/1.6/track.01", "png": b"first"})
    writer.write({"__key__": "id01/1.6/track.02", "png": b"second"})
shard.seek(0)
samples = list(group_by_keys(tar_file_expander([{"url": "shard", "stream": shard}])))
print(f"2 samples written, {len(samples)} read: {samples}")
assert [sorted(s) for s in samples] == [["01.png", "02.png", "__key__", "__url__"]], "the behaviour has changed"
assert samples[0]["__key__"] == "id01/1.6/track", "the behaviour has changed"

shard.seek(0)
owners = {(member.uname, member.gname, member.mtime > 0) for member in tarfile.open(fileobj=shard)}
print(f"owner, group, stamped with a time: {owners}")
assert owners == {("bigdata", "bigdata", True)}, "the behaviour has changed"
END
