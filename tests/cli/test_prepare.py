"""``physode prepare``, and ``physode inspect`` of what it writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from physode.cli.commands.prepare import KINDS
from physode.cli.main import cli
from physode.datasets.images import KINDS as READ
from physode.datasets.images import Images, read_images, write_images


@pytest.fixture(autouse=True)
def _working_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def pets(tmp_path):
    """Three cats and two dogs to train on, one of each for the test, twelve files that are no images."""
    folder = tmp_path / "pets"
    for place, name in enumerate(
        ("train/cat/1", "train/cat/2", "train/cat/3", "train/dog/1", "train/dog/2", "test/cat/1", "test/dog/1")
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 7), (30 * place, 0, 99)).save(folder / f"{name}.png")
    for number in range(12):
        (folder / "train" / "dog" / f"broken{number:02d}.jpg").write_bytes(b"no image")
    return folder


def run(*arguments: object):
    return CliRunner().invoke(cli, list(map(str, arguments)))


def test_a_folder_becomes_a_file_with_the_same_images(pets):
    result = run("prepare", pets, "--size", 8)
    assert result.exit_code == 0, result.output
    assert [path.name for path in Path().iterdir()] == ["images.h5"]
    assert read_images("images.h5").digest() == read_images(pets, size=8).digest()


def test_the_tables_count_classes_and_name_the_first_files_that_were_left_out(pets):
    output = run("prepare", pets).output
    lines = [line.split() for line in output.splitlines()]
    for expected in (
        ["class", "name", "training", "test"],
        ["0", "cat", "3", "1"],
        ["1", "dog", "2", "1"],
        ["images", "7"],
        ["pixels", "32", "x", "32"],
        ["train/dog/broken09.jpg", "not", "an", "image"],
    ):
        assert expected in lines
    assert "12 files left out, the first 10" in output
    assert "broken10" not in output


def test_json_has_all_of_it(pets):
    found = json.loads(run("prepare", pets, "-o", "some.h5", "--json").output)
    assert (found["path"], found["images"], found["training"], found["test"]) == ("some.h5", 7, 5, 2)
    assert found["classes"][1] == {"class": 1, "name": "dog", "training": 2, "test": 1}
    assert len(found["skipped"]) == 12
    assert found["digest"] == read_images("some.h5").digest()


def test_the_square_about_the_centre_is_kept_on_request(tmp_path):
    x = np.zeros((4, 16, 16, 3), dtype=np.uint8)
    x[:, 4:12, 4:12] = 200
    np.savez(tmp_path / "a.npz", x_train=x, y_train=np.arange(4) % 2, label_names=["a", "b"])
    assert run("prepare", tmp_path / "a.npz", "--size", 8, "--centre", 0.5).exit_code == 0
    assert read_images("images.h5").x.min() == 200
    refused = run("prepare", tmp_path / "a.npz", "--force", "--conditional")
    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)


def test_npz_of_another_size_is_scaled_and_drawn_on_request(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", x_train=x, y_train=np.arange(6) % 3, label_names=["a", "b", "c"])
    result = run("prepare", tmp_path / "a.npz", "--kind", "npz", "--size", 8, "--figure", "sheet.png")
    assert result.exit_code == 0, result.output
    assert read_images("images.h5").x.shape == (6, 3, 8, 8)
    assert Path("sheet.png").read_bytes().startswith(b"\x89PNG")


def test_a_file_in_the_way_is_found_before_the_work_and_replaced_by_force(pets, monkeypatch):
    Path("images.h5").write_text("precious")
    with monkeypatch.context() as patch:
        patch.setattr("physode.datasets.images.read_images", lambda *_, **__: pytest.fail("read"))
        result = run("prepare", pets)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: images.h5 exists already")
    assert Path("images.h5").read_text() == "precious"
    assert run("prepare", pets, "--force").exit_code == 0
    assert len(read_images("images.h5")) == 7


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere"], 1, "nowhere does not exist"),
        (["."], 1, "holds no images"),
        ([".", "--kind", "cifar10"], 1, "lacks data_batch_1.bin"),
        ([".", "--kind", "painting"], 2, "'painting' is not one of"),
        ([".", "--size", "0"], 2, "0 is not in the range"),
        ([], 2, "Missing argument 'SOURCE'"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(arguments, code, message):
    result = run("prepare", *arguments)
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert list(Path().iterdir()) == []


def test_the_kinds_are_those_of_the_library():
    assert KINDS == READ


@pytest.fixture
def images():
    x = np.random.default_rng(0).integers(0, 256, (5, 3, 6, 8), dtype=np.uint8)
    test = np.array([False, False, False, False, True])
    found = Images(x, np.array([0, 1, 1, 0, 1]), ("cat", "dog"), test, {"name": "pets", "seed": 3})
    flux = np.array([1.0, np.nan, 3.0, 2.5, 2.0])
    write_images("pets.h5", found, params={"flux": (flux, "Jy", "light"), "gone": (np.full(5, np.nan), "", "nothing")})
    return found


def test_inspect_tells_classes_split_parameters_and_origin(images):
    result = run("inspect", "pets.h5")
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.output.splitlines()]
    for expected in (
        ["images", "5"],
        ["pixels", "8", "x", "6"],
        ["training", "4"],
        ["test", "1"],
        ["0", "cat", "2", "0"],
        ["1", "dog", "2", "1"],
        ["flux", "Jy", "number", "1", "3"],
        ["gone", "number", "-", "-"],
        ["seed", "3"],
    ):
        assert expected in lines


def test_inspect_s_json_is_the_library_s_summary(images):
    from physode.datasets import summarise_data

    found = json.loads(run("inspect", "pets.h5", "--json").output)
    assert found == summarise_data(["pets.h5"])
    assert found["digest"] == images.digest()
    assert found["params"]["flux"] == {"shape": [], "unit": "Jy", "min": 1.0, "max": 3.0}


def test_inspect_finds_parameters_that_do_not_go_with_the_images(images):
    import h5py

    with h5py.File("pets.h5", "r+") as file:
        file["params/extra"] = np.zeros(4)
    result = run("inspect", "pets.h5")
    assert result.exit_code == 1
    assert result.stderr == "Error: pets.h5: /params/extra must have one entry for each of the 5 images, it is (4,)\n"
