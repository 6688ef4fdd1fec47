"""Stage 3: the judges, which measure and never generate: a CLIP, an image encoder, a reader.

They are trained on their own, on other captions and views than the generator's parts.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTokenizer, ResNetConfig, ResNetForImageClassification, ResNetModel

from sdlearn.data.faces import ATTRIBUTE_VALUES, Attributes
from sdlearn.pretrain.clip import save_clip, train_clip
from sdlearn.pretrain.config import PretrainConfig
from sdlearn.pretrain.dataset import WorldDataset
from sdlearn.pretrain.stage import LossOf, Training, device_and_dtype, train

LABELS = tuple(f"{name}={value}" for name, values in ATTRIBUTE_VALUES.items() for value in values)
TEMPERATURE = 0.1  # of the instance discrimination loss


def _resnet_config(**extra: Any) -> ResNetConfig:
    return ResNetConfig(
        embedding_size=32,
        hidden_sizes=[32, 64, 128, 192],
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
    return {
        name: torch.tensor([values.index(a[name]) if name in a else -100 for a in attributes])
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
            F.cross_entropy(logits[name], target.to(device))
            for name, target in targets.items()
            if (target >= 0).any()
        ]
        return {"loss": torch.stack(parts).mean()}

    _train(config, "reader", reader, losses)
    return reader


def train_image_encoder(config: PretrainConfig, data: WorldDataset) -> ResNetModel:
    """The self-supervised encoder: two views of one picture are near, other pictures far.

    Source: Chen et al. 2020 (SimCLR), arXiv:2002.05709, eq. 1. No caption, no attribute is used.
    """
    device, _ = device_and_dtype(config)
    torch.manual_seed(config.seed + 2)
    encoder = ResNetModel(_resnet_config())
    head = nn.Sequential(nn.Linear(192, 192), nn.ReLU(), nn.Linear(192, 64))
    model = nn.ModuleDict({"encoder": encoder, "head": head}).to(device)

    def losses(step: int, generator: torch.Generator) -> dict[str, Tensor]:
        pixel_values = data.pixel_values(data.batch(config.judges_batch, generator))
        views = torch.cat([_view(pixel_values, generator), _view(pixel_values, generator)])
        features = encoder(views.to(device)).pooler_output.flatten(1)  # (2B, D)
        return {"loss": instance_discrimination_loss(head(features))}

    _train(config, "image-encoder", model, losses)
    return encoder


def _view(pixel_values: Tensor, generator: torch.Generator) -> Tensor:
    side = pixel_values.shape[-1]
    crop = int(torch.randint(round(0.7 * side), side + 1, (1,), generator=generator))
    top, left = (int(torch.randint(side - crop + 1, (1,), generator=generator)) for _ in "yx")
    view = pixel_values[..., top : top + crop, left : left + crop]
    view = F.interpolate(view, size=(side, side), mode="bilinear", antialias=True)
    shape = (len(view), 3, 1, 1)
    tint = 1 + 0.2 * (torch.rand(shape, generator=generator) - 0.5)
    return blemish(view * tint, generator)


def instance_discrimination_loss(projections: Tensor) -> Tensor:
    """Each of the 2B views must pick its partner among all the others.

    Args:
        projections: `(2B, D)`; row i and row i + B are two views of one picture.

    Source: Chen et al. 2020, arXiv:2002.05709, eq. 1 (NT-Xent).
    """
    unit = F.normalize(projections.float(), dim=1)
    logits = unit @ unit.T / TEMPERATURE  # (2B, 2B)
    logits = logits.masked_fill(torch.eye(len(unit), dtype=torch.bool, device=unit.device), -1e9)
    partner = torch.arange(len(unit), device=unit.device).roll(len(unit) // 2)
    return F.cross_entropy(logits, partner)


def _train(config: PretrainConfig, name: str, model: nn.Module, losses: LossOf) -> None:
    training = Training(
        name=name,
        model=model,
        losses=losses,
        learning_rate=config.judges_learning_rate,
        minutes=config.judges_minutes / 4,
        steps=config.judges_steps,
    )
    train(training, config)


def train_judges(
    config: PretrainConfig, data: WorldDataset, tokenizer: CLIPTokenizer, folder: Path
) -> None:
    """Trains all three and writes them to `folder/{clip,image-encoder,reader}`."""
    train_reader(config, data).save_pretrained(folder / "reader")
    train_image_encoder(config, data).save_pretrained(folder / "image-encoder")
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
