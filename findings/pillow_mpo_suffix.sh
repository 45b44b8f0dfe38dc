#!/usr/bin/env bash
# Pillow 13.0.0 knows the suffix .mpo, opens such files, and does not count their format among those that it opens.
#
# The usual way to list the suffixes that can be read is to keep those of registered_extensions whose format is in
# Image.OPEN. It drops .mpo, the stereo and portrait pictures of cameras and telephones. They are opened as the JPEG
# that they begin with, and turned into their own class afterwards. What to do: add the format MPO by hand.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0
cd "$folder"
venv/bin/python - <<'END'
from PIL import Image

picture = Image.new("RGB", (8, 8), (200, 30, 30))
picture.save("two.mpo", save_all=True, append_images=[picture])
suffixes = Image.registered_extensions()
readable = {suffix for suffix, name in suffixes.items() if name in Image.OPEN}
opened = Image.open("two.mpo")
print(f".mpo registered: {'.mpo' in suffixes}; by the usual way readable: {'.mpo' in readable}; opened: {opened.format}, {opened.size}")
assert ".mpo" in suffixes and ".mpo" not in readable and opened.format == "MPO", "the behaviour has changed"
END
