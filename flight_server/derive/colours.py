"""Rates of change in magnitude, and colours, of objects.

Both are computed over all points of an object in the g and R filters, regardless of the order of the rows. Points of an
object at the same time in the same filter (tables have none) are ordered as the rows.

A point without a time, or without an object, has no rate and no colour. A point without a magnitude still counts: it and
the one after it have no rate, and it contributes no colour.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flight_server.derive.inputs import Codes, Numbers

__all__ = ["colours", "rates"]

G, R = 1, 2
MOST_DAYS = 0.3  # between a g point and its R point, and between a point and its colour


def rates(objects: Codes, time: Numbers, band: Numbers, magnitude: Numbers, error: Numbers) -> tuple[Numbers, Numbers]:
    """Return the rate of change since the previous point of the object in the same filter, and its error, mag/day.

    NaN for the first point of a filter and in filters other than g and R. Two points at one time have an infinite rate
    (NaN if they are equally bright).

    Parameters
    ----------
    objects
        Which object a row belongs to; -1 for none.
    time
        Days.
    band
        1 for g, 2 for R.
    magnitude, error
        mag.

    Examples
    --------
    >>> two, ones = np.zeros(2, int), np.ones(2)
    >>> rate, sigma = rates(two, np.array([12.0, 10.0]), ones, np.array([18.0, 17.0]), ones * 0.1)
    >>> rate, sigma.round(3)
    (array([0.5, nan]), array([0.071,   nan]))
    """
    order = np.lexsort((time, band, objects))
    whose, filters = objects[order], band[order]
    follows = (whose[1:] == whose[:-1]) & (filters[1:] == filters[:-1]) & np.isin(filters[1:], (G, R)) & (whose[1:] >= 0)
    here, before = order[1:][follows], order[:-1][follows]
    rate, sigma = np.full((2, len(objects)), np.nan)
    rate[here], sigma[here] = _difference(magnitude, error, here, before, time)
    return rate, sigma


def colours(
    objects: Codes, time: Numbers, band: Numbers, magnitude: Numbers, error: Numbers
) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """Return the colour g - R, its error, its rate of change and the error of that; mag and mag/day.

    Each g point is paired with the R point of the object that is nearest in time, at most 0.3 days away; of two equally
    near ones with the earlier. The rate is that between one pair and the previous pair of the object, over the time
    between their g points. Each point of the object, in any filter, gets the values of the pair whose g point is
    nearest to it, again within 0.3 days; NaN if there is none. Parameters are those of `rates`.

    Examples
    --------
    >>> time, band = np.array([0.0, 0.1, 0.5, 1.0]), np.array([1.0, 2.0, 1.0, 2.0])
    >>> g_r, *_ = colours(np.zeros(4, int), time, band, np.array([18.5, 18.0, 18.0, 17.0]), np.ones(4) * 0.1)
    >>> g_r
    array([0.5, 0.5, nan, nan])
    """
    order = np.lexsort((time, objects))
    order = order[(objects[order] >= 0) & np.isfinite(time[order])]
    whose, when = objects[order], time[order]
    # one rank for each object and time, in order, so that a single search serves all objects
    rank = np.cumsum(np.append(0, (whose[1:] != whose[:-1]) | (when[1:] != when[:-1]))[: len(order)])
    is_g, is_r = band[order] == G, band[order] == R
    place = _nearest(rank, whose, when, is_g, is_r)
    g, r = order[is_g][place >= 0], order[is_r][place[place >= 0]]
    colour = magnitude[g] - magnitude[r]
    sigma = np.hypot(error[g], error[r])
    paired = ~np.isnan(colour)
    g, colour, sigma = g[paired], colour[paired], sigma[paired]
    rate, sigma_rate = np.full((2, len(g)), np.nan)
    later = np.arange(1, len(g))[objects[g[1:]] == objects[g[:-1]]]
    rate[later], sigma_rate[later] = _difference(colour, sigma, later, later - 1, time[g])
    is_pair = np.zeros(len(order), bool)
    is_pair[np.flatnonzero(is_g)[place >= 0][paired]] = True
    place = _nearest(rank, whose, when, np.ones(len(order), bool), is_pair)
    found = np.full((4, len(objects)), np.nan)
    found[:, order[place >= 0]] = np.array([colour, sigma, rate, sigma_rate])[:, place[place >= 0]]
    return found[0], found[1], found[2], found[3]


def _difference(values: Numbers, errors: Numbers, here: Codes, before: Codes, time: Numbers) -> tuple[Numbers, Numbers]:
    """Return the change per day between two points of each pair, and its error.

    Errors go through `hypot`, as in the public service: a square root of squares differs in the last digit.
    """
    days = time[here] - time[before]
    with np.errstate(divide="ignore", invalid="ignore"):
        return (values[here] - values[before]) / days, np.hypot(errors[here], errors[before]) / days


def _nearest(rank: Codes, whose: Codes, when: Numbers, wanted: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_]) -> Codes:
    """Return for each point of `wanted` the index within `among` of the nearest in time; -1 if none is near.

    Like pandas' `merge_asof` with direction `nearest`: of two equally near points the earlier; of several at one
    time the last if it is not later than the point itself, else the first.

    Parameters
    ----------
    rank
        Ascending over object and time; the same for the same moment of the same object.
    whose, when
        Object and time, in order of `rank`.
    wanted, among
        Masks of the points.
    """
    keys = rank[among]
    if not len(keys):
        return np.full(int(wanted.sum()), -1)
    before = np.searchsorted(keys, rank[wanted], "right") - 1
    after = np.searchsorted(keys, rank[wanted], "left")
    sides = []
    for place, inside in ((before, before >= 0), (after, after < len(keys))):
        held = np.where(inside, place, 0)
        near = inside & (whose[among][held] == whose[wanted])
        days = np.abs(when[among][held] - when[wanted])
        sides.append(np.where(near & (days <= MOST_DAYS), days, np.inf))
    nearest: Codes = np.where(sides[0] <= sides[1], before, after)
    return np.where(np.isinf(np.minimum(*sides)), -1, nearest)
