"""A fault plan written by a person: TOML with single faults, and with rates to draw others by.

    seed = 7                              # of everything that is drawn by chance

    [[faults]]
    kind = "exchange_outage"              # the kinds are those of `plan`
    at = 2025-05-06T12:00:00Z             # or at_seconds = 3600, from the start of the data
    seconds = 900                         # or until = 2025-05-06T12:15:00Z

    [rates]                               # mean number in a day
    order_fault = 4
    server_outage = { per_day = 1, seconds = [60, 1800], data = ["kept", "emptied"] }

    [noise.exchange]                      # small mishaps, all the time
    lost_reply = 0.001

    [conditions]                          # what the world is like
    latency_seconds = 0.1

In a rate, a list of two numbers is a range to draw from, any other list the choices.
What can not happen is refused with the file, the line and the key.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec

from holdfast.errors import ConfigError
from holdfast.simulation import SeededEntropy
from holdfast.suggestion import did_you_mean

from .plan import (
    AnyFault,
    Conditions,
    Fault,
    FaultPlan,
    Noise,
    SecondCopy,
    Stall,
    Suspend,
    not_within,
)
from .seeded import KINDS, Dice

DAY_SECONDS: Final = 86_400.0
MAX_FAULTS: Final = 100_000
"""Of one plan; more is a slip of the pen."""
DEFAULT: Final = Conditions(latency_seconds=0.05, audit_seconds=300.0, lease_seconds=None)
"""Of runs over days: nobody looks twice a minute at what nothing has touched."""
TOP: Final = ("seed", "faults", "rates", "noise", "conditions")
_ANY_TIME_MS: Final = -62_135_596_800_000
"""The first moment that a date can name."""
_TIMES: Final = ("at", "at_seconds", "until")

_BY_KIND: Final[dict[str, type[Fault]]] = {
    str(kind.__struct_config__.tag): kind for kind in Fault.__subclasses__()
}
_DRAWN_AS: Final = {"venue_clock_skew": "skew", "wall_clock_jump": "wall clock"}
"""Kinds that `seeded` has another name for."""


def load_plan(path: str | Path, *, first_ms: int, last_ms: int) -> FaultPlan:
    """
    :param first_ms, last_ms: UTC, the time that the plan is for.
    :raises ConfigError: naming file, line and key, and what is allowed.
    """
    return _read(path, first_ms=first_ms, seconds=(last_ms - first_ms) / 1000)


def check_plan(path: str | Path) -> None:
    """All that can be told of a plan before anybody knows the time that it is for.

    :raises ConfigError: as of `load_plan`.
    """
    _read(path, first_ms=_ANY_TIME_MS, seconds=math.inf)


def _read(path: str | Path, *, first_ms: int, seconds: float) -> FaultPlan:
    file = Path(path)
    try:
        text = file.read_text("utf-8")
        given = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{file}: can not be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: {error}") from None
    return _Reader(file, text, first_ms=first_ms, seconds=seconds).plan(given)


def conditions_for(faults: Sequence[AnyFault]) -> Conditions:
    """What the world has to be like for these faults to mean something, and no more."""
    return msgspec.structs.replace(
        DEFAULT,
        lease_seconds=Conditions().lease_seconds
        if any(isinstance(fault, SecondCopy) for fault in faults)
        else DEFAULT.lease_seconds,
        gate_lease_seconds=1.0
        if any(isinstance(fault, Stall | Suspend) for fault in faults)
        else DEFAULT.gate_lease_seconds,
    )


class _Reader:
    """
    :param seconds: length of the time that the plan is for; infinite: not known, and of each rate
        one fault is drawn to see that it can be.
    """

    def __init__(self, file: Path, text: str, *, first_ms: int, seconds: float) -> None:
        self._file = file
        self._lines = text.splitlines()
        self._first_ms = first_ms
        self._seconds = seconds

    def plan(self, given: Mapping[str, Any]) -> FaultPlan:
        for key in given:
            if key not in TOP:
                self._refuse(key, f"there is no such key{did_you_mean(key, TOP)}; there are "
                             f"{', '.join(TOP)}")  # fmt: skip
        seed = given.get("seed", 0)
        if not isinstance(seed, int) or isinstance(seed, bool):
            self._refuse("seed", f"{seed!r} is no whole number")
        faults = [
            *self._listed(given.get("faults", [])),
            *self._drawn(given.get("rates", {}), seed),
        ]
        if len(faults) > MAX_FAULTS:
            self._refuse("rates", f"{len(faults)} faults; {MAX_FAULTS} at most")
        faults.sort(key=lambda fault: fault.at_seconds)
        return FaultPlan(
            seed=seed,
            horizon_seconds=self._seconds,
            faults=tuple(faults),
            noise=self._noise(given.get("noise", {})),
            conditions=self._conditions(given.get("conditions", {}), faults),
        )

    # --- single faults -----------------------------------------------------------------

    def _listed(self, entries: Any) -> list[AnyFault]:
        if not isinstance(entries, list):
            self._refuse("faults", "give each fault as a table [[faults]]")
        return [self._fault(f"faults[{i}]", entry) for i, entry in enumerate(entries)]

    def _fault(self, where: str, entry: Any) -> AnyFault:
        if not isinstance(entry, dict):
            self._refuse(where, f"{entry!r} is no table")
        kind = self._kind(where, entry.get("kind"))
        values = {key: value for key, value in entry.items() if key not in _TIMES}
        at = values["at_seconds"] = self._at(where, entry)
        if "until" in entry:
            if "seconds" not in kind.__struct_fields__:
                self._refuse(f"{where}.until", f"a {entry['kind']} is over at once")
            if "seconds" in entry:
                self._refuse(f"{where}.until", "give until or seconds, not both")
            until = self._moment(f"{where}.until", entry["until"])
            if until <= at:
                self._refuse(f"{where}.until", "the recovery is not after the fault")
            values["seconds"] = until - at
        return self._made(where, kind, values)

    def _at(self, where: str, entry: Mapping[str, Any]) -> float:
        if ("at" in entry) == ("at_seconds" in entry):
            self._refuse(where, "give at (a date) or at_seconds (from the start of the data)")
        if "at" in entry:
            return self._moment(f"{where}.at", entry["at"])
        at = entry["at_seconds"]
        if isinstance(at, bool) or not isinstance(at, int | float) or not math.isfinite(at):
            self._refuse(f"{where}.at_seconds", f"{at!r} is no number")
        if why := not_within(at, self._seconds):
            self._refuse(f"{where}.at_seconds", why)
        return float(at)

    def _moment(self, where: str, value: Any) -> float:
        """Seconds since the start of the data."""
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value)
            except ValueError:
                self._refuse(where, f"{value!r} is no date, such as 2025-05-06T12:00:00Z")
        if not isinstance(value, datetime):
            self._refuse(where, f"{value!r} is no date, such as 2025-05-06T12:00:00Z")
        if value.tzinfo is None:
            self._refuse(where, f"{value.isoformat()} has no offset from UTC; add Z")
        seconds = (value - _utc(self._first_ms)).total_seconds()
        if not 0 <= seconds <= self._seconds:
            end = _utc(self._first_ms + round(self._seconds * 1000))
            self._refuse(
                where,
                f"{value.isoformat()} is not within the data, "
                f"{_utc(self._first_ms):%Y-%m-%dT%H:%M:%SZ} to {end:%Y-%m-%dT%H:%M:%SZ}",
            )
        return seconds

    def _kind(self, where: str, kind: Any) -> type[Fault]:
        if kind is None:
            self._refuse(where, f"kind is missing; there are {', '.join(_BY_KIND)}")
        if kind not in _BY_KIND:
            self._refuse(
                f"{where}.kind",
                f"there is no {kind!r}{did_you_mean(str(kind), _BY_KIND)}; there are "
                f"{', '.join(_BY_KIND)}",
            )
        return _BY_KIND[kind]

    def _made(self, where: str, kind: type[Fault], values: Mapping[str, Any]) -> AnyFault:
        known = ("kind", *_TIMES, *kind.__struct_fields__)
        for key in values:
            if key not in known:
                self._refuse(f"{where}.{key}", f"there is no such key{did_you_mean(key, known)}")
        fault: AnyFault = self._converted(where, {**values, "kind": kind.__struct_config__.tag},
                                          AnyFault)  # fmt: skip
        return fault

    # --- drawn ones ----------------------------------------------------------------------

    def _drawn(self, rates: Any, seed: int) -> list[AnyFault]:
        if not isinstance(rates, dict):
            self._refuse("rates", "give a table of kinds and their mean number in a day")
        faults: list[AnyFault] = []
        for name, given in rates.items():
            where = f"rates.{name}"
            kind = self._kind("rates", name)
            changes: dict[str, Any] = dict(given) if isinstance(given, dict) else {}
            per_day = changes.pop("per_day", None) if isinstance(given, dict) else given
            if per_day is None:
                self._refuse(where, "per_day is missing")
            if isinstance(per_day, bool) or not isinstance(per_day, int | float):
                self._refuse(where, f"{per_day!r} is no number")
            if not 0 <= per_day < math.inf:
                self._refuse(where, f"a rate of {per_day:g} is not a number from 0 up")
            endless = math.isinf(self._seconds)
            if not endless and per_day * self._seconds / DAY_SECONDS > MAX_FAULTS:
                self._refuse(where, f"{per_day:g} in a day makes more than {MAX_FAULTS} faults")
            dice = Dice(SeededEntropy(seed, "rates").child(name))
            draw = KINDS[_DRAWN_AS.get(name, name.replace("_", " "))]
            at = dice.until_next(per_day / DAY_SECONDS)
            while at < self._seconds:
                drawn = msgspec.to_builtins(draw(at, dice))
                drawn.update({k: self._drawn_value(v, dice) for k, v in changes.items()})
                faults.append(self._made(where, kind, drawn))
                if endless:
                    break
                at += dice.until_next(per_day / DAY_SECONDS)
        return faults

    @staticmethod
    def _drawn_value(value: Any, dice: Dice) -> Any:
        if not isinstance(value, list):
            return value
        if len(value) == 2 and all(isinstance(n, int | float) for n in value):
            low, high = value
            whole = isinstance(low, int) and isinstance(high, int)
            return dice.whole(low, high) if whole else dice.between(low, high)
        return dice.pick(*value)

    # --- noise, conditions ---------------------------------------------------------------

    def _noise(self, given: Any) -> Noise:
        if not isinstance(given, dict):
            self._refuse("noise", "give a table for each port: [noise.exchange]")
        ports = Noise.__struct_fields__
        for port in given:
            if port not in ports:
                self._refuse(
                    f"noise.{port}",
                    f"there is no such port{did_you_mean(port, ports)}; there are "
                    f"{', '.join(ports)}",
                )
        noise: Noise = self._converted("noise", given, Noise)
        return noise

    def _conditions(self, given: Any, faults: Sequence[AnyFault]) -> Conditions:
        if not isinstance(given, dict):
            self._refuse("conditions", "give a table")
        for key in given:
            if key not in Conditions.__struct_fields__:
                self._refuse(
                    f"conditions.{key}",
                    f"there is no such key{did_you_mean(key, Conditions.__struct_fields__)}",
                )
        values = {**msgspec.structs.asdict(conditions_for(faults)), **given}
        conditions: Conditions = self._converted("conditions", values, Conditions)
        return conditions

    # --- errors --------------------------------------------------------------------------

    def _converted(self, where: str, values: Any, kind: Any) -> Any:
        try:
            return msgspec.convert(values, kind)
        except ConfigError as error:  # of a number: `Kill.seconds: why`
            name, _, why = str(error).partition(": ")
            self._refuse(f"{where}.{name.partition('.')[2]}", why)
        except (msgspec.ValidationError, ValueError) as error:
            reason, _, at = str(error).partition(" - at `$")
            key = at.strip("`").lstrip(".")
            self._refuse(f"{where}.{key}" if key else where, reason)

    def _refuse(self, key: str, why: str) -> NoReturn:
        parts = key.split(".")  # a key within an inline table stands in the line of the table
        whole = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
        line = next(filter(None, map(self._line_of, whole)), 0)
        raise ConfigError(
            f"{self._file}:{line}: {key}: {why}" if line else f"{self._file}: {key}: {why}"
        )

    def _line_of(self, key: str) -> int:
        """Where a key stands, or else its table; 0 if neither is found."""
        *tables, last = re.sub(r"\[(\d+)\]", r".\1", key).split(".")
        number = int(tables[1]) if len(tables) > 1 and tables[1].isdigit() else None
        if last.isdigit() and number is None:
            tables, number, last = [*tables, last], int(last), ""
        names = [name for name in tables if not name.isdigit()]
        found, seen, current = 0, -1, list[str]()
        for line_number, line in enumerate(self._lines, 1):
            if header := re.match(r"\s*(\[\[?)([^\]]+)\]", line):
                current = [part.strip(' "') for part in header[2].split(".")]
                seen += header[1] == "[[" and current == names[:1]
                here = current == [*names, last] or current == names
                if here and (number is None or seen == number):
                    found = line_number
                continue
            here = current == names and (number is None or seen == number)
            if here and last and re.match(rf'\s*"?{re.escape(last)}"?\s*[.=]', line):
                return line_number
        return found


def _utc(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
