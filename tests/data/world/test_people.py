"""People, creatures and robots: every attribute can be seen, is said truly and may be used."""

import io
import json
import os
import random
import subprocess
import sys
from importlib.resources import files

import numpy as np
import pytest
import resvg_py
from PIL import Image

from sdlearn.data.licenses import ALLOWED, license_of
from sdlearn.data.world.people import (
    COLOR_OF,
    COLORS,
    CONNECTIONS,
    PEOPLE,
    PLAIN,
    SUBJECTS,
    WORDS,
    PeopleStyle,
    phrase,
    svg,
)

STYLES = PEOPLE | SUBJECTS
SEEN = 30  # pixels of 128 x 128 that differ by more than 32 of 255 levels
every_style = pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)


def drawing(style: PeopleStyle, attributes: dict[str, str], seed: int = 0) -> np.ndarray:
    """RGBA, int16, (128, 128, 4)."""
    document = svg(style.name, style.options(attributes, random.Random(seed)))
    png = resvg_py.svg_to_bytes(svg_string=document, width=128, height=128, skip_system_fonts=True)
    return np.asarray(Image.open(io.BytesIO(bytes(png))).convert("RGBA")).astype(np.int16)


def source_of(style: PeopleStyle) -> dict:
    name = f"{style.name}.json"
    return json.loads(files("dicebear_styles").joinpath(name).read_text("utf-8"))


def beside(style: PeopleStyle, name: str, value: str) -> dict[str, str]:
    """This value, and of all other attributes the first value that leaves it to be seen."""
    attributes = {name: value}
    for other in (*reversed(style.attributes), *style.colors):
        if other != name and (allowed := style.allowed(other, attributes)):
            attributes[other] = allowed[0]
    return attributes


def test_there_are_twelve_styles_and_none_of_them_is_a_subject():
    assert len(PEOPLE) >= 12
    subjects = "lorelei adventurer big-smile dylan notionists pixel-art moods clay"
    assert sorted(SUBJECTS) == sorted(subjects.split())
    assert not [name for name in PEOPLE if name.removesuffix("-neutral") in SUBJECTS]


@every_style
def test_a_style_is_in_the_manifest_as_its_drawings_say_it(style):
    rights, meta = license_of(style.name), source_of(style)["meta"]
    assert rights["license"] in ALLOWED
    assert (
        rights["license"]
        == {"CC0 1.0": "CC0-1.0", "CC BY 4.0": "CC-BY-4.0"}[meta["license"]["name"]]
    )
    assert rights["author"] == meta["creator"]["name"]
    assert rights["source"] == meta["source"]["url"]


@every_style
def test_every_option_names_a_part_that_the_style_has(style):
    source = source_of(style)
    parts = [style.varied, *(p for values in style.attributes.values() for p in values.values())]
    for part, variants in (pair for table in parts for pair in table.items()):
        if part.endswith("Color"):
            assert part.removesuffix("Color") in source["colors"]
        else:
            assert set(variants.split()) <= set(source["components"][part]["variants"])
    own = {name for names in style.colors.values() for name in names.split()}
    assert own <= {*source["colors"], "background"}


@every_style
def test_every_value_draws_something_else_that_can_be_seen_at_128_pixels(style):
    for name, values in style.choices().items():
        pictures = [drawing(style, beside(style, name, value)) for value in values]
        for i, first in enumerate(pictures):
            for j, second in enumerate(pictures[:i]):
                seen = (np.abs(first - second).max(axis=2) > 32).sum()
                assert seen >= SEEN, f"{name}: {values[i]} and {values[j]} differ in {seen} pixels"


@every_style
def test_a_sample_holds_only_what_the_style_can_draw_and_nothing_hides(style):
    choices, drawn = style.choices(), {}
    for seed in range(300):
        rng = random.Random(seed)
        attributes = style.sample(rng)
        style.options(attributes, rng)
        for name, value in attributes.items():
            assert value in choices[name]
            others = {key: other for key, other in attributes.items() if key != name}
            assert value in style.allowed(name, others)
            drawn.setdefault(name, set()).add(value)
    assert {name: set(values) for name, values in choices.items()} == drawn


@every_style
def test_what_most_go_without_is_there_now_and_then(style):
    samples = [style.sample(random.Random(seed)) for seed in range(300)]
    for name, values in style.choices().items():
        if set(PLAIN) & set(values):
            worn = [sample for sample in samples if sample.get(name, "none") not in PLAIN]
            assert 0.03 < len(worn) / len(samples) < 0.55, name


@every_style
def test_every_value_has_words_in_both_languages(style):
    for name, values in style.choices().items():
        for value in values:
            english, japanese = WORDS[name][value]
            assert english.isascii()
            assert not japanese.isascii()
            assert ("{}" in english) == ("{}" in japanese)
            assert name in COLOR_OF or "{}" not in english
        assert name in CONNECTIONS or name in (*COLORS, "expression", "shape")


def test_words_that_mean_other_things_are_other_words():
    for table in WORDS.values():
        for language in (0, 1):
            assert len({words[language] for words in table.values()}) == len(table)


@pytest.mark.parametrize(
    ("attribute", "value", "language", "color", "said"),
    [
        ("hat", "cap", "en", "orange", "an orange cap"),
        ("hat", "cap", "en", "", "a cap"),
        ("hair", "afro", "en", "", "an afro"),
        ("hair", "bun", "en", "blond", "a blond bun"),
        ("hair", "bun", "ja", "blond", "金色のお団子ヘア"),
        ("clothes", "overalls", "en", "red", "red overalls"),
        ("glasses", "round", "ja", "", "丸眼鏡"),
    ],
)
def test_a_phrase_takes_its_colour_and_the_right_article(attribute, value, language, color, said):
    assert phrase(attribute, value, language, color) == said


@every_style
def test_an_equal_chance_draws_the_same_picture_and_another_one_another(style):
    def document(seed):
        rng = random.Random(seed)
        return svg(style.name, style.options(style.sample(rng), rng))

    assert document(1) == document(1)
    assert len({document(seed) for seed in range(10)}) > 5


def test_another_process_draws_the_same():
    code = (
        "import random; from sdlearn.data.world.people import PEOPLE, svg\n"
        "for name, style in PEOPLE.items():\n"
        "    rng = random.Random(7)\n"
        "    print(svg(name, style.options(style.sample(rng), rng)))"
    )
    drawn = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            timeout=300,
        ).stdout
        for seed in ("1", "2")
    ]
    assert drawn[0] == drawn[1]
    assert drawn[0].count(b"</svg>") == len(PEOPLE)


@every_style
def test_the_ground_is_transparent_and_only_a_bust_is_cut_off_below(style):
    cut = []
    for seed in range(4):
        alpha = drawing(style, style.sample(random.Random(seed)), seed)[..., 3]
        assert alpha[0, 0] == alpha[0, -1] == 0
        for edge in (alpha[0], alpha[:100, 0], alpha[:100, -1]):
            assert (edge > 128).sum() < 16  # where a circle touches it
        cut.append((alpha[-1] > 200).mean())
    assert np.mean(cut) > 0.15 if not style.full_body else np.mean(cut) < 0.15


@every_style
def test_a_character_stays_the_same_when_only_its_expression_changes(style):
    if "expression" not in style.choices():
        return
    samples = [style.sample(random.Random(seed)) for seed in range(30)]
    shared = [{k: v for k, v in sample.items() if k != "expression"} for sample in samples]
    shared = max(shared, key=lambda sample: len(style.allowed("expression", sample)))
    looks = []
    for expression in style.allowed("expression", shared):
        options = style.options(shared | {"expression": expression}, random.Random(4))
        moved = {part for parts in style.attributes["expression"].values() for part in parts}
        looks.append(
            {
                name: option
                for name, option in options.items()
                if name.removesuffix("Variant").removesuffix("Probability") not in moved
            }
        )
    assert len(looks) > 1
    assert all(look == looks[0] for look in looks)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"hair": "green"}, "hair 'green' cannot be drawn in micah style.*'bob'"),
        ({"wings": "two"}, "wings 'two' cannot be drawn in micah style.*only"),
        ({"hair": "short", "hat": "turban"}, "hair 'short' cannot be seen together with.*turban"),
        ({"hat": "none", "hat_color": "red"}, "cannot be seen together with"),
        (
            {"hair": "short", "hat_color": "red"},
            "No hat in micah style leaves.*'short'.*to be seen",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_what_can(attributes, words):
    with pytest.raises(ValueError, match=words):
        PEOPLE["micah"].options(attributes, random.Random(0))


def test_a_given_attribute_is_never_hidden_by_one_that_chance_adds():
    style = PEOPLE["open-peeps"]
    heads = style.attributes["hair"]["afro"]["head"].split()
    for seed in range(100):
        options = style.options({"hair": "afro"}, random.Random(seed))
        assert set(options["headVariant"]) <= set(heads)


def test_a_colour_that_is_named_brings_what_has_it():
    style = PEOPLE["voxel-art"]
    hats = {v for parts in style.attributes["hat"].values() for v in parts.get("top", "").split()}
    for seed in range(50):
        options = style.options({"hat_color": "red"}, random.Random(seed))
        assert set(options["topVariant"]) <= hats


def test_hair_of_open_peeps_takes_its_colour_in_every_cut():
    style = PEOPLE["open-peeps"]
    for cut in style.attributes["hair"].keys() - {"bald"}:
        red, green = (
            drawing(style, {"hair": cut, "hair_color": color, "hat": "none"})
            for color in ("red", "green")
        )
        assert (np.abs(red - green).max(axis=2) > 60).sum() > 200, cut
