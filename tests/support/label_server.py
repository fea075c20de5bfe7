# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""MONAI Label as its users run it: the copied monaibundle app, a server of its own, requests over HTTP."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
import zipfile
from pathlib import Path

import yaml
from support.runner import TINY

ROOT = Path(__file__).parents[2]
START_SECONDS, REQUEST_SECONDS, TRAIN_SECONDS = 180, 300, 300
# what a training of seconds takes of the tiny scale; MONAI Label's users have no command line to give it on
SCALE = {key.removeprefix("--"): yaml.safe_load(value) for key, value in TINY.items()}


def label_python() -> Path:
    """The interpreter of MONAI Label's environment, which is built where it is missing."""
    venv = Path(os.environ.get("LABEL_VENV", ROOT / ".venv-label"))
    script = ROOT / "scripts" / "label_env.sh"
    subprocess.run([script], check=True, env={**os.environ, "LABEL_VENV": str(venv)}, timeout=1800)
    return venv / "bin" / "python"


def copy_app(python: Path, folder: Path) -> Path:
    """The monaibundle app, copied by MONAI Label's own command."""
    command = [python, "-m", "monailabel.main", "apps", "--download", "--name", "monaibundle", "--output", folder]
    subprocess.run(command, check=True, timeout=REQUEST_SECONDS, stdout=subprocess.DEVNULL, cwd=folder)
    return folder / "monaibundle"


def install_bundle(app: Path, name: str = "scdl_synapse", **overrides: object) -> Path:
    """The bundle out of its zip, in the app's model folder, with keys of its configs set to the tiny scale."""
    dist = app.parent / "dist"
    subprocess.run([sys.executable, ROOT / "scripts" / "package.py", "build", "--output", dist], check=True)
    with zipfile.ZipFile(next(dist.glob(f"{name}_v*.zip"))) as archive:
        archive.extractall(app / "model")
    bundle = app / "model" / name
    for config in ("train.yaml", "inference.yaml"):
        path = bundle / "configs" / config
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        content |= {key: value for key, value in {**SCALE, **overrides}.items() if key.split("#")[0] in content}
        path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return bundle


class LabelServer:
    """A server on 127.0.0.1 for the time of a ``with``.

    Args:
        python: interpreter of MONAI Label's environment.
        app: folder of the app.
        studies: folder of the images.
        python_path: folders whose modules go before the environment's.
    """

    def __init__(self, python: Path, app: Path, studies: Path, python_path: str = "") -> None:
        self.app = app
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.log_file = app / f"server_{port}.log"
        self.command = [python, "-m", "monailabel.main", "start_server", "--app", app, "--studies", studies]
        self.command += ["--host", "127.0.0.1", "--port", str(port), "--conf", "models", "scdl_synapse"]
        self.command += ["--conf", "zoo_source", "ngc", "--conf", "sam2", "false"]
        # a proxy that nobody is: whoever looks for a network fails at once, here as on a machine without one
        nobody = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
        home = {"MONAI_LABEL_SESSION_PATH": str(app / "sessions"), "MONAI_LABEL_DATASTORE_AUTO_RELOAD": "false"}
        path = {"PYTHONPATH": python_path, "OMP_NUM_THREADS": "1", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        self.env = {**os.environ, **nobody, **home, **path}

    def __enter__(self) -> "LabelServer":
        with open(self.log_file, "wb") as log:
            self.process = subprocess.Popen(
                list(map(str, self.command)),
                cwd=self.app,
                env=self.env,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait(self._answers, START_SECONDS, "the server did not start")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=30)

    @property
    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def request(self, method: str, path: str, body: bytes | None = None, content_type: str = "application/json"):
        """Status and body of an answer, whatever the status."""
        headers = {"Content-Type": content_type} if body is not None else {}
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=REQUEST_SECONDS) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def json(self, method: str, path: str, content: object = None) -> dict:
        status, body = self.request(method, path, None if content is None else json.dumps(content).encode())
        assert status == 200, (status, body, self.log[-4000:])
        return json.loads(body)

    def ask(self, image: str) -> tuple[int, bytes]:
        """Status and body of the answer to a request for a study's segmentation."""
        params = {"result_extension": ".nii.gz", "result_dtype": "uint16"}  # as 3D Slicer's plugin sends them
        form = urllib.parse.urlencode({"params": json.dumps(params)}).encode()
        path = f"/infer/scdl_synapse?image={urllib.parse.quote(image)}&output=image"
        return self.request("POST", path, form, "application/x-www-form-urlencoded")

    def infer(self, image: str, output: Path) -> Path:
        """Segmentation of a study by its id, saved as ``output``."""
        status, body = self.ask(image)
        assert status == 200, (status, body, self.log[-4000:])
        output.write_bytes(body)
        return output

    def save_label(self, image: str, label: Path) -> dict:
        """A final label for a study."""
        boundary = uuid.uuid4().hex
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="label"; filename="{label.name}"\r\n\r\n'
        body = head.encode() + label.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
        path = f"/datastore/label?image={urllib.parse.quote(image)}"
        status, answer = self.request("PUT", path, body, f"multipart/form-data; boundary={boundary}")
        assert status == 200, (status, answer)
        return json.loads(answer)

    def train(self, **params: object) -> dict:
        """The task of a training that has come to its end, with "status" and "details", the last lines it printed."""
        self.json("POST", "/train/scdl_synapse", {"max_epochs": 1, "device": "cpu", "learning_rate": 0.01, **params})
        self._wait(lambda: self._task()["status"] not in ("SUBMITTED", "RUNNING"), TRAIN_SECONDS, "training goes on")
        return self._task()

    def _task(self) -> dict:
        return self.json("GET", "/train/")

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log[-4000:]
        try:
            return self.request("GET", "/info/")[0] == 200
        except OSError:
            return False

    def _wait(self, done, seconds: float, otherwise: str) -> None:
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end, f"{otherwise} within {seconds} s:\n{self.log[-4000:]}"
            time.sleep(0.5)
