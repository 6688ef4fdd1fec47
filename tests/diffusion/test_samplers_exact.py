"""All samplers, ours and diffusers', on data whose exact answer is known.

Runs are compared at a timestep that they all pass, before the last step: that one goes to the
predicted picture whatever came before, and would hide or add errors that are not the sampler's.
"""

import math

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    UniPCMultistepScheduler,
)
from exact_data import (
    ALPHA_BAR,
    CLASSES,
    FIRST,
    POINT,
    SETTINGS,
    STOP,
    TWO_MODES,
    exact_flow,
    noisy_samples,
    orders,
    run,
)

from sdlearn.diffusion.gaussian_mixture import GaussianMixture
from sdlearn.diffusion.samplers import (
    PlainDDIMScheduler,
    PlainDDPMScheduler,
    QuasiTaylorScheduler,
)

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # in diffusers
NORMAL = GaussianMixture(means=torch.zeros(1, 1), covariances=torch.ones(1))
DDIM = {
    "diffusers DDIM": DDIMScheduler(**SETTINGS),
    "DDIM": PlainDDIMScheduler(**SETTINGS),
}
QUASI_TAYLOR = {
    f"quasi-Taylor {order}": QuasiTaylorScheduler(**SETTINGS, taylor_order=order)
    for order in (1, 2, 3)
}
WITH_MEMORY = {  # diffusers' second-order samplers
    "DPM-Solver++": DPMSolverMultistepScheduler.from_config(SETTINGS),
    "UniPC": UniPCMultistepScheduler.from_config(SETTINGS),
}
DETERMINISTIC = DDIM | QUASI_TAYLOR | WITH_MEMORY
STOCHASTIC = {
    "DDPM": (PlainDDPMScheduler(**SETTINGS), {}),
    "DDPM, large variance": (PlainDDPMScheduler(**SETTINGS, variance_type="fixed_large"), {}),
    "diffusers DDPM": (DDPMScheduler(**SETTINGS), {}),
    "DDIM, eta 0.5": (PlainDDIMScheduler(**SETTINGS), {"eta": 0.5}),
    "Euler-Maruyama": (QuasiTaylorScheduler(**SETTINGS, taylor_order=1, stochastic=True), {}),
    "quasi-Ito-Taylor": (QuasiTaylorScheduler(**SETTINGS, stochastic=True), {}),
}


def errors(mixture: GaussianMixture, scheduler, steps=(25, 50, 100)) -> list[float]:
    """Root mean square distance from the exact flow, with the step halved each time."""
    noisy = torch.linspace(-2.5, 2.5, 101, dtype=torch.float64)[:, None]
    exact = exact_flow(mixture, noisy, FIRST, STOP)
    runs = [run(mixture, scheduler, noisy, number, STOP) for number in steps]
    return [(there - exact).square().mean().sqrt().item() for there in runs]


@pytest.mark.parametrize("name", [*DDIM, *WITH_MEMORY])
def test_samplers_that_hold_the_picture_still_are_exact_on_one_point(name):
    assert max(errors(POINT, DETERMINISTIC[name])) < 1e-6


@pytest.mark.parametrize("name", [*DDIM, *QUASI_TAYLOR])
def test_on_two_modes_ddim_and_every_quasi_taylor_order_are_first_order(name):
    assert orders(errors(TWO_MODES, DETERMINISTIC[name])) == pytest.approx([1, 1], abs=0.05)


def test_on_two_modes_order_3_is_ddim_and_order_1_errs_less():
    first, _, third = (errors(TWO_MODES, scheduler)[0] for scheduler in QUASI_TAYLOR.values())
    ddim = errors(TWO_MODES, DDIM["DDIM"])[0]
    assert third == pytest.approx(ddim, rel=0.01)
    assert first < 0.9 * ddim  # its two errors, of the series and of the data, have opposite signs


def test_on_two_modes_dpm_solver_is_second_order_and_unipc_better():
    assert orders(errors(TWO_MODES, WITH_MEMORY["DPM-Solver++"])) == pytest.approx([2, 2], abs=0.1)
    assert min(orders(errors(TWO_MODES, WITH_MEMORY["UniPC"]))) > 2.5


def test_with_20_steps_the_second_order_samplers_err_a_fifth_of_the_others():
    error = {name: errors(TWO_MODES, sampler, [20])[0] for name, sampler in DETERMINISTIC.items()}
    of_first_order = [error[name] for name in [*DDIM, *QUASI_TAYLOR]]
    for name in WITH_MEMORY:
        assert 5 * error[name] < min(of_first_order)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_the_whole_run_ends_at_the_pictures_that_the_noise_belongs_to(name):
    noisy = torch.linspace(-2.5, 2.5, 101, dtype=torch.float64)[:, None]
    exact = exact_flow(TWO_MODES, noisy, FIRST, -1)
    picture = run(TWO_MODES, DETERMINISTIC[name], noisy, 100)
    # 0.03 of it is the last step, which goes from timestep 9 to the mean of what may be there
    assert (picture - exact).square().mean().sqrt() < 0.05


@pytest.mark.parametrize("kind", [PlainDDPMScheduler, DDPMScheduler])
@pytest.mark.parametrize(
    ("mixture", "right", "wrong"),
    [(NORMAL, "fixed_large", "fixed_small"), (POINT, "fixed_small", "fixed_large")],
)
def test_ddpms_variances_are_exact_for_normal_data_and_for_one_point(kind, mixture, right, wrong):
    """Ho et al. 2020, section 3.2: in 10 steps as in 1000, and the other variance far off."""
    number = 20_000
    signal = ALPHA_BAR[STOP].item()
    expected = signal * mixture.covariances.item() + 1 - signal
    variance = {}
    for variance_type in (right, wrong):
        scheduler = kind(**SETTINGS, variance_type=variance_type)
        generator = torch.Generator().manual_seed(0)
        noisy = noisy_samples(mixture, number, generator)
        there = run(mixture, scheduler, noisy, 10, STOP, generator=generator)
        variance[variance_type] = there.var().item() / expected
        assert there.mean().item() == pytest.approx(
            math.sqrt(signal) * mixture.means.item(), abs=4 * there.std().item() / number**0.5
        )
    four_standard_errors = 4 * math.sqrt(2 / number)  # of a variance, relative: 0.04
    assert abs(variance[right] - 1) < four_standard_errors
    assert abs(variance[wrong] - 1) > 5 * four_standard_errors


@pytest.mark.parametrize("name", STOCHASTIC)
def test_stochastic_samples_have_the_moments_of_the_mixture(name):
    """Both classes with their shares, means and variances: nothing lost, nothing blurred."""
    scheduler, arguments = STOCHASTIC[name]
    number, generator = 4000, torch.Generator().manual_seed(2)
    noisy = noisy_samples(CLASSES, number, generator)
    samples = run(CLASSES, scheduler, noisy, 200, generator=generator, **arguments)
    left = samples[:, 0] < 0
    for label, of_class in enumerate((samples[left], samples[~left])):
        weight, count = CLASSES.weights[label].item(), len(of_class)
        variances = CLASSES.covariances[label].diagonal()
        # four standard errors each; and for 200 steps, 0.01 of the means and 5 % of the variances
        assert abs(count / number - weight) < 4 * math.sqrt(weight * (1 - weight) / number)
        mean_error = (of_class.mean(0) - CLASSES.means[label]).abs()
        assert (mean_error < 4 * (variances / count).sqrt() + 0.01).all()
        assert ((of_class.var(0) / variances - 1).abs() < 4 * math.sqrt(2 / count) + 0.05).all()
