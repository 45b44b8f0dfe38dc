# `make demo`: set up, translate a photograph, train on rendered faces, probe. `make test`: set up, lint, types, tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed

.PHONY: demo test lint proof kill fuzz bench weights compare docs clean

demo: $(STAMP)
	rm -rf demo && mkdir demo
	$(BIN)/python -c "import PIL.Image, skimage.data as d; PIL.Image.fromarray(d.astronaut()).save('demo/astronaut.png')"
	$(BIN)/facecycle translate demo/astronaut.png --out demo/first
	@echo "what the weights that come with facecycle make of a photograph: demo/first/contact_sheet.png"
	@echo "now a run of its own is trained on rendered faces, and probed: 10 to 15 minutes"
	$(BIN)/facecycle pretrain --encoder resnet18 --out demo/run
	$(BIN)/python -m facecycle_plugins.datasets.synthetic demo/faces 8
	$(BIN)/facecycle translate demo/faces/face01.png --driver demo/faces/face02.png --detector centre --checkpoint demo/run --out demo/swaps
	$(BIN)/facecycle translate demo/faces --detector centre --checkpoint demo/run --out demo/translations
	$(BIN)/facecycle probe --task pose --checkpoint demo/run --out demo/probe-pose
	$(BIN)/facecycle probe --task emotion --checkpoint demo/run --out demo/probe-emotion
	$(BIN)/facecycle probe --task verify --checkpoint demo/run --out demo/probe-verify
	@echo
	@echo "pictures: demo/first/contact_sheet.png demo/swaps/contact_sheet.png demo/translations/contact_sheet.png"
	@echo "training: demo/run/samples"
	@echo "reports:  demo/probe-pose/report.md demo/probe-emotion/report.md demo/probe-verify/report.md"

test: lint
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

proof: $(STAMP)
	$(BIN)/python kernels/proof

kill: $(STAMP)
	$(BIN)/python tests/kill.py

bench: $(STAMP)
	$(BIN)/python benchmarks

fuzz: $(STAMP)
	$(BIN)/python tests/fuzz

# DATA holds tracks/ with pose.csv, more_tracks/ and stills/ to train on, emotions/ and people/ to probe. A stopped run is
# continued. All is measured on faces as `translate` aligns them, beside the weights that came with the package before.
MADE = runs/weights/default.safetensors
ALIGNED = runs/weights/measured
PROBE = $(BIN)/facecycle probe --checkpoint $(MADE) --checkpoint facecycle/weights/default.safetensors
weights: $(STAMP)
	@test -n "$(DATA)" || { echo "say where the faces are: make weights DATA=FOLDER"; exit 2; }
	$(BIN)/python recipes/default_weights/make.py $(DATA) runs/weights
	$(BIN)/python recipes/default_weights/measure.py $(DATA) $(ALIGNED) default $(MADE)
	$(BIN)/facecycle data crop $(DATA)/emotions --out $(ALIGNED)/emotions
	$(BIN)/facecycle data crop $(DATA)/people --out $(ALIGNED)/people
	$(PROBE) --task pose --data $(ALIGNED)/tracks/pose.csv --out runs/weights/pose
	$(PROBE) --task emotion --data $(ALIGNED)/emotions --out runs/weights/emotion
	$(PROBE) --task verify --data $(ALIGNED)/people --out runs/weights/verify

# DATA as above, with more_tracks/. Seven methods of two seeds and 30 minutes each, and what is there is not made again.
compare: $(STAMP)
	@test -n "$(DATA)" || { echo "say where the faces are: make compare DATA=FOLDER"; exit 2; }
	$(BIN)/python recipes/comparison/compare.py $(DATA)

docs: $(STAMP)
	$(BIN)/python docs/configuration.py

# pip compiles what it installs on one core, so this is done after it, on all of them. Some packages hold a file that no
# Python compiles.
$(STAMP): pyproject.toml
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile -e ".[dev]"
	$(BIN)/python -W ignore -m compileall -qq -j 0 $(VENV)/lib || true
	touch $(STAMP)

clean:
	rm -rf $(VENV) demo bench.json scaling.png
