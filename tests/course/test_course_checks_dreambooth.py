"""The checks of chapter 8: right answers pass, wrong ones are told why."""

import pytest

from sdlearn.course import checks


def loss(model_pred, target, prior_loss_weight):
    squares = (model_pred - target).square().mean(dim=(1, 2, 3))
    subject, prior = squares.chunk(2)
    return subject.mean() + prior_loss_weight * prior.mean()


def squares(model_pred, target):
    return (model_pred - target).square()


def swapped(e, t, w):
    return loss(e.flip(0), t.flip(0), w)


def sums(e, t, w):
    return squares(e, t)[:3].sum() + w * squares(e, t)[3:].sum()


WRONG_LOSSES = {
    "one mean over all": lambda e, t, w: squares(e, t).mean(),
    "second half": swapped,
    "are missing": lambda e, t, w: squares(e, t)[:3].mean(),
    "weight is not used": lambda e, t, w: loss(e, t, 1.0),
    "shares nothing out": lambda e, t, w: loss(e, t, w) - w * squares(e, t)[:3].mean(),
    "every second": lambda e, t, w: squares(e, t)[::2].mean() + w * squares(e, t)[1::2].mean(),
    "not sums": sums,
    "not its square": lambda e, t, w: (e - t)[:3].abs().mean() + w * (e - t)[3:].abs().mean(),
    r"should have shape \(\)": lambda e, t, w: squares(e, t),
    "is off": lambda e, t, w: loss(e, t, w) + 1,
}


def count(sd, train_text_encoder):
    parts = [sd.unet, sd.text_encoder] if train_text_encoder else [sd.unet]
    return sum(p.numel() for part in parts for p in part.parameters())


def tensors(sd, train_text_encoder):
    return len(
        [*sd.unet.parameters(), *(sd.text_encoder.parameters() if train_text_encoder else [])]
    )


def switched_on(sd, train_text_encoder):
    return sum(p.numel() for p in sd.unet.parameters() if p.requires_grad)


def with_vae(sd, train_text_encoder):
    return count(sd, train_text_encoder) + sum(p.numel() for p in sd.vae.parameters())


WRONG_COUNTS = {
    "is frozen": switched_on,
    "those are tensors": tensors,
    "VAE does not train": with_vae,
    "and not otherwise": lambda sd, train_text_encoder: count(sd, not train_text_encoder),
    "train as well": lambda sd, train_text_encoder: count(sd, False),
    "is right": lambda sd, train_text_encoder: 12345,
}
RIGHT_PROMPT = "a {expression} sks creature, on a {background} background"
WRONG_PROMPTS = {
    "sks is missing": "a {expression} creature, on a {background} background",
    "say the class": "a {expression} sks, on a {background} background",
    "in front of": "a {expression} creature sks, on a {background} background",
    "{style} is the same": RIGHT_PROMPT + ", {style} style",
    "{color} is the same": "a {color} {expression} sks creature, on a {background} background",
    "the background changes": "a {expression} sks creature",
    "the expression changes": "a sks creature, on a {background} background",
    "have no {mood}": RIGHT_PROMPT + ", {mood}",
    "should be a text": ["sks"],
}


def test_a_right_answer_passes():
    assert checks.prior_preservation_loss(loss).points == 2
    assert checks.count_trained(count).points == 1
    assert checks.instance_prompt(RIGHT_PROMPT).points == 2


@pytest.mark.parametrize("why", WRONG_LOSSES)
def test_a_wrong_loss_is_told_what_is_wrong_with_it(why):
    def prior_preservation_loss(model_pred, target, prior_loss_weight):
        return WRONG_LOSSES[why](model_pred, target, prior_loss_weight)

    with pytest.raises(checks.WrongAnswer, match=why):
        checks.prior_preservation_loss(prior_preservation_loss)


@pytest.mark.parametrize("why", WRONG_COUNTS)
def test_a_wrong_count_is_told_what_was_counted(why):
    with pytest.raises(checks.WrongAnswer, match=why):
        checks.count_trained(WRONG_COUNTS[why])


@pytest.mark.parametrize("why", WRONG_PROMPTS)
def test_a_wrong_template_is_told_what_would_be_learnt(why):
    with pytest.raises(checks.WrongAnswer, match=why):
        checks.instance_prompt(WRONG_PROMPTS[why])
