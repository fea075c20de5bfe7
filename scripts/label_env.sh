#!/usr/bin/env bash
# MONAI Label in an environment of its own, LABEL_VENV (.venv-label). A second run installs nothing.
set -eu
cd "$(dirname "$0")/.."
venv=${LABEL_VENV:-.venv-label}
python=${PYTHON:-python3.11}
# the CPU build of PyTorch, as in the Makefile; a machine whose pip brings wheels of its own is left to them
index=${TORCH_INDEX-$([ -n "${PIP_FIND_LINKS:-}" ] || echo https://download.pytorch.org/whl/cpu)}

[ ! "$venv/.installed" -nt requirements-label.txt ] || exit 0
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || {
    echo "MONAI Label 0.8.5 needs Python 3.11 here, $python is another: name one, PYTHON=/path/of/python3.11" >&2
    exit 1
}
"$python" -m venv "$venv"
echo '*' > "$venv/.gitignore"
"$venv/bin/python" -m pip install --quiet --constraint requirements-label.txt ${index:+--index-url "$index"} torch torchvision
"$venv/bin/python" -m pip install --quiet --no-deps --requirement requirements-label.txt

# PyPI's torchvision for Linux is built for CUDA and does not import beside a CPU build of PyTorch, for want of two
# operators. MONAI Label uses none: it draws grids of images.
"$venv/bin/python" -c 'import torchvision' 2> /dev/null || cat >> "$venv"/lib/python3.11/site-packages/torchvision/extension.py << 'PATCH'
for _name in ("nms", "qnms"):
    torch.library.define(f"torchvision::{_name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
PATCH
"$venv/bin/python" -c 'import monailabel.tasks.infer.bundle, monailabel.endpoints.infer' 2> "$venv/import.log" || {
    cat "$venv/import.log" >&2
    exit 1
}
touch "$venv/.installed"
