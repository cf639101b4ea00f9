"use strict";
(() => {
  const shown = { off: new Set(), on: null, span: 1, log: false, each: false };
  const narrow = window.matchMedia("(max-width: 40rem)");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const coarse = window.matchMedia("(pointer: coarse)");
  const blocks = new Map();
  const visible = new Set();
  let plotly = null;
  let plotlyHas = null;
  let page = null;
  let printing = false;

  // --- data ---------------------------------------------------------------------------------------------------

  /** The value of a data block, unpacked when it is first asked for; at once, since a page is printed at once. */
  function data(name) {
    if (!blocks.has(name)) blocks.set(name, unpack(document.getElementById(name).textContent));
    return blocks.get(name);
  }

  function unpack(text) {
    const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(inflated(packed.subarray(2))));
  }

  /** The codes of a Huffman table (RFC 1951, 3.2.2) as (symbols, how many there are of each length). */
  function table(lengths) {
    const counts = new Uint16Array(16);
    for (const length of lengths) counts[length] += 1;
    counts[0] = 0;
    const starts = new Uint16Array(16);
    for (let length = 1; length < 15; length += 1) starts[length + 1] = starts[length] + counts[length];
    const symbols = new Uint16Array(lengths.length);
    lengths.forEach((length, symbol) => { if (length) symbols[starts[length]++] = symbol; });
    return { counts, symbols };
  }

  /** What a deflate stream (RFC 1951) holds. The browser's own DecompressionStream answers later only. */
  function inflated(bytes) {
    const order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    const grow = (first, count, every) => {
      const extra = Array.from({ length: count }, (_, place) => Math.max(0, Math.floor(place / every) - 1));
      const bases = [];
      extra.reduce((base, more) => { bases.push(base); return base + 2 ** more; }, first);
      return { extra, bases };
    };
    const runs = grow(3, 28, 4);
    runs.extra.push(0);
    runs.bases.push(258);
    const distances = grow(1, 30, 2);
    let at = 0, held = 0, count = 0, end = 0;
    let out = new Uint8Array(Math.max(1024, bytes.length * 4));
    const bits = (wanted) => {
      while (count < wanted) { held |= bytes[at++] << count; count += 8; }
      const value = held & ((1 << wanted) - 1);
      held >>>= wanted;
      count -= wanted;
      return value;
    };
    const room = (more) => {
      if (end + more <= out.length) return;
      const wider = new Uint8Array(Math.max(2 * out.length, end + more));
      wider.set(out);
      out = wider;
    };
    const symbol = ({ counts, symbols }) => {
      let code = 0, first = 0, index = 0;
      for (let length = 1; length < 16; length += 1) {
        code |= bits(1);
        if (code - first < counts[length]) return symbols[index + code - first];
        index += counts[length];
        first = (first + counts[length]) << 1;
        code <<= 1;
      }
      throw new Error("a data block is damaged");
    };
    const fixed = () => [
      table([...Array(144).fill(8), ...Array(112).fill(9), ...Array(24).fill(7), ...Array(8).fill(8)]),
      table(Array(30).fill(5)),
    ];
    const own = () => {
      const [literals, places, codes] = [bits(5) + 257, bits(5) + 1, bits(4) + 4];
      const short = Array(19).fill(0);
      for (let place = 0; place < codes; place += 1) short[order[place]] = bits(3);
      const coded = table(short);
      const lengths = [];
      while (lengths.length < literals + places) {
        const found = symbol(coded);
        if (found < 16) lengths.push(found);
        else if (found === 16) lengths.push(...Array(3 + bits(2)).fill(lengths.at(-1)));
        else lengths.push(...Array(found === 17 ? 3 + bits(3) : 11 + bits(7)).fill(0));
      }
      return [table(lengths.slice(0, literals)), table(lengths.slice(literals))];
    };
    for (let last = 0; !last;) {
      last = bits(1);
      const kind = bits(2);
      if (kind === 0) {
        held = 0;
        count = 0;
        const length = bytes[at] | (bytes[at + 1] << 8);
        room(length);
        out.set(bytes.subarray(at + 4, at + 4 + length), end);
        at += 4 + length;
        end += length;
        continue;
      }
      const [literals, places] = kind === 1 ? fixed() : own();
      for (let found = symbol(literals); found !== 256; found = symbol(literals)) {
        if (found < 256) {
          room(1);
          out[end++] = found;
          continue;
        }
        const length = runs.bases[found - 257] + bits(runs.extra[found - 257]);
        const place = symbol(places);
        const back = distances.bases[place] + bits(distances.extra[place]);
        room(length);
        for (let left = length; left; left -= 1, end += 1) out[end] = out[end - back];
      }
    }
    return out.subarray(0, end);
  }

  /** plotly.js, run when the first figure is about to be seen: the page itself does not wait for it. */
  function drawing() {
    // A moment for the browser to paint what there is; a printer does not give it.
    plotly ??= new Promise((resolve) => {
      plotlyHas = resolve;
      setTimeout(drawingNow, 0);
    });
    return plotly;
  }

  function drawingNow() {
    if (!window.Plotly) {
      const script = document.createElement("script");
      script.textContent = document.getElementById("plotly").textContent;
      document.head.append(script);
    }
    plotlyHas?.(window.Plotly);
  }

  // --- words and colours --------------------------------------------------------------------------------------

  const isDark = () => !printing && (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
  /** Whether panels stand below each other. */
  const slim = () => !printing && narrow.matches;

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

  const layout = (area, more) => ({
    width: area.clientWidth, height: area.clientHeight,
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
    displayModeBar: coarse.matches || slim() ? false : "hover",
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    toImageButtonOptions: { format: "svg", filename: name },
  });

  // --- tidy frames --------------------------------------------------------------------------------------------

  /** A name as it is shown, and the looks of its line: a variant's own, or by its place among all series. */
  function styles(frame) {
    const names = [...new Set(frame.lines.map((each) => each.series))];
    const known = Object.keys(page.variants).filter((name) => names.includes(name));
    const others = names.filter((name) => !known.includes(name));
    return new Map([...known, ...others].map((name, index) => {
      const look = page.variants[name];
      const place = index - known.length;
      return [name, look
        ? { label: symbol(look.symbol), colour: isDark() ? look.dark : look.light, dash: look.dash }
        : { label: symbol(name), colour: depth(place, others.length), dash: [] }];
    }));
  }

  const stroke = ({ colour, dash }, width) => ({
    color: colour, width, dash: dash.length ? dash.map((length) => `${length * width}px`).join(",") : "solid",
  });

  /** The lines of a frame that the reader wants to see now. */
  const chosen = (frame) => frame.lines.filter(({ series, variant, split, statistics }) =>
    !shown.off.has(series) && !shown.off.has(variant) && (split === undefined || `${split} ${statistics}` === shown.on));

  /** Mean, lowest and highest value of several lines at each x that any of them has. */
  function overSeeds(lines) {
    if (lines.length === 1) return { low: null, high: null, ...lines[0] };
    const at = new Map();
    for (const each of lines) {
      each.x.forEach((x, index) => {
        if (!at.has(x)) at.set(x, []);
        at.get(x).push(each.y[index]);
      });
    }
    const x = [...at.keys()];
    if (x.every((each) => typeof each === "number")) x.sort((a, b) => a - b);
    const whole = (values) => values.length === lines.length && values.every((value) => value !== null);
    const of = (reduce) => x.map((each) => (whole(at.get(each)) ? reduce(at.get(each)) : null));
    return {
      x,
      y: of((values) => values.reduce((sum, value) => sum + value, 0) / values.length),
      low: of((values) => Math.min(...values)),
      high: of((values) => Math.max(...values)),
    };
  }

  const hover = (label, more = "") => `${label} %{y:.4g}${more}<extra></extra>`;

  /** A series in a panel: the mean of its seeds and a band, or each of them; a cross where one diverged. */
  function lineTraces(lines, style, common) {
    const settled = lines.filter(({ diverged_at_step: diverged }) => (diverged ?? null) === null);
    const traces = [];
    if (settled.length && !shown.each) {
      const { x, y, low, high } = overSeeds(settled);
      if (low) {
        const edge = { ...common, x, mode: "lines", line: { width: 0 }, hoverinfo: "skip" };
        traces.push({ ...edge, y: low }, { ...edge, y: high, fill: "tonexty", fillcolor: faint(style.colour, 0.16) });
      }
      traces.push({ ...common, x, y, mode: "lines", line: stroke(style, 2.25), hovertemplate: hover(style.label) });
    }
    for (const { x, y, seed, diverged_at_step: diverged } of lines) {
      const ended = (diverged ?? null) !== null;
      if (!shown.each && !ended) continue;
      const said = [seed === undefined ? [] : `seed ${seed}`, ended ? `diverged at step ${diverged}` : []].flat();
      traces.push({
        ...common, x, y, mode: "lines", line: stroke(style, 1.25),
        hovertemplate: hover(style.label, said.length ? ` (${said.join(", ")})` : ""),
      });
      const last = ended ? y.findLastIndex((value) => value !== null) : -1;
      if (last < 0) continue;
      traces.push({
        ...common, x: [x[last]], y: [y[last]], mode: "markers", hoverinfo: "skip",
        marker: { symbol: "x-thin", size: 11, line: { width: 2.5, color: style.colour } },
      });
    }
    return traces;
  }

  function barTraces(lines, style, common) {
    const { x, y, low, high } = overSeeds(lines);
    const far = (ends, sign) => ends.map((end, index) => (end === null ? 0 : sign * (end - y[index])));
    return [{
      ...common, type: "bar", x, y, marker: { color: style.colour }, hovertemplate: hover(style.label),
      ...(low ? { error_y: { type: "data", symmetric: false, array: far(high, 1), arrayminus: far(low, -1), color: ink("ink"), thickness: 1.5 } } : {}),
    }];
  }

  /** All series of a frame below each other, the first on top; the same rows in every panel. */
  function heatTraces(lines, looks, common) {
    const names = [...looks.keys()].reverse();
    const rows = names.map((name) => lines.filter(({ series }) => series === name))
      .map((own) => (own.length ? overSeeds(own) : { x: [], y: [] }));
    const x = [...new Set(rows.flatMap((row) => row.x))];
    if (x.every((each) => typeof each === "number")) x.sort((a, b) => a - b);
    const z = rows.map((row) => x.map((each) => row.y[row.x.indexOf(each)] ?? null));
    return [{
      type: "heatmap", x, y: names.map((name) => looks.get(name).label), z, ...common,
      coloraxis: "coloraxis", hoverongaps: false, hovertemplate: "%{y}, %{x}: %{z:.4g}<extra></extra>",
    }];
  }

  /** The range of a y axis for what is seen of its lines. */
  function range(panel, traces, log, to) {
    const values = traces.flatMap(({ x, y }) => y.filter((value, index) => value !== null && !(x[index] > to)));
    const seen = log ? values.filter((value) => value > 0).map(Math.log10) : values;
    if (!seen.length) return log ? [-1, 1] : [0, 1];
    const low = seen.reduce((least, value) => Math.min(least, value));
    const high = seen.reduce((most, value) => Math.max(most, value));
    const air = (high - low) * 0.05 || 0.05;
    if (shown.span === 1 && panel.limits) return panel.limits;
    if (shown.span === 1 && !log && low >= 0) return [0, high + air];
    return [low - air, high + air];
  }

  /** Where panel number `index` stands among others in a grid. */
  function cell(index, across, down, gap) {
    const wide = (1 - gap.x * (across - 1)) / across;
    const high = (1 - gap.y * (down - 1)) / down;
    const left = (index % across) * (wide + gap.x);
    const top = 1 - Math.floor(index / across) * (high + gap.y);
    return { x: [left, left + wide], y: [top - high, top] };
  }

  const above = (text, x, y, anchor) => ({
    text, showarrow: false, xref: "paper", yref: "paper", x, y, xanchor: anchor, yanchor: "bottom",
    font: { size: 13, color: ink("ink") },
  });

  /** Beside the panels, or where room is short below them. */
  const colourbar = (text, below) => ({
    outlinewidth: 0,
    ...(slim()
      ? { orientation: "h", y: 0, yanchor: "top", ypad: below, thickness: 10, title: { text, side: "top" } }
      : { thickness: 12, len: 1, title: { text } }),
  });

  /** The colours of all panels of a heat map: from 0 up, or around 0 where there is anything below it. */
  function colours(frame, traces) {
    const values = traces.flatMap(({ z }) => z.flat()).filter((value) => value !== null);
    const most = values.reduce((far, value) => Math.max(far, Math.abs(value)), 0) || 1;
    const signed = values.some((value) => value < 0);
    return {
      colorscale: signed ? page.diverging : page.sequential, cmin: signed ? -most : 0, cmax: most,
      colorbar: colourbar(plain(frame.panels[0].y_label), 58),
    };
  }

  /** A figure from its frame, by the frame's type; what it is about makes no difference. */
  async function drawTidy(figure, area) {
    const frame = data(`data-${figure.id}`);
    const Plotly = await drawing();
    const looks = styles(frame);
    const lines = chosen(frame);
    const panels = frame.panels.map((panel, place) => ({ ...panel, lines: lines.filter((each) => each.panel === place) }))
      .filter((panel) => panel.lines.length);
    const heat = frame.web === "heat";
    const across = slim() ? 1 : Math.min(Math.max(panels.length, heat ? 1 : 2), 4);
    const down = Math.ceil(panels.length / across) || 1;
    const numbers = lines.flatMap(({ x }) => x).filter((x) => typeof x === "number");
    const first = numbers.reduce((least, x) => Math.min(least, x), Infinity);
    // No ticks between whole numbers: nothing was measured there.
    const whole = frame.web === "lines" && numbers.every(Number.isInteger);
    const cut = frame.x_end === null ? null : Math.max(first + 1, Math.ceil(first + (frame.x_end - first) * shown.span));
    // The axis of a panel may say already what it is.
    const titled = panels.filter(({ name, y_label: said }) => name && (heat || !said.startsWith(name)));
    const margin = { l: 56, r: heat && !slim() ? 80 : 12, t: titled.length ? 46 : 30, b: slim() ? (heat ? 116 : 96) : heat ? 44 : 76 };
    // Between two columns: the labels of the right one; between two rows: those of the upper one, the title of the lower.
    const gap = {
      x: (heat ? 16 : 66) / Math.max(300, area.clientWidth - margin.l - margin.r),
      y: 80 / Math.max(200, area.clientHeight - margin.t - margin.b),
    };
    const drawn = layout(area, { annotations: [], margin, hovermode: heat ? "closest" : "x unified", barmode: "group" });
    const listed = new Set();
    const traces = panels.flatMap((panel, index) => {
      const suffix = index ? String(index + 1) : "";
      const { x, y } = cell(index, across, down, gap);
      const common = { xaxis: `x${suffix}`, yaxis: `y${suffix}` };
      let own;
      if (heat) {
        own = heatTraces(panel.lines, looks, common);
      } else {
        own = [...looks].flatMap(([name, style]) => {
          const of = panel.lines.filter(({ series }) => series === name);
          if (!of.length) return [];
          const made = (frame.web === "bars" ? barTraces : lineTraces)(of, style, {
            ...common, name: style.label, legendgroup: name, meta: name, showlegend: false,
          });
          // One entry in the legend for each series: that of its first line.
          const shows = made.find((trace) => trace.hoverinfo !== "skip");
          if (shows && !listed.has(name)) {
            listed.add(name);
            shows.showlegend = true;
          }
          return made;
        });
      }
      const log = panel.log === "always" || (panel.log && shown.log);
      drawn[`xaxis${suffix}`] = axis(plain(frame.x_label), {
        domain: x, anchor: `y${suffix}`, ...(across > 2 ? { nticks: 5 } : {}),
        ...(cut === null ? {} : { range: [first, cut] }),
        ...(whole && cut !== null && cut - first <= 10 ? { dtick: 1 } : {}),
      });
      drawn[`yaxis${suffix}`] = heat ? axis("", { domain: y, anchor: `x${suffix}`, showticklabels: index % across === 0 }) : axis(symbol(panel.y_label), {
        domain: y, anchor: `x${suffix}`, type: log ? "log" : "linear", ...(log ? { nticks: 6, exponentformat: "power" } : {}),
        ...(frame.web === "bars" ? { rangemode: "tozero" } : { range: range(panel, own, log, cut ?? Infinity) }),
      });
      if (titled.includes(panel)) drawn.annotations.push(above(symbol(panel.name), x[0], y[1], "left"));
      return own;
    });
    if (heat) {
      drawn.coloraxis = colours(frame, traces);
      drawn.plot_bgcolor = page.no_value;
    } else {
      drawn.showlegend = true;
      drawn.legend = legend();
    }
    await Plotly.react(area, traces, drawn, config(figure.id));
    const on = figure.querySelector(".measured-on");
    if (on) on.textContent = page.measured_on[shown.on] ?? shown.on;
  }

  /** A colour by place, from the first to the last; the ends that the page would swallow are left out. */
  function depth(place, count) {
    const [first, last] = isDark() ? [5, 20] : [0, 17];
    return page.sequential[Math.round(first + ((last - first) * place) / Math.max(count - 1, 1))][1];
  }

  /** The frame as a file: a row for each x of each line, the panels beside each other. */
  function frameCsv(name) {
    const frame = data(`data-${name}`);
    const along = ["variant", "seed", "split", "statistics"].filter((key) => frame.lines.some((each) => key in each));
    const ends = frame.lines.some((each) => "diverged_at_step" in each) ? ["diverged_at_step"] : [];
    const band = frame.lines.some((each) => "low" in each) ? ["low", "high"] : [];
    const names = frame.panels.map((panel) => panel.name || "value");
    const rows = new Map();
    for (const each of frame.lines) {
      const who = [each.series, ...along.map((key) => each[key])];
      each.x.forEach((x, index) => {
        const key = JSON.stringify([...who, x]);
        if (!rows.has(key)) rows.set(key, [...who, x, ...names.flatMap(() => [null, ...band.map(() => null)]), ...ends.map((end) => each[end])]);
        const at = who.length + 1 + each.panel * (1 + band.length);
        rows.get(key).splice(at, 1 + band.length, each.y[index], ...band.map((end) => each[end][index]));
      });
    }
    const heads = names.flatMap((panel) => [panel, ...band.map((end) => `${panel}_${end}`)]);
    save(frame.file, [[frame.names.series, ...along, frame.names.x, ...heads, ...ends], ...rows.values()]);
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
    const maps = data(`data-${comparison}-maps-${seed}`);
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
    const { symbol: greek } = page.parameters[parameter];
    const { centre } = own;
    const rows = slim() ? Math.ceil(own.panels.length / 3) : Math.ceil(own.panels.length / 9);
    const across = slim() ? 3 : Math.max(Math.ceil(own.panels.length / rows), 4);
    const down = Math.ceil(own.panels.length / across);
    area.style.height = `${slim() ? down * 190 + 90 : 305 + (down - 1) * 190}px`;
    const last = Math.max(...own.panels.map((panel) => panel.steps.at(-1)));
    const gap = { x: 0.012 + 0.012 * (4 / across), y: 0.28 / down };
    const drawn = layout(area, {
      margin: { l: 62, r: slim() ? 8 : 80, t: slim() ? 26 : 44, b: slim() ? 96 : 40 },
      plot_bgcolor: page.no_value,
      annotations: [],
      coloraxis: {
        colorscale: page.diverging, cmin: centre - own.extent, cmax: centre + own.extent,
        colorbar: colourbar(greek, 42),
      },
    });
    const traces = own.panels.map((panel, index) => {
      const suffix = index ? String(index + 1) : "";
      const { x, y } = cell(index, across, down, gap);
      const most = panel.channels.at(-1);
      drawn[`xaxis${suffix}`] = axis("", {
        domain: x, anchor: `y${suffix}`, showgrid: false, automargin: false,
        tickvals: most > 1 && (x[1] - x[0]) * (area.clientWidth - 142) > 150 ? [1, most] : [most], range: [0.5, most + 0.5], tickangle: 0,
      });
      drawn[`yaxis${suffix}`] = axis(index ? "" : "training step", {
        domain: y, anchor: `x${suffix}`, showgrid: false, showticklabels: index % across === 0,
        range: [panel.steps[0], last], nticks: 5, automargin: false,
      });
      drawn.annotations.push(above(plain(panel.slot), (x[0] + x[1]) / 2, y[1], "center"));
      return {
        type: "heatmap", x: panel.channels, y: panel.steps, z: unquantised(panel, centre, own.extent),
        xaxis: `x${suffix}`, yaxis: `y${suffix}`, coloraxis: "coloraxis", hoverongaps: false,
        hovertemplate: `${plain(panel.slot)}, channel %{x} of ${most}, step %{y}: ${greek} = %{z:.3f}<extra></extra>`,
      };
    });
    await Plotly.react(area, traces, drawn, config(`${parameter}-${comparison}`));
  }

  // --- drawing what is seen -----------------------------------------------------------------------------------

  const painters = { tidy: drawTidy, maps: drawMaps };

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
    const wanted = JSON.stringify([[...shown.off], shown.on, shown.span, shown.log, shown.each, isDark(), slim(), printing, figure.dataset.seed]);
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

  const idle = () => new Promise((resolve) => (window.requestIdleCallback ?? ((task) => setTimeout(task, 500)))(resolve));

  const unfolded = () => [...document.querySelectorAll("figure[data-figure]")].filter((each) => each.checkVisibility());

  /** What is printed is not what is seen: draw the other figures that are unfolded when there is nothing else to do. */
  async function drawAhead() {
    await idle();
    await drawing();
    for (const figure of unfolded()) {
      if (figure.painting) continue;
      await idle();
      paint(figure);
      await figure.painting;
    }
  }

  /** On paper the figures are light and as wide as the page; all that are unfolded are drawn before it is laid out. */
  function print(starts) {
    printing = starts;
    document.documentElement.classList.toggle("printing", starts);
    if (!starts) return repaint();
    drawing();
    drawingNow();
    // All that they wait for is there, so they are done as soon as this function is.
    unfolded().forEach(paint);
  }

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
    } else if (button.dataset.frame) {
      frameCsv(button.dataset.frame);
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

  function start() {
    page = data("data-page");
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
    window.addEventListener("beforeprint", () => print(true));
    window.addEventListener("afterprint", () => print(false));
    document.addEventListener("toggle", drawAhead, true);
    drawAhead();
  }

  start();
})();
