"""Takes the picture world's drawings out of the icon sets that hold them, into `data/drawings`.

    npm pack @iconify-json/noto @iconify-json/noto-v1 @iconify-json/twemoji ...   # and unpack each
    python tools/vendor_drawings.py FOLDER

FOLDER holds each unpacked package as `NAME/icons.json`, NAME being the set's (`noto`). What is
changed: only the drawings that the world names are kept, each with the main colour that is found
in it, which a recoloured drawing turns to another.
"""

import colorsys
import io
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image

from sdlearn.data.world.drawings import HLS, Drawing, recolored
from sdlearn.data.world.words import NOUNS, SUBJECT_COLORS

DRAWINGS = Path(__file__).parents[1] / "data" / "drawings"
SETS = {
    "fluent": "fluent-emoji-flat",
    "noto": "noto",
    "noto-v1": "noto-v1",
    "twemoji": "twemoji",
    "emojione": "emojione",
    "fxemoji": "fxemoji",
}
LEFT_OUT = {("emojione", "tent"), ("fxemoji", "tent"), ("fxemoji", "sailboat")}  # have a ground
OTHER_NAMES = {  # of the one set that names its drawings otherwise
    "fxemoji": {
        "cat": "catside",
        "dog": "dogside",
        "rabbit": "bunnyside",
        "fox": "foxsmiling",
        "tiger-face": "tigerside",
        "panda": "pandaface",
        "cow-face": "cow",
        "pig-face": "pigside",
        "mouse-face": "mouseside",
        "hamster": "hampster",
        "wolf": "wolfface",
        "ewe": "sheep",
        "camel": "bactriancamel",
        "dragon": "dragonside",
        "house": "housewithgarden",
        "castle": "europeancastle",
        "backpack": "schoolsatchel",
        "snowman": "snowmanwithoutsnow",
        "mobile-phone": "cellphone",
        "wrapped-gift": "present",
        "pizza": "sliceofpizza",
    }
}


def find(icons: dict, name: str) -> dict | None:
    """A drawing by its name or by an alias of it."""
    for _ in range(5):
        if name in icons["icons"]:
            return icons["icons"][name]
        name = icons.get("aliases", {}).get(name, {}).get("parent", "")
    return None


def opaque_pixels(drawing: Drawing) -> np.ndarray:
    """The drawing's pixels that are not see-through, `(N, 3)`, at 64 x 64."""
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{drawing.box}">{drawing.body}</svg>'
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=64, height=64))
    pixels = np.asarray(Image.open(io.BytesIO(png), formats=["PNG"]).convert("RGBA")).reshape(-1, 4)
    return pixels[pixels[:, 3] > 200, :3]


def shows_its_color(drawing: Drawing) -> bool:
    """Whether two fifths of the drawing, turned to a colour, have that colour's hue."""
    for name, color in SUBJECT_COLORS.items():
        target, right = HLS.of(color.hex), 0
        pixels = opaque_pixels(recolored(drawing, name))
        for hue, lightness, saturation in (colorsys.rgb_to_hls(*p) for p in pixels / 255):
            near = abs((hue - target.hue + 0.5) % 1 - 0.5) < 25 / 360
            right += near and saturation > 0.3 and 0.25 < lightness < 0.9
        if right < 0.4 * len(pixels):
            return False
    return True


def main_color(drawing: Drawing) -> str:
    """The colour that fills most of a drawing, or a gray where less than a third has a hue."""
    pixels = [tuple(int(v) // 16 * 16 + 8 for v in p) for p in opaque_pixels(drawing)]
    counts = Counter(pixels)
    hls = {color: colorsys.rgb_to_hls(*(v / 255 for v in color)) for color in counts}
    vivid = {c: n for c, n in counts.items() if hls[c][2] > 0.15 and 0.15 < hls[c][1] < 0.93}
    if sum(vivid.values()) < 0.33 * len(pixels):
        gray = {c: n for c, n in counts.items() if 0.2 < hls[c][1] < 0.98} or counts
        lightness = sum(hls[c][1] * n for c, n in gray.items()) / sum(gray.values())
        return "#" + f"{round(255 * lightness):02x}" * 3
    by_hue: Counter[int] = Counter()
    for color, number in vivid.items():
        for shift in (0, 1):  # two offset rows of bins, so that no hue is cut in two
            by_hue[2 * int((hls[color][0] * 360 + 15 * shift) // 30) + shift] += number
    best, shift = divmod(by_hue.most_common(1)[0][0], 2)
    chosen = {c: n for c, n in vivid.items() if (hls[c][0] * 360 + 15 * shift) // 30 == best}
    total = sum(chosen.values())
    mean = [round(sum(c[i] * n for c, n in chosen.items()) / total) for i in range(3)]
    return "#" + "".join(f"{value:02x}" for value in mean)


def vendor(folder: Path, name: str, package: str) -> dict:
    """The drawings of one set that the world names."""
    icons = json.loads((folder / package / "icons.json").read_text("utf-8"))
    kept = {}
    for noun in NOUNS:
        other = OTHER_NAMES.get(name, {})
        icon = find(icons, other.get(noun, noun.replace("-", "") if other else noun))
        if icon is None or (name, noun) in LEFT_OUT:
            continue
        width = icon.get("width", icons.get("width", 16))
        height = icon.get("height", icons.get("height", 16))
        box = f"{icon.get('left', 0)} {icon.get('top', 0)} {width} {height}"
        drawing = Drawing(box=box, color="", body=icon["body"])
        drawing = drawing._replace(color=main_color(drawing))
        if not shows_its_color(drawing):
            drawing = drawing._replace(color="")
        kept[noun] = drawing._asdict()
    return kept


if __name__ == "__main__":
    for name, package in SETS.items():
        drawings = vendor(Path(sys.argv[1]), name, package)
        text = json.dumps(drawings, indent=0, ensure_ascii=False)
        (DRAWINGS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        print(f"{name}: {len(drawings)} drawings, {len(text) / 1000:.0f} kB")
