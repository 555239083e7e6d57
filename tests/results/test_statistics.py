"""Intervals, comparisons and the scores of DD-Ranking, against independent calculations."""

import json
import math

import numpy as np
import pytest
from scipy import optimize, special, stats

from compdd_eval.results import dd_ranking
from compdd_eval.results.statistics import (
    Ratio,
    accuracy_interval,
    beyond_chance,
    bootstrap_interval,
    equally_accurate,
    mean_interval,
    paired_bootstrap_interval,
    paired_difference,
    ratio_interval,
    share_interval,
)
from compdd_eval.utils.errors import InputError

FIRST = [0.512, 0.498, 0.53, 0.521, 0.507]
SECOND = [0.488, 0.5, 0.495, 0.502, 0.479]


def coverage(draw_interval, truth, repeats=1000):
    rng = np.random.default_rng(7)
    intervals = [draw_interval(rng) for _ in range(repeats)]
    return np.mean([low <= truth <= high for low, high in intervals])


def test_mean_interval_is_students():
    expected = stats.t.interval(0.95, 4, loc=np.mean(FIRST), scale=stats.sem(FIRST))
    assert mean_interval(FIRST) == pytest.approx(expected)
    assert coverage(lambda rng: mean_interval(rng.normal(0.5, 0.02, 5)), 0.5) == pytest.approx(0.95, abs=0.02)


def test_mean_interval_of_few_or_equal_values():
    assert mean_interval([0.4]) is None
    assert mean_interval([0.1, 0.1, 0.1]) == [0.1, 0.1]
    for values in ([], [0.1, math.nan], [math.inf]):
        with pytest.raises(InputError, match="finite"):
            mean_interval(values)


def test_accuracy_interval_is_students_on_the_logit_scale():
    """The delta method by hand: the slope of the logit is measured, not derived."""
    accuracies = [0.104, 0.124]
    mean, slope = np.mean(accuracies), (special.logit(0.114 + 1e-6) - special.logit(0.114 - 1e-6)) / 2e-6
    ends = special.logit(mean) + np.array([-1, 1]) * stats.t.ppf(0.975, 1) * stats.sem(accuracies) * slope
    assert accuracy_interval(accuracies) == pytest.approx(1 / (1 + np.exp(-ends)), rel=1e-6)
    assert accuracy_interval(accuracies) == pytest.approx([0.0352804, 0.3116261], rel=1e-5)  # t: -0.013 to 0.241
    flipped = accuracy_interval([1 - value for value in accuracies])
    assert flipped == pytest.approx([1 - 0.3116261, 1 - 0.0352804], rel=1e-5)


def test_accuracy_interval_is_the_plain_one_where_the_spread_is_small():
    close = [0.4 + (value - np.mean(FIRST)) / 100 for value in FIRST]
    assert accuracy_interval(close) == pytest.approx(mean_interval(close), abs=1e-6)
    assert accuracy_interval(FIRST) == pytest.approx(mean_interval(FIRST), abs=2e-4)


def test_accuracy_interval_stays_in_its_range():
    for accuracies in ([0, 0, 0.02], [0, 1], [1, 1, 0.98], [0.01, 0.3], [1e-9, 0]):
        low, high = accuracy_interval(accuracies)
        assert 0 <= low <= np.mean(accuracies) <= high <= 1 and low < high
    assert accuracy_interval([0, 0]) == [0, 0] and accuracy_interval([1, 1, 1]) == [1, 1]
    assert accuracy_interval([0.1, 0.1, 0.1]) == [0.1, 0.1] and accuracy_interval([0.4]) is None
    for values in ([], [0.1, math.nan], [0.2, 1.2], [-0.1, 0.2]):
        with pytest.raises(InputError, match="finite|fractions"):
            accuracy_interval(values)


@pytest.mark.parametrize("students", [2, 3, 5])
def test_accuracy_interval_coverage(students):
    """Accuracies as weak students have them: near 0.12, with a standard deviation of 0.015."""
    shape = 0.12 * 0.88 / 0.015**2 - 1
    found = coverage(lambda rng: accuracy_interval(rng.beta(0.12 * shape, 0.88 * shape, students)), 0.12)
    assert found == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize(("right", "total"), [(0, 50), (7, 50), (25, 50), (50, 50), (1, 1)])
def test_share_interval_is_wilsons(right, total):
    expected = stats.binomtest(right, total).proportion_ci(0.95, method="wilson")
    assert share_interval(right / total, total) == pytest.approx(list(expected), abs=1e-12)


def test_share_interval_refuses_other_numbers():
    assert share_interval(0, 5)[0] == 0 and share_interval(1, 5)[1] == 1
    for share, total in ((-0.1, 5), (1.1, 5), (0.5, 0), (math.nan, 5)):
        with pytest.raises(InputError):
            share_interval(share, total)


def test_paired_difference_is_the_paired_t_test():
    result = paired_difference(FIRST, SECOND)
    expected = stats.ttest_rel(FIRST, SECOND)
    assert result.p_value == pytest.approx(expected.pvalue)
    assert result.interval == pytest.approx(list(expected.confidence_interval(0.95)))
    assert result.std == pytest.approx(np.std(np.subtract(FIRST, SECOND), ddof=1))
    assert (result.n, result.wins) == (5, 4)
    assert json.loads(json.dumps(vars(result), allow_nan=False)) == vars(result)


def test_paired_difference_without_spread():
    single = paired_difference([0.5], [0.4])
    assert (single.std, single.interval, single.p_value, single.wins) == (None, None, None, 1)
    shifted = paired_difference([0.2, 0.3, 0.7], [0.1, 0.2, 0.6])
    assert shifted.interval == pytest.approx([0.1, 0.1])
    assert (shifted.std, shifted.p_value) == (0, None)
    assert paired_difference(FIRST, FIRST).wins == 0
    with pytest.raises(InputError, match="5 values"):
        paired_difference(FIRST, SECOND[:4])


def test_bootstrap_agrees_with_scipy_and_is_seeded():
    right = np.random.default_rng(0).random((3, 500)) < 0.4
    expected = stats.bootstrap(
        [right.mean(0)], np.mean, n_resamples=5000, method="percentile", random_state=np.random.default_rng(1)
    )
    interval = bootstrap_interval(right, draws=5000, seed=3)
    assert interval == pytest.approx(list(expected.confidence_interval), abs=0.004)
    assert interval == bootstrap_interval(right, draws=5000, seed=3) != bootstrap_interval(right, draws=5000, seed=4)


def test_bootstrap_coverage():
    def single(rng):
        return bootstrap_interval(rng.random((1, 500)) < 0.3, 1000, int(rng.integers(1000)))

    def paired(rng):
        hard = rng.random(500)  # both groups fail on the same images
        first = [hard + rng.normal(0, 0.1, 500) < 0.5]
        second = [hard + rng.normal(0, 0.1, 500) < 0.4]
        return paired_bootstrap_interval(first, second, 1000, int(rng.integers(1000)))

    accuracy = [np.mean(stats.norm.cdf((cut - np.linspace(0, 1, 20001)) / 0.1)) for cut in (0.5, 0.4)]
    assert coverage(single, 0.3) == pytest.approx(0.95, abs=0.025)
    assert coverage(paired, accuracy[0] - accuracy[1]) == pytest.approx(0.95, abs=0.025)


def test_paired_bootstrap_draws_the_same_images():
    right = np.random.default_rng(0).random((2, 300)) < 0.5
    assert paired_bootstrap_interval(right, right[::-1], 100, 0) == [0, 0]
    assert bootstrap_interval([[1, 1, 1]]) == [1, 1]


@pytest.mark.parametrize("right", [[], [1, 0], [[]], [[0.5]], [[2]], [[math.nan]]])
def test_bootstrap_refuses_other_values(right):
    with pytest.raises(InputError):
        bootstrap_interval(right)


def test_bootstrap_refuses_other_images_and_no_draws():
    with pytest.raises(InputError, match="same 2 images"):
        paired_bootstrap_interval([[0, 1]], [[0, 1, 1]], 10, 0)
    with pytest.raises(InputError, match="draws"):
        bootstrap_interval([[0, 1]], draws=0)


def test_fieller_solves_its_equation():
    result = ratio_interval(FIRST, SECOND)
    va, vb = stats.sem(FIRST) ** 2, stats.sem(SECOND) ** 2
    assert result.ratio == pytest.approx(np.mean(FIRST) / np.mean(SECOND))
    scaled = np.multiply(SECOND, result.ratio)
    t = stats.t.ppf(0.975, stats.ttest_ind(FIRST, scaled, equal_var=False).df)

    def outside(ratio):
        return (np.mean(FIRST) - ratio * np.mean(SECOND)) ** 2 - t**2 * (va + ratio**2 * vb)

    ends = [optimize.brentq(outside, *sorted((result.ratio, end))) for end in (0.5, 2)]
    assert result.interval == pytest.approx(ends)
    flipped = ratio_interval(FIRST, [-value for value in SECOND])
    assert flipped.interval == pytest.approx([-ends[1], -ends[0]])


@pytest.mark.parametrize(("above", "below"), [(5, 5), (5, 3), (3, 10)])
def test_fieller_coverage(above, below):
    def draw(rng):
        return ratio_interval(rng.normal(0.3, 0.02, above), rng.normal(0.6, 0.03, below)).interval

    assert 0.93 <= coverage(draw, 0.5) <= 0.985  # above 0.95 with few students


def test_ratio_without_an_interval():
    assert ratio_interval([0.3], [0.6, 0.5]).interval is None
    assert ratio_interval([0.3], [0.6]) == Ratio(0.5, None)
    assert ratio_interval(FIRST, [-0.4, 0.5, 0.1]).interval is None
    assert ratio_interval(FIRST, [0, 0]) == Ratio(None, None)
    assert ratio_interval(FIRST, [5e-324]) == Ratio(None, None)


def test_ratio_with_an_exact_denominator_or_no_spread():
    expected = [end / 0.8 for end in mean_interval(FIRST)]
    assert ratio_interval(FIRST, [0.8]).interval == pytest.approx(expected)
    assert ratio_interval(FIRST, [0.8, 0.8]).interval == pytest.approx(expected)
    assert ratio_interval([0.4, 0.4], [0.8, 0.8]).interval == pytest.approx([0.5, 0.5])
    assert ratio_interval([0, 0], [0.8, 0.7]).interval == [0, 0]


def test_a_ratio_of_accuracies_is_never_below_zero():
    wide = ratio_interval([0.02, 0.1], [0.8]).interval
    assert wide == [0, pytest.approx(mean_interval([0.02, 0.1])[1] / 0.8)]
    assert ratio_interval([-0.02, 0.1], [0.8]).interval[0] < 0


def test_beyond_chance_is_the_binomial_tail():
    critical = int(stats.binom.isf(0.05, 500, 0.1)) + 1
    assert beyond_chance(critical, 500, 0.1)
    assert not beyond_chance(critical - 1, 500, 0.1)
    assert not beyond_chance(critical, 500, 0.1, level=0.001)
    for arguments in ((5, 0, 0.1), (6, 5, 0.1), (1, 5, 10)):
        with pytest.raises(InputError):
            beyond_chance(*arguments)


def test_hand_computed_scores():
    hlr = dd_ranking.hard_label_recovery(0.9, 0.5)
    ior = dd_ranking.improvement_over_random(0.6, 0.4)
    assert (hlr, ior) == (pytest.approx(0.4), pytest.approx(0.2))
    assert dd_ranking.label_robust_score(hlr, ior) == pytest.approx(0.228454, abs=1e-6)  # a = -0.1
    assert dd_ranking.augmentation_robust_score(0.6, 0.4, 0.5, 0.5) == pytest.approx(0.313687, abs=1e-6)  # b = 0.1
    assert dd_ranking.label_robust_score(hlr, ior, w=1) == pytest.approx(
        dd_ranking.augmentation_robust_score(0.2, 0, 0.2, 0)
    )


def test_scores_fill_their_range():
    assert dd_ranking.label_robust_score(-1, 1) == dd_ranking.augmentation_robust_score(1, 0, 1, 0) == 1
    assert dd_ranking.label_robust_score(1, -1) == dd_ranking.augmentation_robust_score(0, 1, 0, 1) == 0


@pytest.mark.parametrize(
    ("score", "arguments"),
    [
        (dd_ranking.hard_label_recovery, (90.1, 0.5)),
        (dd_ranking.improvement_over_random, (0.6, 40)),
        (dd_ranking.label_robust_score, (40, 0.2)),
        (dd_ranking.label_robust_score, (0.4, 0.2, 2)),
        (dd_ranking.augmentation_robust_score, (60, 40, 50, 50)),
        (dd_ranking.hard_label_recovery, (-0.1, 0.5)),
        (dd_ranking.hard_label_recovery, (math.nan, 0.5)),
    ],
)
def test_percentages_are_refused(score, arguments):
    with pytest.raises(InputError, match="from"):
        score(*arguments)


def test_equally_accurate_is_the_exact_test_of_mcnemar():
    """Worked by hand: of 6 images that one alone gets right, 5 are the first one's: 2 (6 + 1) / 2^6."""
    first, second = [True] * 5 + [False] + [True] * 20 + [False] * 4, [False] * 5 + [True] + [True] * 20 + [False] * 4
    assert equally_accurate(first, second) == pytest.approx(14 / 64)
    assert equally_accurate(second, first) == pytest.approx(14 / 64)
    assert equally_accurate(first, first) == 1
    assert equally_accurate([True] * 12, [False] * 12) == pytest.approx(2 / 2**12)
