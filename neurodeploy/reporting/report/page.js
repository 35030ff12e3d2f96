// Elements, colours and the switch between light and dark. Texts are never read as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** A new element with attributes and children; a text child stays a text. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** The same of a drawing. */
function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A button that does something. */
function button(text, action, attributes = {}) {
  const element = make("button", { type: "button", ...attributes }, text);
  element.addEventListener("click", action);
  return element;
}

/** A choice among [value, text] pairs, with a label in front. */
function choice(label, options, changed) {
  const select = make("select");
  for (const [value, text] of options) select.append(make("option", { value }, text));
  select.addEventListener("change", () => changed(select.value));
  return { select, element: make("label", {}, label, select) };
}

/** A colour of the page by its name in the style sheet. */
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** The empty context of a canvas, in as many dots as the screen has for that many pixels. */
function cleared(canvas, width, height) {
  const dense = window.devicePixelRatio || 1;
  canvas.style.height = `${height}px`;
  canvas.width = Math.round(width * dense);
  canvas.height = Math.round(height * dense);
  const g = canvas.getContext("2d");
  g.scale(dense, dense);
  g.clearRect(0, 0, width, height);
  return g;
}

/** A number for people to read: integers in groups of three, others with four digits. */
function numeral(value) {
  if (!Number.isFinite(value)) return String(value);
  if (Number.isInteger(value)) return value.toLocaleString("en");
  return Math.abs(value) >= 1000
    ? value.toLocaleString("en", { maximumFractionDigits: 1 })
    : String(Number(value.toPrecision(4)));
}

/** Put an interactive part in its place, instead of the picture that is there without it. */
function show(name, ...children) {
  const place = document.getElementById(name);
  place.replaceChildren(...children);
  place.hidden = false;
  for (const still of document.querySelectorAll(`[data-still="${name}"]`)) still.hidden = true;
}

const repaints = [];

/** Paint now, and again when the colours or the width change. */
function painted(paint) {
  repaints.push(paint);
  paint();
}

function repaint() {
  for (const paint of repaints) paint();
}

function addThemeSwitch() {
  const root = document.documentElement;
  const preferred = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme || (preferred.matches ? "dark" : "light")) === "dark";
  const element = button("", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    update();
  }, { class: "theme", id: "theme" });
  const update = () => {
    element.textContent = isDark() ? "Light" : "Dark";
    element.setAttribute("aria-label", isDark() ? "switch to light" : "switch to dark");
    repaint();
  };
  preferred.addEventListener("change", update);
  document.querySelector("main").prepend(element);
  update();
  let waiting = 0;
  addEventListener("resize", () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(repaint);
  });
}
