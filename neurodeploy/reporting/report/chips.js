// Chips with their cores: how full these are, and how many spikes their neurons send.

/** The map; `samples` are there when some are kept. Returns what shows one of them. */
function showChips(cores, samples) {
  const spread = cores.chips.map((chip) => chip.at);
  const right = Math.max(...spread.map(([x]) => x)) + cores.width + 0.3;
  const below = Math.min(...spread.map(([, y]) => y)) - cores.height - 0.3;
  // On the page y goes down.
  const drawing = draw("svg", { viewBox: `-0.7 -1.4 ${right + 1} ${1.6 - below}`, role: "img",
    "aria-label": "cores of the chips" });
  const reading = make("p", { class: "reading soft", "aria-live": "polite" },
    "Point at a core to read it.");
  for (const chip of cores.chips) {
    const [x, y] = chip.at;
    drawing.append(draw("rect", { x: x - 0.4, y: -y - 0.4, width: cores.width + 0.45,
      height: cores.height + 0.4, fill: "none", stroke: "var(--line)", "stroke-width": 0.06 }));
    drawing.append(draw("text", { x: x - 0.4, y: -y - 0.65, "font-size": 0.7 },
      `chip ${chip.number}`));
    for (const [left, bottom] of chip.cores) {
      drawing.append(draw("rect", { x: left, y: -bottom - cores.size, width: cores.size,
        height: cores.size, fill: "var(--band)", stroke: "var(--line)", "stroke-width": 0.04 }));
    }
  }
  const boxes = cores.parts.map((part) => {
    if (!part.at) return null;
    const [x, y] = part.at;
    const box = draw("rect", { x, y: -y - cores.size, width: cores.size, height: cores.size });
    const number = draw("text", { x: x + cores.size / 2, y: -y - cores.size / 2,
      "font-size": 0.5, "text-anchor": "middle", "dominant-baseline": "central",
      "pointer-events": "none" }, String(part.number));
    drawing.append(box, number);
    return box;
  });
  const most = Math.max(1e-9, ...cores.lines.map(([, , messages]) => messages));
  for (const [source, goal, messages] of cores.lines) {
    const ends = [cores.parts[source].at, cores.parts[goal].at];
    if (!ends[0] || !ends[1]) continue;
    const [[x1, y1], [x2, y2]] = ends.map(([x, y]) => [x + cores.size / 2, -y - cores.size / 2]);
    drawing.append(draw("line", { x1, y1, x2, y2, stroke: "var(--bad)",
      "stroke-width": 0.03 + (0.12 * messages) / most, "stroke-opacity": 0.55,
      "pointer-events": "none" }));
  }

  let what = "share";
  let sample = 0;
  let step = -1;
  const counted = samples && samples.cores;
  const steps = counted ? samples.cores.shape[1] : 0;

  function valueOf(place) {
    const part = cores.parts[place];
    if (what === "share") return part.share;
    if (what === "mean") return part.spikes;
    const count = samples.cores.shape[2];
    let sum = 0;
    for (let t = 0; t < steps; t += 1) {
      if (step < 0 || t === step) sum += samples.cores.values[(sample * steps + t) * count + place];
    }
    return sum;
  }

  function textOf(place) {
    const part = cores.parts[place];
    const own = `Core ${part.core} of chip ${part.chip}: part of ${part.population}, ` +
      `${numeral(part.neurons)} neurons, ${numeral(100 * part.share)} % of its ${part.resource}`;
    if (what === "share") return `${own}.`;
    const when = step < 0 ? "" : ` in step ${step}`;
    const of = what === "mean" ? "per sample, mean" : `of sample ${samples.listed[sample].number}`;
    return `${own}; ${numeral(valueOf(place))} spikes ${of}${when}.`;
  }

  const scale = make("span", { class: "soft" });

  function update() {
    const values = cores.parts.map((_, place) => valueOf(place) || 0);
    const top = what === "share" ? 1 : Math.max(1e-9, ...values);
    boxes.forEach((box, place) => {
      if (!box) return;
      const strength = Math.round(100 * (0.08 + 0.72 * Math.min(1, values[place] / top)));
      box.setAttribute("fill", `color-mix(in srgb, var(--heat) ${strength}%, var(--page))`);
    });
    scale.textContent = what === "share" ? "shaded from 0 to 100 %"
      : `shaded from 0 to ${numeral(top)} spikes`;
    stepLabel.hidden = what !== "sample" || steps < 2;
  }

  boxes.forEach((box, place) => {
    if (!box) return;
    for (const event of ["pointerenter", "click"]) {
      box.addEventListener(event, () => { reading.textContent = textOf(place); });
    }
  });

  const options = [["share", "use of the scarcest resource"]];
  if (cores.counted) options.push(["mean", "spikes per sample, mean of all"]);
  if (counted) options.push(["sample", "spikes of the chosen sample"]);
  const shading = choice("Shading", options, (value) => {
    what = value;
    step = -1;
    slider.value = "-1";
    stepText.textContent = "all steps";
    update();
  });
  shading.select.id = "shading";
  const slider = make("input", { type: "range", min: -1, max: Math.max(0, steps - 1), value: -1,
    "aria-label": "step" });
  const stepText = make("span", {}, "all steps");
  const stepLabel = make("label", {}, "Step", slider, stepText);
  slider.addEventListener("input", () => {
    step = Number(slider.value);
    stepText.textContent = step < 0 ? "all steps" : `step ${step}`;
    update();
  });
  const names = make("p", { class: "soft" });
  const seen = new Map(cores.parts.map((part) => [part.number, part.population]));
  names.textContent = [...seen].slice(0, 60).map(([number, name]) => `${number}\u00a0${name}`)
    .join(", ") + (seen.size > 60 ? `, and ${seen.size - 60} more` : "");
  show("chips", make("div", { class: "tools" }, shading.element, stepLabel, scale), drawing, names,
    reading);
  update();
  return (place) => { sample = place; update(); };
}
