// All parts of the page, each as far as there are data for it.

async function start() {
  addThemeSwitch();
  const element = document.getElementById("page-data");
  if (!element) return;
  const data = JSON.parse(element.textContent);
  const buffer = await unpacked(data.arrays);
  const samples = data.samples && readSamples(data.samples, buffer);
  const mapped = data.cores.chips.length ? showChips(data.cores, samples) : () => {};
  const some = samples && samples.populations.length && samples.listed.length;
  const pick = some ? showExplorer(samples, mapped) : () => {};
  const kept = new Set(samples ? samples.listed.map((entry) => entry.number) : []);
  if (data.matrix) showMatrix(data.matrix, buffer, kept, pick);
}

start().then(
  () => { document.documentElement.dataset.ready = "yes"; },
  (error) => {
    // The pictures stay where they are.
    const said = `The interactive parts cannot be shown in this browser: ${error.message}`;
    document.querySelector("main").prepend(make("p", { class: "bad", id: "failed" }, said));
  },
);
