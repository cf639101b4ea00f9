"use strict";
(() => {
  const shown = { off: new Set(), on: null, span: 1, log: false, each: false };
  const narrow = window.matchMedia("(max-width: 40rem)");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const coarse = window.matchMedia("(pointer: coarse)");
  const blocks = new Map();
  const visible = new Set();
  let plotly = null;
  let page = null;

  // --- data ---------------------------------------------------------------------------------------------------

  /** The value of a data block, unpacked when it is first asked for. */
  function data(name) {
    if (!blocks.has(name)) blocks.set(name, unpack(document.getElementById(name).textContent));
    return blocks.get(name);
  }

  async function unpack(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return JSON.parse(await new Response(stream).text());
  }

  /** plotly.js, run when the first figure is about to be seen: the page itself does not wait for it. */
  function drawing() {
    plotly ??= new Promise((resolve) => {
      // A moment for the browser to paint what there is.
      setTimeout(() => {
        const script = document.createElement("script");
        script.textContent = document.getElementById("plotly").textContent;
        document.head.append(script);
        resolve(window.Plotly);
      }, 0);
    });
    return plotly;
  }

  // --- words and colours --------------------------------------------------------------------------------------

  const isDark = () => (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";

  /** Text for plotly, which takes a small part of HTML for markup. */
  const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  function symbol(name) {
    const [, stem, index] = /^([^_]+)_(.+)$/.exec(name) ?? [null, name, null];
    return index === null ? plain(name) : `${plain(stem)}<sub>${plain(index)}</sub>`;
  }

  function ink(name) {
    const probe = document.createElement("span");
    probe.style.color = `var(--${name})`;
    document.body.append(probe);
    const colour = getComputedStyle(probe).color;
    probe.remove();
    return colour;
  }

  const line = (look, width) => ({
    color: isDark() ? look.dark : look.light,
    width,
    dash: look.dash.length ? look.dash.map((length) => `${length * width}px`).join(",") : "solid",
  });

  function faint(colour, opacity) {
    const [red, green, blue] = [1, 3, 5].map((start) => parseInt(colour.slice(start, start + 2), 16));
    return `rgba(${red},${green},${blue},${opacity})`;
  }

  function axis(title, more) {
    return {
      title: { text: title, font: { size: 13 }, standoff: 8 },
      gridcolor: ink("line"), linecolor: ink("line"), zeroline: false, automargin: true,
      fixedrange: coarse.matches,
      ...more,
    };
  }

  const layout = (more) => ({
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: ink("ink"), family: getComputedStyle(document.body).fontFamily, size: 12 },
    margin: { l: 56, r: 12, t: 28, b: 44 }, showlegend: false,
    modebar: { bgcolor: "rgba(0,0,0,0)", color: ink("soft"), activecolor: ink("ink") },
    hoverlabel: { bgcolor: ink("raised"), bordercolor: ink("line"), font: { color: ink("ink") } },
    // A finger that drags is to scroll the page.
    dragmode: coarse.matches ? false : "zoom",
    ...more,
  });

  /** Below the panels; what is shown is chosen in the bar above, with the keyboard too. */
  const legend = () => ({
    orientation: "h", x: 0, y: 0, yref: "container", yanchor: "bottom", itemclick: false, itemdoubleclick: false,
    itemwidth: 36,
  });

  const config = (name) => ({
    displaylogo: false, responsive: true, doubleClickDelay: 400,
    // The button would hand the data to a server, and nothing leaves this page.
    showSendToCloud: false, plotlyServerURL: "",
    displayModeBar: coarse.matches ? false : "hover",
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    toImageButtonOptions: { format: "svg", filename: name },
  });

  // --- curves -------------------------------------------------------------------------------------------------

  /** Mean, lowest and highest value of several curves at each epoch that any of them has. */
  function overSeeds(curves, metric) {
    const at = new Map();
    for (const curve of curves) {
      curve.epoch.forEach((epoch, index) => {
        if (!at.has(epoch)) at.set(epoch, []);
        at.get(epoch).push(curve[metric][index]);
      });
    }
    const epochs = [...at.keys()].sort((a, b) => a - b);
    const whole = (values) => values.length === curves.length && values.every((value) => value !== null);
    const of = (reduce) => epochs.map((epoch) => (whole(at.get(epoch)) ? reduce(at.get(epoch)) : null));
    return {
      epochs,
      mean: of((values) => values.reduce((sum, value) => sum + value, 0) / values.length),
      low: of((values) => Math.min(...values)),
      high: of((values) => Math.max(...values)),
    };
  }

  function curveTraces(curves, metric, axes, to) {
    const traces = [];
    const values = [];
    const see = (epochs, series) => series.forEach((value, index) => {
      if (value !== null && epochs[index] <= to) values.push(value);
    });
    for (const [name, look] of Object.entries(page.variants)) {
      if (shown.off.has(name)) continue;
      const own = curves.runs.filter((run) => run.variant === name && run.on[shown.on]);
      const settled = own.filter((run) => run.diverged === null);
      const label = symbol(look.symbol);
      // One entry in the legend for each variant: that of its first line.
      let listed = metric === "loss";
      const once = () => { const first = listed; listed = false; return first; };
      const common = { ...axes, name: label, legendgroup: name, meta: name, showlegend: false };
      if (settled.length && !shown.each) {
        const seeds = overSeeds(settled.map((run) => run.on[shown.on]), metric);
        if (settled.length > 1) {
          const edge = { ...common, x: seeds.epochs, mode: "lines", line: { width: 0 }, hoverinfo: "skip" };
          traces.push({ ...edge, y: seeds.low });
          traces.push({ ...edge, y: seeds.high, fill: "tonexty", fillcolor: faint(line(look, 1).color, 0.16) });
          see(seeds.epochs, seeds.low);
          see(seeds.epochs, seeds.high);
        }
        traces.push({
          ...common, x: seeds.epochs, y: seeds.mean, mode: "lines", line: line(look, 2.25), showlegend: once(),
          hovertemplate: `${label} %{y:.4g}<extra></extra>`,
        });
        see(seeds.epochs, seeds.mean);
      }
      for (const run of own) {
        if (!shown.each && run.diverged === null) continue;
        const curve = run.on[shown.on];
        const said = run.diverged === null ? "" : `, diverged at step ${run.diverged}`;
        traces.push({
          ...common, x: curve.epoch, y: curve[metric], mode: "lines", line: line(look, 1.25), showlegend: once(),
          hovertemplate: `${label} %{y:.4g} (seed ${run.seed}${said})<extra></extra>`,
        });
        see(curve.epoch, curve[metric]);
        if (run.diverged === null) continue;
        const last = curve[metric].findLastIndex((value) => value !== null);
        if (last < 0) continue;
        traces.push({
          ...common, x: [curve.epoch[last]], y: [curve[metric][last]], mode: "markers", hoverinfo: "skip",
          marker: { symbol: "x-thin", size: 11, line: { width: 2.5, color: line(look, 1).color } },
        });
      }
    }
    return { traces, values };
  }

  /** The range of an axis for what is seen of the curves. */
  function range(values, metric, zoomed) {
    const log = metric === "loss" && shown.log;
    const seen = log ? values.filter((value) => value > 0).map(Math.log10) : values;
    if (!seen.length) return log ? [-1, 1] : [0, 1];
    const low = Math.min(...seen);
    const high = Math.max(...seen);
    const air = (high - low) * 0.05 || 0.05;
    if (metric === "accuracy" && !zoomed) return [0, 1.02];
    if (metric === "loss" && !log && !zoomed) return [0, high + air];
    return [low - air, high + air];
  }

  async function drawCurves(figure, area) {
    const curves = await data(`data-${figure.dataset.comparison}-curves`);
    const Plotly = await drawing();
    const zoomed = shown.span < 1;
    const to = Math.max(1, Math.ceil(curves.epochs * shown.span));
    const loss = curveTraces(curves, "loss", { xaxis: "x", yaxis: "y" }, to);
    const accuracy = curveTraces(curves, "accuracy", { xaxis: "x2", yaxis: "y2" }, to);
    const stacked = narrow.matches;
    // No ticks between epochs: nothing was measured there.
    const epochs = (more) => axis("epoch", { range: [0, to], ...(to <= 10 ? { dtick: 1 } : {}), ...more });
    await Plotly.react(area, [...loss.traces, ...accuracy.traces], layout({
      hovermode: "x unified", showlegend: true, legend: legend(), margin: { l: 56, r: 12, t: 28, b: narrow.matches ? 96 : 76 },
      xaxis: epochs({ domain: stacked ? [0, 1] : [0, 0.46], anchor: "y" }),
      xaxis2: epochs({ domain: stacked ? [0, 1] : [0.54, 1], anchor: "y2" }),
      yaxis: axis("loss [nats]", {
        domain: stacked ? [0.57, 1] : [0, 1], type: shown.log ? "log" : "linear", anchor: "x",
        range: range(loss.values, "loss", zoomed),
      }),
      yaxis2: axis("accuracy", {
        domain: stacked ? [0, 0.43] : [0, 1], anchor: "x2", range: range(accuracy.values, "accuracy", zoomed),
      }),
    }), config(`curves-${figure.dataset.comparison}`));
    const on = figure.querySelector(".measured-on");
    if (on) on.textContent = page.measured_on[shown.on];
  }

  // --- heat maps ----------------------------------------------------------------------------------------------

  /** Rows of numbers from the bytes of a panel; null where there is no finite value. */
  function unquantised(panel, centre, extent) {
    const bytes = Int8Array.from(atob(panel.values), (letter) => letter.charCodeAt(0));
    const width = panel.channels.length;
    return panel.steps.map((_, row) => Array.from(
      bytes.subarray(row * width, (row + 1) * width),
      (byte) => (byte === -128 ? null : centre + (byte / 127) * extent),
    ));
  }

  async function drawMaps(figure, area) {
    const { comparison, name, seed, parameter } = figure.dataset;
    const maps = await data(`data-${comparison}-maps-${seed}`);
    const Plotly = await drawing();
    figure.querySelector(".seed").textContent = seed;
    const command = figure.querySelector(".command");
    const line = command.querySelector("code").textContent.replace(/--seed \S+/, `--seed ${seed}`);
    command.querySelector("code").textContent = line;
    command.querySelector("button").dataset.copy = line;
    const own = maps[name];
    if (!own) {
      Plotly.purge(area);
      area.textContent = `There is no run of seed ${seed}.`;
      return;
    }
    const { symbol: greek, centre } = page.parameters[parameter];
    const across = narrow.matches ? 3 : Math.max(own.panels.length, 4);
    const down = Math.ceil(own.panels.length / across);
    area.style.height = `${narrow.matches ? down * 190 + 90 : 305}px`;
    const last = Math.max(...own.panels.map((panel) => panel.steps.at(-1)));
    const gap = { x: 0.012 + 0.012 * (4 / across), y: 0.28 / down };
    const wide = (1 - gap.x * (across - 1)) / across;
    const high = (1 - gap.y * (down - 1)) / down;
    const drawn = layout({
      margin: { l: 62, r: narrow.matches ? 8 : 80, t: narrow.matches ? 26 : 44, b: narrow.matches ? 96 : 40 },
      plot_bgcolor: page.no_value,
      annotations: [],
      coloraxis: {
        colorscale: page.diverging, cmin: centre - own.extent, cmax: centre + own.extent,
        colorbar: narrow.matches
          ? { orientation: "h", y: 0, yanchor: "top", ypad: 42, thickness: 10, title: { text: greek, side: "top" }, outlinewidth: 0 }
          : { thickness: 12, title: { text: greek }, outlinewidth: 0, len: 1 },
      },
    });
    const traces = own.panels.map((panel, index) => {
      const suffix = index ? String(index + 1) : "";
      const [column, row] = [index % across, Math.floor(index / across)];
      const left = column * (wide + gap.x);
      const top = 1 - row * (high + gap.y);
      const most = panel.channels.at(-1);
      drawn[`xaxis${suffix}`] = axis("", {
        domain: [left, left + wide], anchor: `y${suffix}`, showgrid: false, automargin: false,
        tickvals: most > 1 && !narrow.matches ? [1, most] : [most], range: [0.5, most + 0.5], tickangle: 0,
      });
      drawn[`yaxis${suffix}`] = axis(column || row ? "" : "training step", {
        domain: [top - high, top], anchor: `x${suffix}`, showgrid: false, showticklabels: column === 0,
        range: [panel.steps[0], last], nticks: 5, automargin: false,
      });
      drawn.annotations.push({
        text: plain(panel.slot), showarrow: false, xref: "paper", yref: "paper", x: left + wide / 2, y: top,
        xanchor: "center", yanchor: "bottom", font: { size: 12, color: ink("ink") },
      });
      return {
        type: "heatmap", x: panel.channels, y: panel.steps, z: unquantised(panel, centre, own.extent),
        xaxis: `x${suffix}`, yaxis: `y${suffix}`, coloraxis: "coloraxis", hoverongaps: false,
        hovertemplate: `${plain(panel.slot)}, channel %{x} of ${most}, step %{y}: ${greek} = %{z:.3f}<extra></extra>`,
      };
    });
    await Plotly.react(area, traces, drawn, config(`${parameter}-${comparison}`));
  }

  // --- activity -----------------------------------------------------------------------------------------------

  async function drawActivity(figure, area) {
    const { comparison } = figure.dataset;
    const panels = (await data(`data-${comparison}-activity`)).filter(({ variant }) => !shown.off.has(variant));
    const Plotly = await drawing();
    const across = narrow.matches ? 1 : Math.max(panels.length, 2);
    const down = Math.ceil(panels.length / across) || 1;
    area.style.height = `${down * (narrow.matches ? 230 : 270) + 80}px`;
    const gap = { x: 0.07, y: 0.3 / down };
    const wide = (1 - gap.x * (across - 1)) / across;
    const high = (1 - gap.y * (down - 1)) / down;
    const drawn = layout({
      annotations: [], showlegend: true, margin: { l: 56, r: 12, t: 44, b: 80 },
      legend: legend(),
    });
    const traces = panels.flatMap((panel, index) => {
      const suffix = index ? String(index + 1) : "";
      const [column, row] = [index % across, Math.floor(index / across)];
      const left = column * (wide + gap.x);
      const top = 1 - row * (high + gap.y);
      const { activity, symbol: greek } = page.parameters[panel.parameter];
      const label = symbol(page.variants[panel.variant].symbol);
      drawn[`xaxis${suffix}`] = axis("training step", { domain: [left, left + wide], anchor: `y${suffix}`, nticks: 5 });
      drawn[`yaxis${suffix}`] = axis(activity, { domain: [top - high, top], anchor: `x${suffix}`, rangemode: "tozero" });
      drawn.annotations.push({
        text: `${greek} of ${label}`, showarrow: false, xref: "paper", yref: "paper", x: left, y: top,
        xanchor: "left", yanchor: "bottom", font: { size: 13, color: ink("ink") },
      });
      return panel.slots.map(({ slot, steps, magnitude }, place) => ({
        x: steps, y: magnitude, mode: "lines", xaxis: `x${suffix}`, yaxis: `y${suffix}`, meta: panel.variant,
        name: plain(slot), showlegend: index === 0,
        line: { color: depth(place, panel.slots.length), width: 1.75 },
        hovertemplate: `${plain(slot)} %{y:.4f} at step %{x}<extra></extra>`,
      }));
    });
    await Plotly.react(area, traces, drawn, config(`activity-${comparison}`));
  }

  /** A layer's colour, from the first to the last; the ends that the page would swallow are left out. */
  function depth(place, layers) {
    const [first, last] = isDark() ? [5, 20] : [0, 17];
    return page.sequential[Math.round(first + ((last - first) * place) / Math.max(layers - 1, 1))][1];
  }

  async function curvesCsv(comparison) {
    const curves = await data(`data-${comparison}-curves`);
    const rows = [["variant", "seed", "split", "statistics", "epoch", "loss", "accuracy", "diverged_at_step"]];
    for (const run of curves.runs) {
      for (const [on, curve] of Object.entries(run.on)) {
        curve.epoch.forEach((epoch, index) => {
          rows.push([run.variant, run.seed, ...on.split(" "), epoch, curve.loss[index], curve.accuracy[index], run.diverged]);
        });
      }
    }
    save(curves.file, rows);
  }

  // --- drawing what is seen -----------------------------------------------------------------------------------

  const painters = { curves: drawCurves, maps: drawMaps, activity: drawActivity };

  const sight = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) {
        visible.add(target);
        paint(target);
      } else {
        visible.delete(target);
      }
    }
  }, { rootMargin: "300px" });

  /** Draw a figure, unless it shows the present state already. One after the other for each figure. */
  function paint(figure) {
    const wanted = JSON.stringify([[...shown.off], shown.on, shown.span, shown.log, shown.each, isDark(), narrow.matches, figure.dataset.seed]);
    if (figure.wanted === wanted || figure.hidden) return;
    figure.wanted = wanted;
    const area = figure.querySelector(".plot-area");
    figure.painting = (figure.painting ?? Promise.resolve()).then(async () => {
      if (figure.wanted !== wanted) return;
      await painters[figure.dataset.figure](figure, area);
      // Its label says what is in it; its ticks, read out one by one, would not.
      area.querySelectorAll("svg.main-svg").forEach((drawn) => drawn.setAttribute("aria-hidden", "true"));
      area.dataset.drawn = "yes";
    }).catch((error) => {
      area.textContent = "This figure could not be drawn.";
      console.error(error);
    });
  }

  const repaint = () => visible.forEach(paint);

  // --- files --------------------------------------------------------------------------------------------------

  /** One field of a CSV file. A spreadsheet must not take a name for a formula. */
  function field(value) {
    if (value === null || value === undefined) return "";
    let text = String(value);
    if (/^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text))) text = `'${text}`;
    return /[",\n\r]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
  }

  function save(name, rows) {
    const text = rows.map((row) => row.map(field).join(",")).join("\r\n") + "\r\n";
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    say(`${name} saved`);
  }

  function tableCsv(button) {
    const table = button.closest(".table").querySelector("table");
    const columns = [...table.tHead.rows[0].cells].map((cell) => cell.dataset.name);
    const rows = [...table.tBodies[0].rows].map((row) => [...row.cells].map((cell) => cell.dataset.value));
    save(button.dataset.csv, [columns, ...rows]);
  }

  async function copy(button) {
    const text = button.dataset.copy;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Not every browser lets a file on disk near the clipboard: select it, then.
      getSelection().selectAllChildren(button.previousElementSibling);
      document.execCommand("copy");
    }
    say("copied");
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }

  const say = (text) => { document.getElementById("said").textContent = text; };

  // --- controls -----------------------------------------------------------------------------------------------

  function change({ target }) {
    const { toggle, option } = target.dataset;
    if (toggle !== undefined) {
      if (target.checked) shown.off.delete(toggle);
      else shown.off.add(toggle);
      for (const figure of document.querySelectorAll("figure[data-variant]")) {
        figure.hidden = shown.off.has(figure.dataset.variant);
      }
    } else if (option === "span") {
      shown.span = Number(target.value);
    } else if (option === "on") {
      shown.on = target.value;
    } else if (option === "seed") {
      for (const figure of target.closest("section, details").querySelectorAll("figure[data-seed]")) {
        figure.dataset.seed = target.value;
      }
    } else if (option !== undefined) {
      shown[option] = target.checked;
    } else {
      return;
    }
    repaint();
  }

  function click({ target }) {
    const button = target.closest("button");
    if (!button) return;
    if (button.id === "theme") {
      document.documentElement.dataset.theme = isDark() ? "light" : "dark";
      theme();
    } else if (button.dataset.csv) {
      tableCsv(button);
    } else if (button.dataset.curves) {
      curvesCsv(button.dataset.curves);
    } else if (button.dataset.copy) {
      copy(button);
    }
  }

  function theme() {
    const button = document.getElementById("theme");
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to the ${isDark() ? "light" : "dark"} theme`);
    repaint();
  }

  /** A link into a folded section opens it. */
  function unfold() {
    const name = decodeURIComponent(location.hash.slice(1));
    const target = name && document.getElementById(name);
    if (!target) return;
    for (let each = target; each; each = each.parentElement) {
      if (each instanceof HTMLDetailsElement) each.open = true;
    }
    target.scrollIntoView();
  }

  async function start() {
    page = await data("data-page");
    const on = document.querySelector("[data-option=on]");
    shown.on = on?.value ?? null;
    document.addEventListener("change", change);
    document.addEventListener("click", click);
    document.querySelector(".toolbar")?.addEventListener("submit", (event) => event.preventDefault());
    dark.addEventListener("change", theme);
    narrow.addEventListener("change", repaint);
    window.addEventListener("hashchange", unfold);
    theme();
    unfold();
    document.querySelectorAll("figure[data-figure]").forEach((figure) => sight.observe(figure));
    // The first figure is drawn sooner if plotly.js is ready before it is reached.
    (window.requestIdleCallback ?? ((task) => setTimeout(task, 500)))(drawing);
  }

  start();
})();
