"""Reading a folder of files: what is refused, in words, before anything is sent."""

from pathlib import Path

import pytest

from ostiary.cli.failure import Failure
from ostiary.cli.files import loading


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "is an alias", id="aliases"),
        pytest.param("clients:\n- &a {x: 1}\n- {<<: *a}\n", "is an alias", id="merge"),
        pytest.param("a: " + "[" * 200_000, "not valid YAML", id="deep"),
        pytest.param("a: " + "[" * 500 + "]" * 500, "is nested too deep", id="closed"),
        pytest.param("a: !!python/object:os.system x\nb: [\n", "not valid YAML", id="tag"),
        pytest.param("[]", "must be an object", id="list"),
        pytest.param("\x00", "not valid YAML", id="nul"),
    ],
)
def test_files_that_would_grow_or_run_are_refused(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "x.yaml").write_text(content)
    with pytest.raises(Failure, match=said):
        loading.load(tmp_path)


@pytest.mark.parametrize("name", ["link.yaml", "link"])
def test_links_that_lead_out_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (outside / "x.yaml").write_text("format: 1\n")
    (folder / "y.yaml").write_text("format: 1\n")
    target = outside if name == "link" else outside / "x.yaml"
    (folder / name).symlink_to(target)
    with pytest.raises(Failure, match=f"{name} is a link"):
        loading.load(folder)


def test_links_within_the_folder_are_files_like_others(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("format: 1\n")
    (tmp_path / "y.yaml").symlink_to("x.yaml")
    assert loading.load(tmp_path).content == {"format": 1}


def test_large_files_and_folders_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with (tmp_path / f"{name}.yaml").open("wb") as file:
            file.truncate(40 * 1024**2)
    with pytest.raises(Failure, match="more than 64 MB"):
        loading.load(tmp_path)
    (tmp_path / "b.yaml").unlink()
    with pytest.raises(Failure, match=r"a\.yaml is larger than 32 MB"):
        loading.load(tmp_path)
