// The samples: choose one, see what every population did, and read one neuron over time.

// Rasters shown at once, and the height of the course of one state.
const TOGETHER = 8, STRIP = 92;

function nameOf(entry) {
  const text = (value) => (Array.isArray(value) ? value.map(numeral).join(", ") : String(value));
  let said = `sample ${entry.number}`;
  if (entry.label !== null) said += `: label ${text(entry.label)}`;
  if (entry.predicted !== null) said += `, predicted ${text(entry.predicted)}`;
  const wrong = entry.label !== null && !Array.isArray(entry.label) &&
    entry.label !== entry.predicted;
  return wrong ? `${said} (wrong)` : said;
}

/** Put the explorer into the page; `chosen` is told the place of the sample. Returns the picker. */
function showExplorer(samples, chosen) {
  const { populations, listed } = samples;
  const view = { from: 0, to: samples.populations[0].s.shape[1] };
  let sample = 0;
  let group = 0;
  let reading = null;

  const rasters = populations.map((population) => new Raster(population, view, {
    read: (raster, row, step) => read(raster, row, step),
    zoomed: () => paintRasters(),
  }));
  const shown = () => rasters.slice(group * TOGETHER, (group + 1) * TOGETHER);
  const stack = make("div");
  const line = make("p", { class: "reading", id: "reading", "aria-live": "polite" },
    "Point at a raster to read a neuron; drag over a part of it to zoom, double-click to go back.");
  const course = make("canvas", { id: "course", role: "img",
    "aria-label": "state of the neuron over time" });
  const image = make("canvas", { class: "pixels", role: "img", "aria-label": "input summed" });

  function paintRasters() {
    for (const raster of shown()) raster.paint();
  }

  function select(place) {
    sample = place;
    picker.select.value = String(place);
    for (const raster of shown()) raster.show(place);
    paintImage(image, populations.find((p) => p.kind === "input"), place);
    if (reading) read(reading.raster, reading.row, reading.step);
    chosen(place);
  }

  function read(raster, row, step) {
    if (reading && reading.raster !== raster) {
      reading.raster.at = null;
      reading.raster.paint();
    }
    reading = { raster, row, step };
    const { population } = raster;
    const index = raster.indices[row];
    const traces = tracesOf(population, index, sample);
    const place = placeOf(index, population.shape);
    const values = traces.map(({ name, values: v }) => `${name} = ${numeral(v[step])}`);
    const known = traces.some(({ name }) => name !== "s") || population.kind === "input";
    line.textContent = `${population.name}, neuron [${place.join(", ")}]` +
      `${population.shape.length > 1 ? ` (index ${numeral(index)})` : ""}, step ${step}: ` +
      `${values.join(", ")}${known ? "" : "; no states are kept of this neuron"}`;
    paintCourse(course, traces, step);
  }

  const picker = choice("Sample", listed.map((entry, place) => [place, nameOf(entry)]),
    (value) => select(Number(value)));
  picker.select.id = "sample";
  const around = (by) => select((sample + by + listed.length) % listed.length);
  const tools = make("div", { class: "tools" }, picker.element,
    button("Previous", () => around(-1)), button("Next", () => around(1)),
    button("Zoom in", () => zoom(0.5)), button("Zoom out", () => zoom(2)),
    button("Reset", () => shown().forEach((raster) => raster.reset())));

  function zoom(factor) {
    const [first, ...others] = shown();
    const target = reading && shown().includes(reading.raster) ? reading.raster : first;
    target.zoomBy(factor, target.at);
    for (const raster of others) raster.paint();
  }

  if (rasters.length > TOGETHER) {
    const groups = [];
    for (let at = 0; at < rasters.length; at += TOGETHER) {
      const last = Math.min(rasters.length, at + TOGETHER);
      groups.push([at / TOGETHER, `${at + 1} to ${last}: ${populations[at].name}` +
        ` to ${populations[last - 1].name}`]);
    }
    tools.append(choice("Populations", groups, (value) => {
      group = Number(value);
      stack.replaceChildren(...shown().map((raster) => raster.element));
      select(sample);
    }).element);
  }
  stack.append(...shown().map((raster) => raster.element));
  const beside = make("div", { class: "beside" }, image, line, course);
  show("explorer", tools, make("div", { class: "explorer" }, stack, beside));
  select(0);
  painted(() => {
    paintRasters();
    paintImage(image, populations.find((p) => p.kind === "input"), sample);
    if (reading) read(reading.raster, reading.row, reading.step);
  });
  return (number) => {
    const place = listed.findIndex((entry) => entry.number === number);
    if (place < 0) return;
    select(place);
    document.getElementById("samples").scrollIntoView();
  };
}

/** The states that are kept of a neuron, and its spikes: [{name, values, limit}]. */
function tracesOf(population, index, sample) {
  const found = [];
  const row = population.traced.indexOf(index);
  if (row >= 0) {
    for (const [name, array] of Object.entries(population.states)) {
      const limit = name === "v" && population.threshold ? population.threshold.values[row] : null;
      found.push({ name, values: series(array, sample, row), limit });
    }
  }
  const spikes = population.neurons.indexOf(index);
  if (spikes >= 0) {
    found.push({ name: "s", values: series(population.s, sample, spikes), limit: null });
  }
  return found;
}

/** Every trace as a strip of its own scale, with the step that is read. */
function paintCourse(canvas, traces, step) {
  const width = canvas.clientWidth, height = STRIP * traces.length + 16;
  if (!width) return;
  const g = cleared(canvas, width, height);
  g.font = "11px system-ui, sans-serif";
  traces.forEach(({ name, values, limit }, place) => {
    const top = place * STRIP + 14, bottom = (place + 1) * STRIP - 6;
    const known = [...values, 0, ...(limit === null ? [] : [limit])].filter(Number.isFinite);
    const low = Math.min(...known), most = Math.max(...known), high = most > low ? most : low + 1;
    const y = (value) => bottom - ((value - low) / (high - low)) * (bottom - top);
    const x = (t) => LEFT + (t * (width - LEFT - 8)) / values.length;
    g.fillStyle = colour("band");
    g.fillRect(x(step), top, Math.max(1, x(1) - x(0)), bottom - top);
    g.strokeStyle = colour("line");
    line(g, LEFT, y(0), width - 8, y(0));
    if (limit !== null) {
      g.strokeStyle = colour("limit");
      g.setLineDash([5, 4]);
      line(g, LEFT, y(limit), width - 8, y(limit));
      g.setLineDash([]);
    }
    g.strokeStyle = colour({ u: "u", v: "v", s: "ink" }[name] || "other");
    g.lineWidth = 1.6;
    g.beginPath();
    values.forEach((value, t) => {
      if (name === "s") {
        if (value !== 0) { g.moveTo(x(t + 0.5), y(0)); g.lineTo(x(t + 0.5), y(value)); }
      } else {
        g.lineTo(x(t), y(value));
        g.lineTo(x(t + 1), y(value));
      }
    });
    g.stroke();
    g.lineWidth = 1;
    g.fillStyle = colour("ink");
    g.textAlign = "left";
    g.fillText(limit === null ? name : `${name}, threshold ${numeral(limit)}`, LEFT, top - 3);
    g.fillStyle = colour("soft");
    g.textAlign = "right";
    g.fillText(numeral(high), LEFT - 5, top + 8);
    g.fillText(numeral(low), LEFT - 5, bottom);
  });
  g.fillStyle = colour("soft");
  g.textAlign = "right";
  g.fillText(`step 0 to ${traces[0].values.length - 1}`, width - 8, height - 3);
}

function line(g, x0, y0, x1, y1) {
  g.beginPath();
  g.moveTo(x0, y0);
  g.lineTo(x1, y1);
  g.stroke();
}

/** An input of rows and columns as a picture: the sum over its channels and steps. */
function paintImage(canvas, population, sample) {
  const shape = population ? population.shape : [];
  const whole = population && population.neurons.length === population.size;
  canvas.hidden = !whole || shape.length < 2 || Math.min(...shape.slice(-2)) < 2;
  if (canvas.hidden) return;
  const [high, wide] = shape.slice(-2), pixels = high * wide;
  const [, steps, count] = population.s.shape;
  const sums = new Float64Array(pixels);
  for (let i = 0; i < steps * count; i += 1) {
    sums[(i % count) % pixels] += population.s.values[sample * steps * count + i];
  }
  const most = Math.max(1e-9, ...sums.map(Math.abs));
  canvas.width = wide;
  canvas.height = high;
  canvas.style.aspectRatio = `${wide} / ${high}`;
  const g = canvas.getContext("2d");
  g.fillStyle = colour("v");
  sums.forEach((sum, at) => {
    g.globalAlpha = Math.abs(sum) / most;
    g.fillRect(at % wide, Math.floor(at / wide), 1, 1);
  });
}
