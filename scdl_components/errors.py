# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Errors that the user can mend, shown without a traceback."""

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

# modules whose process is there for one run alone
COMMANDS = ("monai.bundle.__main__", "monailabel.interfaces.utils.app")
SERVER = "monailabel.app"


class UserError(Exception):
    """Something outside of the program is wrong; the message names it and what to do."""


class InputError(UserError, ValueError):
    """Data or settings that training or inference cannot use."""


class SettingError(InputError):
    """A key of the config with which no case can be done."""


class MissingFileError(UserError, FileNotFoundError):
    """A file that must be there is not."""


class UnreadableError(ValueError):
    """A volume cannot be read; the message gives the reason without the path."""


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """List an exception and those that it was raised from."""
    seen: set[int] = set()  # a chain may come back to itself
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def user_error(error: BaseException) -> UserError | None:
    """Find the user error in a chain of exceptions."""
    return next((cause for cause in causes(error) if isinstance(cause, UserError)), None)


def root_reason(error: BaseException) -> str:
    """Describe the user error in a chain of exceptions, else the original error."""
    told = user_error(error) or list(causes(error))[-1]
    return f"{type(told).__name__}: {told}"


@contextmanager
def exit_on_user_errors() -> Iterator[None]:
    """End the process with a user error's message alone and status 1; other errors pass.

    Raises:
        SystemExit: something raised a :py:class:`UserError`, or an error that was raised from one.
    """
    try:
        yield
    except Exception as error:
        if not show(error):
            raise
        raise SystemExit(1) from None


def tell_user_errors() -> AbstractContextManager:
    """Report user errors in the way that suits the process.

    A process that MONAI or MONAI Label started for one run ends (:func:`exit_on_user_errors`). Elsewhere
    :func:`answer_with_user_errors` decides.
    """
    spec = getattr(sys.modules["__main__"], "__spec__", None)  # None in an interactive session
    if spec is not None and spec.name in COMMANDS:
        return exit_on_user_errors()
    return answer_with_user_errors()


@contextmanager
def answer_with_user_errors() -> Iterator[None]:
    """Let MONAI Label's server answer a request with a user error's message.

    Any other error is answered with "Internal Server Error". Outside of the server the error stays as it is.
    """
    try:
        yield
    except UserError as error:
        if SERVER not in sys.modules:
            raise
        from fastapi import HTTPException  # MONAI Label's

        raise HTTPException(422, str(error)) from error


def show(error: BaseException) -> bool:
    """Print the user error behind an exception; return False if there is none."""
    if any(getattr(cause, "shown_elsewhere", False) for cause in causes(error)):
        time.sleep(2)  # torchrun ends all processes when one ends; let the one that shows it finish
        return True
    if user_error(error) is None:
        return False
    print(f"\n{root_reason(error)}", file=sys.stderr)
    return True
