"""SBML models: what is read of a file, and what is refused by its name."""

from __future__ import annotations

import pytest

pytest.importorskip("libsbml")

from physode.equations.expression import name, parse
from physode.errors import DataError
from physode.petab.kinetics import kinetics
from physode.petab.sbml import read_sbml
from tests.petab.problems import model

SPECIES = {"A": {"initial": 2.0}, "B": {"initial": 0.0}}


def read(tmp_path, text):
    path = tmp_path / "model.xml"
    path.write_text(text)
    return read_sbml(path)


def test_a_right_hand_side_is_a_sum_of_rates_times_stoichiometries_over_sizes(tmp_path):
    text = model(
        compartments={"c": 2.0}, species=SPECIES, parameters={"k": 0.5}, reactions={"v": ("2 A -> B", "k * A^2")}
    )
    equation = kinetics(read(tmp_path, text))
    assert equation.states == ("A", "B")
    assert equation.constants == ("k",)
    assert equation.derivatives == (((-1.0, parse("k * A^2")),), ((0.5, parse("k * A^2")),))
    assert equation.equations() == ("A' = -(k*A^2)", "B' = 0.5*(k*A^2)")


def test_a_size_that_something_changes_is_a_constant_and_not_a_number(tmp_path):
    text = model(species=SPECIES, parameters={"k": 0.5}, reactions={"v": ("A -> B", "k * A")})
    equation = kinetics(read(tmp_path, text), changed={"c"})
    assert equation.constants == ("c", "k")
    assert equation.derivatives[0] == ((-1.0, parse("k * A / c")),)


def test_a_species_on_both_sides_of_a_reaction_stays_as_it_is(tmp_path):
    text = model(species=SPECIES, parameters={"k": 0.5}, reactions={"v": ("A -> A + B", "k * A")})
    assert kinetics(read(tmp_path, text)).derivatives[0] == ()


def test_levels_and_versions_of_old_are_read(tmp_path):
    text = """<?xml version="1.0" encoding="UTF-8"?>
    <sbml xmlns="http://www.sbml.org/sbml/level2" level="2" version="1"><model id="old">
    <listOfCompartments><compartment id="c" size="2"/></listOfCompartments>
    <listOfSpecies><species id="A" compartment="c" initialAmount="6"/></listOfSpecies>
    <listOfReactions><reaction id="v" reversible="false">
    <listOfReactants><speciesReference species="A"><stoichiometryMath><math
      xmlns="http://www.w3.org/1998/Math/MathML"><cn type="integer">3</cn></math></stoichiometryMath></speciesReference>
    </listOfReactants><kineticLaw><math xmlns="http://www.w3.org/1998/Math/MathML"><apply><times/><ci>p</ci><ci>A</ci>
    </apply></math><listOfParameters><parameter id="p" value="0.1"/></listOfParameters></kineticLaw></reaction>
    </listOfReactions></model></sbml>"""
    read_model = read(tmp_path, text)
    assert read_model.parameters == {"v.p": 0.1}
    assert kinetics(read_model).derivatives == (((-1.5, parse("p * A").substitute({"p": name("v.p")})),),)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"reactions": {"v": ("A ->", "delay(A, 1)")}}, "the kinetic law of v uses delay"),
        ({"events": {"e": {"trigger": "A > 1", "assignments": {"A": "0"}, "delay": 2}}}, "the delay of the event e"),
        (
            {"events": {"e": {"trigger": "A > 1", "assignments": {"A": "0"}, "priority": "B"}}},
            "the priority of the event e, which is no number",
        ),
        ({"parameters": {"time": 1.0}}, "a variable that is called 'time'"),
        ({"initial": {"A": "9^9^9^9^9"}}, "the initial assignment of A has an enormous power"),
        ({"initial": {"A": "factorial(123456789)"}}, "the initial assignment of A has an enormous power or factorial"),
        ({"functions": {"input": "lambda(x, x)"}}, "a function called input"),
    ],
)
def test_what_is_not_supported_is_named(tmp_path, parts, message):
    with pytest.raises(DataError) as caught:
        read(tmp_path, model(species=SPECIES, **parts))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_algebraic_rule_and_a_fast_reaction_are_named(tmp_path):
    text = model(species=SPECIES, parameters={"k": 1.0}, reactions={"v": ("A -> B", "k * A")})
    rule = '<listOfRules><algebraicRule><math xmlns="http://www.w3.org/1998/Math/MathML"><ci>A</ci></math></algebraicRule></listOfRules>'
    with pytest.raises(DataError, match="uses an algebraic rule"):
        read(tmp_path, text.replace("<listOfReactions>", f"{rule}<listOfReactions>"))
    old = text.replace("level3/version2", "level3/version1").replace('level="3" version="2"', 'level="3" version="1"')
    with pytest.raises(DataError, match="uses the fast reaction v"):
        read(tmp_path, old.replace('reversible="false"', 'reversible="false" fast="true"'))


def test_rules_in_a_circle_are_named(tmp_path):
    text = model(parameters={"p": None, "q": None}, assigned={"p": "q + 1", "q": "2 * p"})
    with pytest.raises(DataError, match="the values of p, q depend on one another in a circle"):
        kinetics(read(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not xml", "is no SBML model"),
        ("<?xml version='1.0'?><html/>", "is no SBML model"),
        (model(species=SPECIES).replace('version="2"', 'version="1"'), "level 3 and version 1 need xmlns="),
        ("<?xml version='1.0'?><!DOCTYPE sbml [<!ENTITY x 'y'>]><sbml/>", "declares entities of its own"),
        (model(species=SPECIES, reactions={"v": ("A ->", "z * A")}), "depends on z, which the model does not have"),
        (model(species=SPECIES, reactions={"v": ("A ->", "g(A)")}), "uses g, which physode cannot compute"),
    ],
)
def test_files_that_are_no_models_are_refused_in_one_line(tmp_path, text, message):
    with pytest.raises(DataError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
