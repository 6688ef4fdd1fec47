"""`sdlearn pretrain`: every stage in turn, each from where it stopped, into one model folder."""

import json
import os
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer

from sdlearn.data.world.captions import japanese_words
from sdlearn.models.text_encoder import save_text_encoder
from sdlearn.pretrain.clip import sample_captions, save_clip, train_clip
from sdlearn.pretrain.config import PretrainConfig
from sdlearn.pretrain.dataset import WorldDataset, world_dataset
from sdlearn.pretrain.judges import train_judges
from sdlearn.pretrain.model_card import write_cards
from sdlearn.pretrain.tokenizer import train_tokenizer
from sdlearn.pretrain.unet import make_pipeline, train_unet
from sdlearn.pretrain.vae import train_decoder, train_vae

TOKENIZER_CAPTIONS = 20_000


def pretrain(config: PretrainConfig) -> Path:
    """Train what `config.stages` names, keep what is finished, and write the model folder.

    Each stage leaves `work/<stage>-done`; a finished one is not trained again, an unfinished one
    goes on from its checkpoint. The folder is written when all the generator's parts are there.

    Returns:
        The model folder, or the work folder while parts are missing.

    Raises:
        ValueError: settings that cannot work, before anything is drawn.
    """
    config.check()
    config.work.mkdir(parents=True, exist_ok=True)
    if config.start is not None:
        _take_parts(config, config.start)
    data = world_dataset(config)
    make = {
        "vae": _vae,
        "decoder": _decoder,
        "clip": _clip,
        "judges": _judges,
        "unet": _unet,
    }
    for stage in config.stages if config.start is None else ("unet",):
        if not _done(config, stage).exists():
            make[stage](config, data)
    if not all(_done(config, part).exists() for part in ("vae", "unet")):
        return config.work
    return assemble(config)


def _take_parts(config: PretrainConfig, start: Path) -> None:
    """Put the finished parts of a model where the stages would have left them."""
    places = {"vae": "vae-done", "judges": "judges-done", "tokenizer": "tokenizer"}
    for name, place in places.items():
        if (start / name).is_dir() and not (config.work / place).exists():
            temporary = _fresh(config, name)
            shutil.copytree(start / name, temporary)
            os.replace(temporary, config.work / place)


def _text_encoder(config: PretrainConfig) -> CLIPTextModel:
    """The text half of the CLIP that was trained, or the one of the model to go on from."""
    if config.start is not None:
        return CLIPTextModel.from_pretrained(config.start / "text_encoder", dtype=torch.float32)
    return CLIPModel.from_pretrained(_needed(config, "clip", by="unet")).text_model


def _done(config: PretrainConfig, stage: str) -> Path:
    return config.work / f"{stage}-done"


def _finish(config: PretrainConfig, stage: str, temporary: Path) -> None:
    os.replace(temporary, _done(config, stage))


def _fresh(config: PretrainConfig, stage: str) -> Path:
    temporary = config.work / f"{stage}-writing"
    shutil.rmtree(temporary, ignore_errors=True)
    return temporary


def _needed(config: PretrainConfig, stage: str, by: str) -> Path:
    folder = _done(config, stage)
    if not folder.exists():
        raise ValueError(f"stage {by} needs {stage}, which is not in {config.work}: run it first")
    return folder


def tokenizer_of(config: PretrainConfig, data: WorldDataset) -> CLIPTokenizer:
    """The tokenizer, trained on first use."""
    folder = config.work / "tokenizer"
    if not folder.exists():
        english = sample_captions(data, TOKENIZER_CAPTIONS, japanese=0.0, seed=config.seed)
        temporary = _fresh(config, "tokenizer")
        train_tokenizer(english, japanese_words(), config.merges, temporary)
        os.replace(temporary, folder)
    return CLIPTokenizer.from_pretrained(folder)


def _vae(config: PretrainConfig, data: WorldDataset) -> None:
    temporary = _fresh(config, "vae")
    train_vae(config, data).save_pretrained(temporary)
    _finish(config, "vae", temporary)


def _decoder(config: PretrainConfig, data: WorldDataset) -> None:
    vae = AutoencoderKL.from_pretrained(_needed(config, "vae", by="decoder"))
    temporary = _fresh(config, "decoder")
    train_decoder(config, data, vae).save_pretrained(temporary)
    _finish(config, "decoder", temporary)


def _clip(config: PretrainConfig, data: WorldDataset) -> None:
    tokenizer, temporary = tokenizer_of(config, data), _fresh(config, "clip")
    save_clip(train_clip(config, data, tokenizer), tokenizer, temporary)
    _finish(config, "clip", temporary)


def _judges(config: PretrainConfig, data: WorldDataset) -> None:
    temporary = _fresh(config, "judges")
    train_judges(config, data, tokenizer_of(config, data), temporary)
    _finish(config, "judges", temporary)


def _unet(config: PretrainConfig, data: WorldDataset) -> None:
    vae = AutoencoderKL.from_pretrained(_needed(config, "vae", by="unet"))
    text_encoder = _text_encoder(config)
    tokenizer, temporary = tokenizer_of(config, data), _fresh(config, "unet")
    unet = train_unet(config, data, vae, text_encoder, tokenizer)
    unet.save_pretrained(temporary / "unet")
    save_text_encoder(text_encoder, temporary / "text_encoder")
    _finish(config, "unet", temporary)


def assemble(config: PretrainConfig) -> Path:
    """Write the diffusers folder, fp16, with judges and cards, and move it into place."""
    vae_folder = _done(config, "decoder")
    if not vae_folder.exists():
        vae_folder = _done(config, "vae")
    temporary = config.output.with_name(".mini-writing")
    shutil.rmtree(temporary, ignore_errors=True)
    tokenizer = CLIPTokenizer.from_pretrained(config.work / "tokenizer")
    trained = _done(config, "unet")
    text_encoder = CLIPTextModel.from_pretrained(trained / "text_encoder").half()
    pipeline = make_pipeline(
        AutoencoderKL.from_pretrained(vae_folder).half(),
        text_encoder,
        tokenizer,
        UNet2DConditionModel.from_pretrained(trained / "unet").half(),
    )
    pipeline.save_pretrained(temporary)
    save_text_encoder(text_encoder, temporary / "text_encoder")
    # stored as fp16, but transformers would also compute so, which no CPU can
    _edit(temporary / "text_encoder" / "config.json", dtype="float32")
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(config.work / "tokenizer" / name, temporary / "tokenizer" / name)
    if _done(config, "judges").exists():
        _copy_judges(_done(config, "judges"), temporary / "judges")
    for path in temporary.rglob("config.json"):
        _edit(path, _name_or_path=None)  # where the part lay on this machine is nobody's business
    write_cards(config, temporary)
    shutil.rmtree(config.output, ignore_errors=True)
    config.output.parent.mkdir(parents=True, exist_ok=True)
    os.replace(temporary, config.output)
    return config.output


def _edit(path: Path, **settings: str | None) -> None:
    """Set fields of a JSON file; None takes a field out."""
    merged = json.loads(path.read_text(encoding="utf-8")) | settings
    kept = {name: value for name, value in merged.items() if name not in settings or settings[name]}
    path.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _copy_judges(source: Path, target: Path) -> None:
    from transformers import ResNetForImageClassification, ResNetModel

    clip = CLIPModel.from_pretrained(source / "clip")
    save_clip(clip.half(), CLIPTokenizer.from_pretrained(source / "clip"), target / "clip")
    ResNetModel.from_pretrained(source / "image-encoder").half().save_pretrained(
        target / "image-encoder"
    )
    ResNetForImageClassification.from_pretrained(source / "reader").half().save_pretrained(
        target / "reader"
    )
