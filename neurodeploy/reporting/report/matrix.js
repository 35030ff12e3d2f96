// The confusion matrix, whose cells name their samples.

const LISTED = 60;

/** Labels by predicted classes; `kept` maps sample numbers to places, `pick` shows one of them. */
function showMatrix(matrix, buffer, kept, pick) {
  const { counts } = matrix;
  const reading = make("p", { class: "reading soft", "aria-live": "polite" },
    "Choose a cell to see its samples.");
  const table = make("table", { class: "matrix" });
  const head = make("tr", {}, make("td"));
  counts.forEach((_, found) => head.append(make("th", { scope: "col" }, String(found))));
  table.append(make("thead", {}, head));
  const body = make("tbody");
  const labels = matrix.labels && arrayAt(buffer, matrix.labels).values;
  const predicted = matrix.predicted && arrayAt(buffer, matrix.predicted).values;
  let chosen = null;

  function choose(cell, label, found) {
    if (chosen) chosen.classList.remove("chosen");
    chosen = cell;
    cell.classList.add("chosen");
    const count = counts[label][found];
    const total = counts[label].reduce((sum, value) => sum + value, 0);
    const share = total ? `, ${numeral((100 * count) / total)} % of the label` : "";
    reading.replaceChildren(
      `Label ${label}, predicted ${found}: ${numeral(count)} samples${share}. `);
    if (!labels) return;
    let listed = 0;
    for (let n = 0; n < labels.length && listed < LISTED; n += 1) {
      if (labels[n] !== label || predicted[n] !== found) continue;
      listed += 1;
      reading.append(kept.has(n) ? button(String(n), () => pick(n)) : `${n}`, " ");
    }
    if (count > listed) reading.append(`and ${numeral(count - listed)} more`);
  }

  counts.forEach((row, label) => {
    const total = row.reduce((sum, value) => sum + value, 0);
    const line = make("tr", {}, make("th", { scope: "row" }, String(label)));
    row.forEach((count, found) => {
      const cell = make("td");
      const share = total ? count / total : 0;
      // Paler than they are, mistakes of a few per cent would not be seen.
      const strength = Math.round(75 * Math.sqrt(share));
      cell.style.background = `color-mix(in srgb, var(--heat) ${strength}%, var(--page))`;
      const text = count ? numeral(count) : "\u00b7";
      cell.append(button(text, () => choose(cell, label, found), {
        "aria-label": `label ${label}, predicted ${found}: ${count}`,
      }));
      line.append(cell);
    });
    body.append(line);
  });
  table.append(body);
  const wide = make("div", { class: "wide", role: "region", tabindex: "0",
    "aria-label": "confusion matrix" }, table);
  show("matrix", make("h3", {}, "Confusion matrix"),
    make("p", { class: "soft" }, "Rows are labels, columns predicted classes."), wide, reading);
}
