export { HyperloaderError } from "./errors.js";
export { Tagger } from "./tagger.js";
