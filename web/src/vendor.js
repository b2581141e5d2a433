/*
 * The two packages that this module is built on. `hl-export --web` writes another file of this name, which imports copies that lie
 * beside it: browsers find packages by name only with an import map, which a strict policy forbids.
 */
export { Tokenizer } from "@huggingface/tokenizers";
// In Node `onnxruntime-web`, elsewhere its build without WebGPU: see `imports` in package.json.
export * as ort from "#onnxruntime";
