"""PNGs that say how they were made.

A drawn picture carries its prompt, seed and model, and says in words and in XMP that a model drew
it, so that it can be drawn again and is never taken for a photograph or a person's own drawing.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from sdlearn.data.image_files import FORMATS
from sdlearn.models.records import json_object
from sdlearn.models.samplers import SAMPLERS
from sdlearn.models.writing import check_utf8, prepare_folder, replaced_when_complete

EXACT_KEY = "sdlearn"  # our own chunk: the same facts as JSON, so that they are read back exactly
TRAINED_ALGORITHMIC_MEDIA = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    Iptc4xmpExt:DigitalSourceType="{source_type}">
   <dc:description><rdf:Alt><rdf:li xml:lang="x-default">{words}</rdf:li></rdf:Alt></dc:description>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>"""


@dataclass(frozen=True, kw_only=True)
class Generated:
    """How a picture was drawn; with the same model these values draw it again."""

    prompt: str
    negative_prompt: str
    seed: int
    model: str  # name in the registry, of a folder or file, or hub id; never a path
    steps: int  # sampler steps
    guidance_scale: float  # 1 is none
    sampler: str = "dpm++"  # name in `sdlearn.models.samplers`
    model_hash: str = ""  # of a model in one file, as other programs name it: see `file_hash`


def save_generated(
    image: Image.Image, path: str | Path, *, new: bool = False, **facts: Any
) -> Path:
    """Write a drawn picture as PNG with how it was made, and return its path.

    `facts` are the fields of `Generated`. Prompt and settings go to the text `parameters` in the
    form that other programs read, and the digital source type to XMP. Texts may be Japanese. With
    `new` the picture gets another name, `stem-2.png` and so on, where `path` is taken. Raises
    OSError where it cannot be written, and ValueError for texts that UTF-8 cannot hold.
    """
    generated, path = Generated(**facts), Path(path).expanduser()
    for text in (generated.prompt, generated.negative_prompt, generated.model):
        check_utf8(text, "the prompt")
    prepare_folder(path.parent)
    path = _taken_path(path) if new else path
    try:
        with replaced_when_complete(path) as unfinished:
            image.save(unfinished, format="PNG", pnginfo=_chunks(generated, image.size))
    except BaseException:
        if new:
            path.unlink()
        raise
    return path


def _taken_path(path: Path) -> Path:
    """Take a path that no file has yet: `path` or `stem-2.png`, ...; no other run gets it too."""
    stem, number = path.stem, 1
    while True:
        try:
            path.open("x").close()
            return path
        except FileExistsError:
            number += 1
            path = path.with_name(f"{stem}-{number}{path.suffix}")


def read_generated(path: str | Path) -> Generated:
    """Read back how a picture was drawn; ValueError where the file does not say."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            facts = getattr(image, "text", {}).get(EXACT_KEY)
        return Generated(**json_object(facts or "", str(path)))
    except (ValueError, TypeError, UnidentifiedImageError) as error:
        raise ValueError(
            f"{path} does not say how it was drawn: sdlearn did not write it"
        ) from error


def file_hash(path: Path) -> str:
    """Return what A1111 and others call a model by: ten digits of the file's SHA-256."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:10]


def _chunks(generated: Generated, size: tuple[int, int]) -> PngInfo:
    words = f"Made by AI: drawn by the model {generated.model}, not by a person"
    xmp = XMP.format(source_type=TRAINED_ALGORITHMIC_MEDIA, words=escape(words))
    info = PngInfo()
    info.add_itxt("parameters", _parameters(generated, size))
    info.add_itxt("Description", words)
    info.add_itxt(EXACT_KEY, json.dumps(asdict(generated), ensure_ascii=False))
    info.add_itxt("XML:com.adobe.xmp", xmp)
    return info


def _parameters(generated: Generated, size: tuple[int, int]) -> str:
    """Prompt, negative prompt and settings, a line each, as Stable Diffusion web UIs write them."""
    sampler = SAMPLERS.get(generated.sampler)
    settings = {
        "Steps": generated.steps,
        "Sampler": (sampler and sampler.web_ui) or generated.sampler,
        "CFG scale": generated.guidance_scale,
        "Seed": generated.seed,
        "Size": f"{size[0]}x{size[1]}",
        **({"Model hash": generated.model_hash} if generated.model_hash else {}),
        "Model": generated.model,
    }
    lines = [generated.prompt]
    if generated.negative_prompt:
        lines.append(f"Negative prompt: {generated.negative_prompt}")
    pairs = (f"{key}: {_quoted(str(value))}" for key, value in settings.items())
    return "\n".join([*lines, ", ".join(pairs)])


def _quoted(value: str) -> str:
    """A value as A1111's parser reads it: as JSON where a comma, colon or line would end it."""
    return json.dumps(value, ensure_ascii=False) if re.search(r'[,:\n"]', value) else value
