"""Who is learnt, how and for how long: a subject, a method's settings, and what all get alike."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

from sdlearn.data.styles import BASE_STYLES
from sdlearn.evaluate.situations import caption_subject, class_prompt, class_word_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sdlearn.data.folder import Picture
    from sdlearn.finetune import Method
    from sdlearn.models import StableDiffusion

MethodName = Literal["before", "full", "textual-inversion", "dreambooth", "lora"]


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """What every recipe gets alike. Raises ValueError, naming the field, for bad values."""

    prompts: int = 10  # new situations the subject is drawn in
    seeds: int = 4  # pictures of each situation
    class_pictures: int = 12  # of the bare class, before and after
    train_steps: int = 200  # optimizer steps of every method
    train_batch_size: int = 4  # pictures of the subject a step
    prior_pictures: int = 48  # of the class, for prior preservation
    sampler_steps: int = 12  # a picture, with DPM-Solver++; mini's pictures hardly change beyond
    guidance_scale: float = 5.0  # how strongly the prompt pulls

    def __post_init__(self) -> None:
        for name in ("prompts", "train_steps", "train_batch_size", "sampler_steps"):
            self._at_least(name, 1)
        for name in ("seeds", "class_pictures", "prior_pictures"):
            self._at_least(name, 2)

    def _at_least(self, name: str, least: int) -> None:
        if getattr(self, name) < least:
            raise ValueError(f"{name} is {getattr(self, name)}: give at least {least}")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One character: a drawing style and a seed."""

    style: str
    seed: int

    @property
    def name(self) -> str:
        """Its short name, such as "lorelei-0"."""
        return f"{self.style}-{self.seed}"

    @property
    def is_known_style(self) -> bool:
        """Whether mini was trained on the style, so that a prompt could nearly describe it."""
        return self.style in BASE_STYLES

    @property
    def class_word(self) -> str:
        """What it is: person or creature."""
        return class_word_of(self.style)

    def pictures(self, number: int = 5) -> list[Picture]:
        """Draw the character in different expressions, on different backgrounds."""
        from sdlearn.data.characters import draw_character

        return draw_character(self.style, self.seed, number)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One way to learn a subject. What is not said is the method's own default for the model."""

    method: MethodName  # before: the model as it was
    prior: bool = False  # DreamBooth with prior preservation
    num_vectors: int = 1  # rows of Textual Inversion's word
    noun: str | None = None  # class noun in prompts; None: the subject's own; '': none at all
    pictures: int = 5  # of the subject
    rank: int = 16  # of a LoRA
    learning_rate: float | None = None  # None: what suits method and model
    times: float = 1.0  # optimizer steps, over the comparison's
    initializer: str | None = None  # Textual Inversion's first word; None: the subject's class
    captions: bool = True  # whether training prompts say expression and background
    identifier: str = "sks"  # DreamBooth's rare word in front of the class
    placeholder_token: str = "<my-character>"  # Textual Inversion's new word
    train_text_encoder: bool = True  # in DreamBooth, as with SD; without it mini binds less
    prior_loss_weight: float = 1.0  # lambda of the DreamBooth paper
    class_batch_size: int | None = None  # class pictures a step; None: as many as of the subject

    @property
    def name(self) -> str:
        """A short name that tells recipes apart, for files and tables."""
        forms = {
            "prior": "prior",
            "num_vectors": f"{self.num_vectors}-vectors",
            "noun": f"noun-{self.noun or 'none'}",
            "pictures": f"{self.pictures}-pictures",
            "rank": f"rank-{self.rank}",
            "learning_rate": f"rate-{self.learning_rate or 0:g}",
            "times": f"times-{self.times:g}",
            "initializer": f"from-{self.initializer}",
            "captions": "no-captions",
        }
        changed = [f.name for f in fields(self)[1:] if getattr(self, f.name) != f.default]
        return "-".join([self.method, *(forms.get(n, f"{n}-{getattr(self, n)}") for n in changed)])

    def called(self, class_word: str) -> str:
        """What prompts call a subject of a class: "sks person" or the new word."""
        if self.method == "textual-inversion":
            return self.placeholder_token
        noun = class_word if self.noun is None else self.noun
        return f"{self.identifier} {noun}".strip()

    def make(
        self, sd: StableDiffusion, class_word: str, class_pictures: Sequence[Picture] = ()
    ) -> Method:
        """Make the method on a loaded model; `class_pictures` are for prior preservation alone.

        Raises ValueError for words that it cannot learn, and for "before", which learns nothing.
        """
        from sdlearn.finetune import DreamBooth, FullFineTuning, LoRA, TextualInversion

        if self.method == "textual-inversion":
            return TextualInversion(
                sd,
                placeholder_token=self.placeholder_token,
                initializer_token=self.initializer or class_word,
                num_vectors=self.num_vectors,
                templates=("{text}",),
            )
        if self.method == "full":
            return FullFineTuning(sd, train_text_encoder=True)
        if self.method == "lora":
            return LoRA(sd, rank=self.rank)
        if self.method == "dreambooth":
            return DreamBooth(
                sd,
                instance_prompt="{text}",
                class_prompt=class_prompt(class_word),
                with_prior_preservation=self.prior,
                prior_loss_weight=self.prior_loss_weight,
                class_batch_size=self.class_batch_size,
                train_text_encoder=self.train_text_encoder,
                own_class_pictures=class_pictures if self.prior else (),
            )
        raise ValueError("before: nothing is learnt there")

    def training_pictures(self, pictures: Sequence[Picture], class_word: str) -> list[Picture]:
        """The subject's pictures with captions that call it as prompts will."""
        return caption_subject(pictures, class_word, self.called(class_word), self.captions)


BEFORE = Recipe(method="before")
FULL = Recipe(method="full")
TEXTUAL_INVERSION = Recipe(method="textual-inversion", num_vectors=4)
DREAMBOOTH = Recipe(method="dreambooth")
DREAMBOOTH_PRIOR = Recipe(method="dreambooth", prior=True)
LORA = Recipe(method="lora")
LABELS = {
    BEFORE.name: "before",
    FULL.name: "full fine-tuning",
    TEXTUAL_INVERSION.name: "Textual Inversion",
    DREAMBOOTH.name: "DreamBooth",
    DREAMBOOTH_PRIOR.name: "DreamBooth + prior",
    LORA.name: "LoRA",
}
