"""What a row of results/against_scripts.json says: ratios of ours and theirs."""

import math
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One method, ours over diffusers' script."""

    speed: float  # steps per second, ours over theirs
    slowest_round: float  # the same of the round where it was least
    ours: float  # milliseconds a step
    theirs: float  # milliseconds a step
    caching: float  # seconds of the caching pass
    break_even: int | None  # step from which on ours took less time, caches included; None: never
    ours_peak: float  # bytes, the most private memory
    theirs_peak: float  # bytes
    memory: float  # ours over theirs
    memory_rounds: tuple[float, float]  # the least and the most of it, of one round
    memory_beyond: float  # the same, less what importing the libraries takes in both
    earlier: float | None  # what it was before, ours over theirs; None: not measured


def figures(row: dict[str, Any]) -> Figures:
    """The ratios of a method's row: medians over its rounds."""

    def middle(side: str, name: str) -> float:
        return median(sides[side][name] for sides in row["rounds"])

    ours, theirs = middle("ours", "seconds"), middle("theirs", "seconds")
    caching, libraries = middle("ours", "caching_seconds"), row["libraries_bytes"]
    ours_peak, theirs_peak = middle("ours", "peak_bytes"), middle("theirs", "peak_bytes")
    ratios = [sides["theirs"]["seconds"] / sides["ours"]["seconds"] for sides in row["rounds"]]
    shares = [
        sides["ours"]["peak_bytes"] / sides["theirs"]["peak_bytes"] for sides in row["rounds"]
    ]
    before = [sides["earlier"]["peak_bytes"] for sides in row["rounds"] if "earlier" in sides]
    return Figures(
        speed=median(ratios),
        slowest_round=min(ratios),
        ours=1000 * ours,
        theirs=1000 * theirs,
        caching=caching,
        break_even=math.ceil(caching / (theirs - ours)) if theirs > ours else None,
        ours_peak=ours_peak,
        theirs_peak=theirs_peak,
        memory=ours_peak / theirs_peak,
        memory_rounds=(min(shares), max(shares)),
        earlier=median(before) / theirs_peak if before else None,
        memory_beyond=(ours_peak - libraries) / (theirs_peak - libraries),
    )
