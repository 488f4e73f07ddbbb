"""Personal data by names, forms and checksums, against published examples and what the digits mean."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.schema import ColumnType
from loopwright.data.appending import append
from loopwright.data.checking import infer_contract
from loopwright.data.nouns import ColumnRule, Contract
from loopwright.data.personal import iban_holds, kinds_of_value, luhn_holds, personal_kind, tags_of_name
from loopwright.data.verbs import define_contract
from loopwright.testing.builders import memory_context

IBANS = (  # examples of the registry of ISO 13616
    "GB29NWBK60161331926819",
    "DE89370400440532013000",
    "FR1420041010050500013M02606",
    "NO9386011117947",
    "MT84MALT011000012345MTLCAST001S",
)
CARDS = ("4111 1111 1111 1111", "5500-0000-0000-0004", "378282246310005", "6011000990139424")


@pytest.mark.parametrize("text", IBANS)
def test_ibans_of_the_registry_hold_and_one_changed_digit_does_not(text: str) -> None:
    assert iban_holds(text)
    assert "iban" in kinds_of_value(text)
    for at in (2, 5, len(text) - 1):
        if text[at].isdigit():
            assert not iban_holds(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :])


@pytest.mark.parametrize("text", CARDS)
def test_numbers_that_makers_of_cards_give_for_tests_are_cards(text: str) -> None:
    assert kinds_of_value(text) == ("card",)
    assert kinds_of_value(text[:-1] + str((int(text[-1]) + 1) % 10)) == ()


@given(st.text(alphabet="0123456789", min_size=1, max_size=18))
def test_exactly_one_last_digit_holds(digits: str) -> None:
    assert sum(luhn_holds(digits + last) for last in "0123456789") == 1


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("ada.lovelace+x@example.co.uk", "email"),
        ("+44 20 7946 0958", "phone"),
        ("123-45-6789", "national_id"),
        ("2001:db8::1", "ip"),
        ("192.0.2.7", "ip"),
    ],
)
def test_forms_are_found(text: str, kind: str) -> None:
    assert kinds_of_value(text) == (kind,)


@pytest.mark.parametrize(
    "text", ["", "AA", "2013-01-01", "UA1545", "000-45-6789", "0000000000000000", "a@b", "1.5", "x" * 500]
)
def test_what_is_none_is_none(text: str) -> None:
    assert kinds_of_value(text) == ()


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("email", "pii.email"),
        ("customerEmail", "pii.email"),
        ("E-Mail Address", "pii.email"),
        ("first_name", "pii.name"),
        ("phone_number", "pii.phone"),
        ("client_ip", "pii.ip"),
        ("date_of_birth", "pii.birth_date"),
        ("zip", "pii.address"),
        ("IBAN", "pii.iban"),
        ("credit_card_number", "pii.card"),
    ],
)
def test_names_speak(name: str, tag: str) -> None:
    assert tags_of_name(name) == (tag,)


@pytest.mark.parametrize(
    "name",
    ["name", "carrier", "origin", "dep_delay", "ship", "trip", "japan", "tailnum", "zipper", "wind_speed"],
)
def test_other_names_do_not(name: str) -> None:
    assert tags_of_name(name) == ()


def test_values_speak_louder_than_names() -> None:
    found = personal_kind("contact", ["a@example.org", "b@example.org", "-"])
    assert found is not None
    assert (found.tag, found.by) == ("pii.email", "values")
    assert found.share == pytest.approx(2 / 3)
    assert personal_kind("contact", ["a@example.org", "-", "-"]) is None
    named = personal_kind("email", [])
    assert named is not None
    assert named.by == "name"


def test_an_inferred_contract_tags_by_values_too() -> None:
    ctx, many = memory_context(), 60
    append(
        ctx,
        "paid",
        pa.table(
            {
                "seen": ["4111 1111 1111 1111", "5500 0000 0000 0004"] * many,
                "into": ["DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432"] * many,
                "same_form": ["4111 1111 1111 1112", "5500 0000 0000 0005"] * many,
                "first_name": ["Ann", "Bob"] * many,
                "city": ["Oslo", "Bern"] * many,
            }
        ),
    )
    tags = {rule.name: rule.tags for rule in infer_contract(ctx, "paid").contract.columns}
    assert tags == {
        "seen": ("pii.card",),
        "into": ("pii.iban",),
        "same_form": (),
        "first_name": ("pii.name",),
        "city": (),
    }


def test_an_inferred_contract_keeps_what_people_said_of_a_column_and_lists_no_personal_value() -> None:
    ctx, many = memory_context(), 60
    append(ctx, "paid", pa.table({"nick": ["zoe", "kim"] * many, "city": ["Oslo", "Bern"] * many}))
    said = ColumnRule(
        name="nick", type=ColumnType.STRING, description="as written at the door", tags=("pii.name",)
    )
    before = {rule.name: rule.allowed for rule in infer_contract(ctx, "paid").contract.columns}
    assert before == {"nick": ("kim", "zoe"), "city": ("Bern", "Oslo")}
    define_contract(ctx, "paid", Contract(name="paid", columns=(said,)))
    taken = infer_contract(ctx, "paid").contract
    rules = {rule.name: rule for rule in taken.columns}
    assert (rules["nick"].tags, rules["nick"].description) == (said.tags, said.description)
    assert (rules["nick"].allowed, rules["city"].allowed) == ((), ("Bern", "Oslo"))
    define_contract(ctx, "paid", taken)
    assert infer_contract(ctx, "paid").changes == ()
