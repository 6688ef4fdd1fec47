"""Folders as kohya's trainers have them: `40_sks dog/`, and captions in text files."""

import pytest
from PIL import Image

from sdlearn.data import LazyFolder, read_pictures


def put(folder, *names, captions=()):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (40, 40)).save(folder / name)
    for name, text in dict(captions).items():
        (folder / name).write_text(text, encoding="utf-8-sig")


def test_captions_are_read_from_text_files_which_is_said(tmp_path):
    captions = {"a.txt": "a sks dog, sitting\nsecond line", "b.caption": "a sks dog"}
    put(tmp_path, "a.png", "b.jpg", "c.png", captions=captions)
    with pytest.warns(UserWarning, match=r"read from text files .*a\.txt; a picture without one"):
        pictures = read_pictures(tmp_path)
    assert [picture.text for picture in pictures] == ["a sks dog, sitting", "a sks dog", ""]


def test_a_folders_name_says_what_is_seen_and_how_often(tmp_path):
    put(tmp_path / "40_sks dog", "a.png", "b.png", captions={"b.txt": "a sks dog"})
    put(tmp_path / "20_a dog", "c.png")
    with pytest.warns(UserWarning, match="as kohya's trainers do: 20_a dog, 40_sks dog"):
        listed = LazyFolder(tmp_path)
    seen = [(picture.path.name, picture.text) for picture in listed]
    assert seen == [("c.png", "a dog"), *[("a.png", "sks dog"), ("b.png", "a sks dog")] * 2]
    alone = read_pictures(tmp_path / "40_sks dog")
    assert [picture.text for picture in alone] == ["sks dog", "a sks dog"]


def test_metadata_goes_before_text_files(tmp_path):
    put(tmp_path, "a.png", captions={"a.txt": "no"})
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "yes"}')
    assert read_pictures(tmp_path)[0].text == "yes"


def test_a_text_file_that_is_no_caption_is_named(tmp_path):
    put(tmp_path, "a.png")
    (tmp_path / "a.txt").write_bytes("犬".encode("shift-jis"))
    with pytest.raises(ValueError, match=r"a\.txt is not UTF-8 text"):
        read_pictures(tmp_path)
    (tmp_path / "a.txt").write_text("a" * 10_000_000)
    with pytest.raises(ValueError, match="has 10000000 characters, and no prompt is read beyond"):
        read_pictures(tmp_path)
