"""Claims 11 to 13 and the failure gallery: what they conclude, and runs at toy size."""

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image

from experiments import find
from experiments.failure_cases import SIDE, Case, from_sheet, opened, row_of
from experiments.size import SMALL

TOY = replace(
    SMALL, train_steps=1, sampler_steps=1, prior_pictures=2, class_pictures=2, effort=0.01
)
PROMPTS = 8


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    from experiments.bench import Bench

    return Bench(tmp_path_factory.mktemp("claims"), TOY)


def spread(value, number=PROMPTS):
    """Lists of figures, one for each prompt, around a value."""
    return [[value + 0.001 * (i % 3 - 1)] for i in range(number)]


def scale_unit(seen, diversity, kid=1.0):
    return {
        "asked_and_seen": spread(seen),
        "prompt_fit": spread(seen),
        "diversity": spread(diversity),
        "vendi_score": spread(2.0),
        "kid": spread(kid),
    }


def test_guidance_that_gains_fit_and_costs_diversity_agrees():
    from experiments.guidance import SCALES, conclude

    units = {s: scale_unit(0.5 + 0.03 * s, 0.5 - 0.03 * s, kid=abs(s - 3)) for s in SCALES}
    found = conclude(units)
    assert found.agrees is True
    assert found.figures["fit_gained"]["value"] == pytest.approx(0.12)
    assert found.figures["diversity_lost"]["value"] == pytest.approx(0.12)
    assert "scale 3 " in found.says
    assert "0.12 (0.12 to 0.12) higher" in found.says


def test_guidance_that_costs_fit_does_not_agree():
    from experiments.guidance import SCALES, conclude

    found = conclude({s: scale_unit(0.9 - 0.03 * s, 0.5 - 0.03 * s) for s in SCALES})
    assert found.agrees is False
    assert "0.12 (0.12 to 0.12) lower than without guidance" in found.says


def sampler_units(distances, ddpm_seen):
    """Units whose distance falls as 1 / steps from what is given for one step."""
    from experiments.sampler_steps import SAMPLERS, STEPS

    units = {}
    for name in SAMPLERS:
        for steps in STEPS:
            unit = {"asked_and_seen": [[0.9] * PROMPTS], "kid": [[1.0, 2.0, 3.0]]}
            if name == "ddpm":
                unit["asked_and_seen"] = [[ddpm_seen] * PROMPTS]
            else:
                unit["distance"] = [[distances.get(name, 1.0) / steps] * PROMPTS]
            units[name, steps] = unit
    return units


@pytest.mark.parametrize(
    ("distances", "ddpm_seen", "agrees"),
    [
        ({"dpm++": 0.2}, 0.3, True),
        ({"dpm++": 2.0}, 0.3, False),  # DPM-Solver++ is farther than DDIM
        ({"dpm++": 0.2, "quasi-taylor-3": 1.3}, 0.3, False),  # it is not on a par
        ({"dpm++": 0.2}, 0.95, False),  # DDPM sees more than DDIM with the fewest steps
    ],
)
def test_samplers_are_concluded_from_their_distances(distances, ddpm_seen, agrees):
    from experiments.sampler_steps import conclude

    found = conclude(sampler_units(distances, ddpm_seen), [0.01, 0.02])
    assert found.agrees is agrees
    assert found.figures["converged_apart"]["value"] == pytest.approx(0.015)
    assert "distance" not in found.figures["rows"]["DDPM"]


def space_unit(kid, seen, step_seconds):
    return {
        "steps": 100,
        "seconds": 100 * step_seconds,
        "picture_seconds": 0.1,
        "parameters": 10,
        "frechet": kid,
        "kid": [[kid, kid + 0.1]],
        "asked_and_seen": [[seen] * PROMPTS],
        "prompt_fit": [[seen] * PROMPTS],
    }


@pytest.mark.parametrize(("kid", "seen", "agrees"), [(5.0, 0.9, True), (5.0, 0.2, False)])
def test_latents_are_compared_with_pixels_at_the_longest_time(kid, seen, agrees):
    from experiments.latent import conclude

    units = {
        "pixels": [space_unit(99, 0.1, 0.2), space_unit(20.0, 0.5, 0.2)],
        "latents": [space_unit(99, 0.1, 0.1), space_unit(kid, seen, 0.1)],
    }
    found = conclude([10.0, 20.0], units, vae_minutes=90)
    assert found.agrees is agrees
    assert found.figures["rows"]["latents"]["step_seconds"] == pytest.approx(0.1)
    assert "200 ms in pixels and 100 ms in latents, 2.0 times less" in found.says


def failure_pairs(worse):
    from experiments.failures import FAILURES

    images = [Image.new("RGB", (64, 64), "red")] * 2
    return {
        failure.name: (
            Case(values=[0.5 + (worse if failure.higher else -worse)] * 4, images=images),
            Case(values=[0.5] * 4, images=images),
        )
        for failure in FAILURES
    }


OVERFLOW = {"largest": {"unet": 10.0, "vae": 65.504}, "times": 4096}


def test_failures_that_show_in_their_figures_agree():
    from experiments.failures import FAILURES, conclude, draw

    found = conclude(failure_pairs(0.25), OVERFLOW)
    assert found.agrees is True
    assert f"{len(FAILURES)} of {len(FAILURES)} failures show" in found.says
    assert "1000 times below what fp16 holds" in found.says
    assert "These do not" not in found.says
    assert len(draw(json.loads(json.dumps(found.figures))).axes) == 2 * len(FAILURES)


def test_a_failure_that_does_not_show_is_said_to_be_none():
    from experiments.failures import FAILURES, conclude

    pairs = failure_pairs(0.25)
    last = FAILURES[-1].name
    pairs[last] = pairs[last][::-1]  # the failing run is the better one
    found = conclude(pairs, OVERFLOW)
    assert found.agrees is False
    assert f"These do not: {last}" in found.says


def test_every_failure_says_how_it_is_searched_told_and_mended():
    from experiments.failures import FAILURES

    assert len({failure.name for failure in FAILURES}) == len(FAILURES) == 9
    assert all(f.search and f.metric and f.mend.endswith(".") for f in FAILURES)


def test_a_row_of_pictures_comes_back_from_text():
    row = opened(row_of([Image.new("RGB", (64, 64), color) for color in ("red", "blue")]))
    assert row.size == (2 * SIDE, SIDE)
    assert row.getpixel((1, 1)) == (255, 0, 0)
    assert row.getpixel((SIDE + 1, 1)) == (0, 0, 255)


def test_pictures_are_cut_out_of_a_sheet(tmp_path):
    from experiments.bench import sheet

    colors = [["red", "blue"], ["lime", "white"]]
    rows = [[Image.new("RGB", (64, 64), color) for color in row] for row in colors]
    first, second = from_sheet(sheet(rows, tmp_path / "sheet.png"), 1, 2)
    assert first.getpixel((5, 5)) == (0, 255, 0)
    assert second.getpixel((5, 5)) == (255, 255, 255)


def test_a_decoder_with_larger_features_draws_the_same_in_float32_and_nothing_in_float16():
    from experiments.overflow import LIMIT, enlarged, largest
    from sdlearn.models import load

    vae = load("mini").vae
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    large = enlarged(vae, 65536.0)
    with torch.no_grad(), largest(large) as reached:
        same = large.decode(latents).sample
        torch.testing.assert_close(same, vae.decode(latents).sample, atol=1e-3, rtol=1e-3)
        assert reached[0] > LIMIT
        assert not large.half().decode(latents.half()).sample.isfinite().all()


def test_creatures_to_learn_from_and_to_draw_are_never_of_one_combination():
    from experiments.latent_runs import STYLE, creatures, told
    from sdlearn.data.faces import is_held_out

    seen, new = creatures(20, held_out=False), creatures(10, held_out=True)
    assert [len(seen), len(new)] == [20, 10]
    assert {a["style"] for _, a in seen + new} == {STYLE}
    assert not any(is_held_out(a) for _, a in seen)
    assert all(is_held_out(a) for _, a in new)
    assert told(new).shape == (10, 4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["guidance", "latent", "failures"])
def test_a_claim_of_drawing_at_toy_size_writes_its_result_and_its_figure(bench, tmp_path, name):
    from experiments.claim import run_claim

    kept = run_claim(name, bench, tmp_path)
    assert json.loads((tmp_path / f"{name}.json").read_text()) == json.loads(json.dumps(kept))
    assert (tmp_path / f"{name}.png").stat().st_size > 5000
    assert find(name).number == kept["number"]
