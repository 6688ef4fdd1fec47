"""A folder too large for memory: read picture by picture, the same as all at once."""

import json

import pytest
from PIL import Image

from sdlearn.data import Picture, read_pictures, write_pictures
from sdlearn.data.encoded import EncodedPicture, LazyFolder, upright_size


@pytest.fixture
def folder(pictures, tmp_path):
    write_pictures(tmp_path / "pictures", pictures)
    return tmp_path / "pictures"


def test_pictures_read_one_by_one_equal_those_read_at_once(folder):
    lazily, at_once = LazyFolder(folder), read_pictures(folder)
    assert len(lazily) == len(at_once) == 4
    for one, other in zip(lazily, at_once, strict=True):
        assert one.image.tobytes() == other.image.tobytes()
        assert (one.text, one.attributes, one.path) == (other.text, other.attributes, other.path)


def test_opening_a_folder_decodes_nothing_and_keeps_no_caption(folder, monkeypatch):
    monkeypatch.setattr(Image, "open", lambda *_: pytest.fail("decoded"))
    opened = LazyFolder(folder)
    assert "background" not in str(vars(opened))
    assert opened.encoded(1).text == "a person on a blue background"


def test_captions_may_be_missing_altogether_but_not_for_one_picture(folder):
    lines = (folder / "metadata.jsonl").read_text().splitlines()
    (folder / "metadata.jsonl").write_text("\ufeff" + "\n".join(["", *lines[::-1]]))
    assert LazyFolder(folder)[3].text == "a person on a grey background"
    (folder / "metadata.jsonl").write_text("\n".join(lines[1:]))
    with pytest.raises(ValueError, match=r"no line for 0000\.png"):
        LazyFolder(folder)
    (folder / "metadata.jsonl").write_text("\n".join([*lines, lines[0]]))
    with pytest.raises(ValueError, match=r"line 5: 0000\.png has a line already"):
        LazyFolder(folder)
    (folder / "metadata.jsonl").unlink()
    assert LazyFolder(folder)[0].text == ""


def test_a_broken_picture_is_named_when_it_is_read(folder):
    (folder / "0002.png").write_bytes((folder / "0002.png").read_bytes()[:500])
    opened = LazyFolder(folder)
    assert opened[1].image.size == (48, 48)
    with pytest.raises(ValueError, match=r"0002\.png cannot be read as a picture"):
        opened[2]
    (folder / "0002.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"0002\.png cannot be read as a picture"):
        opened.sizes()


def test_the_fingerprint_changes_with_pictures_and_captions(folder):
    before = LazyFolder(folder).fingerprint
    assert LazyFolder(folder).fingerprint == before
    lines = [json.loads(line) for line in (folder / "metadata.jsonl").open()]
    lines[0]["text"] += " with glasses"
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    other = LazyFolder(folder).fingerprint
    assert other != before
    (folder / "metadata.jsonl").unlink()
    (folder / "0003.png").rename(folder / "0004.png")
    assert LazyFolder(folder).fingerprint not in {before, other}


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_sizes_are_those_of_the_picture_once_upright(suffix, orientation, tmp_path):
    image = Image.new("RGB", (60, 40))
    exif = image.getexif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned{suffix}"
    image.save(path, exif=exif)
    height, width = upright_size(path)
    (read,) = read_pictures(tmp_path)
    assert (width, height) == read.image.size
    encoded = EncodedPicture(data=path.read_bytes(), path=path, text="turned")
    assert encoded.size() == (height, width)
    assert isinstance(encoded.decode(), Picture)
    assert encoded.decode().text == "turned"


def test_two_files_share_a_checksum_only_if_they_are_the_same(folder):
    opened = LazyFolder(folder)
    checksums = [opened.encoded(i).checksum() for i in (0, 1, 0)]
    assert checksums[0] == checksums[2] != checksums[1]
