"use strict";
(() => {
  const report = JSON.parse(document.getElementById("report").textContent);
  const root = document.documentElement;
  const network = { bandwidth: Infinity, latency: 0 };
  const views = new Map();

  // -- seconds on a network, as mpcinfer/benchmark/modelled.py has them ------------------------------------

  const parts = (row) => {
    const found = { compute: 0, rounds: 0, bytes: 0, dealer: 0 };
    const perByte = Number.isFinite(network.bandwidth) ? 8 / network.bandwidth : 0;
    let clock = 0;
    let dealtAt = 2 * network.latency;
    for (const [compute, rounds, lineBytes, dealtBytes] of row.terms) {
      const spent = [compute, rounds * network.latency, lineBytes * perByte];
      found.compute += spent[0];
      found.rounds += spent[1];
      found.bytes += spent[2];
      clock += spent[0] + spent[1] + spent[2];
      dealtAt += dealtBytes * perByte;
      if (dealtBytes && clock < dealtAt) {
        found.dealer += dealtAt - clock;
        clock = dealtAt;
      }
    }
    return found;
  };
  const seconds = (row) => Object.values(parts(row)).reduce((sum, each) => sum + each, 0);

  const significant = (value) => {
    if (value === 0) return "0";
    const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(Number(value.toPrecision(3))))));
    const rounded = Number(value.toPrecision(3));
    return rounded.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  };
  const said = (value, units) => {
    const [size, unit] = units.find(([least]) => value >= least) ?? units[units.length - 1];
    return `${Number((value / size).toPrecision(3))} ${unit}`;
  };

  const LATENCY = { least: 1e-5, most: 0.3 };
  const toSlider = (latency) =>
    latency < LATENCY.least ? 0 : 1 + (99 * Math.log(latency / LATENCY.least)) / Math.log(LATENCY.most / LATENCY.least);
  const fromSlider = (place) =>
    place < 1 ? 0 : LATENCY.least * (LATENCY.most / LATENCY.least) ** ((place - 1) / 99);

  let asked = 0;
  const showNetwork = () => {
    const bandwidth = document.getElementById("bandwidth-said");
    bandwidth.textContent = Number.isFinite(network.bandwidth)
      ? said(network.bandwidth, [[1e9, "Gbit/s"], [1e6, "Mbit/s"]]) : "no limit";
    bandwidth.dataset.value = String(network.bandwidth);
    const latency = document.getElementById("latency-said");
    latency.textContent = network.latency ? said(network.latency, [[1, "s"], [1e-3, "ms"], [1e-6, "µs"]]) : "none";
    latency.dataset.value = String(network.latency);
    for (const button of document.querySelectorAll("[data-network]")) {
      const named = report.networks[button.dataset.network];
      const same = (named.bandwidth ?? Infinity) === network.bandwidth && named.latency === network.latency;
      button.setAttribute("aria-pressed", String(same));
    }
    for (const cell of document.querySelectorAll("[data-modelled]")) {
      const value = seconds(report.rows[cell.dataset.modelled]);
      cell.dataset.value = value ? String(value) : "";
      const bound = !report.rows[cell.dataset.modelled].measured ? "≥ " : "";
      cell.textContent = value ? bound + significant(value) : "";
    }
    const view = views.get("live");
    if (view) view.data("marks", liveMarks()).run();
  };
  const changed = () => {
    cancelAnimationFrame(asked);
    asked = requestAnimationFrame(showNetwork);
  };
  const panelOf = (row) => [row.subject, row.tokens, row.plan].join("|");
  const withoutCompute = new Set(
    report.live.map((number) => report.rows[number]).filter((row) => !row.measured).map(panelOf));
  const liveMarks = () =>
    report.live.flatMap((number) => {
      const row = report.rows[number];
      const shown = { ...parts(row), ...(withoutCompute.has(panelOf(row)) ? { compute: 0 } : {}) };
      return Object.entries(shown).map(([part, value], order) => ({ ...row, terms: undefined, part, value, order }));
    });

  const use = (name) => {
    network.bandwidth = report.networks[name].bandwidth ?? Infinity;
    network.latency = report.networks[name].latency;
    document.getElementById("bandwidth").value = Math.log10(Math.min(network.bandwidth, 1e11));
    document.getElementById("latency").value = toSlider(network.latency);
    changed();
  };
  const startNetwork = () => {
    if (!report.live.length) return;
    for (const button of document.querySelectorAll("[data-network]"))
      button.addEventListener("click", () => use(button.dataset.network));
    document.getElementById("bandwidth").addEventListener("input", (event) => {
      network.bandwidth = 10 ** Number(event.target.value);
      changed();
    });
    document.getElementById("latency").addEventListener("input", (event) => {
      network.latency = fromSlider(Number(event.target.value));
      changed();
    });
    use(report.first_network);
  };

  // -- figures ----------------------------------------------------------------------------------------------

  const colours = () => {
    const style = getComputedStyle(root);
    const of = (name) => style.getPropertyValue(name).trim();
    return { ink: of("--ink"), soft: of("--soft"), line: of("--line"), ground: of("--ground"), font: of("--font") };
  };
  const longestName = (part) =>
    part === null || typeof part !== "object" ? 0
      : Math.max(0, ...(part.legend && part.scale?.domain ? part.scale.domain.map((name) => name.length) : []),
        ...Object.entries(part).map(([key, each]) => (key === "data" ? 0 : longestName(each))));
  const config = (width, spec) => {
    const { ink, soft, line, font } = colours();
    const narrow = width < 560;
    const columns = narrow ? (longestName(spec) > 14 ? 1 : 2) : 5;
    return {
      font,
      background: "transparent",
      view: { stroke: line },
      axis: { labelFontSize: narrow ? 11 : 12, titleFontSize: 12, gridColor: line, domainColor: soft, tickColor: soft, labelColor: ink, titleColor: soft, labelLimit: narrow ? 150 : 220 },
      axisX: { labelSeparation: 9 },
      axisXQuantitative: { tickCount: narrow ? 4 : 10 },
      axisY: { minExtent: narrow ? 36 : 60 },
      header: { labelColor: ink, labelFontSize: 13 },
      legend: { layout: { top: { direction: narrow ? "vertical" : "horizontal", anchor: "start", margin: 14 } }, labelFontSize: 12, labelColor: ink, columns, labelLimit: 240, symbolBaseFillColor: soft, symbolBaseStrokeColor: soft },
    };
  };
  const sized = (spec, width, panel) => {
    const copy = structuredClone(spec);
    copy.columns = width < 560 ? 1 : spec.columns;
    copy.spec.width = panel;
    return copy;
  };
  const draw = async (figure) => {
    const holder = document.querySelector(`[data-figure="${figure.name}"]`);
    const drawing = holder.querySelector(".drawing").firstElementChild;
    const width = drawing.parentElement.clientWidth;
    const columns = width < 560 ? 1 : figure.spec.columns;
    const options = {
      renderer: "svg", config: config(width, figure.spec), tooltip: { theme: "custom" },
      downloadFileName: figure.name,
      actions: { export: true, source: false, compiled: false, editor: false },
    };
    const chosen = Object.fromEntries(
      [...holder.querySelectorAll("select")].map((each) => [each.dataset.choice, each.value]));
    const spec = structuredClone(figure.spec);
    if (figure.name === "live") spec.data.values = liveMarks();
    for (const param of spec.params) {
      const name = param.name.replace("chosen_", "");
      if (chosen[name] !== undefined) param.value = name === "tokens" ? Number(chosen[name]) : chosen[name];
    }
    let panel = Math.max(80, width / columns - (columns > 1 ? 90 : 240));
    let result = await window.vegaEmbed(drawing, sized(spec, width, panel), options);
    for (let pass = 0; pass < 3; pass += 1) { // a legend can be wider than its panels
      const excess = drawing.querySelector("svg").getBoundingClientRect().width - width;
      if (Math.abs(excess) <= 4) break;
      panel = Math.max(80, Math.floor(panel - excess / columns) - 1);
      result.finalize();
      result = await window.vegaEmbed(drawing, sized(spec, width, panel), options);
    }
    views.get(figure.name)?.finalize?.();
    views.set(figure.name, result.view);
    holder.dataset.drawn = root.dataset.theme;
  };
  const drawAll = async () => {
    for (const figure of report.figures) await draw(figure);
    root.dataset.ready = root.dataset.theme;
  };

  const distinct = (marks, field) => [...new Set(marks.map((each) => each[field]))];
  const startChoices = (figure) => {
    const holder = document.querySelector(`[data-figure="${figure.name}"] .choices`);
    const marks = figure.name === "live" ? report.live.map((number) => report.rows[number]) : figure.spec.data.values;
    const selects = figure.choices.map((field) => {
      const label = document.createElement("label");
      const select = document.createElement("select");
      select.dataset.choice = field;
      label.append(field === "subject" ? "of " : `${field} `, select);
      holder.append(label);
      return select;
    });
    const fill = (select, values, wanted) => {
      select.replaceChildren(...values.map((value) => new Option(String(value), String(value))));
      if (values.map(String).includes(wanted)) select.value = wanted;
      select.parentElement.hidden = values.length < 2;
    };
    const refill = () => {
      let left = marks;
      selects.forEach((select, i) => {
        const field = figure.choices[i];
        const values = distinct(left, field);
        fill(select, field === "tokens" ? values.sort((a, b) => a - b) : values, select.value);
        left = left.filter((each) => String(each[field]) === select.value);
      });
    };
    refill();
    for (const select of selects)
      select.addEventListener("change", () => { refill(); draw(figure); });
  };

  // -- tables -----------------------------------------------------------------------------------------------

  const value = (row, index) => row.cells[index].dataset.value;
  const compare = (numeric, up) => (one, other) => {
    if (one === "" || other === "") return (one === "") - (other === "");
    const order = numeric ? Number(one) - Number(other) : one.localeCompare(other, "en", { numeric: true });
    return up ? order : -order;
  };
  const startTable = (section) => {
    const body = section.querySelector("tbody");
    const heads = [...section.querySelectorAll("th")];
    const rows = [...body.rows];
    heads.forEach((head, index) => {
      head.firstElementChild.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        for (const each of heads) each.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const order = compare(head.classList.contains("number"), up);
        body.append(...rows.sort((one, other) => order(value(one, index), value(other, index))));
      });
      if (!head.classList.contains("number") && rows.some((row) => row.cells[index].textContent.length > 40))
        for (const row of rows) row.cells[index].classList.add("long");
    });
    section.querySelector("input")?.addEventListener("input", (event) => {
      const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
      const cells = (row) => [...row.cells].map((cell) => cell.textContent.toLowerCase());
      for (const row of rows) {
        const texts = words.length ? cells(row) : [];
        row.hidden = !words.every((word) => texts.some((text) => text.split(/[\s,]+/).includes(word) || text === word || (isNaN(word) && text.includes(word))));
      }
      const left = rows.filter((row) => !row.hidden).length;
      section.querySelector(".count").textContent = left === rows.length ? `${left} rows` : `${left} of ${rows.length} rows`;
    });
    section.querySelector(".csv").addEventListener("click", () => {
      const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
      const lines = [heads.map((head) => head.dataset.key)];
      for (const row of [...body.rows].filter((each) => !each.hidden))
        lines.push([...row.cells].map((cell) => cell.dataset.value));
      const text = lines.map((line) => line.map(quoted).join(",")).join("\n") + "\n";
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
      link.download = `${section.id}.csv`;
      link.click();
    });
  };

  // -- light and dark ---------------------------------------------------------------------------------------

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const setTheme = (theme) => {
    root.dataset.theme = theme;
    document.getElementById("theme").textContent = theme === "dark" ? "light" : "dark";
  };
  setTheme(dark.matches ? "dark" : "light");
  dark.addEventListener("change", () => { setTheme(dark.matches ? "dark" : "light"); drawAll(); });
  document.getElementById("theme").addEventListener("click", () => {
    setTheme(root.dataset.theme === "dark" ? "light" : "dark");
    drawAll();
  });

  for (const section of document.querySelectorAll("section.table")) startTable(section);
  for (const figure of report.figures) startChoices(figure);
  startNetwork();
  drawAll();
  let width = innerWidth;
  let waiting = 0;
  addEventListener("resize", () => {
    if (innerWidth === width) return; // a phone's bars come and go
    width = innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(drawAll, 150);
  });
})();
