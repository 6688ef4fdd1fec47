"""The picture world: deterministic, true, and split by rule."""

import random
import subprocess
import sys

import numpy as np
import pytest

from sdlearn.data.captions import caption, mentioned
from sdlearn.data.faces import is_held_out, sample_attributes
from sdlearn.data.render import characters, draw, render
from sdlearn.data.styles import BASE_STYLES
from sdlearn.data.vocabulary import BACKGROUNDS

DIGEST = (
    "import hashlib;from sdlearn.data.render import characters, render;"
    "h=hashlib.sha256();"
    "[h.update(p.tobytes()) for p in render(characters(8, seed=3), 32, workers=1)];"
    "print(h.hexdigest())"
)


def test_pictures_are_the_same_in_every_process() -> None:
    """Python's hash of a string differs between processes; a picture must not depend on it."""
    digests = set()
    for hash_seed in ("1", "2"):
        environment = {"PYTHONHASHSEED": hash_seed, "PATH": ""}
        command = [sys.executable, "-c", DIGEST]
        digests.add(
            subprocess.run(command, env=environment, capture_output=True, check=True).stdout
        )
    assert len(digests) == 1


def test_worker_processes_draw_the_same_as_one() -> None:
    chosen = characters(40)
    alone, shared = render(chosen, 32, workers=1), render(chosen, 32, workers=2)
    assert all(np.array_equal(a, b) for a, b in zip(alone, shared, strict=True))


def test_every_value_of_every_style_can_be_drawn_and_looks_different() -> None:
    for style in BASE_STYLES.values():
        base = {"style": style.name, "background": "white"}
        base |= {name: values[0] for name, values in style.choices().items()}
        for name, values in style.choices().items():
            pictures = [np.asarray(draw(base | {name: value}, 64)) for value in values]
            for i, one in enumerate(pictures):
                for other in pictures[i + 1 :]:
                    assert not np.array_equal(one, other), (style.name, name)


def test_background_pixel_has_the_named_colour() -> None:
    for name, color in BACKGROUNDS.items():
        attributes = sample_attributes(0, 0) | {"background": name}
        corner = np.asarray(draw(attributes, 64))[0, 0]
        assert "#{:02x}{:02x}{:02x}".format(*corner) == color.hex


def test_held_out_combinations_are_a_tenth_and_never_sampled_for_training() -> None:
    assert not any(is_held_out(a) for _, a in characters(500))
    assert all(is_held_out(a) for _, a in characters(100, held_out=True))
    rng = random.Random(0)
    from sdlearn.data.faces import _draw

    share = sum(is_held_out(_draw(rng)) for _ in range(5000)) / 5000
    assert 0.08 < share < 0.12


def test_captions_say_what_is_true_and_nothing_else() -> None:
    a = {"style": "micah", "hair": "bob", "hair_color": "purple", "expression": "smiling"}
    a |= {"glasses": "round", "clothes_color": "orange", "background": "orange"}
    assert caption(a) == (
        "a smiling person with a purple bob and round glasses, wearing orange clothes, "
        "on an orange background, micah style"
    )
    assert caption(a, "ja") == (
        "micah風の、紫のボブヘアで丸眼鏡をかけた笑顔の人、オレンジの服、オレンジの背景"
    )
    assert caption({"background": "red"}) == "a person, on a red background"
    creature = {"style": "critters", "body_color": "orange"}
    assert caption(creature) == "an orange creature, critters style"


@pytest.mark.parametrize("language", ["en", "ja"])
def test_captions_vary_and_leave_attributes_out(language: str) -> None:
    _, attributes = characters(1, seed=5)[0]
    rng = random.Random(0)
    texts = {caption(mentioned(attributes, rng), language, rng) for _ in range(100)}
    assert len(texts) > 50


def test_what_cannot_be_drawn_is_named_with_what_can() -> None:
    with pytest.raises(ValueError, match="expression 'bored' cannot be drawn in micah style"):
        draw({"style": "micah", "expression": "bored"}, 32)
    with pytest.raises(ValueError, match="'lorelei' is not a base style"):
        draw({"style": "lorelei", "background": "red"}, 32)
