// Runs a model in onnxruntime-web on each set of inputs:
// node web.mjs FOLDER MODEL < {"sets": [{NAME: [DATA, SHAPE]}], "outputs": [NAME], "files": [NAME OF A FILE OF WEIGHTS]}
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, model] = process.argv.slice(2);
const require = createRequire(pathToFileURL(`${folder}/package.json`));
const ort = require("onnxruntime-web");
const { version } = JSON.parse(readFileSync(`${folder}/node_modules/onnxruntime-web/package.json`, "utf8"));
ort.env.wasm.numThreads = 1;
const { sets, outputs, files } = JSON.parse(readFileSync(0, "utf8"));
// The runtime opens no file by itself: files of weights are passed to it.
const externalData = files.map((path) => ({ path, data: readFileSync(join(dirname(model), path)) }));
const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"], externalData });
const answers = [];
for (const feeds of sets) {
  const tensors = {};
  for (const [name, [data, shape]] of Object.entries(feeds)) {
    tensors[name] = new ort.Tensor("int64", BigInt64Array.from(data.map(BigInt)), shape);
  }
  const results = await session.run(tensors, outputs);
  answers.push(Object.fromEntries(outputs.map((name) => [name, [Array.from(results[name].data), results[name].dims]])));
}
process.stdout.write(JSON.stringify({ version, answers }));
