#!/bin/bash
# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
# All parts on a machine that has PyTorch for CUDA and no network (docs/gpus.md):
#   bash benchmarks/gpu/run.sh <folder for results> <folder of wheels> [--toy] [--seconds 540]
set -euo pipefail
output=$(realpath -m "$1") wheels=$2
root=$(realpath "$(dirname "$0")/../..")
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
# beside what the machine has: a virtual environment would not see the packages of another one
python3 -m pip install --quiet --no-index --no-deps --no-compile --target "$site" "$wheels"/*.whl
export PYTHONPATH=$root:$site PYTHONUNBUFFERED=1 TMPDIR=$site
cd "$root"
python3 -m benchmarks.gpu.run "$output" "${@:3}"
