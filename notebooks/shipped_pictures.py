"""Makes what is loaded instead of trained: `python notebooks/shipped_pictures.py [PART ...]`.

The talk and chapter 0 show it. Each part trains mini, and goes on where it was stopped:

    words      two words by Textual Inversion, to data/results/artefacts
    dreambooth one character without and with class pictures, to data/results/talk
    imagic     one picture's edit at six etas
    style      a drawing style by full fine-tuning
    methods    one character by every method of the course, to data/results/methods
    chapters   what the training cells of chapters 7 to 10 load with `train=False`

All of it takes twenty-five minutes on one core; to make it anew, delete data/results/talk,
data/results/methods and runs/shipped first. A picture says in itself how it was drawn, and its
colours are cut to a palette, so that all of them together stay small.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdlearn import load
from sdlearn.commands.imagic import judging
from sdlearn.course.training import TRAINING_NAME, learn, made_from
from sdlearn.data.characters import draw_character
from sdlearn.data.folder import Picture
from sdlearn.data.licenses import license_of
from sdlearn.data.png import save_generated
from sdlearn.data.vocabulary import HAIR_COLORS
from sdlearn.evaluate import compare
from sdlearn.evaluate.compare import (
    BEFORE,
    DREAMBOOTH,
    DREAMBOOTH_PRIOR,
    FULL,
    TEXTUAL_INVERSION,
    Subject,
)
from sdlearn.evaluate.situations import class_prompt, prompt, situations
from sdlearn.finetune import (
    DreamBooth,
    DreamBoothConfig,
    FitConfig,
    FullFineTuning,
    Imagic,
    LoRA,
    TextualInversion,
    fit,
    run,
)
from sdlearn.finetune.class_pictures import class_pictures
from sdlearn.finetune.provenance import UNCHOSEN
from sdlearn.finetune.saving import CARD_NAME

if TYPE_CHECKING:
    from PIL import Image

    from sdlearn.models import StableDiffusion
    from sdlearn.training.method import Method

RESULTS = Path(__file__).resolve().parents[1] / "data" / "results"
PICTURES, ARTEFACTS = RESULTS / "talk", RESULTS / "artefacts"
METHODS = RESULTS / "methods"
RUNS = Path("runs/shipped")  # checkpoints
STEPS, GUIDANCE_SCALE, PALETTE = 20, 5.0, 128  # sampler steps, scale, colours a picture
TEMPLATE = "a picture of a {expression} sks person, on a {background} background"
SUBJECT = [
    "a picture of a smiling sks person, on a green background",
    "a picture of a sks person with sunglasses, on a blue background",
    "a picture of a surprised sks person, on a purple background",
]
CLASS_PROMPT = "a picture of a person"
STYLE = [
    "a smiling person with blue hair, on a yellow background, lorelei style",
    "a sad person with red hair and sunglasses, on a green background, lorelei style",
    "a laughing person with green hair, on a pink background, lorelei style",
]
KNOWN, UNKNOWN = ("open-peeps", 3), ("lorelei", 0)  # style and seed: mini was shown the first
TARGET = "a person with short pink hair, micah style"
WORD: dict[str, Any] = {
    "placeholder_token": "<my-character>",
    "initializer_token": "person",
    "templates": (TEMPLATE.replace("sks person", "{}"),),
}
ETAS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
BY_EVERY_METHOD = Subject(style="personas", seed=2)
COLUMNS, METHOD_STEPS = 4, 200  # situations of it, and optimizer steps of each method


def words(sd: StableDiffusion) -> None:
    """Learn a word for a character of a style that mini knows, and for one of another style."""
    for name, (style, seed), token in (
        ("talk-word", KNOWN, "<friend>"),
        ("talk-word-for-a-stranger", UNKNOWN, "<stranger>"),
    ):
        method = TextualInversion(
            sd,
            placeholder_token=token,
            initializer_token="person",
            num_vectors=4,
            templates=(TEMPLATE.replace("sks person", "{}"),),
        )
        run(fit(method, draw_character(style, seed), _config(name, 240)))
        method.save(ARTEFACTS / name)
        choose_license(ARTEFACTS / name / CARD_NAME)


def dreambooth(sd: StableDiffusion) -> None:
    """Learn one character without class pictures and with them; what becomes of other people?"""
    pictures = draw_character(*UNKNOWN)
    _draw_class(sd, "before", "mini")
    without = DreamBooth(
        sd, instance_prompt=TEMPLATE, with_prior_preservation=False, train_text_encoder=True
    )
    run(fit(without, pictures, _config("without-class", 120)))
    words = "mini, taught by DreamBooth without class pictures"
    _draw_all(without.sd, SUBJECT, 0, PICTURES / "dreambooth-subject", words)
    _draw_class(without.sd, "without-class", words)
    with_class = DreamBooth(
        sd,
        instance_prompt=TEMPLATE,
        class_prompt=CLASS_PROMPT,
        num_class_images=16,
        class_batch_size=2,
        train_text_encoder=True,
    )
    run(fit(with_class, pictures, _config("with-class", 150)))
    _draw_class(with_class.sd, "with-class", "mini, taught by DreamBooth with class pictures")


def imagic(sd: StableDiffusion) -> None:
    """Edit one picture, and draw it between the picture and the prompt."""
    method = Imagic(sd, target_prompt=TARGET, embedding_steps=150, unet_steps=250)
    run(fit(method, edited(), _config("imagic", FitConfig.max_train_steps, batch_size=1)))
    for eta, image in zip(ETAS, method.result.draw(ETAS), strict=True):
        words = f"mini, tuned by Imagic to one picture, at eta {eta:g}"
        _save(image, PICTURES / f"imagic-eta-{eta:g}.png", TARGET, method.config.noise_seed, words)


def edited() -> list[Picture]:
    """The one picture that chapter 9 and the talk edit."""
    return draw_character("micah", seed=3, number=1, glasses="none")


def style(sd: StableDiffusion) -> None:
    """Learn a drawing style from 96 pictures with every weight of the U-Net."""
    colors = list(HAIR_COLORS)
    pictures = [
        draw_character(
            "lorelei",
            seed,
            number=1,
            hair_color=colors[seed % len(colors)],
            glasses=("none", "round", "none", "sunglasses")[seed % 4],
        )[0]
        for seed in range(96)
    ]
    _draw_all(sd, STYLE, 0, PICTURES / "style-before", "mini")
    method = FullFineTuning(sd)
    run(fit(method, pictures, _config("style", 120, batch_size=8, snr_gamma=5.0)))
    _draw_all(
        method.sd, STYLE, 0, PICTURES / "style-after", "mini, fully fine-tuned on 96 pictures"
    )


def methods(sd: StableDiffusion) -> None:
    """One character by every method, in the same situations from the same seeds.

    Imagic edits one picture and learns no name, so it gets a training for each situation.
    """
    subject = BY_EVERY_METHOD
    pictures = subject.pictures()
    asked = situations(pictures, subject.class_word, COLUMNS)
    prior = _prior(sd, subject)
    for recipe in (BEFORE, TEXTUAL_INVERSION, DREAMBOOTH, DREAMBOOTH_PRIOR, compare.LORA, FULL):
        model, called, words = sd, None, "mini"
        if recipe is not BEFORE:
            method = recipe.make(sd, subject.class_word, prior)
            config = _config(f"methods-{recipe.name}", METHOD_STEPS)
            run(fit(method, recipe.training_pictures(pictures, subject.class_word), config))
            model, called = method.sd, recipe.called(subject.class_word)
            words = f"mini, taught by {recipe.name}"
        prompts = [prompt(a, subject.class_word, called) for a in asked]
        _draw_all(model, prompts, 0, METHODS / recipe.name, words)
    for number, situation in enumerate(asked):
        target = prompt(situation, subject.class_word)
        edit = Imagic(sd, target_prompt=target, embedding_steps=150, unet_steps=250)
        config = _config(f"methods-imagic-{number}", FitConfig.max_train_steps, batch_size=1)
        run(fit(edit, pictures[:1], config))
        measures = judging("mini", pictures[0].image, target)
        eta = edit.result.find_eta(pictures[0].image, **measures)[0].eta
        (image,) = edit.result.draw([eta])
        words = f"mini, tuned by Imagic to one picture, at eta {eta:g}"
        _save(image, METHODS / f"imagic-{number}.png", target, edit.config.noise_seed, words)


def chapters(sd: StableDiffusion) -> None:
    """What chapters 7 to 10 train, with their settings; a whole U-Net becomes a LoRA, to be small.

    `tests/test_notebooks.py` runs those chapters with it.
    """
    known, unknown = draw_character(*KNOWN), draw_character(*UNKNOWN)
    config = FitConfig(max_train_steps=120, train_batch_size=4, learning_rate=2e-3, snr_gamma=0.1)
    for name, pictures in (("07-known-style", known), ("07-unknown-style", unknown)):
        _ship(name, TextualInversion(sd, **WORD), pictures, config)
    drawn = sd.draw(
        CLASS_PROMPT,
        seeds=range(100, 112),
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE_SCALE,
    )
    others = [Picture(image=image, text=CLASS_PROMPT) for image in drawn]
    without = DreamBooth(sd, instance_prompt=TEMPLATE, with_prior_preservation=False, lora_rank=16)
    _ship("08-dreambooth", without, unknown, FitConfig(max_train_steps=150, train_batch_size=4))
    with_prior = DreamBooth(
        sd,
        instance_prompt=TEMPLATE,
        class_prompt=CLASS_PROMPT,
        own_class_pictures=others,
        class_batch_size=2,
        lora_rank=16,
    )
    longer = FitConfig(max_train_steps=225, train_batch_size=4)
    _ship("08-dreambooth-with-prior", with_prior, unknown, longer)
    edit = Imagic(sd, target_prompt=TARGET, embedding_steps=150, unet_steps=500, lora_rank=16)
    _ship("09-imagic", edit, edited(), None)
    _ship("10-lora", LoRA(sd, rank=16), unknown, FitConfig(max_train_steps=200))


def _ship(
    name: str, method: Method | Imagic, pictures: Sequence[Picture], config: FitConfig | None
) -> None:
    """Train, and put the artefact where `learn` looks for it; what is there already stays."""
    folder = ARTEFACTS / name
    if folder.exists():
        return
    with tempfile.TemporaryDirectory(dir=ARTEFACTS, prefix=".") as parent:
        learnt = learn(method, pictures, config, name=name, folder=parent)
        made = {
            **made_from(method, pictures, config),
            "losses": [round(loss, 4) for loss in learnt.losses],
            "seconds": round(learnt.seconds),
        }
        text = json.dumps(made, ensure_ascii=False)
        (learnt.path / TRAINING_NAME).write_text(text + "\n", encoding="utf-8")
        if name != "10-lora":  # that chapter looks at both files; they hold the same numbers
            for path in learnt.path.rglob("*.safetensors"):
                if path.stem == path.parent.name:  # as kohya's is called
                    path.unlink()
        for card in learnt.path.rglob(CARD_NAME):
            choose_license(card)
        learnt.path.rename(folder)


def choose_license(card: Path) -> None:
    """Say on a card what `data/licenses.json` says of what ships."""
    text = card.read_text(encoding="utf-8")
    chosen = license_of("data/results/artefacts")
    said = f"{chosen['license']}, by {chosen['author']}."
    card.write_text(text.replace(UNCHOSEN, said), encoding="utf-8")


def _prior(sd: StableDiffusion, subject: Subject) -> list[Picture]:
    """Pictures of the class, drawn by the model itself, for DreamBooth to train on."""
    config = DreamBoothConfig(class_prompt=class_prompt(subject.class_word), num_class_images=48)
    folder = RUNS / "methods-class-pictures"
    return class_pictures(sd, config, folder=folder, size=sd.image_size, seed=500)


PARTS = {
    "words": words,
    "dreambooth": dreambooth,
    "imagic": imagic,
    "style": style,
    "methods": methods,
    "chapters": chapters,
}


def _config(name: str, steps: int, batch_size: int = 4, **settings: Any) -> FitConfig:
    """Training that goes on from its last checkpoint."""
    return FitConfig(
        max_train_steps=steps,
        train_batch_size=batch_size,
        output_dir=RUNS / name,
        checkpointing_steps=25,
        checkpoints_total_limit=1,
        resume=True,
        **settings,
    )


def _draw_class(sd: StableDiffusion, name: str, model: str) -> None:
    """Four times the bare class."""
    _draw_all(sd, [CLASS_PROMPT] * 4, 500, PICTURES / f"dreambooth-class-{name}", model)


def _draw_all(
    sd: StableDiffusion, prompts: Sequence[str], seed: int, stem: Path, model: str
) -> None:
    """Draw each prompt with the seeds from `seed` on; what is there already stays."""
    for number, text in enumerate(prompts):
        path = stem.with_name(f"{stem.name}-{number}.png")
        if path.exists():
            continue
        [image] = sd.draw(
            text, seeds=seed + number, num_inference_steps=STEPS, guidance_scale=GUIDANCE_SCALE
        )
        _save(image, path, text, seed + number, model)


def _save(image: Image.Image, path: Path, text: str, seed: int, model: str) -> None:
    save_generated(
        image.quantize(PALETTE, dither=0),
        path,
        prompt=text,
        negative_prompt="",
        seed=seed,
        model=model,
        steps=STEPS,
        guidance_scale=GUIDANCE_SCALE,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="*", help=f"of {', '.join(PARTS)}; all unless given")
    parts = parser.parse_args().part or list(PARTS)
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        parser.error(f"there is no part {unknown[0]!r}: choose from {', '.join(PARTS)}")
    sd = load("mini")
    for part in parts:
        PARTS[part](sd)


if __name__ == "__main__":
    main()
