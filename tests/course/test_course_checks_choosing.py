"""The checks of chapter 11: right answers pass, wrong ones are told why."""

import pytest
import torch

from sdlearn.course import checks


def front(beats):
    """A learner's function that leaves out whom another one beats."""

    def unbeaten(points):
        return [name for name, p in points.items() if not any(beats(q, p) for q in points.values())]

    return unbeaten


def ends(values, shares=(0.025, 0.975)):
    return torch.quantile(values, torch.tensor(shares))


def interval(first, second, places):
    means = (first - second)[places].mean(1)
    return (first - second).mean(), *ends(means)


def rule(goal, pictures, keep_class, most_bytes, sizes):
    if goal == "edit":
        return "imagic"
    all_fits = sizes["dreambooth"] <= most_bytes
    if goal == "style":
        return "full" if pictures >= 100 and all_fits else "lora"
    if all_fits:
        return "dreambooth-prior" if keep_class else "dreambooth"
    if keep_class or sizes["lora"] > most_bytes:
        return "textual-inversion"
    return "lora"


WRONG_FRONTS = {
    "low drift is the good one": front(lambda q, p: q[0] >= p[0] and q[1] >= p[1] and q != p),
    "the ones that are beaten": lambda points: ["A", "D", "G"],
    "only the most alike": lambda points: [max(points, key=lambda n: points[n][0])],
    "only the least drift": front(lambda q, p: q[1] < p[1]),
    "two that are equal": lambda points: [
        n
        for n, p in points.items()
        if not any(q[0] >= p[0] and q[1] <= p[1] for m, q in points.items() if m != n)
    ],
    "nobody is left": front(lambda q, p: q[0] >= p[0] and q[1] <= p[1]),
    "equal in one": front(lambda q, p: q[0] > p[0] and q[1] < p[1]),
    "a sum of both": lambda points: [max(points, key=lambda n: points[n][0] - points[n][1])],
    "C is missing": lambda points: ["B", "E", "F"],
    "D is beaten": lambda points: ["B", "C", "D", "E", "F"],
    "is none of": lambda points: list(points.values()),
    "a list of names": lambda points: 4,
}
WRONG_SHELVES = {
    "once, however many": lambda n, s, a, b: (n * s, n * (a + b)),
    "add it, once": lambda n, s, a, b: (n * s, n * a),
    "takes its seconds each time": lambda n, s, a, b: (s, n * a + b),
    "a file of its own": lambda n, s, a, b: (n * s, a + b),
    "first the seconds": lambda n, s, a, b: (n * a + b, n * s),
    "answer in seconds": lambda n, s, a, b: (n * s / 60, n * a + b),
    "2 numbers": lambda n, s, a, b: n * s,
    "is off": lambda n, s, a, b: (n * s + 1, n * a + b),
}
WRONG_INTERVALS = {
    "second minus first": lambda f, s, p: interval(s, f, p),
    "ends of two intervals": lambda f, s, p: (
        (f - s).mean(),
        *(ends(f[p].mean(1)) - ends(s[p].mean(1))),
    ),
    "hard for both": lambda f, s, p: (
        (f - s).mean(),
        *(ends(f[p].mean(1)) - ends(s[p].mean(1)).flip(0)),
    ),
    "one mean": lambda f, s, p: ((f - s).mean(), *ends((f - s)[p].flatten())),
    "a tenth": lambda f, s, p: ((f - s).mean(), *ends((f - s)[p].mean(1), (0.05, 0.95))),
    "largest and smallest": lambda f, s, p: (
        (f - s).mean(),
        (f - s)[p].mean(1).min(),
        (f - s)[p].mean(1).max(),
    ),
    "a bell curve": lambda f, s, p: (
        (f - s).mean(),
        (f - s).mean() - 1.96 * (f - s)[p].mean(1).std(),
        (f - s).mean() + 1.96 * (f - s)[p].mean(1).std(),
    ),
    r"should have shape \(3,\)": lambda f, s, p: (f - s).mean(),
}
WRONG_CHOICES = {  # what is said -> goal, keep_class of what goes wrong, and the wrong choice
    "no subject is learnt": ("edit", True, "dreambooth"),
    "no file of weights": ("edit", False, "textual-inversion"),
    "teach every weight": ("style", False, "lora"),
    "the class must stay": ("subject", True, "dreambooth"),
    "nothing must stay": ("subject", False, "dreambooth-prior"),
}


def test_the_front_of_the_unbeaten_earns_its_point():
    answer = front(lambda q, p: q[0] >= p[0] and q[1] <= p[1] and q != p)
    assert checks.unbeaten(answer).points == 1
    assert checks.unbeaten(lambda points: set(answer(points))).points == 1


@pytest.mark.parametrize("why", WRONG_FRONTS)
def test_a_wrong_front_is_told_what_is_wrong_with_it(why):
    wrong = WRONG_FRONTS[why]
    with pytest.raises(checks.WrongAnswer, match=why):
        checks.unbeaten(lambda points: wrong(points))


def test_a_right_shelf_earns_its_point():
    def shelf(characters, seconds, artefact_bytes, base_bytes):
        return characters * seconds, base_bytes + characters * artefact_bytes

    assert checks.shelf(shelf).points == 1


@pytest.mark.parametrize("why", WRONG_SHELVES)
def test_a_wrong_shelf_is_told_what_is_wrong_with_it(why):
    wrong = WRONG_SHELVES[why]

    def shelf(characters, seconds, artefact_bytes, base_bytes):
        return wrong(characters, seconds, artefact_bytes, base_bytes)

    with pytest.raises(checks.WrongAnswer, match=why):
        checks.shelf(shelf)


def test_a_paired_interval_earns_its_points():
    assert checks.paired_interval(interval).points == 2
    assert checks.paired_interval(
        lambda first, second, places: torch.stack(interval(first, second, places))
    )


@pytest.mark.parametrize("why", WRONG_INTERVALS)
def test_a_wrong_interval_is_told_what_is_wrong_with_it(why):
    wrong = WRONG_INTERVALS[why]
    with pytest.raises(checks.WrongAnswer, match=why):
        checks.paired_interval(lambda first, second, places: wrong(first, second, places))


def test_a_right_rule_earns_its_points():
    assert checks.choose(rule).points == 2


@pytest.mark.parametrize("why", WRONG_CHOICES)
def test_a_wrong_choice_is_told_what_it_overlooks(why):
    goal_of, keeps, wrong = WRONG_CHOICES[why]

    def choose(goal, pictures, keep_class, most_bytes, sizes):
        if (goal, keep_class) == (goal_of, keeps):
            return wrong
        return rule(goal, pictures, keep_class, most_bytes, sizes)

    with pytest.raises(checks.WrongAnswer, match=why):
        checks.choose(choose)


@pytest.mark.parametrize(
    ("why", "change"),
    [
        ("100 included", {"pictures": -1}),
        ("does not fit", {"most_bytes": 10**9}),
        ("just that size fits", {"most_bytes": -1}),
    ],
)
def test_a_rule_that_misreads_a_bound_is_told_which(why, change):
    def choose(**asked):
        moved = {name: asked[name] + by for name, by in change.items()}
        return rule(**{**asked, **moved})

    with pytest.raises(checks.WrongAnswer, match=why):
        checks.choose(choose)


@pytest.mark.parametrize(
    "check", [checks.unbeaten, checks.shelf, checks.paired_interval, checks.choose]
)
def test_what_is_not_answered_yet_is_no_wrong_answer(check):
    with pytest.raises(NotImplementedError):
        check(...)
