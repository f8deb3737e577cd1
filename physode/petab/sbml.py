"""SBML models read from files, of any level; what is not supported is named."""

from __future__ import annotations

import builtins
import math
import re
from pathlib import Path
from typing import Any

from physode.datasets.files import shown
from physode.equations.expression import Expression, Number, apply, name, number
from physode.errors import DataError
from physode.optional_imports import needs
from physode.petab.from_sympy import TIME, expression_of
from physode.petab.sbml_model import Compartment, Reaction, SbmlEvent, SbmlModel, Species

LARGEST = 100_000_000
"""Bytes of a model file."""


_HEAD = 10_000
"""Bytes of a file that its root element is looked for in."""

_ROOT = re.compile(r"<(?:\w+:)?sbml\b([^>]*)>")
_ATTRIBUTE = re.compile(r"""([\w:]+)\s*=\s*(["'])(.*?)\2""", re.DOTALL)

_LARGEST_EXPONENT = 1000.0

_MATHEMATICAL = frozenset({"abs", "max", "min", "pow", "round", "sum", "divmod"})
"""Functions of Python by whose names a model's may be called: tools that read models as text know no others."""

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_HARMLESS = frozenset({"l3v2extendedmath", "layout", "render"})
"""Packages that do not change what a model means, or whose MathML is read as any other."""


def read_sbml(path: Path) -> SbmlModel:
    """Read an SBML model of any level.

    Raises
    ------
    ConfigError
        If python-libsbml or sbmlmath is missing.
    DataError
        If the file is no SBML model, or uses what physode does not support: the line names it.
    """
    libsbml = needs("libsbml", extra="petab", purpose="reading SBML models")
    if path.stat().st_size > LARGEST:
        raise DataError(f"{path} is larger than the {LARGEST // 1_000_000} MB that are read of a model")
    text = path.read_bytes()
    if b"<!DOCTYPE" in text[:_HEAD] or b"<!ENTITY" in text:
        raise DataError(f"{path} declares entities of its own, which physode does not read; take <!DOCTYPE ...> out")
    _check_root(path, text[:_HEAD].decode("utf-8", errors="replace"))
    document = libsbml.readSBMLFromString(text.decode("utf-8-sig", errors="replace"))
    for index in range(document.getNumErrors()):
        error = document.getError(index)
        if error.getSeverity() >= libsbml.LIBSBML_SEV_ERROR:
            raise DataError(f"{path} is no SBML model: {_line(error.getMessage())} (line {error.getLine()})")
    if document.getModel() is None:
        raise DataError(f"{path} has no SBML model")
    return _Reader(libsbml, document, path).model()


def _check_root(path: Path, head: str) -> None:
    """Raise where the root element contradicts itself, which libsbml does not survive."""
    root = _ROOT.search(head)
    if root is None:
        raise DataError(f"{path} is no SBML model: it does not begin with <sbml>")
    attributes = {key: value for key, _, value in _ATTRIBUTE.findall(root[1])}
    level, version = attributes.get("level", ""), attributes.get("version", "")
    namespace = f"http://www.sbml.org/sbml/level{level}"
    if level == "3":
        namespace += f"/version{version}/core"
    elif level == "2" and version != "1":
        namespace += f"/version{version}"
    if namespace not in attributes.values():
        raise DataError(f"{path} is no SBML model: level {level} and version {version} need xmlns={namespace!r}")


class _Reader:
    """Reads one document."""

    def __init__(self, libsbml: Any, document: Any, path: Path) -> None:
        self.libsbml, self.path = libsbml, path
        for index in range(document.getNumPlugins() if document.getLevel() >= 3 else 0):
            package = document.getPlugin(index).getPackageName()
            if document.getPackageRequired(package) and package not in _HARMLESS:
                raise self.unsupported(f"the SBML package {package}")
        for function in document.getModel().getListOfFunctionDefinitions():
            if hasattr(builtins, function.getId()) and function.getId() not in _MATHEMATICAL:
                raise self.unsupported(f"a function called {function.getId()}; give it another name")
        options = libsbml.ConversionProperties()
        options.addOption("expandFunctionDefinitions", True)
        source = document.getModel()
        if source.getNumFunctionDefinitions() and document.convert(options) != libsbml.LIBSBML_OPERATION_SUCCESS:
            raise DataError(
                f"{path}: its function definitions cannot be put in; check the model with an SBML validator"
            )
        self.source = document.getModel()
        self.parse = needs("sbmlmath", extra="petab", purpose="reading SBML models").sbml_math_to_sympy
        self.references: dict[str, float | None] = {}

    def unsupported(self, what: str) -> DataError:
        return DataError(f"{self.path} uses {what}, which physode does not support")

    def model(self) -> SbmlModel:
        source = self.source
        shared_conversion = source.getConversionFactor() if source.isSetConversionFactor() else ""
        reactions = {each.getId(): self.reaction(each) for each in source.getListOfReactions()}
        parameters = {each.getId(): _value(each, "Value") for each in source.getListOfParameters()}
        for reaction in source.getListOfReactions():
            for local in _local_parameters(reaction):
                parameters[f"{reaction.getId()}.{local.getId()}"] = _value(local, "Value")
        assigned, rates = self.rules()
        model = SbmlModel(
            name=source.getName() or source.getId(),
            compartments={each.getId(): self.compartment(each) for each in source.getListOfCompartments()},
            species={each.getId(): self.species(each, shared_conversion) for each in source.getListOfSpecies()},
            parameters=parameters,
            assigned={**assigned, **{label: each.rate for label, each in reactions.items()}},
            rates=rates,
            initial={
                each.getSymbol(): self.expression(each, f"the initial assignment of {each.getSymbol()}")
                for each in source.getListOfInitialAssignments()
                if each.isSetMath()
            },
            reactions=reactions,
            events=self.events(),
        )
        return self.checked(self.with_references(model))

    def with_references(self, model: SbmlModel) -> SbmlModel:
        """Return the model with the stoichiometries that expressions refer to as parameters."""
        used = {
            *model.assigned,
            *model.rates,
            *model.initial,
            *(each for event in model.events.values() for each in event.assignments),
        }
        used.update(*(expression.names for _, expression in model.expressions()))
        for label, value in self.references.items():
            if label in used:
                model.parameters[label] = value
        values = {
            label: number(value) for label, value in self.references.items() if label not in used and value is not None
        }
        reactions = {
            label: Reaction(each.rate, tuple((one, factor.substitute(values)) for one, factor in each.stoichiometry))
            for label, each in model.reactions.items()
        }
        model.reactions.update(reactions)
        return model

    def checked(self, model: SbmlModel) -> SbmlModel:
        symbols = model.symbols
        for symbol in symbols:
            if not all(_IDENTIFIER.fullmatch(part) for part in symbol.split(".")):
                raise DataError(f"{self.path}: {shown(symbol)!r} is no identifier of SBML")
        if TIME in {*model.compartments, *model.species, *model.parameters}:
            raise self.unsupported(f"a variable that is called {TIME!r}")
        for what, expression in model.expressions():
            if unknown := sorted(expression.names - symbols):
                raise DataError(f"{self.path}: {what} depends on {unknown[0]}, which the model does not have")
        for symbol in [*model.assigned, *model.rates, *model.initial]:
            if symbol not in symbols:
                raise DataError(f"{self.path}: a rule gives values to {symbol}, which the model does not have")
        return model

    def expression(self, element: Any, what: str) -> Expression:
        """Return an element's MathML as an expression."""
        try:
            parsed = self.parse(element, ignore_units=True, evaluate=False)
        except (AssertionError, NotImplementedError, TypeError, ValueError) as error:
            raise DataError(f"{self.path}: {what} cannot be read: {_line(error)}") from error
        for node in needs("sympy", extra="petab", purpose="reading SBML models").preorder_traversal(parsed):
            if _is_enormous(node):
                raise DataError(
                    f"{self.path}: {what} has an enormous power or factorial of numbers: {_line(node)[:60]}"
                )
        return expression_of(parsed, what=f"{self.path}: {what}")

    def compartment(self, element: Any) -> Compartment:
        size = _value(element, "Size")
        dimensions = element.getSpatialDimensionsAsDouble() if element.isSetSpatialDimensions() else 3.0
        return Compartment(1.0 if size is None and element.getLevel() == 1 else size, dimensions == 0)

    def species(self, element: Any, shared_conversion: str) -> Species:
        home = self.source.getCompartment(element.getCompartment())
        point = home is not None and home.isSetSpatialDimensions() and home.getSpatialDimensionsAsDouble() == 0
        by_amount = element.isSetInitialAmount()
        initial = _value(element, "InitialAmount") if by_amount else _value(element, "InitialConcentration")
        return Species(
            element.getCompartment(),
            amount=element.getHasOnlySubstanceUnits() or point,
            initial=initial,
            initial_amount=by_amount,
            reacts=not (element.getBoundaryCondition() or element.getConstant()),
            conversion=element.getConversionFactor() if element.isSetConversionFactor() else shared_conversion,
        )

    def rules(self) -> tuple[dict[str, Expression], dict[str, Expression]]:
        assigned: dict[str, Expression] = {}
        rates: dict[str, Expression] = {}
        for rule in self.source.getListOfRules():
            if rule.isAlgebraic():
                raise self.unsupported("an algebraic rule")
            symbol = rule.getVariable()
            target, kind = (rates, "rate rule") if rule.isRate() else (assigned, "assignment rule")
            target[symbol] = self.expression(rule, f"the {kind} of {symbol}")
        return assigned, rates

    def reaction(self, element: Any) -> Reaction:
        label = element.getId()
        if element.isSetFast() and element.getFast():
            raise self.unsupported(f"the fast reaction {label}")
        law = element.getKineticLaw()
        if law is None or not law.isSetMath():
            raise DataError(f"{self.path}: the reaction {label} has no kinetic law; give it a rate")
        rate = self.expression(law, f"the kinetic law of {label}")
        local = {each.getId(): name(f"{label}.{each.getId()}") for each in _local_parameters(element)}
        terms = [
            (each.getSpecies(), apply("neg", self.stoichiometry(each))) for each in element.getListOfReactants()
        ] + [(each.getSpecies(), self.stoichiometry(each)) for each in element.getListOfProducts()]
        return Reaction(rate.substitute(local), tuple(terms))

    def stoichiometry(self, reference: Any) -> Expression:
        if reference.isSetStoichiometryMath():
            return self.expression(reference.getStoichiometryMath(), f"a stoichiometry of {reference.getSpecies()}")
        value = reference.getStoichiometry()
        if reference.getLevel() < 3:
            value = value / reference.getDenominator()
        value = None if math.isnan(value) else value
        if reference.isSetId():
            self.references[reference.getId()] = value
            return name(reference.getId())
        if value is None:
            raise DataError(f"{self.path}: a reaction of {reference.getSpecies()} has no stoichiometry")
        return number(value)

    def events(self) -> dict[str, SbmlEvent]:
        events = {}
        for index, element in enumerate(self.source.getListOfEvents()):
            label = element.getIdAttribute() or element.getName() or f"number {index + 1}"
            trigger = element.getTrigger()
            if element.isSetDelay():
                raise self.unsupported(f"the delay of the event {label}")
            if trigger is None or not trigger.isSetMath():
                raise DataError(f"{self.path}: the event {label} has no trigger")
            priority = -math.inf
            if element.isSetPriority() and element.getPriority().isSetMath():
                value = self.expression(element.getPriority(), f"the priority of the event {label}")
                if not isinstance(value, Number):
                    raise self.unsupported(f"the priority of the event {label}, which is no number,")
                priority = value.value
            events[label] = SbmlEvent(
                self.expression(trigger, f"the trigger of the event {label}"),
                initially=trigger.getInitialValue() if element.getLevel() >= 3 else True,
                assignments={
                    each.getVariable(): self.expression(each, f"an assignment of the event {label}")
                    for each in element.getListOfEventAssignments()
                    if each.isSetMath()
                },
                priority=priority,
            )
        return dict(sorted(events.items(), key=lambda item: -item[1].priority))


def _is_enormous(node: Any) -> bool:
    """Return whether numbers alone make a node a number that would fill the memory, worked out exactly."""
    kind = type(node).__name__
    if kind not in ("Pow", "factorial") or node.free_symbols:
        return False
    last = expression_of(node.args[-1], what="a number")  # in floating point, which ends soon
    return not isinstance(last, Number) or not abs(last.value) <= _LARGEST_EXPONENT


def _local_parameters(reaction: Any) -> list[Any]:
    law = reaction.getKineticLaw()
    return [] if law is None else [*law.getListOfParameters(), *law.getListOfLocalParameters()]


def _value(element: Any, attribute: str) -> float | None:
    """Return an attribute of an element; None where it is missing or not a number."""
    if not getattr(element, f"isSet{attribute}")():
        return None
    value = float(getattr(element, f"get{attribute}")())
    return None if math.isnan(value) else value


def _line(message: object) -> str:
    return " ".join(str(message).split()).rstrip(".")[:300]
