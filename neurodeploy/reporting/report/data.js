// The arrays of the page: base64 of a zlib stream of little-endian numbers.

const KINDS = { i1: Int8Array, i2: Int16Array, i4: Int32Array, f4: Float32Array };

/** All arrays of the page as one buffer. */
async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

/** One of them: its numbers, flat in C order, and its shape. */
function arrayAt(buffer, place) {
  const size = place.shape.reduce((product, length) => product * length, 1);
  if (place.kind !== "b1") {
    return { values: new KINDS[place.kind](buffer, place.at, size), shape: place.shape };
  }
  const packed = new Uint8Array(buffer, place.at, Math.ceil(size / 8));
  const values = new Uint8Array(size);
  for (let i = 0; i < size; i += 1) values[i] = (packed[i >> 3] >> (i & 7)) & 1;
  return { values, shape: place.shape };
}

/** The coordinates of a neuron in the array of its population. */
function placeOf(index, shape) {
  const found = [];
  for (let axis = shape.length - 1; axis >= 0; axis -= 1) {
    found.unshift(index % shape[axis]);
    index = Math.floor(index / shape[axis]);
  }
  return found;
}

/** Populations with their arrays in place of where these are. */
function readSamples(samples, buffer) {
  const at = (place) => (place ? arrayAt(buffer, place) : null);
  const populations = samples.populations.map((population) => ({
    ...population,
    neurons: at(population.neurons).values,
    s: at(population.s),
    traced: at(population.traced).values,
    threshold: at(population.threshold),
    states: Object.fromEntries(
      Object.entries(population.states).map(([name, place]) => [name, at(place)]),
    ),
  }));
  return { ...samples, cores: at(samples.cores), populations };
}

/** The series of one neuron, the kept one of that row, in one sample. */
function series(array, sample, row) {
  const [, steps, rows] = array.shape;
  const found = new Array(steps);
  for (let t = 0; t < steps; t += 1) {
    found[t] = array.values[(sample * steps + t) * rows + row];
  }
  return found;
}
