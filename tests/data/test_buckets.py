import math
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from sdlearn.data.buckets import (
    BucketRow,
    assign_buckets,
    bucket_of,
    bucket_sizes,
    bucket_table,
    misfit,
    share_cut,
)


def many_sizes(count=300, smallest=40, largest=3000):
    rng = np.random.default_rng(0)
    return [(int(h), int(w)) for h, w in rng.integers(smallest, largest, (count, 2))]


@pytest.mark.parametrize(("side", "step"), [(64, 16), (512, 64), (1024, 64), (1024, 8)])
def test_sizes_stay_within_the_area_and_none_could_be_larger(side, step):
    sizes = bucket_sizes(side, step)
    assert (side, side) in sizes
    for height, width in sizes:
        assert height % step == width % step == 0
        assert height * width <= side * side
        assert side // 2 <= min(height, width) <= max(height, width) <= 2 * side
        assert (width, height) in sizes
        assert (height + step) * (width + step) > side * side


def test_a_side_that_is_no_multiple_of_the_step_is_refused():
    with pytest.raises(ValueError, match="500 pixels have no buckets: give a multiple of 64"):
        bucket_sizes(500, 64)


def test_each_picture_goes_to_the_nearest_shape():
    sizes = bucket_sizes(512, 64)
    assert bucket_of((2000, 3000), sizes, 64) == (384, 640)
    assert bucket_of((900, 1000), sizes, 64) == (512, 512)
    for picture in many_sizes(smallest=1024):
        chosen = bucket_of(picture, sizes, 64)
        distances = {s: abs(math.log(picture[0] * s[1] / picture[1] / s[0])) for s in sizes}
        assert distances[chosen] == pytest.approx(min(distances.values()))


def test_small_pictures_are_not_enlarged_beyond_need():
    sizes = bucket_sizes(512, 64)
    assert bucket_of((330, 400), sizes, 64) == (320, 384)
    assert bucket_of((300, 200), sizes, 64) == (256, 256)  # enlarged: no side may be shorter
    for picture in many_sizes(largest=900):
        chosen = bucket_of(picture, sizes, 64)
        assert chosen[0] * chosen[1] <= 512 * 512
        if min(picture) >= 256:
            assert chosen[0] <= picture[0]
            assert chosen[1] <= picture[1]


def test_how_badly_a_picture_fits_is_what_is_cut_and_what_is_enlarged():
    assert share_cut((100, 200), (64, 64)) == pytest.approx(0.5)
    assert share_cut((100, 200), (64, 128)) == pytest.approx(0)
    assert misfit((64, 128), (64, 64)) == pytest.approx(math.log(2))
    assert misfit((32, 32), (64, 64)) == pytest.approx(math.log(2))
    assert misfit((128, 128), (64, 64)) == pytest.approx(0)


def test_rare_sizes_are_given_up_and_their_pictures_go_to_the_next_nearest():
    pictures = [(1000, 1000)] * 10 + [(1000, 1600)] * 5 + [(1000, 2000)] * 2
    assert len(set(assign_buckets(pictures, 512, 64))) == 3
    chosen = assign_buckets(pictures, 512, 64, at_least=4)
    assert chosen == [(512, 512)] * 10 + [(384, 640)] * 7
    assert set(assign_buckets(pictures, 512, 64, at_least=99)) == {(512, 512)}
    for at_least in (1, 8, 40):
        chosen = assign_buckets(many_sizes(), 512, 64, at_least)
        assert min(chosen.count(size) for size in set(chosen)) >= at_least


def rows(counts, group, seed=0):
    chosen = [(64, 64 + 16 * size) for size, count in enumerate(counts) for _ in range(count)]
    return BucketRow(chosen, group, seed), chosen


@pytest.mark.parametrize("group", [1, 3, 4])
def test_a_group_holds_one_size_and_no_picture_is_starved_or_favoured(group):
    row, chosen = rows([7, 12, 4], group)
    steps = 23 * 12 // group
    shown = [row.indices(step) for step in range(steps)]
    assert all(len({chosen[i] for i in indices}) == 1 for indices in shown)
    counts = np.bincount([i for indices in shown for i in indices], minlength=23)
    assert counts.min() >= 11
    assert counts.max() <= 13


def test_an_epoch_shows_every_picture_once():
    row, _ = rows([6, 12, 3], 3)
    for epoch in range(5):
        shown = [i for step in range(7 * epoch, 7 * epoch + 7) for i in row.indices(step)]
        assert sorted(shown) == list(range(21))


def test_what_an_epoch_leaves_over_opens_the_next_so_that_all_are_seen_equally_often():
    row, _ = rows([7, 12, 4], 3)
    for start in (0, 23, 46):  # three epochs make whole groups of every size
        shown = [i for step in range(start, start + 23) for i in row.indices(step)]
        assert np.bincount(shown).tolist() == [3] * 23


def test_what_comes_when_follows_from_seed_and_step():
    first, again, other = rows([7, 12], 2)[0], rows([7, 12], 2)[0], rows([7, 12], 2, seed=1)[0]
    straight = [first.indices(step) for step in range(30)]
    assert [again.indices(step) for step in reversed(range(30))] == straight[::-1]
    assert [other.indices(step) for step in range(30)] != straight


def test_sizes_take_turns_in_no_fixed_order():
    row, chosen = rows([24, 24], 2)
    for epoch in (0, 1):
        turns = [chosen[row.indices(step)[0]] for step in range(24 * epoch, 24 * epoch + 24)]
        assert turns.count((64, 64)) == 12
        assert sum(one != other for one, other in pairwise(turns)) > 5


def test_fewer_pictures_than_a_group_repeat():
    row, _ = rows([2], 4)
    assert sorted(row.indices(0)) == [0, 0, 1, 1]
    assert row.epoch(3) == 6


def test_the_table_of_a_folder_counts_and_says_what_is_lost(tmp_path):
    for number, (width, height) in enumerate([(600, 600), (600, 600), (1200, 600), (300, 300)]):
        Image.new("RGB", (width, height)).save(tmp_path / f"{number}.png")
    turned = Image.new("RGB", (600, 1200))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    lines = [line.split() for line in bucket_table(tmp_path, 512, 64).splitlines()[1:]]
    assert lines == [
        ["256", "x", "256", "1.00", "1", "100%", "0"],
        ["512", "x", "512", "1.00", "2", "100%", "0"],
        ["704", "x", "320", "2.20", "2", "91%", "0"],
    ]
