"""The demo's parts that need no model: wording, layout, sheet and table."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdlearn.course.demo import DemoConfig
from sdlearn.course.demo.drawing import Drawn
from sdlearn.course.demo.layout import Box, lay_out
from sdlearn.course.demo.methods import demo_methods
from sdlearn.course.demo.scores import COLUMNS, Row, format_table, judge
from sdlearn.course.demo.sheet import write
from sdlearn.data.captions import caption
from sdlearn.data.characters import draw_character
from sdlearn.data.folder import Picture
from sdlearn.evaluate.situations import caption_subject, class_prompt, prompt, situations


def test_prompts_are_worded_as_the_captions_of_the_picture_world():
    asked = {"expression": "smiling", "glasses": "sunglasses", "background": "green"}
    said = "a picture of a smiling {} with sunglasses, on a green background"
    assert prompt(asked, "person") == f"a picture of {caption(asked)}" == said.format("person")
    assert prompt(asked, "person", "sks person") == said.format("sks person")
    assert prompt(asked, "person", "<my-character>") == said.format("<my-character>")
    assert prompt(asked, "creature") == said.format("creature")
    bare = {"background": "green"}
    assert prompt(bare, "person", "sks person") == "a picture of sks person, on a green background"
    assert prompt(bare, "animal") == "a picture of an animal, on a green background"
    assert prompt({}, "person", "sks person") == "a picture of sks person"
    assert class_prompt("person") == "a picture of a person"


def test_training_texts_say_everything_but_the_subject_and_its_style():
    picture = draw_character("lorelei", 0, 1, 32)[0]
    assert "lorelei" in picture.text
    expected = "a picture of a {expression} sks person, on a {background} background"
    [text] = [p.text for p in caption_subject([picture], "person", "sks person")]
    assert text.replace(" an orange", " a orange") == expected.format(**picture.attributes)
    assert (
        caption_subject([picture], "person", "sks person", False)[0].text
        == "a picture of sks person"
    )


def test_texts_of_own_pictures_are_kept_where_they_name_the_class():
    image = Image.new("RGB", (32, 32))
    for text, expected in {
        "a person at the sea": "sks person at the sea",
        "an old person": "an old sks person",
        "at the sea": "a picture of sks person",
        "": "a picture of sks person",
    }.items():
        [picture] = caption_subject([Picture(image=image, text=text)], "person", "sks person")
        assert picture.text == expected


@pytest.mark.parametrize(("style", "word"), [("lorelei", "person"), ("clay", "creature")])
def test_the_five_situations_are_on_backgrounds_that_no_training_picture_has(style, word):
    pictures = draw_character(style, 1, 5, 32)
    asked = situations(pictures, word)
    new = {situation["background"] for situation in asked}
    assert len(asked) == len(new) == 5
    assert not new & {picture.attributes["background"] for picture in pictures}
    everywhere = [
        Picture(image=pictures[0].image, attributes={"background": color})
        for color in ("red", "orange", "yellow", "green", "turquoise", "blue", "purple", "pink")
    ]
    assert len({s["background"] for s in situations(everywhere, word)}) == 5


def overlap(a: Box, b: Box) -> bool:
    return (
        a.x < b.x + b.width
        and b.x < a.x + a.width
        and a.y < b.y + b.height
        and b.y < a.y + a.height
    )


@pytest.mark.parametrize("class_pictures", [1, 7, 8, 20])
@pytest.mark.parametrize("training", [1, 5, 40])
def test_nothing_on_the_sheet_overlaps_or_leaves_it(class_pictures, training):
    layout = lay_out(rows=4, columns=5, class_pictures=class_pictures, training=training)
    boxes = [layout.title, layout.training_label, layout.legend, layout.class_header]
    boxes += [layout.footer, *layout.training, *layout.headers, *layout.labels]
    for row in (*layout.situations, *layout.class_pictures):
        boxes += row
    assert [len(row) for row in layout.class_pictures] == [class_pictures] * 4
    for i, box in enumerate(boxes):
        assert min(box.x, box.y, layout.width - box.x - box.width) >= 0
        assert box.y + box.height <= layout.height
        assert min(box.width, box.height) > 0
        assert not [other for other in boxes[:i] if overlap(box, other)]


def test_columns_and_rows_of_the_sheet_are_straight_and_the_usual_sheet_suits_a_projector():
    layout = lay_out(rows=4, columns=5, class_pictures=8, training=5)
    assert len(layout.training) == 5
    assert 1.2 < layout.width / layout.height < 16 / 9 + 0.1
    for row, label in zip(layout.situations, layout.labels, strict=True):
        assert {box.y for box in row} == {label.y}
        assert [box.x for box in row] == [box.x for box in layout.headers]


def test_text_on_the_sheet_stays_in_its_box():
    for text in ("short", "a long sentence that goes on and on " * 5, "Donaudampfschiff" * 4):
        sheet, box = Image.new("RGB", (400, 200), "white"), Box(20, 20, 300, 100)
        assert 0 < write(sheet, text, box, size=30) <= 100
        drawn = np.argwhere(np.asarray(sheet.convert("L")) < 200)
        assert drawn[:, 0].min() >= 20
        assert drawn[:, 0].max() < 125
        if " " in text:
            assert drawn[:, 1].max() < 320


def test_the_table_tells_who_learnt_the_subject_and_who_drifted(toy_folder):
    """The subject itself stands for pictures of a method that learnt all, and drifted entirely."""
    subject = [p.image for p in draw_character("lorelei", 0, 3, 48)]
    others = [p.image for p in draw_character("voxel-art", 4, 3, 48)]
    asked = situations([], "person")[:3]

    def row(method, situation_images, class_images):
        drawn = [
            [Drawn(image=i, prompt="", seed=0, path=Path()) for i in images]
            for images in (situation_images, class_images)
        ]
        return Row(
            method=method, called="", artefact=None, situations=drawn[0], class_pictures=drawn[1]
        )

    all_methods = demo_methods(DemoConfig())
    rows = [row(all_methods[0], others, others), row(all_methods[2], subject, subject)]
    scores, why_not = judge(rows, subject, asked, "person", str(toy_folder))
    before, after = scores["before"], scores["dreambooth"]
    assert not why_not
    assert after["fidelity"] > before["fidelity"]
    assert after["class_like_subject"] > before["class_like_subject"]
    assert before["class_shift"] == 0
    for value in after.values():
        assert -1 <= value <= 1
    lines = format_table(rows, scores).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert all(column.label in lines[0] for column in COLUMNS)
