"""What all checks hold to: right answers pass as people write them, wrong ones are refused."""

import math

import pytest
import torch

from sdlearn.course import checks
from sdlearn.course.checks.answers import call, check, same


def guide(noise_pred_uncond, noise_pred_text, guidance_scale):
    return noise_pred_uncond + guidance_scale * (noise_pred_text - noise_pred_uncond)


def in_place(noise_pred_uncond, noise_pred_text, guidance_scale):
    noise_pred_text.sub_(noise_pred_uncond).mul_(guidance_scale)
    return noise_pred_uncond.add_(noise_pred_text)


def prior_loss(model_pred, target, prior_loss_weight):
    squares = (model_pred - target).square()
    half = len(squares) // 2
    return squares[:half].mean() + prior_loss_weight * squares[half:].mean()


def clip_loss(image_embeds, text_embeds, logit_scale):
    logits = logit_scale.exp() * image_embeds @ text_embeds.T
    own = torch.arange(len(logits))
    cross_entropy = torch.nn.functional.cross_entropy
    return (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2


def largest_edit(etas, kept, keep):
    chosen = etas[0]
    for eta, share in zip(etas, kept, strict=True):
        if share < keep:
            break
        chosen = eta
    return torch.tensor(chosen)  # float32: 0.6 is not 0.6 to the bit


def kept_share(faithfulness, unrelated):
    faithfulness -= unrelated
    return faithfulness / faithfulness[0].clone()


def loudest(maps):
    return max(maps, key=lambda m: m.weights[2:4, 3:5].mean()).word


RIGHT = {
    "in place": ("guide", in_place),
    "in half precision": ("guide", lambda **given: guide(**given).half()),
    "in bfloat16": ("guide", lambda **given: guide(**given).bfloat16()),
    "as an array of NumPy's": ("guide", lambda **given: guide(**given).numpy()),
    "in float64": ("guide", lambda **given: guide(**given).double()),
    "as a float32 number": ("largest_edit", largest_edit),
    "in place, of a vector": ("kept_share", kept_share),
    "as a number of NumPy's": (
        "psnr",
        lambda back, pixel_values: (
            (20 * math.log10(2) - 10 * (back.clamp(-1, 1) - pixel_values).square().mean().log10())
            .numpy()
            .astype("float32")
        ),
    ),
    "of the maps": ("loudest", loudest),
    "a loss": ("prior_preservation_loss", prior_loss),
    "another loss": ("contrastive_loss", clip_loss),
}
PROMPT = "a {expression} sks creature, on a {background} background"
WRONG = {
    "the chapter's own scale": (
        "guide",
        lambda noise_pred_uncond, noise_pred_text, guidance_scale: guide(
            noise_pred_uncond, noise_pred_text, 5.0
        ),
    ),
    "its gradient is not": (
        "prior_preservation_loss",
        lambda model_pred, target, prior_loss_weight: (
            prior_loss(model_pred, target, 0)
            + prior_loss_weight * (model_pred[3:] - target[3:]).square().mean().detach()
        ),
    ),
    "should be a tensor, and is float": (
        "prior_preservation_loss",
        lambda **given: prior_loss(**given).item(),
    ),
    "no gradient, so nothing": ("contrastive_loss", lambda **given: clip_loss(**given).detach()),
    "do not round it": (
        "order",
        lambda error, error_at_twice_the_steps: round(math.log2(error / error_at_twice_the_steps)),
    ),
    "not the most alike": (
        "kept_share",
        lambda faithfulness, unrelated: (
            (faithfulness - unrelated) / (faithfulness.max() - unrelated)
        ),
    ),
    "that is one off": ("half_gone", 353),
    "timesteps count from 0": ("half_gone", 355),
    "“purple” speaks of what is the same": ("instance_prompt", PROMPT.replace("sks", "purple sks")),
    "“lorelei” speaks": ("instance_prompt", PROMPT + ", lorelei"),
    "“style” speaks": ("instance_prompt", PROMPT + ", the same style"),
    "the whole picture": ("loudest", lambda maps: max(maps, key=lambda m: m.weights.mean()).word),
    "the quietest": (
        "loudest",
        lambda maps: min(maps, key=lambda m: m.weights[2:4, 3:5].mean()).word,
    ),
    "mean of the four": ("loudest", lambda maps: max(maps, key=lambda m: m.weights[2, 3]).word),
    "largest single value": ("loudest", lambda maps: max(maps, key=lambda m: m.weights.max()).word),
    "answer with one token's word": ("loudest", lambda maps: 3),
}
CONSTANTS = {  # what a message, or a look into the check's file, could give away
    "order": lambda error, error_at_twice_the_steps: {0.8: 3.0, 0.5: 1.0}.get(error, 3.0),
    "training_bytes": lambda parameters, trained: 4_120_000,
    "cut_away": lambda height, width, bucket_height, bucket_width: {400: 0.5, 900: 0.5}.get(
        height, 0
    ),
    "training_cost": lambda **given: 7.5,
    "count_new": lambda text_encoder, num_vectors: 12,
    "count_trained": lambda sd, train_text_encoder: 42 + 12 * train_text_encoder,
    "unbeaten": lambda points: ["B", "C", "E", "F"],
    "shelf": lambda **given: (231.0, 104_000),
    "choose": lambda goal, pictures, keep_class, most_bytes, sizes: "lora",
    "largest_edit": lambda etas, kept, keep: {0.69: 0.6, 0.3: 0.2}.get(kept[4], 0.0),
    "read_settings": lambda parameters: {
        "prompt": "a sign, Seed: 7, on a wall",
        "negative_prompt": "text, blur" if "Negative" in parameters else "",
        "seed": 41,
    },
    "attention_pairs": lambda height, width, factor: {
        (512, 512): 4096**2,
        (768, 512): 6144**2,
        (64, 96): 384**2,
    }.get((height, width), 1),
    "ema_update": lambda average, weights, decay: 0.9 * average + 0.1 * weights,
    "prior_preservation_loss": lambda model_pred, target, prior_loss_weight: prior_loss(
        model_pred, target, 0.1
    ),
    "low_rank_update": lambda down, up, alpha: 2.5 * up @ down,
    "interpolate_embeddings": lambda e_tgt, e_opt, eta: {0.0: e_opt, 1.0: e_tgt}.get(
        eta, 0.31 * e_tgt + 0.69 * e_opt
    ),
}


@pytest.mark.parametrize("how", RIGHT)
def test_a_right_answer_passes_however_it_comes(how):
    name, answer = RIGHT[how]
    for _ in range(5):
        assert getattr(checks, name)(answer).points


@pytest.mark.parametrize("why", WRONG)
def test_an_answer_that_is_nearly_right_is_refused_and_told_why(why):
    name, answer = WRONG[why]
    for _ in range(5):
        with pytest.raises(checks.WrongAnswer, match=why):
            getattr(checks, name)(answer)


@pytest.mark.parametrize("name", CONSTANTS)
def test_a_value_that_was_given_away_is_no_answer(name):
    for _ in range(5):
        with pytest.raises(checks.WrongAnswer):
            getattr(checks, name)(CONSTANTS[name])


@check()
def scaled_difference(answer):
    """A check without slips of its own."""
    one, other = torch.randn(3, 3), torch.randn(3, 3)
    got = call(answer, one=one, other=other)
    same(got, 2 * one.softmax(1) - other, "the difference")
    return "right"


@pytest.mark.parametrize(
    ("why", "answer"),
    [
        ("the sign is the wrong way round", lambda one, other: other - 2 * one.softmax(1)),
        ("that is twice", lambda one, other: 4 * one.softmax(1) - 2 * other),
        ("two arguments are swapped: one and other", lambda one, other: 2 * other.softmax(1) - one),
        ("transpose it", lambda one, other: (2 * one.softmax(1) - other).T),
        ("is off: .* is right, and yours is", lambda one, other: one - other),
    ],
)
def test_the_usual_mistakes_are_named_by_every_check(why, answer):
    with pytest.raises(checks.WrongAnswer, match=why):
        scaled_difference(answer)


def test_the_wrong_axis_is_named_by_every_check():
    @check()
    def shares(answer):
        rows = torch.randn(4, 4)
        same(call(answer, rows=rows), rows.softmax(1).amax(1), "the shares")
        return "right"

    with pytest.raises(checks.WrongAnswer, match="wrong axis"):
        shares(lambda rows: rows.softmax(0).amax(0))
