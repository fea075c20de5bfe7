# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
import sys

import pytest

from scdl_components.command import run_command
from scdl_components.errors import InputError


def load(path: str) -> None:
    try:
        raise InputError(f"{path} is damaged")
    except InputError as error:
        raise RuntimeError("applying transform") from error  # as MONAI wraps what its transforms raise


def test_a_user_error_is_its_message_and_status_1(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["load", "--path", "a"])
    with pytest.raises(SystemExit) as end:
        run_command(load)
    assert end.value.code == 1
    assert capsys.readouterr().err == "\nInputError: a is damaged\n"


def test_what_is_no_user_error_is_raised(monkeypatch):
    def fail() -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(sys, "argv", ["fail"])
    with pytest.raises(ValueError, match="a bug"):
        run_command(fail)
