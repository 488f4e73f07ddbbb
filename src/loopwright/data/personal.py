"""Finds personal data: by names of columns, by the form of values, and by checksums where there are any."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable

import msgspec

__all__ = ["PersonalColumn", "iban_holds", "kinds_of_value", "luhn_holds", "personal_kind", "tags_of_name"]

_SHARE = 0.5
"""share of a column's texts that must have a form before the column is taken for it"""
_NAMES: tuple[tuple[str, str], ...] = (
    (r"e_?mail(_?addr(ess)?)?", "email"),
    (r"(tele)?phone(_?(no|number|nr))?|mobile(_?(no|number|nr))?|msisdn", "phone"),
    (r"(first|last|family|given|full|sur|middle|maiden)_?name", "name"),
    (r"(passenger|customer|patient|client|employee|person)_?name", "name"),
    (
        r"ssn|social_?security(_?(no|number|nr))?|national_?id|passport(_?(no|number|nr))?|tax_?id",
        "national_id",
    ),
    (r"iban|bank_?account(_?(no|number|nr))?", "iban"),
    (r"(credit_?)?card_?(no|number|nr)|pan", "card"),
    (r"birth_?(date|day)|date_?of_?birth|dob", "birth_date"),
    (r"street(_?address)?|(home|postal|mailing|billing)_?address|post_?code|zip(_?code)?", "address"),
    (r"ip(_?addr(ess)?)?|client_?ip|remote_?addr", "ip"),
)
_COLUMN = tuple((re.compile(rf"(?:.*_)?(?:{pattern})(?:_.*)?\Z"), kind) for pattern, kind in _NAMES)
_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+\Z")
_PHONE = re.compile(r"\+[1-9][0-9 ().-]{6,20}[0-9]\Z")
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}\Z")
_CARD = re.compile(r"[0-9](?:[ -]?[0-9]){12,18}\Z")
_SSN = re.compile(r"(?!000|666|9)[0-9]{3}-(?!00)[0-9]{2}-(?!0000)[0-9]{4}\Z")


class PersonalColumn(msgspec.Struct, frozen=True, kw_only=True):
    """A column that seems to hold personal data, and what says so."""

    column: str
    tag: str
    """`pii.email`, `pii.card` and the like"""
    by: str
    """`name`, `values`, or `presidio`"""
    share: float | None = None
    """share of the texts looked at that have the form"""


def luhn_holds(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return bool(digits) and total % 10 == 0


def iban_holds(text: str) -> bool:
    """Whether an IBAN without spaces has the right check digits (ISO 13616, mod 97-10 of ISO 7064)."""
    if _IBAN.match(text) is None:
        return False
    moved = text[4:] + text[:4]
    return int("".join(str(int(character, 36)) for character in moved)) % 97 == 1


def _is_card(text: str) -> bool:
    if _CARD.match(text) is None:
        return False
    digits = re.sub(r"[ -]", "", text)
    return len(set(digits)) > 1 and luhn_holds(digits)


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


_FORMS: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("email", lambda text: _EMAIL.match(text) is not None),
    ("iban", lambda text: iban_holds(text.replace(" ", "").upper())),
    ("card", _is_card),
    ("national_id", lambda text: _SSN.match(text) is not None),
    ("phone", lambda text: _PHONE.match(text) is not None),
    ("ip", _is_ip),
)


def kinds_of_value(text: str) -> tuple[str, ...]:
    """The kinds of personal data that a text has the form of; a card and an IBAN need their check digits."""
    short = text.strip()
    if len(short) > 320:
        return ()
    return tuple(kind for kind, holds in _FORMS if holds(short))


def tags_of_name(name: str) -> tuple[str, ...]:
    """The tag that a column's name speaks of, in snake, kebab or camel case; none for most names."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    plain = re.sub(r"[\s.-]+", "_", split).lower()
    return next(((f"pii.{kind}",) for pattern, kind in _COLUMN if pattern.match(plain)), ())


def personal_kind(column: str, texts: Iterable[str]) -> PersonalColumn | None:
    """What kind of personal data a column holds, by its name, else by more than half of some of its texts."""
    named = tags_of_name(column)
    seen, counts = 0, dict[str, int]()
    for text in texts:
        seen += 1
        for kind in kinds_of_value(text):
            counts[kind] = counts.get(kind, 0) + 1
    best = max(counts, key=lambda kind: counts[kind], default=None)
    if best is not None and counts[best] > _SHARE * seen:
        return PersonalColumn(column=column, tag=f"pii.{best}", by="values", share=counts[best] / seen)
    return PersonalColumn(column=column, tag=named[0], by="name") if named else None
