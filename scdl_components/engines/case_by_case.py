# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Inference case by case, where a failed case does not stop the others."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from monai.data import DataLoader, Dataset
from monai.engines import Evaluator
from monai.transforms import Compose
from tqdm.auto import tqdm

from ..atomic import check_writable, file_hash, path_hash, whole_file
from ..data.dicom_seg import check_highdicom, write_dicom_seg
from ..data.input_check import InputCheck
from ..data.results import dicom_seg_of, find_results, name_of, read_sidecar, sidecar_of
from ..errors import InputError, SettingError, UserError, root_reason, user_error
from ..memory import memory_shortages
from ..networks.weights import WeightsError
from .identity import network_hash

logger = logging.getLogger(__name__)

LESS_MEMORY = "Less is needed with --sw_batch_size 1 or a smaller --roi_size"
FORMATS = ("nifti", "dicom_seg")
WAY_OUT = "Make room or give another --output_dir"


class CaseByCase:
    """Segment the cases of a dataset one by one to ``<name>_seg.nii.gz``.

    ``<name>_seg.json`` beside it has the organs' names and what the segmentation was made with: settings, and hashes of
    image, network and weights. A later run skips a case that was made with the same. The segmentation of another image
    is never overwritten.

    Args:
        evaluator: MONAI evaluator whose postprocessing writes the segmentations, named by their meta data.
        dataset: its dataset, with ``data`` (dicts with "image") and ``transform``.
        output_dir: folder that the evaluator writes to.
        class_names: names by value, background first.
        weights: file that the evaluator loads into its network; empty where the network has its own.
        settings: everything else that decides the result, as JSON values.
        other_modalities: as in :py:class:`scdl_components.data.InputCheck`.
        output_format: ``nifti``, or ``dicom_seg`` for a further ``<name>_seg.dcm`` of each DICOM series.
        snomed_ct: as in :py:func:`scdl_components.data.dicom_seg.write_dicom_seg`.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        dataset: Dataset,
        output_dir: str,
        class_names: Sequence[str],
        weights: str,
        settings: Mapping[str, object],
        other_modalities: Mapping[str, str] | None = None,
        output_format: str = "nifti",
        snomed_ct: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.evaluator = evaluator
        self.network = evaluator.network
        self.dataset = dataset
        self.output_dir = Path(output_dir)
        self.class_names = list(class_names)
        self.weights = weights
        self.settings = dict(settings)
        self.output_format = output_format
        self.snomed_ct = snomed_ct or {}
        self.other_modalities = other_modalities
        self.failures: dict[str, str] = {}

    def run(self) -> None:
        """Segment what is not done, and keep failures in ``failures`` (image -> reason).

        Raises:
            InputError: two images would have results of one name.
            StorageError: ``output_dir`` cannot be written to.
            WeightsError: the weights are missing or of another network.
            SettingError: no case can be done with a setting.
        """
        self.failures.clear()
        if self.output_format not in FORMATS:
            raise SettingError(f"output_format is '{self.output_format}'; expected {' or '.join(FORMATS)}")
        if self.output_format == "dicom_seg":
            check_highdicom()
        if "::" in str(self.output_dir):  # of the config's text; what is computed in it stays as it is
            logger.warning("results go to '%s': MONAI's config language writes # as ::", self.output_dir)
        check_writable([self.output_dir], WAY_OUT)
        segmentations = find_results(self.output_dir, [item["image"] for item in self.dataset.data])
        made_with = {
            "weights": file_hash(self.weights) if Path(self.weights).is_file() else "",
            "network": network_hash(self.network, with_state=not self.weights),
            "settings": json.loads(json.dumps(self.settings)),
        }
        skipped = 0
        for item in tqdm(self.dataset.data, desc="segmenting", unit="case"):
            image = item["image"]
            try:
                skipped += not self._segment(item, segmentations[image], {"image": path_hash(image), **made_with})
            except (WeightsError, SettingError):
                raise
            # whatever goes wrong with one case, the others go on
            except Exception as error:
                self.failures[image] = root_reason(error)
                logger.error("%s failed: %s", image, self.failures[image], exc_info=user_error(error) is None)
        failed = len(self.failures)
        segmented = len(self.dataset.data) - skipped - failed
        logger.info("%d segmented, %d done before, %d failed", segmented, skipped, failed)

    def raise_failures(self) -> None:
        """Raise an error that lists the failed cases, if there are any.

        Raises:
            UserError: there are.
        """
        if self.failures:
            lines = "\n".join(f"- {image}: {reason}" for image, reason in self.failures.items())
            raise UserError(
                f"{len(self.failures)} of {len(self.dataset.data)} cases failed, the others are in {self.output_dir}; "
                f"run the same command again when these are mended:\n{lines}"
            )

    def _segment(self, item: Mapping[str, str], segmentation: Path, made_with: Mapping[str, object]) -> bool:
        """Segment a case and return True; return False where it is done."""
        image, made = item["image"], read_sidecar(segmentation)
        if segmentation.is_file() and made.get("made_with") == made_with:
            return self._add_dicom_seg(segmentation, image)
        there = [file for file in (segmentation, sidecar_of(segmentation), dicom_seg_of(segmentation)) if file.exists()]
        if there and made.get("image") != image and made.get("made_with", {}).get("image") != made_with["image"]:
            owner = f"the result of {made['image']}" if "image" in made else "there already, not of this inference"
            raise InputError(
                f"'{there[0]}' is {owner}, and is not overwritten; give another --output_dir, or all images in one "
                "--dataset_dir: results of one name are then called by their folders, too"
            )
        # an image that is damaged, or announces more than there is memory for, is refused before it is loaded
        InputCheck(
            organs=(),
            unlabeled=[{"image": image}],
            other_modalities=self.other_modalities,
            intensity_range=self.settings.get("intensity_range"),
        ).run()
        written = self._run_one(item, segmentation)
        # now it says whose the file is, but not that it is done: the process may end between any two lines
        self._write_facts(segmentation, image)
        os.replace(written, segmentation)
        dicom_seg_of(segmentation).unlink(missing_ok=True)  # of the segmentation before
        self._add_dicom_seg(segmentation, image)
        self._write_facts(segmentation, image, made_with)
        return True

    def _add_dicom_seg(self, segmentation: Path, image: str) -> bool:
        """Write a missing DICOM SEG where one is wanted, and return whether it was."""
        path = dicom_seg_of(segmentation)
        missing = self.output_format == "dicom_seg" and Path(image).is_dir() and not path.is_file()
        if missing:
            write_dicom_seg(segmentation, image, self.class_names, self.snomed_ct, path)
        return missing

    def _run_one(self, item: Mapping[str, str], segmentation: Path) -> Path:
        """Let the evaluator write a segmentation to a hidden file; return its path."""

        def renamed(data: Mapping) -> Mapping:
            data["image"].meta["filename_or_obj"] = f".{name_of(segmentation)}.nii.gz"
            return data

        transform = Compose([self.dataset.transform, renamed])
        # loaded in this process, and each case by a loader of its own: one that fails must not end the others' loader
        self.evaluator.data_loader = DataLoader(Dataset([item], transform), batch_size=1, num_workers=0)
        self.evaluator.state.epoch_length = 1
        self.evaluator._internal_run_generator = None  # after a failed case ignite would go on with that one's run
        with memory_shortages(LESS_MEMORY):
            self.evaluator.run()
        return segmentation.with_name(f".{segmentation.name}")

    def _write_facts(self, segmentation: Path, image: str, made_with: Mapping[str, object] | None = None) -> None:
        content = {
            "segmentation": segmentation.name,
            "image": image,
            "labels": {str(value): name for value, name in enumerate(self.class_names)},
            **({"made_with": made_with} if made_with else {}),
        }
        with whole_file(sidecar_of(segmentation), WAY_OUT) as file:
            # a path that is no UTF-8 is written with JSON's escapes
            file.write((json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode(errors="backslashreplace"))
