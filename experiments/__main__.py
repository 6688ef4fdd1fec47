"""`python -m experiments`: the claims of the course, measured again."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from experiments import PLACES, find
from sdlearn import cli

ALL = "all"
RUNS = ("size", "output", "model")  # options that listing has no use for


@dataclass(frozen=True, kw_only=True)
class Experiments:
    """Measure what courses repeat: drift, diversity, fidelity, guidance, samplers and so on.

    Without names, lists the claims and what the course found at full size. A small run takes under
    two minutes a claim and shows the experiment rather than the answer; a full one takes hours for
    all. What is done is kept in --output, and a run that was stopped goes on from there.
    """

    names: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[NAME ...]")
    ] = ()
    """claims to run; all: every one"""
    size: Literal["small", "full"] = "small"  # of the experiment
    output: Path | None = None  # folder; None: outputs/claims/SIZE
    model: str = "mini"  # name, or folder, of a model with judges beside it

    def run(self) -> None:
        """List, or run and print what was found."""
        if not self.names:
            given = [name for name in RUNS if getattr(self, name) != getattr(Experiments, name)]
            if given:
                raise ValueError(
                    f"--{given[0]} is for claims that run: give names of claims with it, or {ALL}"
                )
            self._list()
            return
        names = list(PLACES) if ALL in self.names else list(dict.fromkeys(self.names))
        for name in names:
            find(name)
        output = (self.output or Path("outputs/claims") / self.size).expanduser()
        from experiments.bench import Bench
        from experiments.claim import answer, run_claim
        from experiments.size import SIZES
        from sdlearn.evaluate import Judges
        from sdlearn.models import load

        sd, judges = load(self.model), Judges.load(self.model)  # before anything is written
        bench = Bench(output, SIZES[self.size], self.model)
        bench.sd, bench.judges = sd, judges
        for name in names:
            kept = run_claim(name, bench, output)
            print(f"{kept['statement']}\n  {answer(kept['agrees'])}: {kept['says']}")
            print(f"  {output / f'{name}.png'}")

    def _list(self) -> None:
        from experiments.claim import answer, shipped_results

        for name, kept in shipped_results():
            if kept is None:
                print(f"{name}: not run yet")
            else:
                print(f"{name}: {kept['statement']} ({answer(kept['agrees'])})")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status, as `sdlearn.cli.main` does."""
    return cli.main(arguments, Experiments, prog="python -m experiments", description=None)


if __name__ == "__main__":
    sys.exit(main())
