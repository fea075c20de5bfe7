# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Errors that the user can mend, shown without the runner's traceback."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from types import TracebackType


class UserError(Exception):
    """Something outside of the program is wrong; the message names it and the way out."""


class InputError(UserError, ValueError):
    """Data or settings that training or inference cannot use."""


class MissingFileError(UserError, FileNotFoundError):
    """A file that must be there is not."""


class UnreadableError(ValueError):
    """A volume cannot be read; the message says what is wrong and the way out, not the file's name."""


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and those that it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def shown_reason(error: BaseException) -> str:
    """The part of an error that helps: the user's, else that which all began with; MONAI wraps both in its own."""
    chain = list(causes(error))
    shown = next((cause for cause in chain if isinstance(cause, UserError)), chain[-1])
    return f"{type(shown).__name__}: {shown}"


def show_user_errors() -> None:
    """Makes an uncaught :py:class:`UserError` end the process with its message alone.

    MONAI wraps what a config raises in errors of its own, one for each reference, and the message drowns in their
    tracebacks. Everything else is shown as before.
    """
    previous = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if any(getattr(cause, "shown_elsewhere", False) for cause in causes(error)):
            time.sleep(2)  # torchrun ends all when one has ended, and the one that shows it shall not be cut off
            return
        user_error = next((cause for cause in causes(error) if isinstance(cause, UserError)), None)
        if user_error is None:
            previous(kind, error, traceback)
        else:
            print(f"\n{type(user_error).__name__}: {user_error}", file=sys.stderr)

    sys.excepthook = hook
