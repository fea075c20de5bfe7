# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""``monai-scdl <verb>``, or ``python -m scdl_components <verb>`` in an unpacked bundle."""

from .command import run_command


def main() -> None:
    """Run the verb of the command line."""
    # here, so that importing this module stays cheap for worker processes
    from .phantom import write_phantoms
    from .tools.check import check
    from .tools.compare import compare
    from .tools.convert import convert
    from .tools.evaluate import evaluate
    from .tools.make_list import make_list
    from .tools.relabel import relabel
    from .tools.untrained import untrained

    run_command(
        {
            "check": check,
            "make-list": make_list,
            "relabel": relabel,
            "convert": convert,
            "evaluate": evaluate,
            "compare": compare,
            "phantom": write_phantoms,
            "untrained": untrained,
        }
    )


if __name__ == "__main__":
    main()
