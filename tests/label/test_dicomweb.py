# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Studies behind a DICOMweb server: Orthanc with its plugin, MONAI Label in front of it.

Needs Debian's packages orthanc and orthanc-dicomweb, and itkimage2segimage, with which MONAI Label writes DICOM SEG and
which is in the Python package dcmqi; both on the PATH.
"""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from support.dicom import STUDY, write_series
from support.label_server import LabelServer, copy_app, install_bundle, label_python

from scdl_components.phantom import write_phantoms

pytestmark = pytest.mark.slow
PLUGIN = "share/orthanc/plugins/libOrthancDicomWeb.so"  # beside Debian's sbin


def ask(url: str, body: bytes | None = None) -> bytes:
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, body, timeout=60).read()


@pytest.fixture
def orthanc(tmp_path) -> Iterator[str]:
    """Address of an empty Orthanc."""
    program = shutil.which("Orthanc", path=os.environ["PATH"] + ":/usr/sbin")
    if program is None or shutil.which("itkimage2segimage") is None:
        pytest.skip(
            "needs orthanc and orthanc-dicomweb of Debian, and itkimage2segimage of the package dcmqi, on the PATH"
        )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    storage, plugin = str(tmp_path / "orthanc"), str(Path(program).parents[1] / PLUGIN)
    settings = {"HttpPort": port, "StorageDirectory": storage, "IndexDirectory": storage, "Plugins": [plugin]}
    settings |= {"DicomServerEnabled": False, "RemoteAccessAllowed": False, "AuthenticationEnabled": False}
    (tmp_path / "orthanc.json").write_text(json.dumps(settings))
    with open(tmp_path / "orthanc.log", "wb") as log:
        process = subprocess.Popen([program, tmp_path / "orthanc.json"], stdout=log, stderr=subprocess.STDOUT)
    url, end = f"http://127.0.0.1:{port}", time.monotonic() + 60
    while True:
        try:
            ask(f"{url}/dicom-web/studies")
            break
        except OSError:
            assert process.poll() is None and time.monotonic() < end, (tmp_path / "orthanc.log").read_text()
            time.sleep(0.2)
    yield url
    process.kill()
    process.wait(timeout=30)


def test_studies_behind_dicomweb(orthanc, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))  # MONAI Label keeps what it has downloaded there
    phantoms = Path(write_phantoms(tmp_path / "phantoms", 5, 0, 0, 0, seed=7, spacing=(8.0, 8.0, 8.0)))
    for number in range(1, 6):
        image = nib.load(phantoms / "img" / f"img{number:04d}.nii.gz")
        tags = {**STUDY, "PatientID": str(number), "StudyInstanceUID": f"1.2.3.{number}"}
        tags |= {"FrameOfReferenceUID": f"1.2.4.{number}", "Modality": "MR" if number == 5 else "CT"}
        folder = tmp_path / f"series{number}"
        write_series(folder, np.asarray(image.dataobj), image.affine, f"1.2.5.{number}", **tags)
        for file in folder.iterdir():
            ask(f"{orthanc}/instances", file.read_bytes())
    python = label_python()
    app = copy_app(python, tmp_path)
    bundle = install_bundle(app)
    subprocess.run([python, "-m", "scdl_components", "untrained"], cwd=bundle, check=True, timeout=300)

    with LabelServer(python, app, f"{orthanc}/dicom-web") as server:
        assert server.json("GET", "/info/")["datastore"]["total"] == 4  # MONAI Label asks for CT
        assert server.ask("1.2.5.3")[0] == 422  # nor are there weights; it has the series now
        for _ in range(2):  # by its UID there is the MR, too; the second time it lies in MONAI Label's folder
            status, answer = server.ask("1.2.5.5")
            assert status == 422 and b"'1.2.5.5' is a DICOM series of modality MR, and CT is expected" in answer
        for number in (1, 2):
            server.save_label(f"1.2.5.{number}", phantoms / "label" / f"label{number:04d}.nii.gz")
        assert len(json.loads(ask(f"{orthanc}/dicom-web/series?Modality=SEG"))) == 2
        task = server.train(max_epochs=2)
        assert task["status"] == "DONE", task["details"]
        # two labeled and, of the series that nobody has labeled, the CT that was asked for
        cache = next((tmp_path / ".cache" / "monailabel" / "dicom").iterdir())
        assert {path.name for path in cache.glob("*.nii.gz")} == {f"1.2.5.{number}.nii.gz" for number in (1, 2, 3, 5)}
        assert "5/5" in server.log
        result = nib.load(server.infer("1.2.5.4", tmp_path / "result.nii.gz"))
        image = nib.load(phantoms / "img" / "img0004.nii.gz")
        assert result.shape == image.shape
        np.testing.assert_allclose(result.affine, image.affine, atol=1e-2)
