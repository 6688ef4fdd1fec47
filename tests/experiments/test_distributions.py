"""Distances of two sets of pictures, on constructed cases whose answer is known."""

import math

import pytest
import torch

from experiments.distributions import coverage, frechet_distance, kid


def turned(*degrees: float) -> torch.Tensor:
    """Features of unit length in two dimensions."""
    angles = torch.tensor(degrees) * math.pi / 180
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def line(*places: float) -> torch.Tensor:
    return torch.tensor(places)[:, None]


def test_coverage_of_a_set_by_itself_is_full_and_by_one_far_away_is_none():
    real = line(0.0, 1, 2, 3, 4, 5, 6)
    found = coverage(real, real)
    assert (found["precision"], found["recall"], found["coverage"]) == (1, 1, 1)
    assert set(coverage(real + 100, real).values()) == {0.0}


def test_coverage_is_as_computed_by_hand():
    """With one neighbour each real picture reaches 1 far, and each drawn one 0.2, 0.2 and 9.6."""
    found = coverage(line(0.2, 0.4, 10), line(0.0, 1, 2), nearest=1)
    assert found["precision"] == pytest.approx(2 / 3)  # 0.2 and 0.4 are within reach of 0
    assert found["recall"] == pytest.approx(2 / 3)  # 1 and 2 within 9.6 of 10; 0 not 0.2 of 0.2
    assert found["density"] == pytest.approx((2 + 2 + 0) / 3)  # each also within reach of 1
    assert found["coverage"] == pytest.approx(2 / 3)  # of 0 and of 1
    with pytest.raises(ValueError, match="no neighbour number 3"):
        coverage(line(0.2, 0.4, 10), line(0.0, 1, 2), nearest=3)


def test_the_distances_that_need_torchmetrics_say_how_to_get_it(monkeypatch):
    monkeypatch.setattr("experiments.distributions.find_spec", lambda name: None)
    for distance in (kid, frechet_distance):
        with pytest.raises(ImportError, match=r"sdlearn\[metrics\]"):
            distance(turned(0, 10), turned(0, 20))


def test_kid_of_equal_sets_is_near_0_and_of_others_as_computed_by_hand():
    pytest.importorskip("torchmetrics")
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(200, 8, generator=generator) for _ in range(2))
    assert abs(kid(first, second)[0]) < 0.1 < 1 < kid(first, second + 1)[0]
    # kernel (x y + 1)^3: 1 of 0 with 0, 8 of 1 with 1, 1 of 0 with 1
    assert kid(line(0.0, 0), line(1.0, 1))[0] == pytest.approx(1 + 8 - 2)
    state = torch.random.get_rng_state()
    assert kid(first, second, subset_size=20) == kid(first, second, subset_size=20)
    assert torch.equal(state, torch.random.get_rng_state())
    with pytest.raises(ValueError, match="at least 2"):
        kid(turned(0), turned(0, 20))


def test_frechet_distance_is_as_computed_by_hand():
    pytest.importorskip("torchmetrics")
    # mean 0 and 3, variance 2 and 8: 9 + 2 + 8 - 2 * sqrt(16)
    assert frechet_distance(line(-1.0, 1), line(1.0, 5)) == pytest.approx(9 + 2 + 8 - 8, abs=1e-4)
    assert frechet_distance(line(-1.0, 1), line(-1.0, 1)) == pytest.approx(0, abs=1e-4)
    with pytest.raises(ValueError, match="at least two"):
        frechet_distance(turned(0), turned(0, 20))
