// One population of one sample: neurons by steps, to zoom into and to read.

const LEFT = 54, FOOT = 18;

class Raster {
  /**
   * @param population what is drawn.
   * @param view steps in sight, {from, to}, the same for all rasters.
   * @param actions read(raster, row, step), and zoomed() after the view has changed.
   */
  constructor(population, view, actions) {
    this.population = population;
    this.view = view;
    this.actions = actions;
    const states = population.shows === "v";
    this.array = states ? population.states.v : population.s;
    this.indices = states ? population.traced : population.neurons;
    this.rows = { from: 0, to: this.indices.length };
    this.sample = 0;
    this.at = null;
    this.canvas = make("canvas", { class: "raster", tabindex: "0", role: "img",
      "aria-label": `${population.name}: arrow keys read neurons, plus and minus zoom` });
    this.most = 0;
    for (const value of this.array.values) this.most = Math.max(this.most, Math.abs(value));
    this.text = make("span", { class: "soft" });
    this.element = make("div", { class: "panel" }, make("b", {}, population.name), " ", this.text,
      this.canvas);
    this.listen();
  }

  get height() {
    return Math.round(Math.min(240, 34 + 30 * Math.log2(1 + this.indices.length)));
  }

  show(sample) {
    this.sample = sample;
    const [, steps, rows] = this.array.shape;
    const own = this.array.values.subarray(sample * steps * rows, (sample + 1) * steps * rows);
    let events = 0;
    for (const value of own) events += value !== 0;
    const { size, neurons, kind, shows } = this.population;
    const kept = this.indices.length < size ? `, ${numeral(this.indices.length)} of them shown` : "";
    const what = shows === "v" ? "v shown"
      : `${numeral(events)} ${this.most > 1 ? "values that are not 0" : "spikes"}`;
    this.text.textContent = `${kind}, ${numeral(size)} neurons${kept}, ${what}`;
    this.paint();
  }

  paint() {
    const { canvas, view, rows } = this;
    const width = canvas.clientWidth, height = this.height;
    if (!width) return;
    const g = cleared(canvas, width, height);
    const wide = (width - LEFT) / (view.to - view.from);
    const high = (height - FOOT) / (rows.to - rows.from);
    this.cell = { wide, high };
    const [, steps, count] = this.array.shape;
    const first = Math.max(0, Math.floor(view.from)), last = Math.min(steps, Math.ceil(view.to));
    const low = Math.max(0, Math.floor(rows.from)), top = Math.min(count, Math.ceil(rows.to));
    const plus = colour("v"), minus = colour("u");
    g.save();
    g.beginPath();
    g.rect(LEFT, 0, width - LEFT, height - FOOT);
    g.clip();
    const gap = wide > 6 ? 1 : 0;
    for (let t = first; t < last; t += 1) {
      const x = LEFT + (t - view.from) * wide;
      const at = (this.sample * steps + t) * count;
      for (let row = low; row < top; row += 1) {
        const value = this.array.values[at + row];
        if (value === 0) continue;
        g.fillStyle = value > 0 ? plus : minus;
        g.globalAlpha = this.most > 1 ? 0.12 + 0.88 * Math.min(1, Math.abs(value) / this.most) : 1;
        g.fillRect(x, (row - rows.from) * high, Math.max(1, wide - gap), Math.max(1, high));
      }
    }
    g.globalAlpha = 1;
    if (this.at) {
      g.strokeStyle = colour("ink");
      g.strokeRect(LEFT + (this.at.step - view.from) * wide, (this.at.row - rows.from) * high,
        Math.max(2, wide), Math.max(2, high));
    }
    if (this.drag) {
      g.fillStyle = colour("ink");
      g.globalAlpha = 0.15;
      const { x0, y0, x1, y1 } = this.drag;
      g.fillRect(Math.min(x0, x1), Math.min(y0, y1), Math.abs(x1 - x0), Math.abs(y1 - y0));
    }
    g.restore();
    this.paintAxes(g, width, height, first, last, low, top);
  }

  paintAxes(g, width, height, first, last, low, top) {
    g.fillStyle = colour("soft");
    g.font = "11px system-ui, sans-serif";
    g.textAlign = "right";
    g.textBaseline = "middle";
    const every = Math.max(1, Math.ceil(((top - low) * 26) / (height - FOOT)));
    for (let row = low; row < top; row += every) {
      const y = (row + 0.5 - this.rows.from) * this.cell.high;
      if (y > 5 && y < height - FOOT - 4) g.fillText(numeral(this.indices[row]), LEFT - 5, y);
    }
    g.textAlign = "center";
    const apart = Math.max(1, Math.ceil(((last - first) * 34) / (width - LEFT)));
    for (let t = first; t < last; t += apart) {
      const x = LEFT + (t + 0.5 - this.view.from) * this.cell.wide;
      if (x < width - 8) g.fillText(String(t), x, height - FOOT / 2);
    }
  }

  /** The row and step under a point of the canvas, or null. */
  under(x, y) {
    const step = Math.floor((x - LEFT) / this.cell.wide + this.view.from);
    const row = Math.floor(y / this.cell.high + this.rows.from);
    const [, steps, count] = this.array.shape;
    return x < LEFT || step < 0 || step >= steps || row < 0 || row >= count ? null : { row, step };
  }

  read(at) {
    this.at = at;
    this.actions.read(this, at.row, at.step);
    this.paint();
  }

  /** Show a part of the neurons and steps: at least one of each, and what there is at most. */
  zoomTo(steps, rows) {
    const [, most, count] = this.array.shape;
    Object.assign(this.view, within(steps, most));
    this.rows = within(rows, count);
    this.actions.zoomed();
  }

  /** Show less (factor below 1) or more around a place. */
  zoomBy(factor, at = null) {
    const around = ({ from, to }, centre) => ({ from: centre + (from - centre) * factor,
      to: centre + (to - centre) * factor });
    const middle = ({ from, to }) => (from + to) / 2;
    this.zoomTo(around(this.view, at ? at.step + 0.5 : middle(this.view)),
      around(this.rows, at ? at.row + 0.5 : middle(this.rows)));
  }

  reset() {
    this.zoomTo({ from: 0, to: this.array.shape[1] }, { from: 0, to: this.array.shape[2] });
  }

  listen() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.pointerType !== "mouse" || event.button !== 0) return;
      const { offsetX: x, offsetY: y } = event;
      this.drag = { x0: x, y0: y, x1: x, y1: y };
      canvas.setPointerCapture?.(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (this.drag) {
        this.drag.x1 = event.offsetX;
        this.drag.y1 = event.offsetY;
        this.paint();
        return;
      }
      const at = this.under(event.offsetX, event.offsetY);
      if (at) this.read(at);
    });
    canvas.addEventListener("pointerup", () => {
      const box = this.drag;
      this.drag = null;
      if (!box) return;
      const { x0, y0, x1, y1 } = box;
      if (Math.abs(x1 - x0) < 6 && Math.abs(y1 - y0) < 6) return this.paint();
      const step = (x) => (x - LEFT) / this.cell.wide + this.view.from;
      const row = (y) => y / this.cell.high + this.rows.from;
      const flat = Math.abs(y1 - y0) < 6, thin = Math.abs(x1 - x0) < 6;
      this.zoomTo(thin ? this.view : { from: step(Math.min(x0, x1)), to: step(Math.max(x0, x1)) },
        flat ? this.rows : { from: row(Math.min(y0, y1)), to: row(Math.max(y0, y1)) });
    });
    canvas.addEventListener("pointercancel", () => { this.drag = null; });
    canvas.addEventListener("click", (event) => {
      const at = this.under(event.offsetX, event.offsetY);
      if (at) this.read(at);
    });
    canvas.addEventListener("dblclick", () => this.reset());
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      this.zoomBy(event.deltaY > 0 ? 1.25 : 0.8, this.under(event.offsetX, event.offsetY));
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    const at = this.at || { row: 0, step: 0 };
    const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    if (event.key in moves) {
      const [, steps, count] = this.array.shape;
      const [rows, columns] = this.at ? moves[event.key] : [0, 0];
      this.read({ row: clamp(at.row + rows, 0, count - 1),
        step: clamp(at.step + columns, 0, steps - 1) });
    } else if (event.key === "+" || event.key === "=") this.zoomBy(0.5, this.at);
    else if (event.key === "-") this.zoomBy(2, this.at);
    else if (event.key === "Escape") this.reset();
    else return;
    event.preventDefault();
  }
}

function clamp(value, low, high) {
  return Math.max(low, Math.min(high, value));
}

/** A range of at least 1 inside of 0 to `most`. */
function within({ from, to }, most) {
  const length = clamp(to - from, 1, most);
  const start = clamp((from + to - length) / 2, 0, most - length);
  return { from: start, to: start + length };
}
