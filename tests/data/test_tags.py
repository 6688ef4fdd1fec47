import pytest
import torch

from sdlearn.data.tags import clean_tags, join_tags, vary_tags

TAGS = [str(number) for number in range(10)]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("caption", "tags"),
    [
        ("1girl, long_hair,smile", ["1girl", "long hair", "smile"]),
        ("1girl long_hair smile", ["1girl", "long hair", "smile"]),
        ("two words", ["two words"]),
        (r"saber_\(fate\), [hat\]", ["saber (fate)", "[hat]"]),
        ("^_^, >_<, o_o, blue_eyes", ["^_^", ">_<", "o_o", "blue eyes"]),
        ("Smile, hat, smile, SMILE", ["Smile", "hat"]),
        ("long_hair, long hair", ["long hair"]),
        (" , ,a__b ,", ["a b"]),
        ("笑顔、眼鏡，帽子", ["笑顔", "眼鏡", "帽子"]),
        ("", []),
    ],
)
def test_captions_come_apart_into_clean_tags(caption, tags):
    assert clean_tags(caption) == tags


def test_cleaning_what_is_clean_changes_nothing():
    once = clean_tags(r"long_hair, hat_\(a\), ^_^, x")
    assert clean_tags(join_tags(once)) == once


def test_tags_are_shuffled_but_for_the_first_ones():
    orders = [vary_tags(TAGS, generator(seed), keep_tags=3) for seed in range(20)]
    assert all(order[:3] == TAGS[:3] and sorted(order) == TAGS for order in orders)
    assert len({tuple(order) for order in orders}) > 15
    assert vary_tags(TAGS, generator(), shuffle=False) == TAGS


def test_each_tag_is_dropped_at_the_given_rate_and_kept_ones_never_are():
    varied = [vary_tags(TAGS, generator(seed), keep_tags=2, dropout=0.3) for seed in range(500)]
    assert all(tags[:2] == TAGS[:2] for tags in varied)
    for tag in TAGS[2:]:
        assert sum(tag not in tags for tags in varied) / 500 == pytest.approx(0.3, abs=0.07)


def test_what_is_dropped_and_shuffled_follows_from_the_generator():
    settings = {"keep_tags": 1, "dropout": 0.5}
    assert vary_tags(TAGS, generator(4), **settings) == vary_tags(TAGS, generator(4), **settings)


def test_one_tag_is_always_left():
    assert vary_tags(["only", "two"], generator(), dropout=0.999) == ["only"]
    assert vary_tags([], generator(), dropout=0.5) == []
