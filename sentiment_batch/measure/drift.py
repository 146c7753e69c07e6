"""Two profiles -> how far a night is from what it is compared with, by histogram, and what chance does alone.

PSI, the population stability index (Lewis, 1994), is the sum over the bins of (q - p) ln(q / p): p and q are the shares
of their rows that the reference and the night have there. It is symmetric, and a bin that one side has no rows in would
make it infinite. So half a row of the smaller side (the half of Jeffreys, 1946), as a share, is added to each bin of
both. Half a row of its own to each side would not do: of 50 rows drawn from a reference of a million, in 20 bins, PSI
was above chance in 19 draws of 100. Bins that neither side has rows in are left out; none are merged, for a bin that
some rows of the night are in, and none of the reference, may be what there is to see.

For two samples of one distribution, of n and m rows, PSI n m / (n + m) is about chi-square with bins - 1 degrees of
freedom (Yurdakul, 2018, "Statistical Properties of Population Stability Index"). `chance` is PSI at the 95 % point of
that: what so many rows are apart with nothing the matter. If many bins have hardly a row it is too high, not too low.
Each row counts for itself: where many are copies of one text, chance does more than it says.

Jensen-Shannon is the divergence (Lin, 1991) to base 2 of the shares as they are: 0 if they are the same, 1 if they have
nothing in common.
"""

import math
from collections.abc import Sequence
from typing import Any

from sentiment_batch.measure.gates import LEVEL

Profile = dict[str, Any]  # as `profile_section` makes it

HISTOGRAMS = ("tokens", "unknown_share", "confidence", "labels")
MOVED, SHIFTED = 0.1, 0.25  # the usual rule of thumb (Siddiqi, 2006, "Credit Risk Scorecards")
_PSEUDO_ROWS = 0.5


def psi(reference: Sequence[int], night: Sequence[int]) -> float | None:
    """The population stability index of two histograms in the same bins: finite; None if one has no rows."""
    rows, rows_of_night = sum(reference), sum(night)
    if not rows or not rows_of_night:
        return None
    bins = _with_rows(reference, night)
    share = _PSEUDO_ROWS / min(rows, rows_of_night)
    whole = 1 + share * len(bins)
    pairs = [((one / rows + share) / whole, (other / rows_of_night + share) / whole) for one, other in bins]
    return math.fsum((actual - expected) * math.log(actual / expected) for expected, actual in pairs)


def chance(reference: Sequence[int], night: Sequence[int]) -> float | None:
    """The PSI that two samples of one distribution, of these sizes, exceed once in twenty times; None as `psi`."""
    from scipy.special import chdtri  # takes a tenth of a second, which whoever only reads figures need not wait for

    rows, rows_of_night = sum(reference), sum(night)
    if not rows or not rows_of_night:
        return None
    freedom = len(_with_rows(reference, night)) - 1
    return float(chdtri(freedom, 1 - LEVEL)) * (1 / rows + 1 / rows_of_night) if freedom else 0.0


def jensen_shannon(reference: Sequence[int], night: Sequence[int]) -> float | None:
    """The Jensen-Shannon divergence, in bits, of two histograms in the same bins; None if one has no rows."""
    rows, rows_of_night = sum(reference), sum(night)
    if not rows or not rows_of_night:
        return None
    pairs = [(one / rows, other / rows_of_night) for one, other in _with_rows(reference, night)]
    parts = (each * math.log2(2 * each / (one + other)) for one, other in pairs for each in (one, other) if each)
    return min(1.0, max(0.0, math.fsum(parts) / 2))


def compare(reference: Profile, night: Profile) -> dict[str, dict[str, float | None]]:
    """{psi, jensen_shannon, chance}, each by histogram; None for one that has other bins, or no rows."""
    bins = {name: _in_the_same_bins(reference[name], night[name], name) for name in HISTOGRAMS}
    figures = {"psi": psi, "jensen_shannon": jensen_shannon, "chance": chance}
    return {
        figure: {name: of(*pair) if pair else None for name, pair in bins.items()} for figure, of in figures.items()
    }


def pool(profiles: Sequence[Profile]) -> Profile:
    """The profile of the rows of all of them, at least one; a histogram whose bins are not the same in all is None."""
    first = profiles[0]
    pooled: Profile = {"rows": sum(each["rows"] for each in profiles)}
    for name in HISTOGRAMS:
        if name == "labels":
            names = dict.fromkeys(label for each in profiles for label in each[name])
            pooled[name] = {label: sum(each[name].get(label, 0) for each in profiles) for label in names}
        elif all(each[name]["edges"] == first[name]["edges"] for each in profiles):
            counts = [sum(bins) for bins in zip(*(each[name]["counts"] for each in profiles), strict=True)]
            pooled[name] = {"edges": first[name]["edges"], "counts": counts}
        else:
            pooled[name] = None
    return pooled


def in_other_bins(reference: Profile, night: Profile) -> list[str]:
    """The histograms of the two that cannot be compared: another version, with other edges, made one of them."""
    return [name for name in HISTOGRAMS if _in_the_same_bins(reference[name], night[name], name) is None]


def in_a_word(psi: float | None, chance: float | None) -> str:
    """What the figure is by the rule of thumb, if it is not what chance explains."""
    if psi is None or chance is None:
        return "not compared"
    if psi < MOVED:
        return "stable"
    if psi <= chance:
        return "within chance"
    return "moved" if psi <= SHIFTED else "shifted"


def _with_rows(reference: Sequence[int], night: Sequence[int]) -> list[tuple[int, int]]:
    return [pair for pair in zip(reference, night, strict=True) if any(pair)]


def _in_the_same_bins(reference: Any, night: Any, name: str) -> tuple[list[int], list[int]] | None:
    """The counts of both by bin, which for labels is the name: one that only one side has is a bin, too."""
    if name == "labels":
        names = dict.fromkeys([*reference, *night])
        return [reference.get(label, 0) for label in names], [night.get(label, 0) for label in names]
    if reference is None or reference["edges"] != night["edges"]:
        return None
    return reference["counts"], night["counts"]
