"""Data sets: what is embedded, what is read, and what is refused."""

from __future__ import annotations

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
from openopu.train import data


def write_idx(path: Path, array: np.ndarray, *, magic: int | None = None, cut: int = 0, extra: bytes = b"") -> None:
    content = struct.pack(f">I{array.ndim}I", 0x0800 | array.ndim if magic is None else magic, *array.shape)
    content += array.astype(np.uint8).tobytes()
    content = content[: len(content) - cut] + extra
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(5)
    for split, count in (("train", 20), ("t10k", 7)):
        write_idx(tmp_path / f"{split}-images-idx3-ubyte.gz", rng.integers(0, 256, (count, 4, 3)))
        write_idx(tmp_path / f"{split}-labels-idx1-ubyte", np.arange(count) % 3)
    return tmp_path


def test_digits_are_those_of_scikit_learn() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    reference = datasets.load_digits()
    with np.load(data.DIGITS_FILE, allow_pickle=False) as file:
        assert np.array_equal(file["images"], reference.images)
        assert np.array_equal(file["labels"], reference.target)


def test_digits_split_is_fixed_and_whole() -> None:
    digits = data.load("digits")
    assert digits.train_images.shape == (1437, 64)
    assert digits.test_images.shape == (360, 64)
    assert digits.classes == 10
    # The split is part of the data set: results are comparable only while this hash stands.
    assert digits.sha256().startswith("d6e76d27d778c416")
    counts = np.bincount(np.concatenate([digits.train_labels, digits.test_labels]))
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_statistics_are_those_of_the_pixels() -> None:
    digits = data.load("digits")
    mean, deviation = digits.statistics()
    assert mean == pytest.approx(digits.train_images.mean(), rel=1e-12)
    assert deviation == pytest.approx(digits.train_images.std(), rel=1e-9)


def test_idx_folder_plain_and_compressed(folder: Path) -> None:
    loaded = data.load(str(folder))
    assert loaded.train_images.shape == (20, 12)
    assert loaded.test_images.shape == (7, 12)
    assert loaded.image_shape == (4, 3)
    assert loaded.classes == 3
    assert loaded.test_labels.tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_head_takes_the_first_images(folder: Path) -> None:
    loaded = data.load(str(folder))
    assert np.array_equal(loaded.head(5, 2).train_images, loaded.train_images[:5])
    with pytest.raises(data.DataError, match="from 1 to 20 of them, not 21"):
        loaded.head(train=21)


def test_missing_file(folder: Path) -> None:
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(data.DataError, match="neither t10k-labels-idx1-ubyte nor"):
        data.load(str(folder))


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(data.DataError, match="take digits, fashion-mnist or a folder"):
        data.load(str(tmp_path / "none"))


def test_truncated_gzip(folder: Path) -> None:
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(data.DataError, match="damaged or cut short"):
        data.load(str(folder))


def test_not_gzip(folder: Path) -> None:
    (folder / "train-images-idx3-ubyte.gz").write_bytes(b"<html>not found</html>")
    with pytest.raises(data.DataError, match="damaged or cut short"):
        data.load(str(folder))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cut": 1}, "is cut short"),
        ({"extra": b"x"}, "is too long"),
        ({"magic": 0x0803}, "begins with 0x00000803, an IDX file of labels with 0x00000801"),
    ],
)
def test_damaged_labels(folder: Path, options: dict, message: str) -> None:
    write_idx(folder / "train-labels-idx1-ubyte", np.arange(20) % 3, **options)
    with pytest.raises(data.DataError, match=message):
        data.load(str(folder))


def test_file_shorter_than_its_header(folder: Path) -> None:
    (folder / "train-labels-idx1-ubyte").write_bytes(b"\0\0")
    with pytest.raises(data.DataError, match="fewer than the header"):
        data.load(str(folder))


def test_counts_that_do_not_match(folder: Path) -> None:
    write_idx(folder / "train-labels-idx1-ubyte", np.zeros(19))
    with pytest.raises(data.DataError, match=r"has 20 images, but .* has 19 labels"):
        data.load(str(folder))


def test_image_sizes_that_do_not_match(folder: Path) -> None:
    write_idx(folder / "t10k-images-idx3-ubyte.gz", np.zeros((7, 5, 3)))
    with pytest.raises(data.DataError, match="do not belong together"):
        data.load(str(folder))


def test_one_class_is_nothing_to_learn(folder: Path) -> None:
    write_idx(folder / "train-labels-idx1-ubyte", np.zeros(20))
    write_idx(folder / "t10k-labels-idx1-ubyte", np.zeros(7))
    with pytest.raises(data.DataError, match="all labels are 0"):
        data.load(str(folder))


def test_download_checks_what_it_gets(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "server"
    source.mkdir()
    checksums = {}
    for stem in data.IDX_FILES.values():
        content = (folder / stem if (folder / stem).exists() else folder / f"{stem}.gz").read_bytes()
        content = content if content[:2] == b"\x1f\x8b" else gzip.compress(content)
        (source / f"{stem}.gz").write_bytes(content)
        checksums[f"{stem}.gz"] = hashlib.md5(content, usedforsecurity=False).hexdigest()
    monkeypatch.setattr(data, "FASHION_MNIST_MD5", checksums)
    cache = tmp_path / "cache"
    data.download_fashion_mnist(cache, source.as_uri() + "/")
    assert len(data.load_fashion_mnist(cache=cache, system=tmp_path / "none").train_images) == 20

    name = "t10k-labels-idx1-ubyte.gz"
    (cache / name).unlink()
    (source / name).write_bytes(b"another file")
    with pytest.raises(data.DataError, match="MD5 differs"):
        data.download_fashion_mnist(cache, source.as_uri() + "/")
    assert not (cache / name).exists()
    (source / name).unlink()
    with pytest.raises(data.DataError, match=r"cannot be fetched.*take --data digits"):
        data.download_fashion_mnist(cache, source.as_uri() + "/")


@pytest.mark.skipif(not data.FASHION_MNIST_SYSTEM.is_dir(), reason="the package dataset-fashion-mnist is not installed")
def test_fashion_mnist_of_the_system() -> None:
    fashion = data.load("fashion-mnist")
    assert fashion.train_images.shape == (60000, 784)
    assert fashion.test_images.shape == (10000, 784)
    assert np.bincount(fashion.train_labels).tolist() == [6000] * 10
