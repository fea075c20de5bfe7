# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""An evaluator run case by case: done cases are skipped, a failed one does not stop the others."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from monai.data import DataLoader, Dataset
from monai.engines import Evaluator
from tqdm.auto import tqdm

from ..atomic import file_hash
from ..data.check import InputCheck
from ..data.inputs import base_name
from ..errors import UserError
from ..handlers.weights import WeightsError
from ..memory.shortage import memory_shortages

logger = logging.getLogger(__name__)

LESS_MEMORY = (
    "Windows need less with --sw_batch_size 1; the outputs of a whole volume stay off a GPU with --inferer#cpu_thresh 0"
)


class FailedCasesError(UserError):
    """Some cases could not be segmented; the others have been."""


class CaseByCase:
    """Segments the cases of a dataset one by one, each written to ``<name>_seg.nii.gz`` by the evaluator.

    When a case is done, ``<name>_seg.json`` is put beside it: the organs' names, and what it was made with (image,
    weights, settings). A case whose JSON says that it was made with the same is skipped in a later run.

    Args:
        evaluator: MONAI evaluator whose postprocessing writes the segmentations.
        dataset: its dataset, with ``data`` (dicts with "image") and ``transform``.
        output_dir: folder that the evaluator writes to.
        class_names: names by value, background first.
        weights: file that the evaluator loads.
        settings: whatever else decides the result; JSON values.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        dataset: Dataset,
        output_dir: str,
        class_names: Sequence[str],
        weights: str,
        settings: Mapping[str, object],
    ) -> None:
        self.evaluator = evaluator
        self.dataset = dataset
        self.output_dir = Path(output_dir)
        self.class_names = list(class_names)
        self.weights = weights
        self.settings = dict(settings)
        self.failures: dict[str, str] = {}

    def run(self) -> None:
        """Segments what is not done; failures are kept in ``failures`` (image -> reason)."""
        self.failures.clear()
        if "::" in str(self.output_dir):  # of the config's text; what is computed in it stays as it is
            logger.warning("results go to '%s': MONAI's config language writes # as ::", self.output_dir)
        weights_hash = file_hash(self.weights) if Path(self.weights).is_file() else ""
        settings = json.loads(json.dumps(self.settings))
        skipped = 0
        for item in tqdm(self.dataset.data, desc="segmenting", unit="case"):
            image = item["image"]
            sidecar = self.output_dir / f"{base_name(image)}_seg.json"
            try:
                made_with = {"image": image_identity(image), "weights": weights_hash, "settings": settings}
                if is_done(sidecar, made_with):
                    skipped += 1
                    continue
                # a result of other weights must not outlive a failure of this one
                sidecar.unlink(missing_ok=True)
                # an image that is damaged, or announces more than there is memory for, is refused before it is loaded
                InputCheck(
                    organs=(),
                    unlabeled=[{"image": image}],
                    intensity_range=self.settings.get("intensity_range"),
                    num_workers=1,
                    progress=False,
                ).run()
                self._run_one(item)
                self._write(sidecar, image, made_with)
            except WeightsError:
                raise
            # whatever goes wrong with one case, the others go on and the reason is told at the end
            except Exception as error:
                logger.exception("%s failed", image)
                self.failures[image] = f"{type(error).__name__}: {error}"
        logger.info("%d segmented, %d done before, %d failed", *self._counts(skipped))

    def raise_failures(self) -> None:
        """Ends with an error that lists the failed cases, so that the exit status tells.

        Raises:
            FailedCasesError: when there are any.
        """
        if self.failures:
            lines = "\n".join(f"- {image}: {reason}" for image, reason in self.failures.items())
            raise FailedCasesError(
                f"{len(self.failures)} of {len(self.dataset.data)} cases failed, the others are in {self.output_dir}; "
                f"run the same command again when these are mended:\n{lines}"
            )

    def _counts(self, skipped: int) -> tuple[int, int, int]:
        return len(self.dataset.data) - skipped - len(self.failures), skipped, len(self.failures)

    def _run_one(self, item: Mapping[str, object]) -> None:
        # loaded in this process: a case that takes the loader down must not take the others' loader with it
        self.evaluator.data_loader = DataLoader(Dataset([item], self.dataset.transform), batch_size=1, num_workers=0)
        self.evaluator.state.epoch_length = 1
        with memory_shortages(lambda: LESS_MEMORY):
            self.evaluator.run()

    def _write(self, sidecar: Path, image: str, made_with: Mapping[str, object]) -> None:
        content = {
            "segmentation": sidecar.with_suffix(".nii.gz").name,
            "image": image,
            "labels": {str(value): name for value, name in enumerate(self.class_names)},
            "made_with": made_with,
        }
        temporary = sidecar.with_suffix(".json.part")
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(temporary, sidecar)


def image_identity(path: str) -> dict[str, object]:
    """Path, size in bytes and time of change of a file, or of what is in a DICOM folder."""
    files = sorted(Path(path).iterdir()) if os.path.isdir(path) else [Path(path)]
    stats = [file.stat() for file in files if file.is_file()]
    return {
        "path": str(path),
        "bytes": sum(stat.st_size for stat in stats),
        "changed_ns": max((stat.st_mtime_ns for stat in stats), default=0),
    }


def is_done(sidecar: Path, made_with: Mapping[str, object]) -> bool:
    """Whether the case of a sidecar was segmented with exactly the same, and its segmentation is there."""
    try:
        content = json.loads(sidecar.read_text(encoding="utf-8"))
        return content["made_with"] == made_with and sidecar.with_name(content["segmentation"]).is_file()
    except (OSError, ValueError, KeyError, TypeError):
        return False
