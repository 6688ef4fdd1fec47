"""Folders of pictures: what comes in right, and what is refused in one sentence."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdlearn.data import Picture, read_pictures, write_pictures

RED = (255, 0, 0)


def picture(
    color: object = RED, size: tuple[int, int] = (40, 40), mode: str = "RGB"
) -> Image.Image:
    return Image.new(mode, size, color)  # type: ignore[arg-type]


def colour_of(folder: Path) -> tuple[int, ...]:
    (read,) = read_pictures(folder)
    assert read.image.mode == "RGB"
    return read.image.getpixel((5, 5))  # type: ignore[return-value]


def metadata(folder: Path, *lines: object) -> None:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (folder / "metadata.jsonl").write_text("\n".join(texts), encoding="utf-8")


def test_what_is_written_is_read_back_with_every_field(tmp_path):
    attributes = {"hair": "pixie", "glasses": "round"}
    made = Picture(
        image=picture(),
        text="a smiling person\u2028on two lines",
        text_ja="笑顔の人",
        license="CC0-1.0",
        author="A. Rtist",
        source="a drawing",
        attributes=attributes,
    )
    paths = write_pictures(tmp_path / "new" / "folder", [made, Picture(image=picture("blue"))])
    first, second = read_pictures(tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["0000.png", "0001.png"]
    assert (first.text, first.text_ja, first.license) == (made.text, made.text_ja, made.license)
    assert (first.author, first.source, first.attributes) == ("A. Rtist", "a drawing", attributes)
    assert first.path == paths[0]
    assert second.image.getpixel((0, 0)) == (0, 0, 255)
    assert sorted(path.name for path in paths[0].parent.iterdir()) == [
        "0000.png",
        "0001.png",
        "metadata.jsonl",
    ]


def test_writing_again_replaces_but_never_mixes_with_other_pictures(tmp_path):
    write_pictures(tmp_path, [Picture(image=picture()), Picture(image=picture())])
    write_pictures(tmp_path, [Picture(image=picture("blue")), Picture(image=picture())])
    assert read_pictures(tmp_path)[0].image.getpixel((0, 0)) == (0, 0, 255)
    with pytest.raises(ValueError, match=r"already holds 0001\.png"):
        write_pictures(tmp_path, [Picture(image=picture())])


def test_writing_no_pictures_or_into_a_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no pictures to write"):
        write_pictures(tmp_path, [])
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot write to the folder"):
        write_pictures(tmp_path / "file", [Picture(image=picture())])


def test_pictures_come_sorted_by_name_and_without_captions_where_none_are_given(tmp_path):
    for name in ("c.png", "a.JPG", "b.webp"):
        picture().save(tmp_path / name)
    read = read_pictures(str(tmp_path))
    assert [entry.path.name for entry in read] == ["a.JPG", "b.webp", "c.png"]
    assert {entry.text for entry in read} == {""}


def test_hidden_files_other_files_and_sub_folders_are_left_alone(tmp_path):
    picture().save(tmp_path / "a.png")
    picture("blue").save(tmp_path / ".hidden.png")
    for name in (".DS_Store", "._a.png", "Thumbs.db", "notes.txt"):
        (tmp_path / name).write_bytes(b"\0")
    for name in (".ipynb_checkpoints", "__MACOSX", "inside", "folder.png"):
        (tmp_path / name).mkdir()
        picture().save(tmp_path / name / "b.png")
    assert [entry.path.name for entry in read_pictures(tmp_path)] == ["a.png"]


def test_transparent_pixels_become_white(tmp_path):
    picture((255, 0, 0, 0), mode="RGBA").save(tmp_path / "a.png")
    assert colour_of(tmp_path) == (255, 255, 255)


def test_half_transparent_pixels_are_mixed_with_white(tmp_path):
    picture((255, 0, 0, 127), mode="RGBA").save(tmp_path / "a.png")
    assert colour_of(tmp_path) == (255, 128, 128)


def test_palette_pictures_keep_their_colours_and_their_transparent_one_is_white(tmp_path):
    paletted = picture().quantize(4)
    paletted.save(tmp_path / "a.png")
    assert colour_of(tmp_path) == RED
    paletted.save(tmp_path / "a.png", transparency=paletted.getpixel((5, 5)))
    assert colour_of(tmp_path) == (255, 255, 255)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bit_grey_is_scaled_and_not_clipped(tmp_path, name):
    Image.fromarray(np.full((40, 40), 128 * 257, dtype=np.uint16)).save(tmp_path / name)
    assert colour_of(tmp_path) == (128, 128, 128)


def test_grey_black_and_white_and_cmyk_become_rgb(tmp_path):
    for mode, color, expected in [
        ("L", 77, (77, 77, 77)),
        ("LA", (77, 255), (77, 77, 77)),
        ("1", 1, (255, 255, 255)),
        ("CMYK", (0, 255, 255, 0), RED),
    ]:
        picture(color, mode=mode).save(tmp_path / "a.tif")
        assert colour_of(tmp_path) == expected, mode


def test_a_floating_point_picture_is_refused(tmp_path):
    picture(0.5, mode="F").save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"a\.tif .*floating-point"):
        read_pictures(tmp_path)


def test_exif_rotation_is_applied(tmp_path):
    sideways = picture(size=(60, 40))
    sideways.paste("blue", (0, 0, 30, 40))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees clockwise
    sideways.save(tmp_path / "a.png", exif=exif)
    (read,) = read_pictures(tmp_path)
    assert read.image.size == (40, 60)
    assert read.image.getpixel((20, 5)) == (0, 0, 255)
    assert read.image.getpixel((20, 55)) == RED


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp"])
def test_animated_pictures_are_refused(tmp_path, name):
    picture().save(tmp_path / name, save_all=True, append_images=[picture("blue")])
    with pytest.raises(ValueError, match=f"{name} has 2 frames: animated"):
        read_pictures(tmp_path)


def test_a_gif_of_one_frame_is_a_picture(tmp_path):
    picture().save(tmp_path / "a.gif")
    assert colour_of(tmp_path) == RED


@pytest.mark.parametrize("kept", [0, 20, 90])
@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_broken_pictures_are_named(tmp_path, name, kept):
    Image.effect_noise((64, 64), 50).convert("RGB").save(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) * kept // 100])
    with pytest.raises(ValueError, match=f"{name} cannot be read as a picture"):
        read_pictures(tmp_path)


def test_pictures_that_are_too_small_are_refused_with_both_sizes(tmp_path):
    picture(size=(100, 31)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png is 100 x 31 pixels.* at least 32 x 32"):
        read_pictures(tmp_path)
    assert len(read_pictures(tmp_path, smallest_side=16)) == 1


def test_a_kind_of_picture_that_cannot_be_read_is_refused_and_not_skipped(tmp_path):
    picture().save(tmp_path / "a.png")
    (tmp_path / "b.HEIC").write_bytes(b"photo")
    with pytest.raises(ValueError, match=r"b\.HEIC is a HEIC file"):
        read_pictures(tmp_path)


def test_missing_folders_and_folders_without_pictures_are_told_apart(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        read_pictures(tmp_path / "missing")
    with pytest.raises(ValueError, match=r"holds no pictures .*: put some in"):
        read_pictures(tmp_path)
    (tmp_path / "inside").mkdir()
    with pytest.raises(ValueError, match="only the folders inside"):
        read_pictures(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file"):
        read_pictures(tmp_path / "file")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{'file_name'}", r"line 2: not JSON \(.* at character 2\)"),
        ('["a.png"]', "line 2: write one object a line"),
        ({"text": "no name"}, 'line 2: "file_name" is missing'),
        ({"file_name": 3}, 'line 2: "file_name" is missing'),
        ({"file_name": "b.png"}, 'line 2: there is no picture "b.png"'),
        ({"file_name": "../a.png"}, 'line 2: "../a.png" leaves the folder'),
        ({"file_name": "/etc/passwd"}, 'line 2: "/etc/passwd" leaves the folder'),
        ({"file_name": "..\\a.png"}, "line 2: .* leaves the folder"),
        ({"file_name": "a.png", "text": 3}, 'line 2: "text" must be text'),
        ({"file_name": "a.png", "license": None}, 'line 2: "license" must be text'),
        ({"file_name": "a.png", "attributes": {"hair": 3}}, 'line 2: "attributes" must be'),
        ({"file_name": "a.png", "attributes": "hair"}, 'line 2: "attributes" must be'),
        ({"file_name": "a.png", "text": "a \ud83d"}, r'line 2: "text" holds .* no UTF-8 text'),
        ({"file_name": "a.png", "author": "\udce9"}, r'line 2: "author" holds .* no UTF-8'),
        ({"file_name": "a.png", "attributes": {"\ud83d": "x"}}, 'line 2: "attributes" holds'),
        ({"file_name": "a.png", "text": "a" * 20_000}, 'line 2: "text" has 20000 characters'),
        ('{"file_name": "a.png", "n": ' + "1" * 5000 + "}", "line 2: JSON that is not to be read"),
        ("[" * 100_000, "line 2: JSON that is not to be read"),
    ],
)
def test_a_wrong_line_of_metadata_is_named_with_its_number(tmp_path, line, message):
    picture().save(tmp_path / "a.png")
    metadata(tmp_path, "", line)
    with pytest.raises(ValueError, match=message):
        read_pictures(tmp_path)


def test_every_picture_has_exactly_one_line_of_metadata(tmp_path):
    for name in ("a.png", "b.png"):
        picture().save(tmp_path / name)
    metadata(tmp_path, {"file_name": "a.png", "text": "one", "other": 3})
    with pytest.raises(ValueError, match=r"no line for b\.png"):
        read_pictures(tmp_path)
    metadata(tmp_path, *[{"file_name": name} for name in ("a.png", "b.png", "a.png")])
    with pytest.raises(ValueError, match=r"line 3: a\.png has a line already"):
        read_pictures(tmp_path)


def test_metadata_saved_by_a_windows_editor_is_read_and_other_encodings_refused(tmp_path):
    picture().save(tmp_path / "a.png")
    line = '{"file_name": "a.png", "text_ja": "人"}\r\n\r\n'
    (tmp_path / "metadata.jsonl").write_bytes(line.encode("utf-8-sig"))
    assert read_pictures(tmp_path)[0].text_ja == "人"
    (tmp_path / "metadata.jsonl").write_bytes(line.encode("shift-jis"))
    with pytest.raises(ValueError, match="not UTF-8"):
        read_pictures(tmp_path)


def test_a_caption_of_blanks_is_none(tmp_path):
    picture().save(tmp_path / "a.png")
    metadata(tmp_path, {"file_name": "a.png", "text": "  ", "text_ja": " 人 "})
    assert [(p.text, p.text_ja) for p in read_pictures(tmp_path)] == [("", "人")]


def test_a_name_that_utf_8_cannot_hold_is_refused(tmp_path):
    (tmp_path / os.fsdecode(b"\xe9.png")).write_bytes(b"")
    with pytest.raises(ValueError, match=r"the name of a picture in .* no UTF-8 text"):
        read_pictures(tmp_path)
