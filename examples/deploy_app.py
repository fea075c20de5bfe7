# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""A MONAI Deploy application: a DICOM series of a CT in, a DICOM SEG of its organs out (docs/deploy.md).

python deploy_app.py --input <series> --model <bundle>/models/model.ts --output <folder>
"""

from pathlib import Path

from highdicom.sr import CodedConcept
from monai.deploy import operators as ops
from monai.deploy.conditions import CountCondition
from monai.deploy.core import Application, Image, IOType
from monai.deploy.operators.dicom_seg_writer_operator import SegmentDescription
from monai.deploy.operators.monai_bundle_inference_operator import BundleConfigNames, IOMapping, get_bundle_config
from pydicom.sr.codedict import codes

RULES = '{"selections": [{"name": "CT", "conditions": {"Modality": "CT"}}]}'
SIDES = {"right": codes.SCT.Right, "left": codes.SCT.Left}


class OneSeries(ops.DICOMSeriesSelectorOperator):
    """The only CT series of the input."""

    def filter(self, rules, studies, *_):
        selected = super().filter(rules, studies, all_matched=True)
        found = [one.series.SeriesInstanceUID for study in selected for one in study.selected_series]
        if len(found) != 1:
            there = [
                f"{series.SeriesInstanceUID} ({series.Modality})"
                for study in studies
                for series in study.get_all_series()
            ]
            raise ValueError(f"the input has {len(found)} CT series, and one is expected; it holds {', '.join(there)}")
        return selected


class Organ(SegmentDescription):
    """A segment with its side, which DICOM codes apart from the organ."""

    def __init__(self, name: str, code: str, meaning: str, version: str) -> None:
        organ = codes.SCT.AnatomicalStructure, CodedConcept(code, "SCT", meaning)
        super().__init__(name, *organ, algorithm_name="SCDL for MONAI", algorithm_version=version)
        self.side = SIDES.get(name.split()[0])

    def to_segment_description(self, number: int):
        segment = super().to_segment_description(number)
        if self.side:
            (kind,) = segment.SegmentedPropertyTypeCodeSequence
            kind.SegmentedPropertyTypeModifierCodeSequence = [CodedConcept.from_code(self.side)]
        return segment


class Organs(Application):
    def compose(self) -> None:
        context = Application.init_app_context(self.argv)
        bundle = Path(context.model_path)
        if not (bundle / "models" / "model.pt" if bundle.is_dir() else bundle).is_file():
            raise SystemExit(f"no model at {bundle}: name a TorchScript file, or a bundle with weights, by --model")
        config = "deploy"
        if bundle.is_dir():  # with scdl_components inside it or installed
            config, context.models = "inference", None
        try:
            metadata = get_bundle_config(bundle, config)["_meta_"]
        except OSError as error:
            raise SystemExit(f"{bundle} is not exported with deploy.yaml (docs/deploy.md): {error}") from error
        names, known = (
            metadata["network_data_format"]["outputs"]["pred"]["channel_def"],
            metadata["dataset"]["snomed_ct"],
        )
        organs = [names[str(value)] for value in range(1, len(names))]
        described = [Organ(name, *known.get(name, ("91772007", "Organ")), metadata["version"]) for name in organs]
        ports = [[IOMapping(name, Image, IOType.IN_MEMORY)] for name in ("image", "pred")]

        files = ops.DICOMDataLoaderOperator(
            self, CountCondition(self, 1), input_folder=Path(context.input_path), name="files"
        )
        series = OneSeries(self, rules=RULES, name="series")
        volume = ops.DICOMSeriesToVolumeOperator(self, name="volume")
        network = ops.MonaiBundleInferenceOperator(
            self,
            app_context=context,
            input_mapping=ports[0],
            output_mapping=ports[1],
            bundle_path=bundle,
            bundle_config_names=BundleConfigNames(config_names=config),
            name="network",
        )
        segmentation = ops.DICOMSegmentationWriterOperator(
            self, segment_descriptions=described, output_folder=Path(context.output_path), name="segmentation"
        )
        self.add_flow(files, series, {("dicom_study_list", "dicom_study_list")})
        self.add_flow(series, volume, {("study_selected_series_list", "study_selected_series_list")})
        self.add_flow(volume, network, {("image", "image")})
        self.add_flow(network, segmentation, {("pred", "seg_image")})
        self.add_flow(series, segmentation, {("study_selected_series_list", "study_selected_series_list")})


if __name__ == "__main__":
    Organs().run()
