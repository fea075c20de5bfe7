# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Facts about a volume file, read to its end in bounded memory."""

import gzip
import hashlib
import io
import math
import os
import stat
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

import nibabel as nib
import numpy as np
import torch
from monai.utils import convert_to_tensor

from ..errors import UnreadableError
from .dicom import MAX_VOXELS, read_series
from .disk_cache import DiskCache

CHUNK_BYTES = 4 * 2**20
MAX_DEFLATE_RATIO = 1032  # zlib's documentation: no deflate stream expands further
GZIP_MAGIC = b"\x1f\x8b"
MAX_HEADER_BYTES = 2**26  # with extensions, which nibabel reads whole
# the histogram's range, wider than CT in HU; the outermost bins count what lies outside
LOWEST, HIGHEST = -(2**15), 2**15 - 1


@dataclass(frozen=True)
class VolumeFacts:
    """Facts about a volume file.

    Attributes:
        path: the file, or the folder of a DICOM series.
        failure: why it could not be read, and what to do; if not empty, all that follows is meaningless.
        shape: spatial shape; a fourth axis of length one is dropped.
        affine: voxel to world (RAS, mm), 4×4.
        oriented: the header says how voxels lie in the patient (NIfTI: sform or qform code set).
        other_affine: a second affine of the header that programs may use (NIfTI: the qform beside an sform, where its
            code is set, or where the voxel sizes are not those of the sform, which MONAI then drops).
        minimum: of the finite voxels.
        maximum: of the finite voxels.
        num_non_finite: voxels that are NaN or infinite.
        num_fractional: finite voxels that are no integers.
        values: distinct integers the finite voxels round to, ascending, limited to int16.
        counts: voxels of each of ``values``.
    """

    path: str
    failure: str = ""
    shape: tuple[int, ...] = ()
    affine: np.ndarray = field(default_factory=lambda: np.eye(4))
    oriented: bool = True
    other_affine: np.ndarray | None = None
    minimum: float = math.nan
    maximum: float = math.nan
    num_non_finite: int = 0
    num_fractional: int = 0
    values: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, int))

    @property
    def spacing(self) -> np.ndarray:
        """Voxel size along each axis, in mm."""
        return nib.affines.voxel_sizes(self.affine)

    @property
    def fingerprint(self) -> str:
        """Digest of histogram and sorted shape, whatever the orientation and type."""
        content = (*sorted(self.shape), *self.values.tolist(), *self.counts.tolist())
        return hashlib.blake2b(repr(content).encode(), digest_size=16).hexdigest()

    def organ_voxels(self, organs: Sequence[str]) -> dict[str, int]:
        """Count the voxels of each organ; ``organs[i]`` has the value i + 1."""
        found = dict(zip(self.values.tolist(), self.counts.tolist(), strict=True))
        return {organ: found.get(value, 0) for value, organ in enumerate(organs, start=1)}


def read_facts(path: str, kept: DiskCache | None = None) -> VolumeFacts:
    """Read a NIfTI file, or a DICOM series folder, to its end.

    Args:
        path: the file or folder.
        kept: cache of facts by the content of the file; failures are not kept.

    Returns:
        The facts; a file that cannot be read, or is no volume, has its ``failure`` set.
    """

    def read() -> dict:
        facts = (_read_dicom if os.path.isdir(path) else _read_nifti)(path)
        return convert_to_tensor(facts, convert_numeric=False)  # loaded without running code

    try:
        facts = kept.get({"path": path}, read) if kept else read()
        arrays = {key: value.numpy() for key, value in facts.items() if isinstance(value, torch.Tensor)}
        return VolumeFacts(path, **facts | arrays)
    except UnreadableError as error:
        failure = str(error)
    except FileNotFoundError:
        failure = "does not exist; correct the path in the case list"
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        failure = f"is truncated or damaged ({error}); copy it again from its source"
    except OSError as error:
        failure = f"cannot be read: {error.strerror or error}; check the file and its permissions"
    except (nib.spatialimages.HeaderDataError, ValueError, OverflowError, KeyError) as error:
        failure = f"has a damaged header ({error}); convert it again from its source"
    return VolumeFacts(path, failure=failure)


def summarize(chunks: Iterable[np.ndarray]) -> dict:
    """Compute the numeric fields of :class:`VolumeFacts` from one-dimensional pieces."""
    histogram = np.zeros(HIGHEST - LOWEST + 1, dtype=np.int64)
    minimum, maximum, num_non_finite, num_fractional = math.inf, -math.inf, 0, 0
    for chunk in chunks:
        if chunk.dtype.kind == "f":
            finite = np.isfinite(chunk)
            if not finite.all():
                num_non_finite += chunk.size - int(finite.sum())
                chunk = chunk[finite]
            integers = np.rint(chunk)
            num_fractional += int(np.count_nonzero(integers != chunk))
        else:
            integers = chunk.astype(np.int32 if chunk.dtype.itemsize <= 2 else np.int64)
        if chunk.size:
            minimum, maximum = min(minimum, float(chunk.min())), max(maximum, float(chunk.max()))
            bins = np.clip(integers, LOWEST, HIGHEST).astype(np.int32) - LOWEST
            histogram += np.bincount(bins, minlength=histogram.size)
    occupied = np.flatnonzero(histogram)
    return {
        "minimum": minimum if occupied.size else math.nan,
        "maximum": maximum if occupied.size else math.nan,
        "num_non_finite": num_non_finite,
        "num_fractional": num_fractional,
        "values": occupied + LOWEST,
        "counts": histogram[occupied],
    }


def _read_nifti(path: str) -> dict:
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        raise UnreadableError("is no regular file (a pipe, socket or device); give the image's file")
    if status.st_size == 0:
        raise UnreadableError("is empty; copy it again from its source")
    with open(path, "rb") as file:
        compressed = file.read(2) == GZIP_MAGIC
    if compressed != path.lower().endswith(".gz"):
        kind = "is" if compressed else "is not"
        raise UnreadableError(
            f"{kind} gzip-compressed, against its name; rename it, or copy it again if it was cut off"
        )
    with gzip.open(path) if compressed else open(path, "rb") as stream:
        header, shape = _read_header(stream)
        dtype, offset = header.get_data_dtype(), int(header.get_data_offset())
        num_bytes = math.prod(shape) * dtype.itemsize
        if math.prod(shape) > MAX_VOXELS:
            raise UnreadableError(
                f"its header announces {'x'.join(map(str, shape))} voxels in a file of {status.st_size} bytes; at "
                f"most {MAX_VOXELS} voxels are read: copy the file again, or crop the volume"
            )
        if offset + num_bytes > status.st_size * (MAX_DEFLATE_RATIO if compressed else 1):
            raise UnreadableError(
                f"is cut off: its header announces {offset + num_bytes} bytes, the file has {status.st_size}; copy it "
                "again"
            )
        stream.seek(0)
        # as nibabel loads it: checked and mended (a qfac of 0 becomes 1), extensions read
        header = type(header).from_fileobj(io.BytesIO(stream.read(offset)))
        slope, intercept = header.get_slope_inter()
        raw = (np.frombuffer(chunk, dtype) for chunk in _chunks(stream, num_bytes))
        scaled = (slope, intercept) not in ((None, None), (1.0, 0.0))
        statistics = summarize((chunk * slope + intercept for chunk in raw) if scaled else raw)
    return {
        "shape": shape[:3],
        "affine": np.asarray(header.get_best_affine(), dtype=float),
        "oriented": bool(header["sform_code"] > 0 or header["qform_code"] > 0),
        "other_affine": _other_affine(header),
        **statistics,
    }


def _other_affine(header: nib.Nifti1Header) -> np.ndarray | None:
    """Read the qform beside an sform, where somebody uses it."""
    if header["sform_code"] <= 0:
        return None
    sizes_agree = np.allclose(nib.affines.voxel_sizes(header.get_sform()), header.get_zooms()[:3])  # as MONAI asks
    if header["qform_code"] <= 0 and sizes_agree:
        return None
    try:
        return np.asarray(header.get_qform(), dtype=float)
    except nib.spatialimages.HeaderDataError:
        if sizes_agree:  # rounded quaternions are common, and nobody uses this one
            return None
        raise


def _read_header(stream: BinaryIO) -> tuple[nib.Nifti1Header, tuple[int, ...]]:
    """Read the header, as it stands in the file, and the shape of a volume."""
    block = stream.read(540)
    header_class = next((c for c in (nib.Nifti1Header, nib.Nifti2Header) if c.may_contain_header(block)), None)
    header = header_class(block[: header_class.sizeof_hdr], check=False) if header_class else None
    if header is None or bytes(header["magic"])[:3] not in (b"n+1", b"n+2"):
        raise UnreadableError("is not a single-file NIfTI (.nii, .nii.gz); convert it, for example with dcm2niix")
    dtype, offset = header.get_data_dtype(), int(header.get_data_offset())
    shape = tuple(int(length) for length in header.get_data_shape())
    if dtype.kind not in "iuf":
        kind = "RGB" if dtype.names else str(dtype)
        raise UnreadableError(f"has {kind} voxels; expected one real number a voxel, in HU or as a label")
    if len(shape) < 3 or min(shape) < 1:
        raise UnreadableError(f"has shape {shape}; expected a volume of three axes")
    if len(shape) > 4 or shape[3:] not in ((), (1,)):
        raise UnreadableError(f"is {len(shape)}-D, shape {shape}; expected one volume: split it and list one part")
    if not header.single_vox_offset <= offset <= MAX_HEADER_BYTES:
        raise UnreadableError(
            f"says that its voxels begin at byte {offset:g} (vox_offset); expected {header.single_vox_offset} or some "
            "more, behind the header: convert it again from its source"
        )
    if (header["pixdim"][1:4] == 0).any():  # which nibabel takes as 1 mm
        raise UnreadableError("has a voxel size of 0 in its header (pixdim); write the right ones (nibabel: set_zooms)")
    return header, shape


def _chunks(stream: BinaryIO, num_bytes: int) -> Iterator[bytes]:
    """Read ``num_bytes`` in pieces, then the rest, so that gzip compares its checksum."""
    left = num_bytes
    while left:
        chunk = stream.read(min(CHUNK_BYTES, left))
        if not chunk or (len(chunk) < CHUNK_BYTES and len(chunk) < left):
            raise EOFError(f"{left - len(chunk)} of {num_bytes} bytes of voxels are missing")
        left -= len(chunk)
        yield chunk
    if len(stream.read(CHUNK_BYTES)) == CHUNK_BYTES:
        raise UnreadableError("holds far more data than its header announces; convert it again from its source")


def _read_dicom(folder: str) -> dict:
    voxels, meta = read_series(folder)
    if voxels.ndim != 3:
        raise UnreadableError(f"has shape {voxels.shape}; expected three axes")
    pieces = np.array_split(voxels.reshape(-1), max(1, voxels.nbytes // CHUNK_BYTES))
    return {"shape": voxels.shape, "affine": np.asarray(meta["affine"], dtype=float), **summarize(pieces)}
