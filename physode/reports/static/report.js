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

  function layoutOf(own) {
    const theme = themed(), layout = Object.assign({
      height: height, margin: { l: 60, r: 14, t: 24, b: 84 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: theme.ink }, hovermode: "closest",
      legend: { orientation: "h", yanchor: "top", yref: "container", y: 0.1, x: 0 }, autosize: true
    }, own);
    ["xaxis", "yaxis"].forEach(function (name) {
      const axis = own[name] || {};
      layout[name] = Object.assign({ exponentformat: "power" }, theme.axis, axis);
      layout[name].title = Object.assign({}, theme.axis.title, axis.title);
    });
    return layout;
  }

  function draw(plot) {
    const chart = charts[Number(plot.dataset.chart)];
    return Plotly.newPlot(plot, chart.traces, layoutOf(chart.layout), {
      responsive: true, displaylogo: false, displayModeBar: false
    });
  }

  function recolour() {
    plots.forEach(function (plot) {
      const chart = charts[Number(plot.dataset.chart)];
      if (plot.layout) Plotly.react(plot, plot.data, layoutOf(chart.layout));
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
      const wide = plot.closest(".wide") !== null;
      if (plot.layout) Plotly.relayout(plot, { width: wide ? paper.wide : paper.narrow, height: paper.height, autosize: false });
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
