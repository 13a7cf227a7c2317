"""Image sets: the embedded digits, Fashion-MNIST, and any folder of IDX files.

Images stay bytes in memory (47 MB for 60,000 of 28 x 28); a batch becomes float32 when it is used.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import urllib.error
import urllib.request
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openopu.errors import UsageError

DIGITS_FILE = Path(__file__).with_name("datasets") / "digits.npz"
DIGITS_TEST = 360
"""Images of the embedded digits that are kept for the test: a fifth of 1,797."""
DIGITS_SPLIT_SEED = 1797
"""Seed of the permutation that splits the embedded digits: the split is part of the data set."""

IDX_FILES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}
"""Names of an IDX folder's four files, each plain or with ``.gz``. Source: the MNIST data set, whose form this is."""
IDX_UNSIGNED_BYTE = 0x08
"""Code of the element type in an IDX file's magic number."""

FASHION_MNIST_SYSTEM = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package ``dataset-fashion-mnist`` puts it."""
FASHION_MNIST_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
"""The data set's own home (its README, https://github.com/zalandoresearch/fashion-mnist)."""
FASHION_MNIST_MD5 = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
"""Checksums that the data set's README publishes, of the compressed files at :data:`FASHION_MNIST_URL`."""
DOWNLOAD_TIMEOUT_S = 20.0


class DataError(UsageError):
    """Data that is missing or not what it should be; the message names the file and the next step."""


@dataclass(frozen=True)
class Dataset:
    """Images and labels, split for training and test."""

    name: str
    train_images: NDArray[np.uint8]
    """(train, height * width)."""
    train_labels: NDArray[np.uint8]
    """(train,)."""
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.uint8]
    image_shape: tuple[int, int]
    """Height and width in pixels."""
    classes: int
    source: str
    """Where it was read from."""

    @property
    def inputs(self) -> int:
        """Pixels of an image."""
        return int(self.train_images.shape[1])

    def statistics(self) -> tuple[float, float]:
        """Mean and standard deviation of all pixels of the training images, from exact integer sums."""
        counts: list[int] = np.bincount(self.train_images.reshape(-1), minlength=256).tolist()
        total = sum(counts)
        mean = sum(level * count for level, count in enumerate(counts)) / total
        square = sum(level * level * count for level, count in enumerate(counts)) / total
        return mean, math.sqrt(max(square - mean * mean, 0.0))

    def sha256(self) -> str:
        """Hash of all images and labels: what a run was trained on."""
        digest = hashlib.sha256()
        for part in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            digest.update(repr(part.shape).encode())
            digest.update(np.ascontiguousarray(part).data)
        return digest.hexdigest()

    def head(self, train: int | None = None, test: int | None = None) -> Dataset:
        """The first ``train`` and ``test`` images (all where None). Raises :class:`DataError` for a bad count."""
        for what, count, have in (("train", train, len(self.train_labels)), ("test", test, len(self.test_labels))):
            if count is not None and not 1 <= count <= have:
                raise DataError(f"{self.name} has {have} {what} images: take from 1 to {have} of them, not {count}")
        return Dataset(
            self.name, self.train_images[:train], self.train_labels[:train], self.test_images[:test],
            self.test_labels[:test], self.image_shape, self.classes, self.source,
        )  # fmt: skip


def load(name: str) -> Dataset:
    """The data set ``digits``, ``fashion-mnist``, or that of the IDX folder ``name``.

    Raises :class:`DataError` where it is missing or damaged.
    """
    if name == "digits":
        return load_digits()
    if name == "fashion-mnist":
        return load_fashion_mnist()
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise DataError(
            f"no data set and no folder is called {name!r}; take digits, fashion-mnist or a folder of IDX files"
        )
    return load_idx(folder, folder.name)


def load_digits() -> Dataset:
    """The embedded 8 x 8 digits in their fixed split (``datasets/README.md`` says where they come from)."""
    with np.load(DIGITS_FILE, allow_pickle=False) as file:
        images, labels = file["images"], file["labels"]
    # Sorted doubles rather than Generator.permutation, whose stream NumPy does not promise to keep.
    order = np.argsort(np.random.Generator(np.random.Philox(DIGITS_SPLIT_SEED)).random(len(labels)), kind="stable")
    test, train = order[:DIGITS_TEST], order[DIGITS_TEST:]
    flat = images.reshape(len(labels), -1)
    return Dataset(
        "digits", flat[train], labels[train], flat[test], labels[test], (8, 8), 10, "embedded (UCI, CC BY 4.0)"
    )


def load_fashion_mnist(*, cache: Path | None = None, system: Path = FASHION_MNIST_SYSTEM) -> Dataset:
    """Fashion-MNIST from the system's package, else from the cache, else downloaded into the cache.

    The cache is ``openopu/fashion-mnist`` below ``XDG_CACHE_HOME`` (default ``~/.cache``).
    Raises :class:`DataError` where none of the three has it.
    """
    if cache is None:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        cache = Path(base) / "openopu" / "fashion-mnist"
    for folder in (system, cache):
        if _whole(folder):
            return load_idx(folder, "fashion-mnist")
    download_fashion_mnist(cache)
    return load_idx(cache, "fashion-mnist")


def download_fashion_mnist(folder: Path, url: str = FASHION_MNIST_URL) -> None:
    """Fetch the four files into ``folder``, each checked before it takes its name. Raises :class:`DataError`."""
    advice = (
        "install it (Debian, Ubuntu: apt-get install dataset-fashion-mnist), give a folder of its four IDX files "
        "with --data DIR, or take --data digits"
    )
    for name, md5 in FASHION_MNIST_MD5.items():
        if (folder / name).is_file():
            continue
        try:
            with urllib.request.urlopen(url + name, timeout=DOWNLOAD_TIMEOUT_S) as reply:
                content: bytes = reply.read()
        except (urllib.error.URLError, OSError, TimeoutError) as error:
            raise DataError(
                f"Fashion-MNIST is not on this machine and {url}{name} cannot be fetched ({error}); {advice}"
            ) from error
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
            raise DataError(
                f"{url}{name} is not the file that the data set's authors published (MD5 differs); {advice}"
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            part = folder / f"{name}.part"
            part.write_bytes(content)
            part.replace(folder / name)
        except OSError as error:
            raise DataError(f"cannot keep {folder / name}: {error.strerror or error}; {advice}") from error


def load_idx(folder: Path, name: str) -> Dataset:
    """A data set from the four IDX files in ``folder``. Raises :class:`DataError`."""
    paths = {role: _find(folder, stem) for role, stem in IDX_FILES.items()}
    parts = {role: read_idx(path, 3 if role.endswith("images") else 1) for role, path in paths.items()}
    for split in ("train", "test"):
        images, labels = parts[f"{split}_images"], parts[f"{split}_labels"]
        if len(images) != len(labels):
            raise DataError(
                f"{paths[f'{split}_images']} has {len(images)} images, but {paths[f'{split}_labels']} has "
                f"{len(labels)} labels: the files do not belong together"
            )
        if images.size == 0:
            raise DataError(f"{paths[f'{split}_images']} holds no images")
    train, test = parts["train_images"], parts["test_images"]
    if train.shape[1:] != test.shape[1:]:
        raise DataError(
            f"{folder}: training images are {train.shape[1]} x {train.shape[2]} pixels, "
            f"test images {test.shape[1]} x {test.shape[2]}: the files do not belong together"
        )
    classes = 1 + int(max(parts["train_labels"].max(), parts["test_labels"].max()))
    if classes < 2:
        raise DataError(f"{folder}: all labels are 0, there is nothing to learn")
    return Dataset(
        name, train.reshape(len(train), -1), parts["train_labels"], test.reshape(len(test), -1),
        parts["test_labels"], (train.shape[1], train.shape[2]), classes, str(folder),
    )  # fmt: skip


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The unsigned bytes of an IDX file (gzip where its name ends in ``.gz``). Raises :class:`DataError`.

    Form: magic number 00 00 08 D with D dimensions, the D lengths as big-endian 32-bit words, the bytes.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            content = file.read()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is damaged or cut short ({error}); fetch it again") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    header = 4 * (1 + dimensions)
    if len(content) < header:
        raise DataError(f"{path} has {len(content)} bytes, fewer than the header of an IDX file; fetch it again")
    magic = int.from_bytes(content[:4], "big")
    expected = IDX_UNSIGNED_BYTE << 8 | dimensions
    if magic != expected:
        what = "images" if dimensions == 3 else "labels"
        raise DataError(
            f"{path} begins with {magic:#010x}, an IDX file of {what} with {expected:#010x}: not such a file"
        )
    shape = tuple(int.from_bytes(content[4 * i : 4 * i + 4], "big") for i in range(1, dimensions + 1))
    size = 1
    for length in shape:
        size *= length
    if len(content) - header != size:
        raise DataError(
            f"{path} announces {' x '.join(map(str, shape))} bytes and holds {len(content) - header}: "
            f"it is {'cut short' if len(content) - header < size else 'too long'}; fetch it again"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)


def _find(folder: Path, stem: str) -> Path:
    for path in (folder / stem, folder / f"{stem}.gz"):
        if path.is_file():
            return path
    raise DataError(
        f"{folder} has neither {stem} nor {stem}.gz; a data folder holds "
        + ", ".join(f"{s}[.gz]" for s in IDX_FILES.values())
    )


def _whole(folder: Path) -> bool:
    return all((folder / s).is_file() or (folder / f"{s}.gz").is_file() for s in IDX_FILES.values())
