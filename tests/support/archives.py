"""Archives of plain pictures, as WebDataset has them."""

import io
import tarfile
from pathlib import Path

from PIL import Image


def png(shade=0, size=(40, 40)):
    file = io.BytesIO()
    Image.new("RGB", size, (shade, shade, shade)).save(file, format="PNG")
    return file.getvalue()


def write_archive(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def write_archives(folder: Path, counts=(4, 3, 5, 2), size=(40, 40)) -> Path:
    """Archives of plain pictures, no two alike; picture 3 is captioned "3"."""
    shade = 0
    for number, count in enumerate(counts):
        files = {}
        for _ in range(count):
            files |= {f"{shade:04d}.png": png(shade, size), f"{shade:04d}.txt": b"%d" % shade}
            shade += 1
        write_archive(folder / f"{number:03d}.tar", files)
    return folder
