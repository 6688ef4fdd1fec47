"""The judges and the metrics, on cases whose answer is known."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from sdlearn.data.world.attributes import attribute_values, sample_attributes
from sdlearn.data.world.render import draw
from sdlearn.evaluate import (
    Judges,
    attribute_fit,
    attribute_shift,
    class_drift,
    prompt_fit,
    subject_fidelity,
    total_variation,
)
from sdlearn.evaluate.metrics import attribute_shares, psnr, retrieval_accuracy

ATTRIBUTE_VALUES = attribute_values()


@pytest.fixture(scope="module")
def judges(toy_folder: Path) -> Judges:
    return Judges.load(toy_folder)


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    return [draw(sample_attributes(0, i), 48, seed=i) for i in range(4)]


def test_the_reader_names_one_known_value_of_every_attribute(judges, images):
    assert judges.values == ATTRIBUTE_VALUES
    for read, likely in zip(judges.read(images), judges.read_probabilities(images), strict=True):
        assert read.keys() == ATTRIBUTE_VALUES.keys()
        for name, value in read.items():
            assert sum(likely[name].values()) == pytest.approx(1, abs=1e-5)
            assert likely[name][value] == max(likely[name].values())


def test_the_reader_reads_as_it_was_trained(judges, images):
    """The labels are taken apart by their names; training splits them by position."""
    from sdlearn.data.folder import to_pixel_values
    from sdlearn.pretrain.judges import split_logits

    pixel_values = torch.stack([to_pixel_values(image, 32) for image in images])
    for name, logits in split_logits(judges.reader(pixel_values).logits).items():
        expected = [ATTRIBUTE_VALUES[name][i] for i in logits.argmax(1).tolist()]
        assert [picture[name] for picture in judges.read(images)] == expected


def test_embeddings_have_unit_length_and_do_not_depend_on_the_batch(judges, images):
    prompts = ["a person", "赤い背景の人", "a smiling person, micah style", "a creature"]
    for embed, items in (
        (judges.image_embeds, images),
        (judges.clip_image_embeds, images),
        (judges.clip_text_embeds, prompts),
    ):
        together = embed(items * 10)
        assert together.dtype == torch.float32
        torch.testing.assert_close(together.norm(dim=1), torch.ones(40))
        alone = torch.cat([embed([item]) for item in items])
        torch.testing.assert_close(together[-4:], alone, atol=1e-5, rtol=1e-4)


def test_judges_see_pictures_of_any_size_and_mode(judges, images):
    assert judges.image_embeds([images[0].resize((90, 60)).convert("L")]).shape[0] == 1


def test_the_same_picture_is_entirely_faithful_and_drifts_entirely(judges, images):
    assert subject_fidelity(judges, images[:1], images[:1]) == pytest.approx(1, abs=1e-5)
    assert class_drift(judges, images[:1] * 3, images[:1] * 2) == pytest.approx(1, abs=1e-5)


def test_fidelity_is_the_mean_over_all_pairs(judges, images):
    pairs = [subject_fidelity(judges, [a], [b]) for a in images[:2] for b in images[2:]]
    assert subject_fidelity(judges, images[:2], images[2:]) == pytest.approx(
        sum(pairs) / 4, abs=1e-5
    )
    assert min(pairs) < 1 - 1e-6


def test_prompt_fit_takes_each_picture_with_its_own_prompt(judges, images):
    prompts = ["a person", "赤い人", "a creature with horns", "no glasses"]
    single = [prompt_fit(judges, [i], [p]) for i, p in zip(images, prompts, strict=True)]
    assert prompt_fit(judges, images, prompts) == pytest.approx(sum(single) / 4, abs=1e-5)


def test_attribute_fit_is_the_share_of_what_was_asked(judges, images):
    read = judges.read(images)
    assert attribute_fit(judges, images, read) == 1
    others = {n: next(v for v in ATTRIBUTE_VALUES[n] if v != read[0][n]) for n in read[0]}
    assert attribute_fit(judges, images[:1], [others]) == 0
    asked = [{"style": read[0]["style"]}, {"hair": read[1]["hair"], "top": read[1]["top"]}]
    asked[1]["background"] = others["background"]
    wrong = others["background"] != read[1]["background"]
    assert attribute_fit(judges, images[:2], asked) == (0.75 if wrong else 1)


def test_shares_are_counted_by_attribute():
    read = [{"style": "micah", "glasses": "none"}, {"style": "critters", "glasses": "round"}]
    asked = [{"style": "micah", "glasses": "round"}, {"style": "critters"}]
    assert attribute_shares(read, asked, ATTRIBUTE_VALUES) == {"style": 1.0, "glasses": 0.0}


def test_total_variation_of_known_distributions():
    reds, blues = [{"hair_color": "red"}] * 4, [{"hair_color": "blue"}] * 2
    assert total_variation(reds, reds * 2) == 0
    assert total_variation(reds, blues) == 1
    assert total_variation(reds + blues * 2, reds) == 0.5
    two = [{"hair_color": "red", "style": style} for style in ("micah", "critters")]
    assert attribute_shift(two, two[:1]) == {"hair_color": 0, "style": 0.5}
    assert total_variation(two, two[:1]) == 0.25


def test_psnr_of_a_known_error():
    black = torch.full((2, 3, 4, 4), -1.0)
    wrong = black.clone()
    wrong[1] += 0.2  # a tenth of the range
    assert psnr(wrong, black).tolist() == [float("inf"), pytest.approx(20.0, abs=1e-4)]
    assert psnr(black - 5, black)[0] == float("inf"), "what is over the range is cut off"


def test_retrieval_counts_pictures_whose_own_caption_is_nearest(judges, images, monkeypatch):
    corners = torch.eye(4)
    monkeypatch.setattr(Judges, "clip_image_embeds", lambda self, images: corners[: len(images)])
    monkeypatch.setattr(Judges, "clip_text_embeds", lambda self, texts: corners[[0, 1, 3, 2]])
    assert retrieval_accuracy(judges, images, ["x"] * 4, among=4) == 0.5
    monkeypatch.undo()
    assert retrieval_accuracy(judges, images, ["x"] * 4, among=1) == 1
    with pytest.raises(ValueError, match="make no group of 5"):
        retrieval_accuracy(judges, images, ["x"] * 4, among=5)


def test_what_cannot_be_measured_is_refused_in_words(judges, images, tmp_path, tiny_folder):
    with pytest.raises(ValueError, match="no pictures"):
        subject_fidelity(judges, [], images)
    with pytest.raises(ValueError, match="4 pictures and 1 prompts"):
        prompt_fit(judges, images, ["a person"])
    with pytest.raises(ValueError, match="does not know hair=green"):
        attribute_fit(judges, images[:1], [{"hair": "green"}])
    with pytest.raises(ValueError, match="no attribute was asked"):
        attribute_fit(judges, images[:1], [{}])
    with pytest.raises(ValueError, match="nothing was read"):
        total_variation([], [{"style": "micah"}])
    with pytest.raises(FileNotFoundError, match="has no judge clip, image-encoder, reader"):
        Judges.load(tiny_folder)
    with pytest.raises(FileNotFoundError, match='"sd15" has no judges'):
        Judges.load("sd15")
