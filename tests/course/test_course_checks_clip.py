"""The checks of chapter 1: right answers pass, and each slip is told by its own sentence."""

import pytest
import torch
from torch.nn import functional as F

from sdlearn.course import checks
from sdlearn.pretrain.clip import contrastive_loss as package_loss


def similarities(image_embeds, text_embeds):
    return F.normalize(image_embeds, dim=1) @ F.normalize(text_embeds, dim=1).T


def recall(similarity, k):
    best = similarity.topk(k, dim=1).indices
    return (best == torch.arange(len(similarity))[:, None]).any(1).float().mean()


def one_way(image_embeds, text_embeds, logit_scale):
    logits = logit_scale.exp() * image_embeds @ text_embeds.T
    return F.cross_entropy(logits, torch.arange(len(logits)))


RIGHT = {
    "similarities": similarities,
    "contrastive_loss": package_loss,
    "recall": recall,
    "room": 75,
}
WRONG = [
    (
        "similarities",
        "by its length first",
        lambda image_embeds, text_embeds: image_embeds @ text_embeds.T,
    ),
    (
        "similarities",
        "the texts still",
        lambda image_embeds, text_embeds: F.normalize(image_embeds, dim=1) @ text_embeds.T,
    ),
    (
        "similarities",
        "not over the batch",
        lambda image_embeds, text_embeds: (
            F.normalize(image_embeds, dim=0) @ F.normalize(text_embeds, dim=0).T
        ),
    ),
    (
        "similarities",
        "transpose",
        lambda image_embeds, text_embeds: similarities(text_embeds, image_embeds),
    ),
    (
        "similarities",
        "raised RuntimeError",
        lambda image_embeds, text_embeds: image_embeds @ text_embeds,
    ),
    ("contrastive_loss", "only the pictures", one_way),
    (
        "contrastive_loss",
        "only the captions",
        lambda image_embeds, text_embeds, logit_scale: one_way(
            text_embeds, image_embeds, logit_scale
        ),
    ),
    (
        "contrastive_loss",
        "take their mean",
        lambda image_embeds, text_embeds, logit_scale: (
            2 * package_loss(image_embeds, text_embeds, logit_scale)
        ),
    ),
    (
        "contrastive_loss",
        r"take its exp\(\)",
        lambda image_embeds, text_embeds, logit_scale: package_loss(
            image_embeds, text_embeds, logit_scale.log()
        ),
    ),
    (
        "contrastive_loss",
        "scale is not used",
        lambda image_embeds, text_embeds, logit_scale: package_loss(
            image_embeds, text_embeds, 0 * logit_scale
        ),
    ),
    (
        "contrastive_loss",
        "you divided by it",
        lambda image_embeds, text_embeds, logit_scale: package_loss(
            image_embeds, text_embeds, -logit_scale
        ),
    ),
    (
        "contrastive_loss",
        "the sign is missing",
        lambda image_embeds, text_embeds, logit_scale: (
            -package_loss(image_embeds, text_embeds, logit_scale)
        ),
    ),
    (
        "contrastive_loss",
        r"have shape \(\), and has \(4, 4\)",
        lambda image_embeds, text_embeds, logit_scale: image_embeds @ text_embeds.T,
    ),
    ("recall", "counts the rows", lambda similarity, k: len(similarity) * recall(similarity, k)),
    ("recall", "asks the columns", lambda similarity, k: recall(similarity.T, k)),
    ("recall", "recall at 1", lambda similarity, k: recall(similarity, 1)),
    ("recall", "not the smallest", lambda similarity, k: recall(-similarity, k)),
    ("recall", "divides by k", lambda similarity, k: recall(similarity, k) / k),
    ("recall", "should be a number", lambda similarity, k: "high"),
    ("room", "is all there is", 77),
    ("room", "another one at the end", 76),
    ("room", "cannot take 100", 100),
    ("room", "more room than 10", 10),
]


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_answer_passes(name):
    assert getattr(checks, name)(RIGHT[name]).name == name


@pytest.mark.parametrize(("name", "why", "answer"), WRONG)
def test_a_slip_is_told_by_its_own_sentence(name, why, answer):
    with pytest.raises(checks.WrongAnswer, match=why):
        getattr(checks, name)(answer)
