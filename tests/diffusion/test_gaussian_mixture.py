"""The exact denoiser, against other ways to the same numbers; and guidance against it."""

import math

import pytest
import torch
from exact_data import CLASSES, LEFT, POINT, RIGHT, SCHEDULE, SETTINGS, TWO_MODES, noisy_samples
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal
from torch.testing import assert_close

from sdlearn.diffusion import NoiseSchedule, classifier_free_guidance
from sdlearn.diffusion.gaussian_mixture import NO_CLASS, ExactDenoiser, GaussianMixture
from sdlearn.diffusion.samplers import PlainDDIMScheduler, trajectory

PLACES = torch.tensor([[0.1, -0.3], [-1.5, 2.0], [3.0, 0.0]], dtype=torch.float64)


def torchs_mixture(mixture: GaussianMixture, alpha_bar: float) -> MixtureSameFamily:
    """The noisy mixture, put together with torch's own distributions."""
    width = mixture.means.shape[1]
    covariances = alpha_bar * mixture.covariances.double() + (1 - alpha_bar) * torch.eye(width)
    gaussians = MultivariateNormal(math.sqrt(alpha_bar) * mixture.means.double(), covariances)
    return MixtureSameFamily(Categorical(mixture.weights.double()), gaussians)


@pytest.mark.parametrize("alpha_bar", [1.0, 0.6, 0.005])
def test_the_density_equals_that_of_torchs_distributions(alpha_bar):
    expected = torchs_mixture(CLASSES, alpha_bar).log_prob(PLACES)
    assert_close(CLASSES.log_prob(PLACES, alpha_bar), expected)


def test_predicted_noise_is_the_slope_of_the_log_density():
    places = PLACES.clone().requires_grad_()
    (score,) = torch.autograd.grad(torchs_mixture(CLASSES, 0.6).log_prob(places).sum(), places)
    assert_close(CLASSES.epsilon(PLACES, 0.6), -math.sqrt(0.4) * score)


def test_a_gaussian_askew_in_three_dimensions_lies_the_same_way_everywhere():
    """In two dimensions the axes may equal their transpose, and hide that they were turned."""
    covariance = torch.tensor([[0.5, 0.3, 0.1], [0.3, 0.4, -0.1], [0.1, -0.1, 0.3]])
    askew = GaussianMixture(
        means=torch.zeros(1, 3), covariances=covariance[None], weights=torch.ones(1)
    )
    samples, _ = askew.sample(20_000, torch.Generator().manual_seed(0))
    # four standard errors of a variance of 0.5
    assert_close(torch.cov(samples.T).float(), covariance, rtol=0, atol=0.02)
    assert_close(askew.log_prob(samples, 0.6), torchs_mixture(askew, 0.6).log_prob(samples))
    precision = (0.6 * covariance + 0.4 * torch.eye(3)).double().inverse()
    assert_close(askew.epsilon(samples, 0.6), math.sqrt(0.4) * samples @ precision)


def test_predicted_noise_is_the_mean_noise_by_integrating_over_all_pictures():
    alpha_bar, noisy = 0.5, torch.tensor([[0.3]], dtype=torch.float64)
    pictures = torch.linspace(-4, 4, 20001, dtype=torch.float64)[:, None]
    noise = (noisy - math.sqrt(alpha_bar) * pictures) / math.sqrt(1 - alpha_bar)
    weights = (TWO_MODES.log_prob(pictures)[:, None] - noise.square() / 2).exp()
    assert_close(TWO_MODES.epsilon(noisy, alpha_bar)[0], (weights * noise).sum(0) / weights.sum())


def test_round_gaussians_equal_full_ones_with_that_covariance():
    means = torch.tensor([[0.0, 1.0], [2.0, -1.0]])
    full = torch.eye(2) * torch.tensor([0.3, 0.0])[:, None, None]
    round_ones = GaussianMixture(means=means, covariances=torch.tensor([0.3, 0.0]))
    full_ones = GaussianMixture(means=means, covariances=full)
    assert_close(round_ones.epsilon(PLACES, 0.7), full_ones.epsilon(PLACES, 0.7))
    assert_close(round_ones.log_prob(PLACES, 0.7), full_ones.log_prob(PLACES, 0.7))


def test_samples_have_the_mixtures_shares_means_and_covariances():
    number = 40_000
    samples, classes = CLASSES.sample(number, torch.Generator().manual_seed(0))
    share = (classes == 0).double().mean().item()
    assert abs(share - 0.3) < 4 * math.sqrt(0.3 * 0.7 / number)  # four standard errors
    for label, covariance in enumerate((LEFT, RIGHT)):
        of_class = samples[classes == label]
        # a mean's standard error is below sqrt(0.4 / 12 000), a variance's 0.4 sqrt(2 / 12 000)
        assert_close(of_class.mean(0).float(), CLASSES.means[label], rtol=0, atol=0.024)
        assert_close(torch.cov(of_class.T).float(), covariance, rtol=0, atol=0.021)


def test_a_class_is_its_gaussian_alone_and_no_class_the_mixture():
    labels = torch.tensor([0, 1, NO_CLASS])
    answers = CLASSES.epsilon(PLACES, 0.6, labels)
    for row, label in enumerate((0, 1)):
        alone = GaussianMixture(
            means=CLASSES.means[label, None], covariances=CLASSES.covariances[label, None]
        )
        assert_close(answers[row], alone.epsilon(PLACES, 0.6)[row])
    assert_close(answers[2], CLASSES.epsilon(PLACES, 0.6)[2])


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_the_denoiser_of_a_point_knows_the_picture_whatever_it_predicts(prediction_type):
    schedule = NoiseSchedule(
        alphas_cumprod=SCHEDULE.alphas_cumprod, prediction_type=prediction_type
    )
    picture, timesteps = torch.full((3, 1, 1, 1), 1.3), torch.tensor([10, 500, 999])
    noise = torch.tensor([0.5, -1.0, 2.0]).view(3, 1, 1, 1)
    noisy = schedule.add_noise(picture, noise, timesteps)
    denoiser = ExactDenoiser(mixture=POINT, schedule=schedule)
    expected = schedule.target(picture, noise, timesteps)
    assert_close(denoiser(noisy, timesteps).sample, expected, rtol=1e-4, atol=1e-5)
    assert_close(denoiser(noisy[1:2], 500, return_dict=False)[0], expected[1:2])


def test_the_denoiser_keeps_shape_and_dtype_of_latents():
    mixture = GaussianMixture(means=torch.randn(3, 4 * 8 * 8), covariances=torch.ones(3))
    latents = torch.randn(2, 4, 8, 8).half()
    answer = ExactDenoiser(mixture=mixture, schedule=SCHEDULE)(latents, torch.tensor(7)).sample
    assert (answer.shape, answer.dtype) == (latents.shape, torch.float16)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"means": torch.zeros(2)}, "give \\(components, dimensions\\)"),
        ({"covariances": torch.ones(3)}, "covariances are \\(3,\\)"),
        ({"covariances": torch.tensor([-1.0, 1.0])}, "negative variance"),
        ({"covariances": torch.tensor([[[1.0, 0.5], [0.0, 1.0]]] * 2)}, "not symmetric"),
        ({"weights": torch.tensor([0.5, 0.6])}, "above 0, sum 1"),
        ({"weights": torch.tensor([0.0, 1.0])}, "above 0, sum 1"),
    ],
)
def test_what_is_no_mixture_is_refused(changes, words):
    parts = {"means": torch.zeros(2, 2), "covariances": torch.ones(2)}
    with pytest.raises(ValueError, match=words):
        GaussianMixture(**parts | changes)


def test_samples_and_classes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"give \(B, 2\)"):
        CLASSES.epsilon(torch.zeros(3, 5), 0.5)
    for labels in (torch.tensor([0, 2, 1]), torch.tensor([0, 1])):
        with pytest.raises(ValueError, match="from 0 to 1, or -1 for no class"):
            CLASSES.epsilon(PLACES, 0.5, labels)


def guided(guidance_scale: float, labels: torch.Tensor):
    """The denoiser of CLASSES under classifier-free guidance to a class for each sample."""
    denoiser = ExactDenoiser(mixture=CLASSES, schedule=SCHEDULE)

    def model(sample, timestep):
        answer = denoiser(sample, timestep, labels)
        answer.sample = classifier_free_guidance(
            denoiser(sample, timestep).sample, answer.sample, guidance_scale
        )
        return answer

    return model


@pytest.mark.parametrize("guidance_scale", [0.0, 1.0, 4.0])
def test_guidance_is_the_slope_of_the_density_times_a_power_of_the_classifier(guidance_scale):
    places = PLACES.clone().requires_grad_()
    labels = torch.tensor([0, 1, 1])
    timestep = 400
    alpha_bar = float(SCHEDULE.alphas_cumprod[timestep])
    together = torchs_mixture(CLASSES, alpha_bar)
    of_class = together.component_distribution.log_prob(places[:, None])[range(3), labels]
    density = together.log_prob(places)
    classifier = of_class + CLASSES.weights.log()[labels] - density  # Bayes' rule
    (slope,) = torch.autograd.grad((density + guidance_scale * classifier).sum(), places)
    answer = guided(guidance_scale, labels)(PLACES, timestep).sample
    assert_close(answer, -math.sqrt(1 - alpha_bar) * slope, rtol=1e-5, atol=1e-6)


def guided_samples(guidance_scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """3000 samples guided to each class, from the same noisy samples of that class each time."""
    labels = torch.arange(6000) // 3000
    generator = torch.Generator().manual_seed(1)
    of_class = [
        GaussianMixture(means=mean[None], covariances=covariance[None])
        for mean, covariance in zip(CLASSES.means, CLASSES.covariances, strict=True)
    ]
    noisy = torch.cat([noisy_samples(mixture, 3000, generator) for mixture in of_class])
    scheduler = PlainDDIMScheduler(**SETTINGS)
    *_, (_, samples) = trajectory(guided(guidance_scale, labels), scheduler, noisy, 50)
    return samples, labels


def test_guidance_scale_1_draws_each_class_as_it_is():
    samples, labels = guided_samples(1.0)
    for label, covariance in enumerate((LEFT, RIGHT)):
        of_class = samples[labels == label]
        # four standard errors of 3000 samples, at most 4 sqrt(0.4 / 3000) of a mean and
        # 4 * 0.4 sqrt(2 / 3000) of a variance; and as much again for 50 steps of a first-order
        # method
        assert_close(of_class.mean(0).float(), CLASSES.means[label], rtol=0, atol=0.05)
        assert_close(torch.cov(of_class.T).float(), covariance, rtol=0.1, atol=0.04)


def test_guidance_scale_0_ignores_the_class_and_scale_4_flees_the_other():
    samples, labels = guided_samples(0.0)
    for label in (0, 1):
        share = (samples[labels == label][:, 0] < 0).double().mean().item()
        assert 0.15 < share < 0.45  # of the mixture 0.3; where the noise began moves it a little
    plain, strong = guided_samples(1.0)[0], guided_samples(4.0)[0]
    for label, outwards in ((0, -1.0), (1, 1.0)):
        moved = (strong - plain)[labels == label].mean(0)
        assert outwards * moved[0] > 0.05
        assert outwards * moved[1] < -0.05
