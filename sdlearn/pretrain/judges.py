"""Stage 3: the judges, which measure and never generate: a CLIP, an image encoder, a reader.

They are trained on their own, on other captions and views than the generator's parts.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTokenizer, ResNetConfig, ResNetForImageClassification, ResNetModel

from sdlearn.data.world.attributes import Attributes, Shot, attribute_values, readable
from sdlearn.data.world.words import NOUNS
from sdlearn.pretrain.clip import save_clip, train_clip
from sdlearn.pretrain.config import PretrainConfig
from sdlearn.pretrain.dataset import WorldDataset, other_views
from sdlearn.pretrain.stage import LossOf, Training, device_and_dtype, train

ATTRIBUTE_VALUES = attribute_values()
LABELS = tuple(f"{name}={value}" for name, values in ATTRIBUTE_VALUES.items() for value in values)
SIZES = [32, 64, 128, 192]  # channels of the stages of encoder and reader
TEMPERATURE = 0.1  # of the instance discrimination loss


def _resnet_config(**extra: Any) -> ResNetConfig:
    return ResNetConfig(
        embedding_size=32,
        hidden_sizes=SIZES,
        depths=[1, 1, 1, 1],
        layer_type="basic",
        downsample_in_first_stage=False,
        **extra,
    )


def blemish(pixel_values: Tensor, generator: torch.Generator) -> Tensor:
    """Shifts, blurs and adds noise, as a generator's pictures are never quite clean."""
    size = len(pixel_values)
    shift = torch.randint(-2, 3, (2,), generator=generator).tolist()
    pixel_values = pixel_values.roll(shift, dims=(2, 3))
    soft = F.avg_pool2d(F.pad(pixel_values, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    amount = torch.rand(size, 1, 1, 1, generator=generator)
    pixel_values = torch.lerp(pixel_values, soft, amount)
    noise = torch.randn(pixel_values.shape, generator=generator)
    return pixel_values + 0.08 * torch.rand(size, 1, 1, 1, generator=generator) * noise


def label_targets(attributes: list[Attributes]) -> dict[str, Tensor]:
    """Index of each attribute's value, `(B,)` int64, -100 where a picture has none."""
    seen = [readable(a) for a in attributes]
    return {
        name: torch.tensor([values.index(a[name]) if name in a else -100 for a in seen])
        for name, values in ATTRIBUTE_VALUES.items()
    }


def split_logits(logits: Tensor) -> dict[str, Tensor]:
    """The reader's logits `(B, labels)` as one `(B, values)` for each attribute."""
    sizes = [len(values) for values in ATTRIBUTE_VALUES.values()]
    return dict(zip(ATTRIBUTE_VALUES, logits.split(sizes, dim=1), strict=True))


def train_reader(config: PretrainConfig, data: WorldDataset) -> ResNetForImageClassification:
    """The attribute reader: which value each attribute of a drawn character has."""
    device, _ = device_and_dtype(config)
    torch.manual_seed(config.seed + 1)
    names = dict(enumerate(LABELS))
    settings = _resnet_config(id2label=names, label2id={v: k for k, v in names.items()})
    reader = ResNetForImageClassification(settings)
    reader.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-arg]

    def losses(step: int, generator: torch.Generator) -> dict[str, Tensor]:
        indices = data.batch(config.judges_batch, generator)
        pixel_values = blemish(data.pixel_values(indices), generator).to(device)
        targets = label_targets([data.attributes[i] for i in indices.tolist()])
        logits = split_logits(reader(pixel_values).logits)
        parts = [
            F.cross_entropy(logits[name], target.to(device), reduction="sum")
            for name, target in targets.items()
        ]
        return {"loss": torch.stack(parts).sum() / len(indices)}

    _train(config, "reader", reader, losses)
    return reader


def train_image_encoder(
    config: PretrainConfig, data: WorldDataset, views: WorldDataset
) -> ResNetModel:
    """The self-supervised encoder: two views of one subject are near, other subjects far.

    The second view shows the subject elsewhere and otherwise, so that what stays is the subject
    and not the picture. Source: Chen et al. 2020 (SimCLR), arXiv:2002.05709, eq. 1.
    """
    device, _ = device_and_dtype(config)
    torch.manual_seed(config.seed + 2)
    encoder = ResNetModel(_resnet_config())
    width = SIZES[-1]
    head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 64))
    model = nn.ModuleDict({"encoder": encoder, "head": head}).to(device)

    def losses(step: int, generator: torch.Generator) -> dict[str, Tensor]:
        indices = data.batch(config.judges_batch, generator)
        both = [_view(d.pixel_values(indices), generator) for d in (data, views)]
        features = encoder(torch.cat(both).to(device)).pooler_output.flatten(1)  # (2B, D)
        same = same_subject([data.shots[i] for i in indices.tolist()])
        return {"loss": instance_discrimination_loss(head(features), same.to(device))}

    _train(config, "image-encoder", model, losses)
    return encoder


def _view(pixel_values: Tensor, generator: torch.Generator) -> Tensor:
    shape = (len(pixel_values), 3, 1, 1)
    tint = 1 + 0.2 * (torch.rand(shape, generator=generator) - 0.5)
    return blemish(pixel_values * tint, generator)


def same_subject(shots: list[Shot]) -> Tensor:
    """Which of the pictures show one and the same thing, `(B, B)`; people are all different."""
    names = ("noun", "style", "color", "other_noun", "other_color")
    keys = [
        tuple(shot.attributes.get(name) for name in names)
        if shot.attributes["noun"] in NOUNS
        else shot.who
        for shot in shots
    ]
    return torch.tensor([[one == other for other in keys] for one in keys])


def instance_discrimination_loss(projections: Tensor, same: Tensor) -> Tensor:
    """Each of the 2B views must pick its partner among all that show another subject.

    Args:
        projections: `(2B, D)`; row i and row i + B are two views of one subject.
        same: `(B, B)`, which of the B subjects are equal.

    Source: Chen et al. 2020, arXiv:2002.05709, eq. 1 (NT-Xent).
    """
    unit = F.normalize(projections.float(), dim=1)
    logits = unit @ unit.T / TEMPERATURE  # (2B, 2B)
    partner = torch.arange(len(unit), device=unit.device).roll(len(unit) // 2)
    hidden = same.repeat(2, 2)
    hidden[torch.arange(len(unit), device=unit.device), partner] = False
    return F.cross_entropy(logits.masked_fill(hidden, -1e9), partner)


def _train(config: PretrainConfig, name: str, model: nn.Module, losses: LossOf) -> None:
    training = Training(
        name=name,
        model=model,
        losses=losses,
        learning_rate=config.judges_learning_rate,
        muon_factor=config.muon_factor,
        minutes=config.judges_minutes / 4,
        steps=config.judges_steps,
    )
    train(training, config)


def train_judges(
    config: PretrainConfig, data: WorldDataset, tokenizer: CLIPTokenizer, folder: Path
) -> None:
    """Train all three and write them to `folder/{clip,image-encoder,reader}`."""
    train_reader(config, data).save_pretrained(folder / "reader")
    encoder = train_image_encoder(config, data, other_views(config))
    encoder.save_pretrained(folder / "image-encoder")
    clip = train_clip(
        config,
        data,
        tokenizer,
        name="judge-clip",
        minutes=config.judges_minutes / 2,
        steps=config.judges_steps,
        augment=blemish,
    )
    save_clip(clip, tokenizer, folder / "clip")
