"""PNGs that say how they were made.

A drawn picture carries its prompt, seed and model, and says in words and in XMP that a model drew
it, so that it can be drawn again and is never taken for a photograph or a person's own drawing.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sdlearn.models.writing import prepare_folder, replaced_when_complete

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
    model: str  # name in the registry, folder or hub id
    steps: int  # sampler steps
    guidance_scale: float  # 1 is none
    sampler: str = "dpm++"  # name in `sdlearn.models.samplers`


def save_generated(
    image: Image.Image,
    path: str | Path,
    *,
    prompt: str,
    negative_prompt: str,
    seed: int,
    model: str,
    steps: int,
    guidance_scale: float,
    sampler: str = "dpm++",
) -> Path:
    """Write a drawn picture as PNG with how it was made, and return its path.

    Prompt and settings go to the text `parameters` in the form that other programs read, and the
    digital source type to XMP. Texts may be Japanese. Raises OSError where it cannot be written.
    """
    generated = Generated(
        prompt=prompt,
        negative_prompt=negative_prompt,
        seed=seed,
        model=model,
        steps=steps,
        guidance_scale=guidance_scale,
        sampler=sampler,
    )
    path = Path(path).expanduser()
    prepare_folder(path.parent)
    with replaced_when_complete(path) as unfinished:
        image.save(unfinished, format="PNG", pnginfo=_chunks(generated, image.size))
    return path


def read_generated(path: str | Path) -> Generated:
    """Read back how a picture was drawn; ValueError where the file does not say."""
    with Image.open(path) as image:
        facts = getattr(image, "text", {}).get(EXACT_KEY)
    if facts is None:
        raise ValueError(f"{path} does not say how it was drawn: sdlearn did not write it")
    return Generated(**json.loads(facts))


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
    settings = {
        "Steps": generated.steps,
        "Sampler": generated.sampler,
        "CFG scale": generated.guidance_scale,
        "Seed": generated.seed,
        "Size": f"{size[0]}x{size[1]}",
        "Model": generated.model,
    }
    lines = [generated.prompt]
    if generated.negative_prompt:
        lines.append(f"Negative prompt: {generated.negative_prompt}")
    return "\n".join([*lines, ", ".join(f"{key}: {value}" for key, value in settings.items())])
