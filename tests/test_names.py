# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""What people import, and the examples that show it."""

import doctest
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import scdl_components
from scdl_components import losses, networks, proxies

IMPORT = """
import copyreg, sys, monai, torch  # MONAI has changes of its own
before = [dict(copyreg.dispatch_table), torch.serialization.get_safe_globals(), sys.excepthook, torch.get_rng_state()]
import scdl_components
assert not any(name.startswith("scdl_components.") for name in sys.modules)
from scdl_components import *
after = [dict(copyreg.dispatch_table), torch.serialization.get_safe_globals(), sys.excepthook, torch.get_rng_state()]
assert before[:3] == after[:3] and torch.equal(before[3], after[3])
assert "scdl_components.data" not in sys.modules and "scdl_components.handlers" not in sys.modules
print(CDBALoss, VNet)
"""


def test_the_names_are_imported_one_by_one_and_change_nothing_in_the_process():
    subprocess.run([sys.executable, "-W", "ignore", "-c", IMPORT], check=True, timeout=300)
    with pytest.raises(ImportError, match="CDBLoss"):
        from scdl_components import CDBLoss  # noqa: F401


@pytest.mark.parametrize("name", scdl_components.__all__)
def test_example_of_a_class(name):
    part = getattr(scdl_components, name)
    names = {"torch": torch} | {n: getattr(m, n) for m in (losses, networks, proxies) for n in m.__all__}
    (example,) = doctest.DocTestFinder(recurse=False).find(part, name, globs=names)
    failed, attempted = doctest.DocTestRunner().run(example)
    assert attempted and not failed


def test_the_losses_alone_as_the_readme_shows_them():
    (block,) = re.findall(
        r"```python\n(.*?)```", (Path(__file__).parents[1] / "README.md").read_text(), flags=re.DOTALL
    )
    found: dict = {}
    exec(block, found)
    assert all(p.grad.abs().sum() > 0 for p in (found["bank"].proxies, found["features"]))
