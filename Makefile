# Each target sets up what it needs; a second run installs nothing.
PYTHON ?= python3
VENV ?= .venv
# The CPU build of PyTorch. With an NVIDIA GPU, e.g.: make demo TORCH_INDEX=https://download.pytorch.org/whl/cu130
# A machine whose pip already brings wheels of its own (PIP_FIND_LINKS) is left to them.
TORCH_INDEX ?= $(if $(PIP_FIND_LINKS),,https://download.pytorch.org/whl/cpu)

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# large tensors in huge pages: Linux hands their memory out faster (docs/results.md)
export THP_MEM_ALLOC_ENABLE ?= 1
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: install check demo test test-all test-portable real-ct package sync label-env clean

install: $(STAMP)

$(STAMP): setup.cfg constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

BUNDLE := bundles/scdl_synapse
MAX_ITERATIONS ?= 1200
PHANTOMS := $(BUNDLE)/data/phantom
with_phantoms = "['$(BUNDLE)/configs/$(1).yaml','$(BUNDLE)/configs/phantom.yaml']"

# Phantoms, training and segmentation of the two test cases through MONAI's runner, then a report with pictures.
demo: install
	python -m monai.bundle run training --config_file $(call with_phantoms,train) --max_iterations $(MAX_ITERATIONS)
	python -m monai.bundle run --config_file $(call with_phantoms,inference) \
	    --dataset_dir "['$(PHANTOMS)/img/img0019.nii.gz','$(PHANTOMS)/img/img0020.nii.gz']"
	monai-scdl evaluate --case_list $(PHANTOMS)/case_list.json \
	    --predictions $(BUNDLE)/eval --output demo_output

# lint, format and types, first of all in CI
check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# the configs that both bundles share, from the one to the other
SHARED := $(filter-out metadata.json case_lists,$(notdir $(wildcard bundles/scdl_synapse/configs/*)))
sync:
	for name in $(SHARED); do cp bundles/scdl_synapse/configs/$$name bundles/scdl_amos/configs/; done
	cp bundles/scdl_synapse/LICENSE bundles/scdl_amos/

real-ct: install
	python -m benchmarks.real_ct

# the bundles' zips and the wheel, in dist/ (docs/publishing.md)
package: install
	python scripts/package.py build

# one thread a worker: two workers on two cores
test test-all test-portable: export OMP_NUM_THREADS = 1

test: install
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'not slow'

test-all: install
	$(BIN)/python -m pytest

# the tests that judge a training, with the arithmetic of a plain processor: what they ask must hold on any
test-portable: export ATEN_CPU_CAPABILITY = default
test-portable: export ONEDNN_MAX_CPU_ISA = SSE41
test-portable: install
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'trains and not slow'

# MONAI Label and what it needs, in an environment of its own (docs/monai_label.md)
label-env:
	LABEL_VENV=.venv-label $(if $(TORCH_INDEX),TORCH_INDEX=$(TORCH_INDEX)) scripts/label_env.sh

clean:
	rm -rf $(VENV) demo_output
