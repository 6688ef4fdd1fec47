"""The checks of the exercises: right answers pass, wrong ones are told why, stubs stay stubs."""

import math

import pytest
import torch

from sdlearn.course import checks


def noised(signal, spread):
    """An `add_noise` with these two factors of alpha_bar, in which each picture has its own."""

    def answer(latents, noise, alpha_bar):
        share = alpha_bar.view(-1, 1, 1, 1)
        return signal(share) * latents + spread(share) * noise

    return answer


RIGHT_NOISE = noised(lambda a: a.sqrt(), lambda a: (1 - a).sqrt())
WRONG_NOISE = {
    "square root": noised(lambda a: a, lambda a: 1 - a),
    "wrong way round": noised(lambda a: (1 - a).sqrt(), lambda a: a.sqrt()),
    r"not 1 - sqrt\(alpha_bar\)": noised(lambda a: a.sqrt(), lambda a: 1 - a.sqrt()),
    "needs its factor": noised(lambda a: 1, lambda a: (1 - a).sqrt()),
    "used the first one's": lambda latents, noise, alpha_bar: (
        alpha_bar[0].sqrt() * latents + (1 - alpha_bar[0]).sqrt() * noise
    ),
    r"has \(2, 4, 4\)": lambda latents, noise, alpha_bar: latents[0],
    "raised RuntimeError": lambda latents, noise, alpha_bar: alpha_bar * latents,
    "must take the arguments latents, noise, alpha_bar": lambda x: x,
    "should be a tensor, and is NoneType": lambda latents, noise, alpha_bar: None,
    "not finite": noised(lambda a: a / 0, lambda a: a),
    "is off: ": noised(lambda a: a.sqrt(), lambda a: 0.5),
}
WRONG_STEPS = {
    "no noise left": lambda x, e, a, b: (x - (1 - a).sqrt() * e) / a.sqrt(),
    "goes nowhere": lambda x, e, a, b: x,
    "not at the old level": lambda x, e, a, b: (
        b.sqrt() * (x - (1 - a).sqrt() * e) / a.sqrt() + (1 - a).sqrt() * e
    ),
}


def test_a_right_function_earns_its_points_and_a_remark():
    verdict = checks.add_noise(RIGHT_NOISE)
    assert verdict.points == 1
    assert repr(verdict).startswith("✔ add_noise: right (1 point). ")


@pytest.mark.parametrize("why", WRONG_NOISE)
def test_a_wrong_formula_is_told_what_is_wrong_with_it(why):
    with pytest.raises(checks.WrongAnswer, match=why):
        checks.add_noise(WRONG_NOISE[why])


@pytest.mark.parametrize("why", WRONG_STEPS)
def test_a_wrong_step_is_told_what_is_wrong_with_it(why):
    wrong = WRONG_STEPS[why]

    def ddim_step(noisy_latents, model_pred, alpha_bar, alpha_bar_prev):
        return wrong(noisy_latents, model_pred, alpha_bar, alpha_bar_prev)

    with pytest.raises(checks.WrongAnswer, match=why):
        checks.ddim_step(ddim_step)


@pytest.mark.parametrize(
    ("answer", "why"), [(250, "more picture"), (600, "more noise"), (521, "root")]
)
def test_a_wrong_number_is_told_on_which_side_it_lies(answer, why):
    with pytest.raises(checks.WrongAnswer, match=why):
        checks.half_gone(answer)


def test_a_stub_is_neither_right_nor_wrong():
    def add_noise(latents, noise, alpha_bar):
        raise NotImplementedError("your code here")

    for check, stub in ((checks.add_noise, add_noise), (checks.half_gone, ...)):
        with pytest.raises(NotImplementedError):
            check(stub)


def test_a_wrong_answer_is_shown_as_one_sentence():
    with pytest.raises(checks.WrongAnswer) as raised:
        checks.half_gone("many")
    shown = raised.value._render_traceback_()
    assert shown == ["✘ Not yet: half_gone should be a number, and is 'many'"]


def test_a_check_leaves_the_learner_s_random_numbers_alone():
    torch.manual_seed(5)
    expected = torch.randn(3)
    torch.manual_seed(5)
    checks.add_noise(RIGHT_NOISE)
    assert torch.equal(torch.randn(3), expected)


def test_every_check_belongs_to_a_chapter_and_can_be_called_by_its_name():
    for chapter in checks.CHAPTERS.values():
        for check in chapter:
            assert getattr(checks, check.__name__) is check
            assert check.points > 0


def slerp(one, other, share):
    angle = torch.acos((one * other).sum() / (one.norm() * other.norm()))
    return (torch.sin((1 - share) * angle) * one + torch.sin(share * angle) * other) / angle.sin()


def to_picture(latents, vae):
    pixels = vae.decode(latents / vae.config.scaling_factor).sample[0]
    return ((pixels.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0)


MORE_RIGHT = {
    "slerp": slerp,
    "order": lambda error, error_at_twice_the_steps: math.log2(error / error_at_twice_the_steps),
    "unet_runs": 40,
    "to_picture": to_picture,
    "guide": lambda noise_pred_uncond, noise_pred_text, guidance_scale: (
        noise_pred_uncond + guidance_scale * (noise_pred_text - noise_pred_uncond)
    ),
}
MORE_WRONG = [
    ("slerp", "straight line", lambda one, other, share: (1 - share) * one + share * other),
    ("slerp", "backwards", lambda one, other, share: slerp(other, one, share)),
    (
        "order",
        "its logarithm",
        lambda error, error_at_twice_the_steps: error / error_at_twice_the_steps,
    ),
    ("unet_runs", "asks twice a step", 20),
    (
        "guide",
        "one too far",
        lambda noise_pred_uncond, noise_pred_text, guidance_scale: (
            noise_pred_text + guidance_scale * (noise_pred_text - noise_pred_uncond)
        ),
    ),
    (
        "to_picture",
        "take the scaling factor off first",
        lambda latents, vae: to_picture(latents * vae.config.scaling_factor, vae),
    ),
    (
        "to_picture",
        "colours come last",
        lambda latents, vae: to_picture(latents, vae).permute(2, 0, 1),
    ),
    ("to_picture", "has bytes", lambda latents, vae: to_picture(latents, vae).float()),
]


@pytest.mark.parametrize("name", MORE_RIGHT)
def test_a_right_answer_passes_in_every_chapter(name):
    assert getattr(checks, name)(MORE_RIGHT[name]).name == name


@pytest.mark.parametrize(("name", "why", "answer"), MORE_WRONG)
def test_a_wrong_answer_is_told_why_in_every_chapter(name, why, answer):
    with pytest.raises(checks.WrongAnswer, match=why):
        getattr(checks, name)(answer)
