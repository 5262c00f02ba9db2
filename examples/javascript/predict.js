// Predict in a browser with a file that Convwright exported. The file crops, resizes and normalises the image.
import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.min.mjs";

ort.env.wasm.wasmPaths = new URL("./node_modules/onnxruntime-web/dist/", import.meta.url).href;
ort.env.wasm.numThreads = 1; // several need the headers of cross-origin isolation
ort.env.logLevel = "error";

/** Load an .onnx file; return a session and the file's card, with the names of its classes. */
export async function load(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status} ${response.statusText}`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  return { session: await ort.InferenceSession.create(bytes), card: cardOf(bytes) };
}

/** Return the classes of an image, a Blob such as a file, with their probabilities, most likely first. */
export async function predict({ session, card }, blob) {
  const { data, width, height } = await pixelsOf(blob);
  const image = new ort.Tensor("uint8", data, [1, height, width, 3]);
  const { logits } = await session.run({ image }, ["logits"]);
  const largest = Math.max(...logits.data);
  const temperature = card.limits?.temperature ?? 1; // which calibrates the probabilities
  const raised = Array.from(logits.data, (logit) => Math.exp((logit - largest) / temperature));
  const sum = raised.reduce((one, other) => one + other);
  const ranked = raised.map((value, index) => ({ label: card.classes[index], probability: value / sum }));
  return ranked.sort((one, other) => other.probability - one.probability);
}

/** Return an image as RGB values, upright, with transparent parts on white, and without converting colour profiles. */
async function pixelsOf(blob) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0);
  const withAlpha = context.getImageData(0, 0, canvas.width, canvas.height).data;
  const data = new Uint8Array(canvas.width * canvas.height * 3);
  for (let from = 0, to = 0; from < withAlpha.length; from += 4, to += 3) {
    data.set(withAlpha.subarray(from, from + 3), to);
  }
  return { data, width: canvas.width, height: canvas.height };
}

/** Return the card in an .onnx file, a message of Protocol Buffers: field 14 holds pairs of a key and a text. */
function cardOf(bytes) {
  const fields = function* (at, end) {
    const number = () => {
      for (let value = 0, factor = 1; ; factor *= 128) {
        const byte = bytes[at++];
        value += (byte & 127) * factor;
        if (byte < 128) return value;
      }
    };
    while (at < end) {
      const tag = number();
      if (tag % 8 === 0) number();
      else {
        const size = number();
        yield [tag >> 3, at, at + size];
        at += size;
      }
    }
  };
  const text = (from, to) => new TextDecoder().decode(bytes.subarray(from, to));
  for (const [field, from, to] of fields(0, bytes.length)) {
    if (field !== 14) continue;
    const [key, value] = [...fields(from, to)].map(([, start, end]) => text(start, end));
    if (key === "convwright") return JSON.parse(value);
  }
  throw new Error("not a file that Convwright exported");
}
