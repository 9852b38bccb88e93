import os

from posebridge.data.datasets.found_files import find_files


def found(folder):
    """Names below the folder, and reasons by name."""
    listed = find_files(folder, frozenset({".png"}))
    names = [file.relative_to(folder).as_posix() for file in listed.files]
    return names, {name.removeprefix(f"{folder}/"): reason for name, reason in listed.skipped.items()}


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_natural_order_folder_by_folder(tmp_path):
    touch(*(tmp_path / f"{name}.png" for name in ("day10/1", "day2/10", "day2/9", "frame1", "frame01", "Z")))
    assert found(tmp_path)[0] == ["Z.png", "day2/9.png", "day2/10.png", "day10/1.png", "frame01.png", "frame1.png"]


def test_links_are_followed_once_and_loops_end(tmp_path):
    root = tmp_path / "root"
    touch(root / "b" / "0.png", tmp_path / "elsewhere" / "1.PNG")
    (root / "a").symlink_to("b")  # the folder keeps its own name
    (root / "c").symlink_to("../elsewhere")
    (root / "b" / "up").symlink_to("..")
    (root / "b" / "all").symlink_to("/")
    (root / "b" / "self").symlink_to("self")
    names, skipped = found(root)
    assert names == ["b/0.png", "c/1.PNG"]
    assert skipped == {
        **dict.fromkeys(["a", "b/all", "b/up"], "a link to a folder that is read under another name"),
        "b/self": "a link to nothing",
    }


def test_everything_else_is_listed(tmp_path):
    touch(*(tmp_path / name for name in ("IMG_1.HEIC", "notes.txt", "README", ".DS_Store", ".thumbs/0.png")))
    (tmp_path / "gone.png").symlink_to("/gone.png")
    os.mkfifo(tmp_path / "pipe.png")
    names, skipped = found(tmp_path)
    assert names == []
    assert list(skipped) == ["IMG_1.HEIC", "README", "gone.png", "notes.txt", "pipe.png"]
    assert skipped["IMG_1.HEIC"] == ".HEIC is not read; convert it to .jpg or .png"
    assert skipped["gone.png"] == "a link to nothing"
    assert skipped["pipe.png"] == "not a regular file"
    assert skipped["notes.txt"].startswith("not used")
