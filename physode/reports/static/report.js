"use strict";
(function () {
  const root = document.documentElement;
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const plots = Array.from(document.querySelectorAll(".plot"));
  const height = 320, paper = { wide: 680, narrow: 330, height: 250 };
  root.classList.add("js");
  if (window.matchMedia("(prefers-color-scheme: dark)").matches) root.classList.add("dark");

  function colour(name) { return getComputedStyle(root).getPropertyValue(name).trim(); }

  function themed() {
    const ink = colour("--chart"), grid = colour("--chart-grid");
    return { ink: ink, axis: { gridcolor: grid, zerolinecolor: grid, linecolor: grid, automargin: true, title: { standoff: 8 } } };
  }

  // Rows of the legend, which stands below the axis and makes a chart taller where it has many.
  function legendRows(traces, width) {
    const named = traces.filter(function (trace) { return trace.name; });
    const total = named.reduce(function (sum, trace) { return sum + 60 + 6.5 * trace.name.length; }, 0);
    return named.length < 2 ? 0 : Math.min(named.length, Math.ceil(1.15 * total / Math.max(width - 74, 100)));
  }

  function layoutOf(chart, width, tall) {
    const own = chart.layout, rows = legendRows(chart.traces, width);
    const theme = themed(), layout = Object.assign({}, {
      margin: { l: 60, r: 14, t: 24, b: 50 + 20 * rows }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: theme.ink }, hovermode: "closest",
      legend: { orientation: "h", yanchor: "bottom", yref: "container", y: 0, x: 0 }, autosize: true
    }, own);
    layout.height = (own.height && !tall ? own.height : tall || height) + 20 * Math.max(rows - 1, 0);
    ["xaxis", "yaxis"].forEach(function (name) {
      const axis = own[name] || {};
      layout[name] = Object.assign({ exponentformat: "power" }, theme.axis, axis);
      layout[name].title = Object.assign({}, theme.axis.title, axis.title);
    });
    return layout;
  }

  function draw(plot) {
    const chart = charts[Number(plot.dataset.chart)];
    return Plotly.newPlot(plot, chart.traces, layoutOf(chart, plot.clientWidth), {
      responsive: true, displaylogo: false, displayModeBar: false
    });
  }

  function recolour() {
    plots.forEach(function (plot) {
      const chart = charts[Number(plot.dataset.chart)];
      if (plot.layout) Plotly.react(plot, plot.data, layoutOf(chart, plot.clientWidth));
    });
  }

  function select(button, focus) {
    const list = button.closest("[role=tablist]");
    list.querySelectorAll("[role=tab]").forEach(function (other) {
      const chosen = other === button;
      other.setAttribute("aria-selected", String(chosen));
      other.tabIndex = chosen ? 0 : -1;
      document.getElementById(other.getAttribute("aria-controls")).classList.toggle("shown", chosen);
    });
    if (focus) button.focus();
  }

  function showAll(element) {
    for (let panel = element.closest(".panel"); panel; panel = panel.parentElement.closest(".panel")) {
      const button = document.querySelector('[aria-controls="' + panel.id + '"]');
      if (button) select(button, false);
    }
  }

  function follow() {
    const name = decodeURIComponent(location.hash.slice(1));
    const target = name && document.getElementById(name);
    document.querySelectorAll(".target").forEach(function (old) { old.classList.remove("target"); });
    if (!target) return;
    showAll(target);
    target.classList.add("target");
    target.scrollIntoView({ block: "center" });
    target.focus({ preventScroll: true });
  }

  document.querySelectorAll("[role=tablist]").forEach(function (list) {
    const buttons = Array.from(list.querySelectorAll("[role=tab]"));
    buttons.forEach(function (button, place) {
      button.tabIndex = button.getAttribute("aria-selected") === "true" ? 0 : -1;
      button.addEventListener("click", function () { select(button, false); });
      button.addEventListener("keydown", function (event) {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (step) select(buttons[(place + step + buttons.length) % buttons.length], true);
      });
    });
  });

  document.querySelectorAll(".copy").forEach(function (button) {
    button.addEventListener("click", function () {
      const code = button.previousElementSibling, range = document.createRange();
      range.selectNodeContents(code);
      const selection = getSelection();
      selection.removeAllRanges();
      selection.addRange(range);
      const done = document.execCommand("copy");
      button.textContent = done ? "Copied" : "Selected";
      setTimeout(function () { button.textContent = "Copy"; }, 1500);
    });
  });

  document.getElementById("theme").addEventListener("click", function () {
    root.classList.toggle("dark");
    recolour();
  });

  let before = null;
  window.addEventListener("beforeprint", function () {
    before = root.classList.contains("dark");
    root.classList.remove("dark");
    plots.forEach(function (plot) { 
      const width = plot.closest(".wide") ? paper.wide : paper.narrow;
      const layout = layoutOf(charts[Number(plot.dataset.chart)], width, paper.height);
      if (plot.layout) Plotly.react(plot, plot.data, Object.assign(layout, { width: width, autosize: false }));
    });
  });
  window.addEventListener("afterprint", function () {
    if (before) root.classList.add("dark");
    recolour();
  });
  window.addEventListener("hashchange", follow);

  // What is seen first is drawn first; the rest while nothing else is to be done.
  const seen = plots.filter(function (plot) { return !plot.closest(".panel:not(.shown)"); });
  const rest = plots.filter(function (plot) { return seen.indexOf(plot) < 0; });
  seen.forEach(draw);
  (function next() {
    const plot = rest.shift();
    if (!plot) { root.dataset.drawn = "all"; return; }
    draw(plot);
    setTimeout(next, 0);
  })();
  follow();
})();
