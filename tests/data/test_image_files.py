"""Picture files as people have them: what is read, what is refused, and in which words."""

import ast
import io
import struct
import tarfile
import warnings
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from sdlearn.data import LazyFolder, image_files, read_pictures, stream_archives
from sdlearn.data.image_files import read_image, upright_size


def picture(size=(96, 64)):
    image = Image.new("RGB", size, "red")
    image.paste("blue", (0, 0, 48, 32))
    return image


def broken_exif():
    """Lies on its side, and calls a number text."""
    exif = Image.Exif()
    exif[0x0112], exif[0x011A] = 6, 72.0
    raw = bytearray(exif.tobytes())
    raw[raw.find(b"\x01\x1a\x00\x05") + 3] = 2
    return bytes(raw)


def write_archive(path, files):
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def encoded(image, kind="PNG", **settings):
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def test_what_is_eps_by_content_starts_no_program_whatever_it_is_called(tmp_path, monkeypatch):
    def start(*arguments, **settings):
        pytest.fail("a program was started")

    for name in ("run", "Popen", "check_call", "check_output"):
        monkeypatch.setattr(f"subprocess.{name}", start)
    eps = encoded(picture(), "EPS")
    (tmp_path / "x.png").write_bytes(eps)
    for read in (read_image, upright_size):
        with pytest.raises(ValueError, match=r"x\.png cannot be read .*in no format that is known"):
            read(tmp_path / "x.png")
    archive = write_archive(tmp_path / "a.tar", {"x.png": eps})
    with pytest.raises(ValueError, match="in no format that is known"):
        stream_archives(archive).first().decode()


def test_a_picture_with_broken_exif_lies_as_it_says(tmp_path):
    picture().save(tmp_path / "side.jpg", exif=broken_exif())
    picture().save(tmp_path / "good.jpg", exif=b"Exif\0\0nothing of any sense")
    side, good = (pic.image for pic in reversed(read_pictures(tmp_path)))
    assert (side.size, good.size) == ((64, 96), (96, 64))
    assert LazyFolder(tmp_path).sizes() == [(64, 96), (96, 64)]


@pytest.mark.parametrize("suffix", [".jpg", ".tif", ".png", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_as_pillow_does(suffix, orientation, tmp_path):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a{suffix}"
    picture().save(path, exif=exif)
    with Image.open(path) as image:
        right = ImageOps.exif_transpose(image).convert("RGB")
    assert read_image(path).tobytes() == right.tobytes()


def test_a_bomb_is_refused_with_what_mends_it_and_a_large_picture_read(tmp_path, monkeypatch):
    Image.new("1", (13000, 13000)).save(tmp_path / "bomb.png")  # 169 megapixels
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with pytest.raises(ValueError, match=r"bomb\.png has more than 128 million pixels: scale"):
            read_image(tmp_path / "bomb.png")
    huge = bytearray(encoded(Image.new("1", (100, 100))))
    huge[16:24] = struct.pack(">II", 60000, 60000)
    (tmp_path / "lie.png").write_bytes(bytes(huge))
    with pytest.raises(ValueError, match=r"lie\.png"):
        upright_size(tmp_path / "lie.png")
    monkeypatch.setattr(image_files, "LARGEST_PIXELS", 96 * 64)
    picture().save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").size == (96, 64)


def test_a_png_with_a_long_workflow_is_read_and_its_turn_kept(tmp_path):
    info, exif = PngImagePlugin.PngInfo(), Image.Exif()
    info.add_text("workflow", "node " * 300_000, zip=True)
    exif[0x0112] = 6
    picture().save(tmp_path / "a.png", pnginfo=info, exif=exif)
    assert read_image(tmp_path / "a.png").size == (64, 96)


def test_no_picture_is_left_out_without_a_word(tmp_path):
    picture().save(tmp_path / "a.png")
    (tmp_path / "b.jfif").write_bytes(encoded(picture(), "JPEG"))
    assert len(read_pictures(tmp_path)) == 2
    (tmp_path / "inside").mkdir()
    picture().save(tmp_path / "inside" / "c.png")
    with pytest.warns(UserWarning, match="pictures in folders within .* are left out: inside"):
        read_pictures(tmp_path)
    (tmp_path / "photo").write_bytes(encoded(picture()))
    with pytest.raises(ValueError, match=r"photo is a picture by its content and not by its name"):
        read_pictures(tmp_path)
    (tmp_path / "photo").unlink()
    for name in ("a.eps", "a.PSD", "a.cr2", "a.jxl"):
        (tmp_path / name).write_bytes(b"?")
        with pytest.raises(ValueError, match="file, which cannot be read here: save it as PNG"):
            read_pictures(tmp_path)
        (tmp_path / name).unlink()


def test_one_broken_picture_never_ends_a_stream(tmp_path):
    side = encoded(picture(), "JPEG", exif=broken_exif())
    cut = encoded(picture())[:60]
    files = {"a.jpg": side, "b.png": cut, "c.tif": b"II*\0" + b"\xff" * 40, "d.png": side}
    files |= {"e.png": encoded(picture()), "e.json": b"[" * 100_000}
    files |= {"f.png": encoded(picture()), "f.json": b'{"n": ' + b"1" * 5000 + b"}"}
    files |= {"g.png": encoded(picture()), "g.json": b'{"text": "a \\ud83d"}'}
    files |= {"h.png": encoded(picture()), "h.txt": b"a" * 20_000}
    files |= {"i.png": encoded(picture()), "i.txt": b"a person"}
    read = list(stream_archives(write_archive(tmp_path / "a.tar", files)).shards.read(0))
    usable = [pic for pic in read if pic.path.name in ("a.jpg", "d.png", "i.png")]
    assert len(read) == 9
    assert [pic.decode().text for pic in usable] == ["", "", "a person"]
    for pic in read:
        if pic not in usable:
            with pytest.raises(ValueError, match=pic.path.name):
                pic.decode()


def test_braces_that_name_more_archives_than_anybody_has_are_refused_at_once():
    for pattern in ("{0..99999999}.tar", "{000..999}{000..999}{0..9}.tar", "{a,b}{0..999999..1}"):
        with pytest.raises(ValueError, match="archives: name 1000000 at most"):
            stream_archives(pattern)


def test_a_picture_or_an_archive_edited_in_its_size_has_another_fingerprint(tmp_path):
    def fingerprints(color):
        Image.new("RGB", (96, 96), color).save(tmp_path / "p.bmp")
        archive = write_archive(tmp_path / "a.tar", {"p.bmp": (tmp_path / "p.bmp").read_bytes()})
        return LazyFolder(tmp_path).fingerprint, stream_archives(archive).shards.fingerprint

    before, after = fingerprints("red"), fingerprints("blue")
    assert before == fingerprints("red")
    assert before[0] != after[0]
    assert before[1] != after[1]


def test_no_file_is_opened_without_a_list_of_formats():
    """Of others, such as EPS, Pillow would start programs to read them."""
    root = Path(__file__).resolve()
    root = next(parent for parent in root.parents if (parent / "pyproject.toml").is_file())
    calls = [
        (path, node)
        for room in ("sdlearn", "experiments", "tools", "benchmarks")
        for path in (root / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Image.open")
    ]
    assert calls
    for path, call in calls:
        assert "formats" in [keyword.arg for keyword in call.keywords], f"{path}:{call.lineno}"
