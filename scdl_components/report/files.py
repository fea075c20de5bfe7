# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_files(output_dir: str | Path, numbered: str) -> Iterator[Path]:
    """A folder to write to, whose files are moved to ``output_dir`` when all are written.

    After an error nothing is moved; what an earlier run left in ``output_dir`` is as it was.

    Args:
        output_dir: made where needed.
        numbered: pattern of those files whose number varies: of an earlier run, the supernumerary ones are removed.
    """
    output = Path(output_dir).expanduser()
    output.mkdir(parents=True, exist_ok=True)
    # within the folder, as a file can only be renamed within one file system
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=output))
    try:
        yield unfinished
        written = sorted(file.name for file in unfinished.iterdir())
        for name in written:
            os.replace(unfinished / name, output / name)
        for file in output.glob(numbered):
            if file.name not in written:
                file.unlink()
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
