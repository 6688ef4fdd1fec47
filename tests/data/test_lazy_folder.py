"""A folder too large for memory: read picture by picture, the same as all at once."""

import gc
import json
import weakref
from functools import partial

import pytest
from PIL import Image
from runs import same, weights

from sdlearn.data import Picture, read_pictures, write_pictures
from sdlearn.data.encoded import EncodedPicture, LazyFolder, upright_size
from sdlearn.finetune import DreamBooth, FitConfig, LoRA, TextualInversion, fit, run


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


@pytest.mark.parametrize(
    "method",
    [
        partial(LoRA, rank=2),
        partial(DreamBooth, class_prompt="{text}"),
        partial(TextualInversion, templates=("a picture of {} in {text}",)),
    ],
)
def test_methods_learn_the_same_from_a_folder_read_one_by_one(method, folder, tiny, tmp_path):
    """And hold none of its pictures, which of a phone take 36 MB each once decoded."""
    others = Watched(folder)
    found = {}
    for name, pictures in {"listed": read_pictures(folder), "lazily": Watched(folder)}.items():
        own = method(tiny)
        if isinstance(own, DreamBooth):
            own.own_class_pictures = others if name == "lazily" else read_pictures(folder)
        config = FitConfig(max_train_steps=2, train_batch_size=2, output_dir=tmp_path / name)
        losses = run(fit(own, pictures, config, validation_pictures=pictures))
        found[name] = losses, weights(own)
    assert found["listed"][0] == found["lazily"][0]
    assert same(found["listed"][1], found["lazily"][1])
    gc.collect()
    assert pictures.read
    assert not [reference for reference in pictures.read + others.read if reference() is not None]


class Watched(LazyFolder):
    """Remembers, weakly, what was read of it."""

    def __init__(self, folder):
        super().__init__(folder)
        self.read = []

    def encoded(self, index):
        picture = super().encoded(index)
        self.read.append(weakref.ref(picture))
        return picture


def test_all_pictures_of_a_folder_can_be_checked_at_once(folder):
    opened = LazyFolder(folder)
    assert opened.check() is opened
    (folder / "0002.png").write_bytes((folder / "0002.png").read_bytes()[:-500])
    with pytest.raises(ValueError, match=r"0002\.png cannot be read as a picture"):
        opened.check()


def test_a_caption_of_the_same_length_changes_the_fingerprint(folder):
    before = LazyFolder(folder).fingerprint
    path = folder / "metadata.jsonl"
    path.write_text(path.read_text().replace("blue", "pink"))
    assert LazyFolder(folder).fingerprint != before
