"""Units as text, and conversions between them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from physode.equations.units import DIMENSIONLESS, conversion, known_unit, unit_of
from physode.errors import ConfigError


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("m/s^2", "m s-2"),
        ("m/s/s", "m*s**-2"),
        ("m·s⁻²", "m/s²"),
        ("N", "kg m/s^2"),
        ("J", "N*m"),
        ("W", "V A"),
        ("Pa", "N/m^2"),
        ("ohm", "V/A"),
        ("F", "C/V"),
        ("H", "V s/A"),
        ("T", "Wb/m^2"),
        ("S", "1/Ω"),
        ("mM", "mmol/L"),
        ("mg/L", "µg/mL"),
        ("mol/(L s)", "mol L^-1 s^-1"),
        ("(m/s)^2", "J/kg"),
        ("sqrt_m", "sqrt_m"),
        ("m^0.5", "m^(1/2)"),
        ("1/min", "min-1"),
        ("kat", "mol/s"),
        ("", "1"),
    ],
)
def test_units_that_are_the_same_are_equal(one, other):
    assert conversion(one, other) == pytest.approx(1.0) if one else unit_of(one) == unit_of(other) == DIMENSIONLESS
    assert unit_of(one).powers == unit_of(other).powers


@pytest.mark.parametrize(
    ("one", "other", "factor"),
    [
        ("h", "min", 60),
        ("days", "h", 24),
        ("yr", "d", 365.25),
        ("km/h", "m/s", 1 / 3.6),
        ("mmHg", "Pa", 133.322387415),
        ("kcal", "J", 4184),
        ("deg", "rad", 0.017453292519943295),
        ("%", "1", 0.01),
        ("cells/mL", "cells/L", 1000),
        ("AU", "km", 149597870.7),
        ("daN", "N", 10),
        ("um", "nm", 1000),
    ],
)
def test_units_are_converted(one, other, factor):
    assert conversion(one, other) == pytest.approx(factor)
    assert conversion(other, one) == pytest.approx(1 / factor)


def test_names_that_are_no_units_are_dimensions_of_their_own():
    assert conversion("pelts", "cells") is None
    assert conversion("1000", "1") is None
    assert unit_of("pelts/yr").powers[0][0] == "pelts"


@pytest.mark.parametrize(
    "text", ["m^^2", "m/", "*m", "foo bar!!", "(m", "m)", "10 m", "1/1e3", "m^999", "m" * 200, "m^(1/0)"]
)
def test_what_is_no_unit_is_refused(text):
    with pytest.raises(ConfigError, match="unit"):
        unit_of(text)
    assert known_unit(text) is None


@given(st.text(max_size=30))
def test_any_text_of_a_header_is_a_unit_or_unknown(text):
    unit = known_unit(text)
    assert unit is None or unit.size > 0


def test_units_are_printed_in_the_words_they_were_written_in():
    assert str(unit_of("N")) == "N"
    assert str(unit_of("mg*L^-1") / unit_of("h")) == "mg/(L h)"
    assert str(unit_of("1/min") * unit_of("min^2") ** 0.5) == "1"
    assert str(unit_of("m^0.5") * unit_of("s-2")) == "m^(1/2)/s^2"
    assert str(DIMENSIONLESS) == "1"
