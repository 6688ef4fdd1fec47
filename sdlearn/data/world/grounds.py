"""Where subjects stand: ten places, most of them by day and by night, and four patterns.

Each is an SVG of a few large shapes in a square of 128 units. Where they lie follows from a random
number generator and is never named: that is what seeds decide.
"""

import math
import random
from collections.abc import Callable, Mapping

from sdlearn.data.world.words import GROUND_COLORS, PATTERNS, SCENES

SIZE = 128  # units; a picture's side
_DAY, _NIGHT = ("#a5daf0", "#ffd84d"), ("#1d2450", "#f6efc4")  # sky, and sun or moon


def ground(attributes: Mapping[str, str], rng: random.Random) -> str:
    """SVG elements that fill the square with the scene or the pattern that the attributes name."""
    if "scene" in attributes:
        return scene(attributes["scene"], rng, night=attributes.get("time") == "night")
    return pattern(attributes["pattern"], attributes["background"], rng)


def pattern(name: str, color: str, rng: random.Random) -> str:
    """A plain, striped, dotted or checked ground of one colour and a lighter shade of it."""
    if name not in PATTERNS:
        raise ValueError(f"pattern {name!r} does not exist: choose from {list(PATTERNS)}")
    if color not in GROUND_COLORS:
        raise ValueError(f"background {color!r} does not exist: choose from {list(GROUND_COLORS)}")
    main = GROUND_COLORS[color].hex
    light = _mix(main, "#ffffff", 0.4) if color != "white" else "#dcdcd8"
    fill = _box(0, 0, SIZE, SIZE, main)
    width = rng.choice((12, 16, 21))
    if name == "striped":
        stripes = [_box(x, -64, width, 256, light) for x in range(-64, 192, 2 * width)]
        turn = rng.choice((0, 90, 45, -45))
        return f'{fill}<g transform="rotate({turn} 64 64)">{"".join(stripes)}</g>'
    if name == "dotted":
        step, dots = width + 8, []
        for row, y in enumerate(range(step // 2, SIZE + step, step)):
            for x in range(step // 2 * (row % 2), SIZE + step, step):
                dots.append(_disc(x, y, 0.3 * step, light))
        return fill + "".join(dots)
    if name == "checked":
        side, rows = width + 8, range(SIZE // (width + 8) + 1)
        cells = [(i, j) for i in rows for j in rows if (i + j) % 2]
        return fill + "".join(_box(i * side, j * side, side, side, light) for i, j in cells)
    return fill


def scene(name: str, rng: random.Random, *, night: bool = False) -> str:
    """A place, by day or by night."""
    if name not in SCENES:
        raise ValueError(f"scene {name!r} does not exist: choose from {list(SCENES)}")
    if night and not SCENES[name].has_night:
        raise ValueError(f"scene {name!r} has no night: it looks the same at all times")
    return _PAINTERS[name](rng, night)


def _beach(rng: random.Random, night: bool) -> str:
    sea, shore = rng.randint(50, 62), rng.randint(76, 88)
    water = _box(0, sea, SIZE, SIZE - sea, _dim("#3f9edb", night))
    return _sky(rng, night) + water + _hill(rng, shore, 5, _dim("#f2d9a0", night))


def _forest(rng: random.Random, night: bool) -> str:
    floor = rng.randint(78, 90)
    trees = []
    for x in range(-4, SIZE, rng.choice((22, 26, 30))):
        x, tall, wide = x + rng.randint(-4, 4), rng.randint(48, 66), rng.randint(15, 20)
        green = _dim(rng.choice(("#2f7d4f", "#27694a", "#3b8a55")), night)
        trees.append(
            _shape([(x, floor + 3), (x + wide, floor - tall), (x + 2 * wide, floor + 3)], green)
        )
    return _sky(rng, night) + "".join(trees) + _hill(rng, floor, 3, _dim("#6aa84f", night))


def _snow(rng: random.Random, night: bool) -> str:
    sky = _box(0, 0, SIZE, SIZE, _dim("#b9cfe8", night))
    flakes = [
        _disc(rng.uniform(4, 124), rng.uniform(4, 70), rng.uniform(2, 3.2), "#ffffff")
        for _ in range(9)
    ]
    hills = _hill(rng, rng.randint(66, 76), 8, _dim("#e3ecf7", night))
    return (
        sky + "".join(flakes) + hills + _hill(rng, rng.randint(86, 96), 6, _dim("#fafcff", night))
    )


def _desert(rng: random.Random, night: bool) -> str:
    sky = _box(0, 0, SIZE, SIZE, _NIGHT[0] if night else "#fbd59a")
    far = _hill(rng, rng.randint(68, 78), 8, _dim("#e3ae62", night))
    near = _hill(rng, rng.randint(88, 98), 8, _dim("#cf9348", night))
    return sky + _light(rng, _NIGHT[1] if night else "#f58a5b") + far + near


def _city(rng: random.Random, night: bool) -> str:
    road, x, houses = rng.randint(92, 100), rng.randint(-12, 0), []
    while x < SIZE:
        wide, tall = rng.randint(20, 30), rng.randint(34, 74)
        wall = _dim(rng.choice(("#8a94a8", "#a7b0c0", "#b88f86", "#74809a")), night)
        houses.append(_box(x, road - tall, wide, tall, wall))
        glass = "#ffd977" if night else "#dbe9f5"
        for row in range(road - tall + 6, road - 14, 15):
            houses.append(_box(x + 5, row, wide - 10, 6, glass))
        x += wide + rng.randint(0, 3)
    street = _box(0, road, SIZE, SIZE - road, _dim("#6d7077", night))
    return _sky(rng, night) + "".join(houses) + street


def _meadow(rng: random.Random, night: bool) -> str:
    far = _hill(rng, rng.randint(62, 74), 8, _dim("#9ad06b", night))
    near = _hill(rng, rng.randint(82, 94), 7, _dim("#7bbf52", night))
    flowers = [
        _disc(
            rng.uniform(4, 124),
            rng.uniform(100, 124),
            2.6,
            _dim(rng.choice(("#ffffff", "#ffd84d", "#f28bb8")), night),
        )
        for _ in range(6)
    ]
    return _sky(rng, night) + far + near + "".join(flowers)


def _mountains(rng: random.Random, night: bool) -> str:
    peaks, floor = [], rng.randint(84, 94)
    for x in sorted(rng.sample(range(10, 120, 18), 3)):
        top, wide = rng.randint(22, 44), rng.randint(40, 56)
        peaks.append(
            _shape([(x - wide, floor + 4), (x, top), (x + wide, floor + 4)], _dim("#8c93a8", night))
        )
        cap = 0.3
        snow = [
            (x - cap * wide, top + cap * (floor + 4 - top)),
            (x, top),
            (x + cap * wide, top + cap * (floor + 4 - top)),
        ]
        peaks.append(_shape(snow, _dim("#ffffff", night)))
    return _sky(rng, night) + "".join(peaks) + _hill(rng, floor, 4, _dim("#7fae62", night))


def _underwater(rng: random.Random, night: bool) -> str:
    water = _box(0, 0, SIZE, 46, "#48b4e6") + _box(0, 46, SIZE, 82, "#3292d2")
    bubbles = []
    for _ in range(6):
        x, y, radius = rng.uniform(6, 122), rng.uniform(8, 86), rng.uniform(3, 5)
        ring = 'fill="none" stroke="#cdefff" stroke-width="1.6"'
        bubbles.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" {ring}/>')
    weeds = []
    for _ in range(rng.randint(1, 3)):
        x, tall = rng.randint(6, 122), rng.randint(22, 40)
        path = f"M{x} 120q-7 -{tall / 3:.0f} 0 -{tall / 2:.0f}t0 -{tall / 2:.0f}"
        weed = 'fill="none" stroke="#2a8f5f" stroke-width="5" stroke-linecap="round"'
        weeds.append(f'<path d="{path}" {weed}/>')
    return water + "".join(bubbles + weeds) + _hill(rng, rng.randint(108, 116), 4, "#e3cf98")


def _space(rng: random.Random, night: bool) -> str:
    stars = [
        _disc(rng.uniform(3, 125), rng.uniform(3, 125), rng.uniform(1.2, 2.0), "#ffffff")
        for _ in range(12)
    ]
    color = rng.choice(("#d8a25e", "#5fb3b3", "#c86b98", "#8a7fd1"))
    planet = _disc(
        rng.choice((rng.randint(12, 34), rng.randint(94, 116))),
        rng.randint(14, 36),
        rng.randint(11, 18),
        color,
    )
    return _box(0, 0, SIZE, SIZE, "#17123a") + "".join(stars) + planet


def _room(rng: random.Random, night: bool) -> str:
    wall, floor = rng.choice(("#f0dcc0", "#e5d3e6", "#d3e2d2", "#d6e0ee")), rng.randint(92, 102)
    x, y, side = (
        rng.choice((rng.randint(8, 20), rng.randint(80, 92))),
        rng.randint(12, 22),
        rng.randint(26, 32),
    )
    window = _box(x, y, side, side, "#ffffff") + _box(x + 3, y + 3, side - 6, side - 6, "#a9dcf5")
    return _box(0, 0, SIZE, SIZE, wall) + window + _box(0, floor, SIZE, SIZE - floor, "#b07a4e")


_PAINTERS: dict[str, Callable[[random.Random, bool], str]] = {
    "beach": _beach,
    "forest": _forest,
    "snow": _snow,
    "desert": _desert,
    "city": _city,
    "meadow": _meadow,
    "mountains": _mountains,
    "underwater": _underwater,
    "space": _space,
    "room": _room,
}


def _sky(rng: random.Random, night: bool) -> str:
    sky, light = _NIGHT if night else _DAY
    stars = [
        _disc(rng.uniform(4, 124), rng.uniform(4, 44), 1.5, "#ffffff") for _ in range(5 * night)
    ]
    return _box(0, 0, SIZE, SIZE, sky) + "".join(stars) + _light(rng, light)


def _light(rng: random.Random, color: str) -> str:
    x = rng.choice((rng.randint(12, 40), rng.randint(88, 116)))
    return _disc(x, rng.randint(12, 26), rng.randint(8, 11), color)


def _hill(rng: random.Random, height: float, swing: float, color: str) -> str:
    """Ground from a wavy line at about `height` down to the lower edge."""
    phase, waves = rng.uniform(0, 2 * math.pi), rng.uniform(0.6, 1.3)
    xs = range(0, SIZE + 1, 8)
    points = [(x, height + swing * math.sin(phase + waves * 2 * math.pi * x / SIZE)) for x in xs]
    return _shape([(0, SIZE), *points, (SIZE, SIZE)], color)


def _shape(points: list[tuple[float, float]], color: str) -> str:
    return f'<polygon points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}" fill="{color}"/>'


def _box(x: float, y: float, width: float, height: float, color: str) -> str:
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="{color}"/>'


def _disc(x: float, y: float, radius: float, color: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{color}"/>'


def _dim(color: str, night: bool) -> str:
    return _mix(color, _NIGHT[0], 0.55) if night else color


def _mix(color: str, other: str, share: float) -> str:
    pairs = [(int(color[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in pairs)
