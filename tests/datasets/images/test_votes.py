"""Five classes of galaxies from the table of votes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physode.datasets.images import PUBLISHED_COUNTS, Votes, galaxy_classes, read_votes
from physode.errors import DataError

ANSWERS = ("1.1", "1.2", "2.1", "2.2", "4.1", "7.1", "7.2", "7.3")
HEADER = "GalaxyID," + ",".join(f"Class{name}" for name in ANSWERS)


def votes(*rows):
    table = np.array(rows, dtype=float).reshape(-1, len(ANSWERS))
    return Votes(galaxies=np.arange(len(table)), shares={name: table[:, i] for i, name in enumerate(ANSWERS)})


def products(smooth, edge_on, spiral, shape):
    """Return a row of the table from the shares of those who were asked."""
    features = 1.0 - smooth
    face_on = features * (1.0 - edge_on)
    return (smooth, features, features * edge_on, face_on, face_on * spiral, *(smooth * each for each in shape))


@pytest.mark.parametrize(
    ("row", "label"),
    [
        ((0.60, 0.35, 0.00, 0.35, 0.00, 0.50, 0.10, 0.00), 0),
        ((0.60, 0.35, 0.00, 0.35, 0.00, 0.49, 0.11, 0.00), -1),
        ((0.70, 0.30, 0.00, 0.30, 0.00, 0.10, 0.55, 0.05), 1),
        ((0.80, 0.20, 0.10, 0.10, 0.00, 0.00, 0.20, 0.60), 2),
        ((0.30, 0.70, 0.602, 0.098, 0.0, 0.1, 0.1, 0.1), 3),
        ((0.30, 0.70, 0.601, 0.099, 0.0, 0.1, 0.1, 0.1), -1),
        ((0.10, 0.90, 0.10, 0.80, 0.70, 0.05, 0.05, 0.00), 4),
        ((0.10, 0.90, 0.20, 0.70, 0.65, 0.05, 0.05, 0.00), -1),
        ((0.10, 0.90, 0.10, 0.80, 0.61, 0.05, 0.05, 0.00), -1),
        ((0.45, 0.45, 0.20, 0.25, 0.10, 0.30, 0.15, 0.00), -1),
    ],
)
def test_thresholds_are_on_the_columns_as_they_stand(row, label):
    assert galaxy_classes(votes(row)).tolist() == [label]


@pytest.mark.parametrize(
    ("row", "whole", "asked"),
    [
        # Of 60 % who call it smooth 70 % call it round: 42 % of all.
        (products(0.6, 0.1, 0.2, (0.7, 0.3, 0.0)), -1, 0),
        (products(0.5, 0.0, 0.0, (0.4, 0.6, 0.0)), -1, 1),
        (products(0.9, 0.0, 0.0, (0.1, 0.2, 0.7)), 2, 2),
        # Of 50 % who see features 90 % see it edge-on: 45 % of all.
        (products(0.45, 0.9, 0.0, (0.4, 0.3, 0.3)), -1, 3),
        # Of 70 % who see features 90 % see it face-on: 63 % of all; of these 80 % a spiral: 50 % of all.
        (products(0.3, 0.1, 0.8, (0.4, 0.3, 0.3)), -1, 4),
        # Smooth and round by 47 % and more, edge-on by more than 43 %: two classes at once.
        (products(0.5, 0.9, 0.0, (0.9, 0.1, 0.0)), -1, -1),
    ],
)
def test_shares_of_those_asked_are_products_divided_by_their_parents(row, whole, asked):
    assert galaxy_classes(votes(row)).tolist() == [whole]
    assert galaxy_classes(votes(row), conditional=True).tolist() == [asked]


def test_a_question_that_nobody_was_asked_has_no_answer():
    smooth, disc = products(1.0, 0.5, 0.5, (0.8, 0.2, 0.0)), products(0.0, 0.9, 0.0, (0.5, 0.5, 0.0))
    assert galaxy_classes(votes(smooth, disc), conditional=True).tolist() == [0, 3]


def test_a_tie_of_two_classes_is_neither():
    assert galaxy_classes(votes(products(1.0, 0.0, 0.0, (0.5, 0.5, 0.0)))).tolist() == [-1]


@given(
    smooth=st.floats(0, 1),
    edge_on=st.floats(0, 1),
    spiral=st.floats(0, 1),
    shape=st.tuples(*[st.floats(0.001, 1)] * 3).map(lambda each: np.array(each) / sum(each)),
)
@settings(max_examples=200, deadline=None)
def test_shares_of_all_are_the_stricter_choice(smooth, edge_on, spiral, shape):
    row = votes(products(smooth, edge_on, spiral, shape))
    (whole,), (asked,) = galaxy_classes(row), galaxy_classes(row, conditional=True)
    assert whole in (-1, asked) or asked == -1


def test_the_published_counts_are_of_28790_galaxies():
    assert sum(PUBLISHED_COUNTS) == 28_790


def test_columns_are_found_by_name_and_others_are_left_alone():
    names = ["Class11.6", *(f"Class{name}" for name in reversed(ANSWERS)), "GalaxyID"]
    numbers = {f"Class{name}": 0.1 * i for i, name in enumerate(ANSWERS)} | {"Class11.6": 9, "GalaxyID": 100_008}
    found = read_votes(",".join(names) + "\r\n" + ",".join(str(numbers[name]) for name in names) + "\r\n")
    assert found.galaxies.tolist() == [100_008]
    np.testing.assert_allclose([found.shares[name][0] for name in ANSWERS], 0.1 * np.arange(8))


def test_blank_lines_and_a_mark_of_byte_order_are_passed_over():
    found = read_votes(f"\ufeff{HEADER}\n\n5,1,0,0,0,0,1,0,0\n \n")
    assert found.galaxies.tolist() == [5]


def test_shares_that_rounding_has_put_over_1_are_1():
    assert read_votes(f"{HEADER}\n1,1.00001,0,0,0,0,1,0,-0.00001\n").shares["1.1"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it has no column GalaxyID, Class1.1, "),
        ("GalaxyID,Class1.1\n1,0.5\n", "it has no column Class1.2, Class2.1, .*no table of Kaggle's Galaxy Challenge"),
        (f"{HEADER}\n", "it has no rows"),
        (f"{HEADER}\n1,0,0,0,0,0,0,0\n", "line 2 has 8 columns, the first line has 9"),
        (f"{HEADER}\n1,0,0,0,0,0,0,0,0\n2,0,0,0,0,0,0,0,nan\n", "line 3: Class7.3 is 'nan', not a number from 0 to 1"),
        (f"{HEADER}\n1,0,0,0,0,0,0,0,1.1\n", "line 2: Class7.3 is '1.1', not a number"),
        (f"{HEADER}\n1,-0.2,0,0,0,0,0,0,0\n", "line 2: Class1.1 is '-0.2', not a number"),
        (f"{HEADER}\n1,inf,0,0,0,0,0,0,0\n", "line 2: Class1.1 is 'inf', not a number"),
        (f"{HEADER}\n1,,0,0,0,0,0,0,0\n", "line 2: Class1.1 is '', not a number"),
        (f"{HEADER}\nx,0,0,0,0,0,0,0,0\n", "line 2: GalaxyID 'x' is not a whole number"),
        (f"{HEADER}\n../1,0,0,0,0,0,0,0,0\n", "line 2: GalaxyID '../1' is not a whole number"),
        (f"{HEADER}\n7,0,0,0,0,0,0,0,0\n07,0,0,0,0,0,0,0,0\n", "line 3: galaxy 7 stands in the table twice"),
    ],
)
def test_a_damaged_table_is_refused_with_the_line(text, message):
    with pytest.raises(DataError, match=message):
        read_votes(text)
