"""Quasi-Taylor: the formulas in symbols and by hand, their orders, and what noise they add."""

import math

import pytest
import sympy
import torch
from diffusers import DPMSolverMultistepScheduler
from exact_data import ALPHA_BAR, FIRST, POINT, SETTINGS, STOP, exact_flow, orders, run
from torch.testing import assert_close

from sdlearn.diffusion.samplers import (
    NoiseRate,
    PlainDDIMScheduler,
    QuasiTaylorScheduler,
    ito_taylor_coefficients,
    ito_taylor_noise,
    noise_rates,
    taylor_coefficients,
)

STEPS = (25, 50, 100)


@pytest.fixture(scope="module")
def ideal():
    """Symbols, and d/dt of a function of (x, u, t) along dx/dt = drift under ideal derivatives."""
    x, u, t, h = sympy.symbols("x u t h")
    beta = sympy.Function("beta")(t)
    nu = sympy.Function("nu")(t)

    def along(function, drift):
        u_dot = beta / (2 * nu) * (x - (2 - nu) * u)
        of_u = function.diff(u) * (u_dot + drift / nu)
        answer = function.diff(t) + function.diff(x) * drift + of_u
        return answer.subs(nu.diff(t), beta * (1 - nu)).expand()

    return x, u, t, h, beta, nu, along


@pytest.mark.parametrize(("stochastic", "order"), [(False, 1), (False, 2), (False, 3), (True, 2)])
def test_the_coefficients_are_taylors_series_under_ideal_derivatives(ideal, stochastic, order):
    x, u, t, h, beta, nu, along = ideal
    drift = -beta * x / 2 + (beta if stochastic else beta / 2) * u
    series, term = x, x
    for power in range(1, order + 1):
        term = along(term, drift)
        series += (-h) ** power / sympy.factorial(power) * term
    rate = NoiseRate(beta=beta, beta_dot=beta.diff(t), beta_ddot=beta.diff(t, 2), nu=nu)
    coefficients = ito_taylor_coefficients if stochastic else taylor_coefficients
    rho, mu = coefficients(rate, h, order)
    assert sympy.nsimplify(sympy.simplify(series - rho * x - mu * u)) == 0


def test_coefficients_by_hand():
    rate = NoiseRate(beta=2.0, beta_dot=1.0, beta_ddot=3.0, nu=0.5)
    assert taylor_coefficients(rate, 0.1, 1) == (1.1, -0.1)
    assert_close(taylor_coefficients(rate, 0.1, 2), (1.1 + 0.0025, -0.1 - 0.0075))
    third = 0.00025 * (8 / 12 - 1 + 1), 0.00025 * (8 * (1.5 - 0.25 - 3) / 3 + 2 - 1)
    assert_close(taylor_coefficients(rate, 0.1, 3), (1.1025 + third[0], -0.1075 + third[1]))
    assert_close(ito_taylor_coefficients(rate, 0.1, 2), (1.1025, -0.2 + 0.005))


def test_the_orders_approach_ddim():
    signal, h = ALPHA_BAR, 10
    here, there = signal[500].item(), signal[500 - h].item()
    beta, beta_dot, beta_ddot = noise_rates(PlainDDIMScheduler(**SETTINGS).betas)[500].tolist()
    rate = NoiseRate(beta=beta, beta_dot=beta_dot, beta_ddot=beta_ddot, nu=1 - here)
    rho = math.sqrt(there / here)
    mu = (math.sqrt(1 - there) - rho * math.sqrt(1 - here)) * math.sqrt(1 - here)
    gaps = []
    for order in (1, 2, 3):
        ours = taylor_coefficients(rate, h, order)
        gaps.append(max(abs(ours[0] - rho), abs(ours[1] - mu)))
    assert gaps[0] > 10 * gaps[1] > 100 * gaps[2]
    assert gaps[2] < 1e-6


def test_noise_rates_are_the_derivatives_of_the_noise():
    # betas for which log alpha_bar(t) = -(a + b t / 2 + c t^2 / 3) t at t = 1, 2, ...
    a, b, c = 1e-3, 2e-5, 3e-8
    ends = torch.arange(0, 1001, dtype=torch.float64)
    log_signal = -(a + b * ends / 2 + c * ends**2 / 3) * ends
    betas = -torch.expm1(log_signal.diff())
    at = ends[1:]
    exact = torch.stack([a + b * at + c * at**2, b + 2 * c * at, torch.full_like(at, 2 * c)], dim=1)
    rates = noise_rates(betas)
    assert_close(rates[2:-3], exact[2:-3], rtol=1e-4, atol=0)
    assert_close(rates[:, 0], exact[:, 0], rtol=1e-3, atol=0)
    assert_close(rates[:, 1], exact[:, 1], rtol=5e-3, atol=0)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_on_one_point_the_error_of_order_n_falls_with_the_nth_power_of_the_step(order):
    """In continuous time, beta = 0.1 + 19.9 t, from t = 1 to 0.1, with the point at 1.3."""

    def nu(t):
        return -math.expm1(-0.1 * t - 19.9 * t**2 / 2)

    errors = []
    for steps in (40, 80, 160):
        x, h = math.sqrt(1 - nu(1.0)) * 1.3 + math.sqrt(nu(1.0)) * 0.7, 0.9 / steps
        for i in range(steps):
            t = 1 - i * h
            u = (x - math.sqrt(1 - nu(t)) * 1.3) / nu(t)
            rate = NoiseRate(beta=0.1 + 19.9 * t, beta_dot=19.9, beta_ddot=0.0, nu=nu(t))
            rho, mu = taylor_coefficients(rate, h, order)
            x = rho * x + mu * u
        errors.append(abs(x - (math.sqrt(1 - nu(0.1)) * 1.3 + math.sqrt(nu(0.1)) * 0.7)))
    assert orders(errors) == pytest.approx([order, order], abs=0.15)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_on_one_point_the_scheduler_has_its_order_too(order):
    noisy = torch.linspace(-2.5, 2.5, 11, dtype=torch.float64)[:, None]
    exact = exact_flow(POINT, noisy, FIRST, STOP)
    scheduler = QuasiTaylorScheduler(**SETTINGS, taylor_order=order)
    errors = [
        (run(POINT, scheduler, noisy, steps, STOP) - exact).square().mean().sqrt().item()
        for steps in STEPS
    ]
    # a table of 1000 noise levels has no third derivative at its very end, hence the 0.25
    assert orders(errors) == pytest.approx([order, order], abs=0.05 if order < 3 else 0.25)


def test_the_last_step_is_the_predicted_picture_and_draws_no_noise():
    for stochastic in (False, True):
        scheduler = QuasiTaylorScheduler(**SETTINGS, stochastic=stochastic)
        scheduler.set_timesteps(10)
        sample, model_output = torch.randn(2, 3, 4, 8, 8)
        before = torch.get_rng_state()
        output = scheduler.step(model_output, scheduler.timesteps[-1], sample)
        assert_close(output.prev_sample, output.pred_original_sample, rtol=0, atol=0)
        assert torch.equal(before, torch.get_rng_state())


def test_a_clipped_picture_takes_its_noise_with_it():
    settings = SETTINGS | {"clip_sample": True, "clip_sample_range": 0.5}
    scheduler = QuasiTaylorScheduler(**settings, taylor_order=3)
    scheduler.set_timesteps(1000)  # short steps, at which order 3 is DDIM
    sample, signal = torch.tensor([[2.0]]), ALPHA_BAR[[500, 499]].sqrt().tolist()
    spread = (1 - ALPHA_BAR[[500, 499]]).sqrt().tolist()
    output = scheduler.step(torch.tensor([[0.1]]), 500, sample)
    noise = (2.0 - signal[0] * 0.5) / spread[0]
    assert_close(output.pred_original_sample, torch.tensor([[0.5]]))
    assert_close(output.prev_sample, torch.tensor([[signal[1] * 0.5 + spread[1] * noise]]))


def test_the_stochastic_noise_has_the_covariance_of_its_integrals():
    """By Ito's isometry: the noise is an integral of sqrt(beta)(1 + carried s - changed ...) dB."""
    rate, h = NoiseRate(beta=1.5, beta_dot=0.8, beta_ddot=0.0, nu=0.6), 0.3
    carried = rate.beta**1.5 * (rate.nu - 2) / (2 * rate.nu)
    changed = rate.beta_dot / (2 * math.sqrt(rate.beta))
    # at s of the step, B(s) enters with sqrt(beta) + carried (h - s) - changed s
    s = torch.linspace(0, h, 100_001, dtype=torch.float64)
    weight = math.sqrt(rate.beta) + carried * (h - s) - changed * s
    one, none = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    of_w = ito_taylor_noise(rate, h, 2, one, none).item()
    of_z = ito_taylor_noise(rate, h, 2, none, one).item()
    assert of_w**2 + of_z**2 == pytest.approx(torch.trapezoid(weight**2, s).item(), rel=1e-6)
    assert ito_taylor_noise(rate, h, 1, one, one).item() == math.sqrt(rate.beta * h)


@pytest.mark.parametrize(("order", "excess"), [(1, (0.4, 0.8)), (2, (-0.07, 0.0))])
def test_order_2_keeps_the_variance_of_the_noise_where_order_1_adds_to_it(order, excess):
    """On one point the variance must be 1 - alpha_bar; 10 steps, 20 000 samples."""
    generator = torch.Generator().manual_seed(0)
    signal, noise = ALPHA_BAR[FIRST], torch.randn(20_000, 1, generator=generator)
    scheduler = QuasiTaylorScheduler(**SETTINGS, taylor_order=order, stochastic=True)
    noisy = signal.sqrt() * 1.3 + (1 - signal).sqrt() * noise.double()
    there = run(POINT, scheduler, noisy, 10, STOP, generator=generator)
    variance = (there.var() / (1 - ALPHA_BAR[STOP])).item()  # standard error 0.01
    assert excess[0] < variance - 1 < excess[1]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"taylor_order": 4}, "deterministic quasi-Taylor sampling has 1, 2, 3"),
        ({"taylor_order": 3, "stochastic": True}, "stochastic quasi-Taylor sampling has 1, 2"),
        (
            {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"},
            "no signal at all",
        ),
    ],
)
def test_what_quasi_taylor_cannot_do_is_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        QuasiTaylorScheduler(**settings)


def test_another_samplers_order_is_not_taken_for_the_taylor_order():
    theirs = DPMSolverMultistepScheduler(solver_order=3)
    assert QuasiTaylorScheduler.from_config(theirs.config).config.taylor_order == 2
