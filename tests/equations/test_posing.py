"""Estimations from model files and tables: what is unknown, how it was treated, what was measured."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch

from physode.datasets import TableOptions
from physode.equations.model import OwnSpread
from physode.equations.model_file import read_model
from physode.errors import ConfigError, DataError
from physode.estimation.problem import Unknown

DECAY = """
version = 1
time_unit = "min"
equations = "x' = -k*x"
[constants]
k = { guess = 0.5, bounds = [0, 5] }
"""


@pytest.fixture
def posed(tmp_path):
    def pose(text: str, *tables: str, **files: str):
        path = tmp_path / "model.toml"
        path.write_text(text)
        for name, content in files.items():
            (tmp_path / f"{name}.csv").write_text(content)
        paths = []
        for i, table in enumerate(tables):
            paths.append(tmp_path / f"data{i or ''}.csv")
            paths[-1].write_text(table)
        return read_model(path).estimation(*paths)

    return pose


def test_without_observables_the_states_that_are_columns_are_observed(posed):
    estimation = posed(DECAY, "time [s],x\n0,2\n60,1\n120,\n180,0.4\n")
    assert estimation.unknowns == (Unknown("k", 0.5, 0.0, 5.0), Unknown("x(0)", 2.0))
    (experiment,) = estimation.experiments
    assert (experiment.name, experiment.start, experiment.initial) == ("data", 0.0, {"x": "x(0)"})
    assert estimation.model.values == ("k",)
    assert estimation.observables[0].spread is None
    assert estimation.measurements.times.tolist() == [0.0, 1.0, 3.0]
    assert estimation.measurements.values.tolist() == [2.0, 1.0, 0.4]


def test_wide_and_long_tables_say_the_same(posed):
    model = DECAY + "[observables]\na = 'x'\nb = '2*x'\n"
    wide = posed(model, "time,experiment,b,a,a_sigma\n0,P,2,1,0.1\n1,P,,0.5,0.2\n0,Q,4,2,0.3\n").measurements
    long = posed(
        model,
        "experiment,observable,time,value,sigma\nQ,a,0,2,0.3\nP,a,1,0.5,0.2\nP,b,0,2,1\nP,a,0,1,0.1\nQ,b,0,4,1\n",
    )
    names = [experiment.name for experiment in long.experiments]
    rows = long.measurements

    def as_set(experiment, labels, rows, spreads):
        return {
            (labels[e], o, t, v, s[0] if o == 0 and spreads else None)
            for e, o, t, v, s in zip(experiment, rows.observable, rows.times, rows.values, rows.own, strict=True)
        }

    assert as_set(wide.experiment, ["P", "Q"], wide, True) == as_set(rows.experiment, names, rows, True)


def test_each_file_is_an_experiment_with_unknowns_of_its_own(posed):
    model = DECAY.replace("bounds", 'per = "experiment", bounds')
    estimation = posed(model, "time,x\n0,2\n1,1\n", "time,x\n5,3\n6,1\n")
    assert [each.name for each in estimation.experiments] == ["data", "data1"]
    assert [each.start for each in estimation.experiments] == [0.0, 5.0]
    assert [each.name for each in estimation.unknowns] == ["k[data]", "k[data1]", "x(0)[data]", "x(0)[data1]"]
    assert estimation.model.values == (0.5,)
    assert [dict(each.constants) for each in estimation.experiments] == [{"k": "k[data]"}, {"k": "k[data1]"}]
    assert [unknown.guess for unknown in estimation.unknowns] == [0.5, 0.5, 2.0, 3.0]


def test_what_an_experiment_s_table_says_is_its_own(posed):
    estimation = posed(
        """
        version = 1
        equations = "x' = -k*x + r"
        begin = 0.0
        [constants]
        k = 1.0
        r = { value = 0.0 }
        dose = { column = "dose", unit = "mg" }
        [states]
        x = { start = "dose/2", unit = "mg" }
        [[changes]]
        time = [3, 1]
        states = { x = "x + dose" }
        [experiments.B]
        begin = -1.0
        start = { x = "2*k" }
        constants = { r = "k*dose", k = { guess = 3.0 } }
        changes = [{ time = 2, constants = { k = "2*k", r = 5 } }, { time = -inf, constants = { r = 1 } }]
        """,
        "time,experiment,dose [g],x\n0.5,A,0.1,2\n4,A,0.1,1\n0.5,B,0.2,2\n4,B,0.2,1\n",
    )
    A, B = estimation.experiments
    assert [unknown.name for unknown in estimation.unknowns] == ["k", "k[B]"]
    assert (A.start, B.start) == (0.0, -1.0)
    assert estimation.model.constants == ("k", "r", "dose")
    assert estimation.model.values == ("k", 0.0, 100.0)
    assert A.constants == {"dose": 100.0}
    assert A.initial == {}
    assert str(B.initial["x"]) == "2*k[B]"
    assert str(B.constants["r"]) == "k[B]*200"
    assert B.constants["dose"] == 200.0
    assert [change.time for change in A.changes] == [1.0, 3.0]
    assert [change.time for change in B.changes] == [-math.inf, 1.0, 2.0, 3.0]
    assert str(B.changes[2].constants["k"]) == "2*k[B]"
    assert B.changes[2].constants["r"] == 5.0
    p = torch.tensor([1.0, 0.0, 100.0], dtype=torch.float64)
    assert estimation.model.initial(p[None]).tolist() == [[50.0]]
    assert float(A.changes[0].states["x"](p[0], p[:1], p)) == 101.0


def test_an_unknown_that_no_experiment_uses_is_none(posed):
    estimation = posed(
        DECAY + "[states]\nx = 1.0\n[experiments.data]\nconstants = { k = 2.0 }\n", "time,x\n0,1\n1,0.5\n"
    )
    assert estimation.unknowns == ()


def test_kinds_of_noise(posed):
    model = (
        DECAY
        + """
        s = { guess = 0.1, log = true }
        [observables]
        a = { formula = "x", sigma = 0.5 }
        b = { formula = "x", sigma = "s*b + 0.01" }
        c = { formula = "x", noise = "proportional", sigma = 0.1 }
        d = { formula = "x", noise = "proportional" }
        e = { formula = "x", noise = "log-normal" }
        f = { formula = "x", sigma_column = "err" }
        """
    )
    estimation = posed(model, "time,a,b,c,d,e,f,err\n0,1,1,1,1,1,1,0.3\n1,1,1,1,1,1,1,0.4\n")
    x = torch.tensor([[-2.0]], dtype=torch.float64)
    p = torch.tensor([[0.5, 0.2, 0.7]], dtype=torch.float64)
    assert estimation.model.constants == ("k", "s", "sigma(d)")
    assert estimation.model.values == ("k", "s", "sigma(d)")
    spreads = [each.spread and float(each.spread(x[0], x, p, x[:, :0], p[:, :1])) for each in estimation.observables]
    assert spreads == pytest.approx([0.5, -0.39, 0.2, 1.4, None, 0.5])
    assert [each.distribution for each in estimation.observables] == ["normal"] * 4 + ["log-normal", "normal"]
    assert isinstance(estimation.observables[5].spread, OwnSpread)
    assert [row[0] for row in estimation.measurements.own][-2:] == [0.3, 0.4]
    assert next(each for each in estimation.unknowns if each.name == "sigma(d)").scale == "log"


def test_columns_that_nothing_asks_for_may_hold_text(posed):
    estimation = posed(DECAY, "time,remark,x\n0,clear,2\n1,,1\n")
    assert estimation.measurements.values.tolist() == [2.0, 1.0]


def test_units_of_columns_are_converted(posed):
    model = DECAY + '[states]\nx = { unit = "m" }\n[observables]\ny = { formula = "2*x", unit = "m" }\nx = "x"\n'
    rows = posed(model, "time [h],y [cm],y_sigma,x [mm]\n0,10,1,5\n1,20,2,5\n").measurements
    assert rows.times.tolist() == [0, 60, 0, 60]
    np.testing.assert_allclose(rows.values, [0.1, 0.2, 0.005, 0.005])
    np.testing.assert_allclose([row[0] for row in rows.own], [0.01, 0.02, 1, 1])


def test_inputs_come_from_columns_and_files(posed):
    model = """
        version = 1
        time_unit = "s"
        equations = "x' = u - v*x + w"
        [inputs]
        u = { column = "force", kind = "smooth", unit = "N" }
        v = { file = "valve.csv", kind = "step" }
        w = { file = "wind.csv", column = "speed" }
        """
    estimation = posed(
        model,
        "time,experiment,force [kN],x\n0,A,1,1\n1,A,,2\n2,A,3,3\n0,B,1,1\n2,B,2,1\n",
        valve="time [min],v\n-1,1\n0,2\n",
        wind="time,experiment,speed\n0,A,1\n3,A,2\n0,B,5\n3,B,6\n",
    )
    A, B = estimation.experiments
    assert A.inputs["u"].times.tolist() == [0, 2]
    assert A.inputs["u"].values.tolist() == [1000, 3000]
    assert A.inputs["u"].kind == "smooth"
    assert A.inputs["v"].times.tolist() == [-60, 0]
    assert B.inputs["v"].values.tolist() == [1, 2]
    assert [each.inputs["w"].values.tolist() for each in (A, B)] == [[1, 2], [5, 6]]


def test_estimations_can_be_sent_to_other_processes(posed):
    estimation = posed(DECAY, "time,x\n0,2\n1,1\n2,1\n")
    again = pickle.loads(pickle.dumps(estimation))
    assert (again.model, again.unknowns, again.observables) == (
        estimation.model,
        estimation.unknowns,
        estimation.observables,
    )


@pytest.mark.parametrize(
    ("rate", "jumps"),
    [
        ("-x*k*step(t - k)", True),
        ("piecewise(1, t < 2*k, x)", True),
        ("piecewise(0, t < k, t - k)", False),
        ("max(t - k, 0)", False),
        ("piecewise(x, t > 1, k)", False),
        ("x*sigmoid((t - k)/0.1)", False),
    ],
)
def test_a_jump_at_a_time_to_be_estimated_is_refused(posed, rate, jumps):
    model = DECAY.replace("-k*x", rate)
    if not jumps:
        assert posed(model, X).unknowns[0].name == "k"
        return
    with pytest.raises(ConfigError, match=r"\[constants\] k: x' jumps at t = (2\*)?k, where a fit sees no derivative"):
        posed(model, X)
    posed(model.replace("guess = 0.5, bounds = [0, 5]", "value = 0.5"), X)


X = "time,x\n0,2\n1,1\n"
REFUSED = [
    (DECAY, (), "model.toml needs data"),
    (DECAY, ("time,y\n0,1\n",), "no state is a column of the data, which are y; declare [observables]"),
    (DECAY + "[observables]\ny = 'x'", (X,), "[observables] y: the data have no column y; there are x"),
    (DECAY + "[observables]\nx = { sigma_column = 's' }", (X,), "sigma_column: the experiment 'data' has no column s"),
    (DECAY + "[experiments.A]\nbegin = 1", (X,), "[experiments] A: the data have no such experiment; there are data"),
    (DECAY, (X, "time,x\n0,\n1,\n"), "the experiment 'data1' has no values of x"),
    ("begin = 0.5" + DECAY, (X,), "'data' has values at 0, before it begins at 0.5"),
    (DECAY, ("time,x\n0,2\n1,1\n1,3\n",), "rows 3 and 4 both give x of the experiment 'data' at 1; keep one"),
    (DECAY, ("time [m],x\n0,2\n",), "column time is in m, which is no time as min is"),
    (DECAY + "[states]\nx = { unit = 'm' }", ("time,x [s]\n0,2\n1,1\n",), "column x is in s, the model has it in m"),
    (DECAY + "[observables]\nx = { noise = 'log-normal' }", ("time,x\n0,2\n1,0\n",), "row 3: x is not above 0"),
    (DECAY, ("time,x,x_sigma\n0,2,1\n1,1,0\n",), "row 3: x_sigma must be above 0"),
    (DECAY, ("time,x,x_sigma\n0,2,1\n1,1,\n",), "row 3: x_sigma must be above 0"),
    (DECAY, ("time,x\n0,2\n",), "2 unknowns are free, but the data have 1 value;"),
    (DECAY, ("time,x\n0,2\n1,<0.1\n",), "data.csv: row 3, column x: '<0.1' is not a number"),
    (DECAY, ("when,x\n0,2\n1,1\n",), "names no column of times; call one of them time, or say which it is"),
    (DECAY, ("time,x\nnow,2\n1,1\n",), "row 2, column time: 'now' is not a number or a time"),
    (DECAY, ("observable,time,value\nx,0,2\nx,1,low\n",), "row 3, column value: 'low' is not a number"),
    (DECAY + "[[changes]]\ntime = -1\nstates = { x = 1 }", (X,), "a change at -1 is before 'data' begins at 0"),
    (DECAY.replace("k*x", "k*x*u") + "[inputs]\nu = 'force'", (X,), "[inputs] u: there is no column force"),
    (
        DECAY.replace("k*x", "k*x*u") + "[inputs]\nu = 'u'",
        ("time,x,u\n0,2,\n1,1,2\n2,1,3\n",),
        "[inputs] u: it begins at 1, after 'data' does, at 0",
    ),
    (
        DECAY.replace("k*x", "k*x*u") + "[inputs]\nu = 'u'",
        ("time,x,u\n0,2,1\n1,1,2\n2,1,\n",),
        "[inputs] u: it ends at 1, before the last value of 'data', at 2",
    ),
    (DECAY.replace("guess = 0.5, bounds = [0, 5]", "column = 'd'"), (X,), "has no column d"),
    (
        DECAY.replace("guess = 0.5, bounds = [0, 5]", "column = 'd'"),
        ("time,x,d\n0,2,1\n1,1,2\n",),
        "d has several values, such as 1 and 2 in the experiment 'data'",
    ),
    ("time_column = 'tme'" + DECAY, (X,), "has no column tme of times; did you mean time?"),
    ("experiment_column = 'subject'" + DECAY, (X,), "has no column subject of experiments"),
    (
        DECAY,
        ("time,experiment,x\n0,A,2\n1,A,1\n", "time,experiment,x\n0,A,2\n"),
        "the experiment 'A' is in another file",
    ),
]


@pytest.mark.parametrize(("model", "tables", "message"), REFUSED)
def test_data_that_do_not_fit_are_refused_in_one_line(posed, model, tables, message):
    with pytest.raises((ConfigError, DataError)) as caught:
        posed(model, *tables)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_data_that_are_not_there_are_refused(tmp_path):
    path = tmp_path / "model.toml"
    path.write_text(DECAY)
    with pytest.raises(DataError, match=r"nothing\.csv does not exist"):
        read_model(path).estimation(tmp_path / "nothing.csv")


def test_times_may_be_dates_in_a_table_of_any_dialect(posed, tmp_path):
    table = "when;x\n01/02/2020 10:00:00;2,5\n03/02/2020 10:00:30;1,234\n04/02/2020 10:01:00;0,5\n"
    model = DECAY.replace('time_unit = "min"', 'time_unit = "d"\ntime_column = "when"')
    with pytest.raises(DataError, match="may have the day or the month first; say which: --dayfirst or --monthfirst"):
        posed(model, table)
    told = []
    estimation = read_model(tmp_path / "model.toml").estimation(
        tmp_path / "data.csv", options=TableOptions(dayfirst=True), tell=told.append
    )
    np.testing.assert_allclose(estimation.measurements.times, [0, 2 + 30 / 86400, 3 + 60 / 86400], rtol=1e-14)
    assert estimation.measurements.values.tolist() == [2.5, 1.234, 0.5]
    assert told == [
        "data.csv: semicolons, decimal commas, when from dates (2020-02-01T10:00:00 to 2020-02-04T10:01:00, "
        "day first, in seconds)"
    ]
