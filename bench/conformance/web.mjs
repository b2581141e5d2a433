// Runs a model in onnxruntime-web: node web.mjs FOLDER MODEL < {"feeds": {NAME: [DATA, SHAPE]}, "outputs": [NAME]}
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [folder, model] = process.argv.slice(2);
const require = createRequire(pathToFileURL(`${folder}/package.json`));
const ort = require("onnxruntime-web");
const { version } = JSON.parse(readFileSync(`${folder}/node_modules/onnxruntime-web/package.json`, "utf8"));
ort.env.wasm.numThreads = 1;
const { feeds, outputs } = JSON.parse(readFileSync(0, "utf8"));
const tensors = {};
for (const [name, [data, shape]] of Object.entries(feeds)) {
  tensors[name] = new ort.Tensor("int64", BigInt64Array.from(data.map(BigInt)), shape);
}
const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
const results = await session.run(tensors, outputs);
const answer = {};
for (const name of outputs) {
  answer[name] = [Array.from(results[name].data), results[name].dims];
}
process.stdout.write(JSON.stringify({ version, outputs: answer }));
