"""Time: aware, UTC, whole microseconds; billing months that start on any day."""

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from billing_core import InvalidCommand
from billing_core.values.times import (
    DAY,
    Window,
    billing_period,
    duration,
    micros,
    moment,
    seconds,
    window,
)

FIRST, LAST = datetime(1971, 1, 1), datetime(9899, 12, 31, 23, 59, 59, 999_999)
OFFSETS = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda m: timezone(timedelta(minutes=m)))
ACCEPTED = st.datetimes(FIRST, LAST, timezones=st.just(UTC))
USUAL = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


class SummerTime(tzinfo):
    """A zone that is an hour ahead from 29 March 1:00 to 25 October 1:00 UTC."""

    def dst(self, dt: datetime | None) -> timedelta:
        assert dt is not None
        local = dt.replace(tzinfo=None)
        begins = datetime(local.year, 3, 29, 1)
        ends = datetime(local.year, 10, 25, 2)
        summer = begins <= local < ends
        if ends - timedelta(hours=1) <= local < ends:
            summer = not dt.fold
        return timedelta(hours=summer)

    def utcoffset(self, dt: datetime | None) -> timedelta:
        return self.dst(dt)

    def tzname(self, dt: datetime | None) -> str:
        return "summer"


@given(ACCEPTED, OFFSETS)
def test_a_moment_is_the_same_in_every_zone(time: datetime, zone: timezone) -> None:
    try:
        elsewhere = time.astimezone(zone)
    except OverflowError:
        return
    assert micros("t", elsewhere) == micros("t", time)
    assert moment(micros("t", elsewhere)) == time
    assert moment(micros("t", time)).tzinfo is UTC


def test_the_hour_that_summer_time_repeats_is_two_hours() -> None:
    once = datetime(2026, 10, 25, 1, 30, tzinfo=SummerTime())
    again = once.replace(fold=1)
    assert micros("t", again) - micros("t", once) == 3_600_000_000
    assert moment(micros("t", once)) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "time",
    [
        datetime(2026, 1, 1),
        datetime(2026, 1, 1, tzinfo=None),
        date(2026, 1, 1),
        "2026-01-01T00:00:00Z",
        1_767_225_600,
        1.5,
        None,
        True,
    ],
)
def test_what_is_no_aware_datetime_is_refused(time: object) -> None:
    with pytest.raises(InvalidCommand, match="aware datetime"):
        micros("at", time)


@pytest.mark.parametrize(
    "time",
    [
        datetime.min.replace(tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-14))),
        datetime(1970, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(9900, 1, 1, tzinfo=UTC),
    ],
)
def test_a_time_beyond_reason_is_refused(time: datetime) -> None:
    with pytest.raises(InvalidCommand, match="between the years"):
        micros("at", time)


@pytest.mark.parametrize(
    ("span", "expected"),
    [(timedelta(microseconds=1), 1), (timedelta(days=3660), 3660 * DAY)],
)
def test_a_duration_is_whole_microseconds(span: timedelta, expected: int) -> None:
    assert duration("life", span) == expected


@pytest.mark.parametrize(
    "span",
    [
        timedelta(0),
        timedelta(microseconds=-1),
        timedelta(days=3660, microseconds=1),
        timedelta.max,
        60,
        60.0,
        None,
        "1h",
    ],
)
def test_a_duration_is_positive_and_bounded(span: object) -> None:
    with pytest.raises(InvalidCommand, match="life"):
        duration("life", span)


def days(anchor: datetime, time: datetime) -> tuple[str, str]:
    start, end = billing_period(micros("anchor", anchor), micros("time", time))
    return moment(start).strftime("%Y-%m-%d"), moment(end).strftime("%Y-%m-%d")


@pytest.mark.parametrize(
    ("day", "time", "period"),
    [
        (31, (2026, 1, 31), ("2026-01-31", "2026-02-28")),
        (31, (2026, 2, 27), ("2026-01-31", "2026-02-28")),
        (31, (2026, 2, 28), ("2026-02-28", "2026-03-31")),
        (31, (2024, 2, 28), ("2024-01-31", "2024-02-29")),
        (31, (2024, 2, 29), ("2024-02-29", "2024-03-31")),
        (31, (2026, 4, 30), ("2026-04-30", "2026-05-31")),
        (30, (2026, 2, 28), ("2026-02-28", "2026-03-30")),
        (30, (2026, 3, 29), ("2026-02-28", "2026-03-30")),
        (29, (2026, 2, 28), ("2026-02-28", "2026-03-29")),
        (29, (2024, 2, 29), ("2024-02-29", "2024-03-29")),
        (29, (2100, 2, 28), ("2100-02-28", "2100-03-29")),
        (1, (2026, 12, 31), ("2026-12-01", "2027-01-01")),
        (15, (2026, 1, 14), ("2025-12-15", "2026-01-15")),
        (15, (1999, 1, 15), ("1999-01-15", "1999-02-15")),
    ],
)
def test_the_31st_means_the_last_day_where_there_is_none(
    day: int, time: tuple[int, int, int], period: tuple[str, str]
) -> None:
    assert days(datetime(2025, 1, day, tzinfo=UTC), datetime(*time, tzinfo=UTC)) == period


def test_a_period_that_was_cut_short_does_not_shift_those_after_it() -> None:
    anchor = datetime(2024, 1, 31, 10, 30, tzinfo=UTC)
    starts = []
    time = micros("t", anchor)
    for _ in range(14):
        period = billing_period(micros("a", anchor), time)
        starts.append(moment(period.start).day)
        time = period.end
    assert starts == [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 31, 28]


@given(anchor=USUAL, time=USUAL)
@example(anchor=datetime(2024, 2, 29, tzinfo=UTC), time=datetime(2023, 2, 28, tzinfo=UTC))
def test_a_period_is_the_month_from_anchor_day_to_anchor_day(
    anchor: datetime, time: datetime
) -> None:
    at = micros("t", time)
    period = billing_period(micros("a", anchor), at)
    assert period.start <= at < period.end
    for boundary in map(moment, period):
        last_day = monthrange(boundary.year, boundary.month)[1]
        assert boundary.day == min(anchor.day, last_day)
        assert boundary.timetz() == anchor.timetz()
    start, end = map(moment, period)
    assert (end.year * 12 + end.month) - (start.year * 12 + start.month) == 1
    assert 28 <= (end - start).days <= 31


@given(anchor=USUAL, time=USUAL)
def test_periods_follow_each_other_without_gap_or_overlap(anchor: datetime, time: datetime) -> None:
    first = billing_period(micros("a", anchor), micros("t", time))
    after = billing_period(micros("a", anchor), first.end)
    before = billing_period(micros("a", anchor), first.start - 1)
    assert after.start == first.end
    assert before.end == first.start
    assert billing_period(micros("a", anchor), first.end - 1) == first
    assert billing_period(micros("a", anchor), first.start) == first


@given(anchor=ACCEPTED, time=ACCEPTED)
@example(anchor=datetime(2026, 1, 15, tzinfo=UTC), time=datetime(9899, 12, 31, tzinfo=UTC))
@example(anchor=datetime(2026, 1, 15, tzinfo=UTC), time=datetime(1971, 1, 1, tzinfo=UTC))
def test_every_time_that_is_accepted_has_a_period(anchor: datetime, time: datetime) -> None:
    at = micros("t", time)
    period = billing_period(micros("a", anchor), at)
    assert period.start <= at < period.end


def test_windows_end_now_and_are_half_open() -> None:
    anchor = micros("a", datetime(2026, 1, 31, tzinfo=UTC))
    opened = micros("o", datetime(2026, 1, 5, tzinfo=UTC))
    now = micros("n", datetime(2026, 3, 10, tzinfo=UTC))

    def named(name: str) -> Window:
        return window(name, anchor=anchor, opened=opened, now=now)

    assert named("7d") == (now - 7 * DAY, now)
    assert named("30d") == (now - 30 * DAY, now)
    assert named("all_time").end == now
    assert named("current") == billing_period(anchor, now)


@pytest.mark.parametrize("name", ["", "7D", "week", None, 7])
def test_an_unknown_period_is_refused(name: object) -> None:
    with pytest.raises(InvalidCommand, match="period"):
        window(name, anchor=DAY * 400, opened=DAY * 400, now=DAY * 500)


# -- how long a store waits -------------------------------------------------------


@pytest.mark.parametrize("bad", [-1, -0.1, 2_147_484, float("inf"), float("nan"), True, "5", None])
def test_seconds_are_a_number_that_databases_can_count(bad: object) -> None:
    for positive in (True, False):
        with pytest.raises(InvalidCommand, match=r"busy_seconds: given .* a number of seconds"):
            seconds("busy_seconds", bad, positive=positive)


def test_no_seconds_are_a_wait_where_one_may_not_wait() -> None:
    assert seconds("busy_seconds", 0, positive=False) == 0
    with pytest.raises(InvalidCommand, match="above 0"):
        seconds("lock_seconds", 0.0, positive=True)
    assert seconds("lock_seconds", 0.2, positive=True) == 0.2
