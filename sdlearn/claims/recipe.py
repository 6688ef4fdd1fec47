"""How a subject is learnt in an experiment: a method and what is changed of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sdlearn.evaluate.situations import class_prompt, worded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sdlearn.claims.subjects import Subject
    from sdlearn.data.folder import Picture
    from sdlearn.finetune import Method
    from sdlearn.models import StableDiffusion

MethodName = Literal["before", "full", "textual-inversion", "dreambooth", "lora"]
IDENTIFIER, PLACEHOLDER = "sks", "<my-character>"


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
    times: float = 1.0  # optimizer steps, over the experiment's
    initializer: str | None = None  # Textual Inversion's first word; None: the subject's class
    captions: bool = True  # whether training prompts say expression and background

    @property
    def name(self) -> str:
        """A short name that tells recipes apart, for files and tables."""
        words: list[str] = [self.method]
        words += ["prior"] if self.prior else []
        words += [f"{self.num_vectors}-vectors"] if self.num_vectors != 1 else []
        words += [f"noun-{self.noun or 'none'}"] if self.noun is not None else []
        words += [f"{self.pictures}-pictures"] if self.pictures != 5 else []
        words += [f"rank-{self.rank}"] if self.rank != 16 else []
        words += [f"rate-{self.learning_rate:g}"] if self.learning_rate is not None else []
        words += [f"times-{self.times:g}"] if self.times != 1 else []
        words += [f"from-{self.initializer}"] if self.initializer is not None else []
        words += ["no-captions"] if not self.captions else []
        return "-".join(words)

    def called(self, subject: Subject) -> str:
        """What prompts call the subject: "sks person" or the new word."""
        if self.method == "textual-inversion":
            return PLACEHOLDER
        noun = subject.class_word if self.noun is None else self.noun
        return f"{IDENTIFIER} {noun}".strip()

    def make(
        self, sd: StableDiffusion, subject: Subject, class_pictures: Sequence[Picture]
    ) -> Method:
        """The method on a loaded model; `class_pictures` are for prior preservation alone."""
        from sdlearn.finetune import DreamBooth, FullFineTuning, LoRA, TextualInversion

        if self.method == "textual-inversion":
            return TextualInversion(
                sd,
                placeholder_token=PLACEHOLDER,
                initializer_token=self.initializer or subject.class_word,
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
                class_prompt=class_prompt(subject.class_word),
                with_prior_preservation=self.prior,
                train_text_encoder=True,  # as with Stable Diffusion; without it mini binds less
                own_class_pictures=class_pictures if self.prior else (),
            )
        raise ValueError("before: nothing is learnt there")

    def training_pictures(self, subject: Subject) -> list[Picture]:
        """The subject's pictures with captions that call it as prompts will."""
        pictures = subject.pictures(self.pictures)
        return worded(pictures, subject.class_word, self.called(subject), self.captions)


BEFORE = Recipe(method="before")
FULL = Recipe(method="full")
TEXTUAL_INVERSION = Recipe(method="textual-inversion", num_vectors=4)  # as in the demo
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
