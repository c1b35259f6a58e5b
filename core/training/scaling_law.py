"""A scaling law: how the loss falls with the size of a model, L(N) = E + A N^-alpha.

Kaplan and others, "Scaling Laws for Neural Language Models" (2020); Hoffmann and others, "Training Compute-Optimal
Large Language Models" (2022), section 3.3. The same form fits the loss against the tokens read or the compute spent.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from core.errors import ExplorerError

BUDGETS = (0.25, 0.5, 1.0)  # compute budgets of a study, as shares of the largest
MIN_SIZES = 4  # three numbers are fitted, and one more size shows how well
SURE = 0.9  # probability of an interval
_EXPONENTS = np.geomspace(0.01, 3.0, 600)
_DRAWS = 1000
# For the law of size and data.
_MIN_RUNS = 8  # five numbers are fitted
_JOINT_DRAWS = 200
_JOINT_EXPONENTS = np.geomspace(0.02, 2.5, 20)
_REFINEMENTS = 25
_SUBSETS = ((0, 1, 2), (1, 2), (0, 1), (0, 2), (1,), (2,))  # which of E, A and B are fitted; the others are 0


class Interval(NamedTuple):
    """A value with the bounds that contain it with probability SURE."""

    value: float
    low: float
    high: float


class ScalingLaw(NamedTuple):
    """A fitted law. Sizes are in units of `unit`, their geometric mean, so A is the loss above E at that size."""

    floor: float  # E, nats/token: the loss of an infinitely large model
    scale: float  # A, nats/token, for sizes in units of `unit`
    exponent: float  # alpha
    unit: float
    noise: float  # standard deviation of one run's loss around the curve, nats/token
    draws: np.ndarray  # (R, 4): E, A, alpha and noise of fits to a parametric bootstrap

    def losses(self, sizes: ArrayLike) -> np.ndarray:
        """Return the losses (N,) at sizes (N,)."""
        return self.floor + self.scale * (np.asarray(sizes, dtype=np.float64) / self.unit) ** -self.exponent

    def exponent_interval(self) -> Interval:
        """Return alpha with its bounds."""
        return _interval(self.exponent, self.draws[:, 2])

    def predict(self, size: float) -> Interval:
        """Return the loss of another run of this size, with its bounds: the law's uncertainty and the run's noise."""
        floor, scale, exponent, noise = self.draws.T
        losses = floor + scale * (size / self.unit) ** -exponent
        losses = losses + noise * np.random.default_rng(1).standard_normal(len(losses))
        return _interval(float(self.losses(size)), np.maximum(losses, 0.0))


def fit_scaling_law(sizes: ArrayLike, losses: ArrayLike) -> ScalingLaw:
    """Fit E, A and alpha to the losses (N,) of runs of sizes (N,) by least squares; E and A are not negative.

    The noise is estimated from the residuals, so few runs give wide bounds. Raises ExplorerError for fewer than
    MIN_SIZES different sizes, and for losses that do not fall.
    """
    x, y = np.asarray(sizes, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    finite = np.isfinite(x) & np.isfinite(y) & (x > 0)
    x, y = x[finite], y[finite]
    if (count := len(np.unique(x))) < MIN_SIZES:
        raise ExplorerError(f"A scaling law needs runs of at least {MIN_SIZES} sizes, and there are {count}.")
    unit = float(np.exp(np.log(x).mean()))
    floor, scale, exponent = (float(value[0]) for value in _least_squares(x / unit, y[None]))
    if not scale:
        raise ExplorerError(
            "The loss does not fall with the size here, so there is no law to fit. Try larger steps of size."
        )
    fitted, rng = floor + scale * (x / unit) ** -exponent, np.random.default_rng(0)
    freedom = len(y) - 3
    noise = float(np.sqrt(((y - fitted) ** 2).sum() / freedom))
    noises = noise * np.sqrt(freedom / rng.chisquare(freedom, _DRAWS))  # (R,)
    drawn = fitted + noises[:, None] * rng.standard_normal((_DRAWS, len(y)))
    return ScalingLaw(floor, scale, exponent, unit, noise, np.stack([*_least_squares(x / unit, drawn), noises], axis=1))


def _least_squares(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return E, A and alpha (R,) for losses (R, N) at sizes (N,): for a given alpha, E and A are a linear fit."""
    powers = x ** -_EXPONENTS[:, None]  # (K, N)
    mean, means = y.mean(axis=1, keepdims=True), powers.mean(axis=1)
    centered = powers - means[:, None]
    slope = (y - mean) @ centered.T / (centered**2).sum(axis=1)  # (R, K)
    through_origin = y @ powers.T / (powers**2).sum(axis=1)
    floor = mean - slope * means
    slope = np.where(floor < 0, through_origin, np.maximum(slope, 0.0))
    floor = np.where(floor < 0, 0.0, mean - slope * means)
    squares = (y**2).sum(axis=1, keepdims=True) - 2 * floor * y.sum(axis=1, keepdims=True) - 2 * slope * (y @ powers.T)
    squares += len(x) * floor**2 + 2 * floor * slope * powers.sum(axis=1) + slope**2 * (powers**2).sum(axis=1)
    best = squares.argmin(axis=1)  # (R,)
    rows = np.arange(len(y))
    return floor[rows, best], slope[rows, best], _EXPONENTS[best]


def _interval(value: float, draws: np.ndarray) -> Interval:
    low, high = np.quantile(draws, [(1 - SURE) / 2, (1 + SURE) / 2])
    return Interval(value, min(value, float(low)), max(value, float(high)))


class JointLaw(NamedTuple):
    """A fitted law of size and data, L(N, D) = E + A N^-alpha + B D^-beta; N and D in units of their geometric means.

    Hoffmann and others (2022), section 3.3, where D counts the tokens read.
    """

    coefficients: np.ndarray  # (3,): E, A and B, nats/token
    exponents: tuple[float, float]  # alpha, beta
    units: tuple[float, float]  # of N and D
    noise: float  # standard deviation of one run around the law, nats/token
    draws: np.ndarray  # (R, 6): E, A, B, alpha, beta and noise of fits to a parametric bootstrap

    def losses(self, sizes: ArrayLike, tokens: ArrayLike) -> np.ndarray:
        """Return the losses (N,) of models of sizes (N,) after tokens (N,)."""
        fit = np.array([*self.coefficients, *self.exponents])
        return self._of(fit[:, None], np.atleast_1d(sizes), np.atleast_1d(tokens))[0]

    def predict(self, size: float, tokens: float) -> Interval:
        """Return the loss of one further run, with its bounds: the law's uncertainty and the run's noise."""
        *fits, noises = self.draws.T
        losses = self._of(np.array(fits), np.array([size]), np.array([tokens]))[:, 0]
        losses = losses + noises * np.random.default_rng(1).standard_normal(len(losses))
        return _interval(float(self.losses(size, tokens)[0]), np.maximum(losses, 0.0))

    def exponent_intervals(self) -> tuple[Interval, Interval]:
        """Return alpha and beta with their bounds."""
        alpha, beta = self.exponents
        return _interval(alpha, self.draws[:, 3]), _interval(beta, self.draws[:, 4])

    def _of(self, fits: np.ndarray, sizes: ArrayLike, tokens: ArrayLike) -> np.ndarray:
        """Return losses (R, N) of fits (5, R)."""
        floor, scale, of_data, alpha, beta = fits[..., None]
        x, d = np.asarray(sizes, dtype=np.float64) / self.units[0], np.asarray(tokens, dtype=np.float64) / self.units[1]
        return floor + scale * x**-alpha + of_data * d**-beta


class ScalingRun(NamedTuple):
    """A finished run of a study."""

    id: str  # "" if it is not a run on disk
    size: str  # "2x64"
    parameters: int
    tokens: int  # read in training
    compute: float  # floating-point operations
    loss: float  # on validation text, nats/token
    expected: Interval | None = None  # for a size that was predicted before it was trained


def law_of(runs: Sequence[ScalingRun]) -> JointLaw:
    """Fit the law to the runs that were not predicted; raises ExplorerError if they are too few."""
    fitted = [run for run in runs if run.expected is None]
    return fit_joint_law(
        [run.parameters for run in fitted], [run.tokens for run in fitted], [run.loss for run in fitted]
    )


def fit_joint_law(sizes: ArrayLike, tokens: ArrayLike, losses: ArrayLike) -> JointLaw:
    """Fit E, A, B, alpha and beta, none negative, to the losses (N,) of runs by least squares.

    The bootstrap draws runs around the fit with the noise of one run: its standard deviation over seeds, or that of the
    residuals if larger. Raises ExplorerError for fewer than MIN_SIZES sizes or _MIN_RUNS runs.
    """
    x, d, y = (np.asarray(values, dtype=np.float64) for values in (sizes, tokens, losses))
    if (count := len(np.unique(x))) < MIN_SIZES:
        raise ExplorerError(f"A scaling law needs runs of at least {MIN_SIZES} sizes, and there are {count}.")
    if len(y) < _MIN_RUNS:
        raise ExplorerError(f"A law of size and data needs at least {_MIN_RUNS} runs, and {len(y)} are done.")
    units = float(np.exp(np.log(x).mean())), float(np.exp(np.log(d).mean()))
    fit = _joint_fits(x / units[0], d / units[1], y[None])[0]
    law = JointLaw(fit[:3], (float(fit[3]), float(fit[4])), units, 0.0, np.append(fit, 0.0)[None])
    left = y - law.losses(x, d)
    groups = [np.flatnonzero((x == size) & (d == length)) for size, length in sorted({*zip(x, d, strict=True)})]
    squares = [((y[group] - y[group].mean()) ** 2).sum() for group in groups]
    freedom = len(y) - len(groups)
    over_seeds = float(np.sqrt(sum(squares) / freedom)) if freedom else 0.0
    noise = max(over_seeds, float(np.sqrt((left**2).sum() / max(1, len(y) - len(fit)))))
    rng, freedom = np.random.default_rng(0), max(1, freedom, len(y) - len(fit))
    noises = noise * np.sqrt(freedom / rng.chisquare(freedom, _JOINT_DRAWS))  # (R,)
    drawn = law.losses(x, d) + noises[:, None] * rng.standard_normal((_JOINT_DRAWS, len(y)))
    draws = np.column_stack([_joint_fits(x / units[0], d / units[1], drawn), noises])
    return law._replace(noise=noise, draws=draws)


def _joint_fits(x: np.ndarray, d: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return E, A, B, alpha and beta (R, 5) for losses (R, N): for given exponents, the others are least squares."""
    best, fits = np.full(len(y), np.inf), np.zeros((len(y), 5))
    alphas, betas = (each.ravel() for each in np.meshgrid(_JOINT_EXPONENTS, _JOINT_EXPONENTS))  # (K,)
    columns = np.stack([np.ones((len(alphas), len(x))), x ** -alphas[:, None], d ** -betas[:, None]], axis=2)
    squares = (y**2).sum(axis=1)
    for subset in _SUBSETS:
        design = columns[:, :, subset]  # (K, N, S)
        gram = np.swapaxes(design, 1, 2) @ design
        moments = np.swapaxes(design, 1, 2) @ y.T  # (K, S, R)
        solved = np.linalg.pinv(gram, hermitian=True) @ moments
        left = squares - (solved * moments).sum(axis=1)  # (K, R)
        left = np.where((solved < 0).any(axis=1), np.inf, left)
        place = left.argmin(axis=0)  # (R,)
        rows = np.arange(len(y))
        better = left[place, rows] < best - 1e-12
        best = np.where(better, left[place, rows], best)
        for column in range(3):
            values = solved[place, subset.index(column), rows] if column in subset else np.zeros(len(y))
            fits[better, column] = values[better]
        fits[better, 3], fits[better, 4] = alphas[place][better], betas[place][better]
    return _refined(fits, x, d, y)


def _refined(fits: np.ndarray, x: np.ndarray, d: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return fits (R, 5) of losses (R, N), refined from those of a grid by Levenberg-Marquardt steps."""
    log_x, log_d = np.log(x), np.log(d)
    damping, best = np.full(len(y), 1e-3), np.full(len(y), np.inf)
    step, most = np.zeros_like(fits), np.array([np.inf, np.inf, np.inf, _EXPONENTS[-1], _EXPONENTS[-1]])
    for _ in range(_REFINEMENTS):
        tried = np.clip(fits + step, 0.0, most)
        of_size, of_data = np.exp(-tried[:, 3:4] * log_x), np.exp(-tried[:, 4:5] * log_d)  # (R, N)
        left = y - tried[:, :1] - tried[:, 1:2] * of_size - tried[:, 2:3] * of_data
        squares = (left**2).sum(axis=1)
        better = squares <= best
        fits, best = np.where(better[:, None], tried, fits), np.where(better, squares, best)
        damping = np.clip(np.where(better, damping / 4, damping * 8), 1e-12, 1e6)
        of_size, of_data = np.exp(-fits[:, 3:4] * log_x), np.exp(-fits[:, 4:5] * log_d)
        left = y - fits[:, :1] - fits[:, 1:2] * of_size - fits[:, 2:3] * of_data
        along = (np.ones_like(y), of_size, of_data, -fits[:, 1:2] * of_size * log_x, -fits[:, 2:3] * of_data * log_d)
        slopes = np.stack(along, axis=2)  # (R, N, 5)
        gram = np.swapaxes(slopes, 1, 2) @ slopes
        scale = damping[:, None] * (np.diagonal(gram, axis1=1, axis2=2) + 1e-9)
        gram = gram + scale[:, :, None] * np.eye(5)
        step = np.linalg.solve(gram, np.swapaxes(slopes, 1, 2) @ left[:, :, None])[:, :, 0]
    return fits
