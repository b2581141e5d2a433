import { HyperloaderError, described } from "./errors.js";
import { RULES } from "./words.js";

/** The version of `tagger.json` that this module reads. */
const WEB = 1;
/** The version of the metadata of exported files that this module reads. */
const FORMAT = 2;

/**
 * Names of the two graphs' files, of their weights, and of the values that pass between them.
 *
 * @typedef {object} Graphs
 * @property {string} encoder
 * @property {string} decoder
 * @property {string} weights
 * @property {string[]} memory The encoder's outputs that the decoder reads.
 * @property {{ input: string, output: string }[]} past The decoder's keys and values of earlier passes, as inputs and as outputs.
 * @property {number} heads
 * @property {number} d_kv
 * @property {number[]} scored_ids Ids whose logits the decoder gives.
 * @property {number} vocab_size
 */

/**
 * The metadata of the tagger, as in the exported file (docs/file-format.md#metadata), without its tokenizer.
 *
 * @typedef {object} TaggerMetadata
 * @property {number} format
 * @property {string} [kind]
 * @property {string} task
 * @property {string[]} labels
 * @property {import("./words.js").WordSplitting} words
 * @property {import("./document/plan.js").SentenceWords} [sentence_words]
 * @property {number} max_source_len
 * @property {number} max_target_len
 * @property {number} pad_token_id
 * @property {number} eos_token_id
 * @property {number} decoder_start_token_id
 * @property {string} [source_prefix]
 * @property {number[][]} [drafter]
 * @property {{ temperature: number, maps?: { tag?: import("./scores.js").ScoreMap, sentence?: import("./scores.js").ScoreMap } }} [calibration]
 * @property {string} run
 * @property {number} step
 * @property {string} program
 */

/** @typedef {{ name: string, bytes: number, sha256: string }} SiteFile */
/** @typedef {{ web: number, precision: string, tagger: TaggerMetadata, graphs: Graphs, files: SiteFile[] }} SiteMetadata */

const isText = (/** @type {unknown} */ value) => typeof value === "string";
const isFileName = (/** @type {unknown} */ value) => typeof value === "string" && /^[^/\\]+$/.test(value);
const isCount = (/** @type {unknown} */ value) => Number.isInteger(value) && Number(value) >= 0;
const isLength = (/** @type {unknown} */ value) => isCount(value) && value !== 0;
const isFlag = (/** @type {unknown} */ value) => typeof value === "boolean";
const isNumber = (/** @type {unknown} */ value) => Number.isFinite(value);
const isDivisor = (/** @type {unknown} */ value) => isNumber(value) && Number(value) > 0;
const isAbsentOr = (/** @type {(value: any) => boolean} */ is) => (/** @type {any} */ value) => value === undefined || value === null || is(value);
const isList = (/** @type {(value: any) => boolean} */ is) => (/** @type {unknown} */ value) => Array.isArray(value) && value.every(is);

/** What the fields must be that the module reads, with a test. */
const FIELDS = [
  { expected: "text", is: isText, paths: ["precision"] },
  { expected: "the name of a file", is: isFileName, paths: ["graphs.encoder", "graphs.decoder", "graphs.weights"] },
  { expected: "a whole number", is: isCount, paths: ["graphs.heads", "graphs.d_kv", "graphs.vocab_size"] },
  { expected: "a whole number", is: isCount, paths: ["tagger.max_source_len", "tagger.max_target_len"] },
  { expected: "an id", is: isCount, paths: ["tagger.pad_token_id", "tagger.eos_token_id", "tagger.decoder_start_token_id"] },
  { expected: "a list of texts", is: isList(isText), paths: ["tagger.labels", "graphs.memory"] },
  { expected: "true or false", is: isFlag, paths: ["tagger.words.lowercase"] },
  { expected: "text", is: isAbsentOr(isText), paths: ["tagger.source_prefix"] },
  {
    expected: "an object with a median above 0 and a p99 that is not less",
    is: isAbsentOr((words) => isLength(words?.median) && isLength(words?.p99) && words.median <= words.p99),
    paths: ["tagger.sentence_words"],
  },
  { expected: "a table of numbers", is: isAbsentOr(isList(isList(isNumber))), paths: ["tagger.drafter"] },
  {
    expected: "an object with a temperature above 0",
    is: isAbsentOr((calibration) => isDivisor(calibration?.temperature)),
    paths: ["tagger.calibration"],
  },
  { expected: "a list of ids", is: isList(isCount), paths: ["graphs.scored_ids"] },
  {
    expected: "a list of inputs and outputs",
    is: isList((past) => isText(past?.input) && isText(past?.output)),
    paths: ["graphs.past"],
  },
  {
    expected: "a list of files",
    is: isList((file) => isFileName(file?.name) && isCount(file?.bytes) && isText(file?.sha256)),
    paths: ["files"],
  },
];

/**
 * Checks that all fields are there and of their type.
 *
 * @param {any} metadata
 */
function checkFields(metadata) {
  for (const { expected, is, paths } of FIELDS) {
    for (const path of paths) {
      const value = path.split(".").reduce((/** @type {any} */ part, name) => part?.[name], metadata);
      if (is(value)) continue;
      throw new HyperloaderError("damaged-file", `\`tagger.json\`: ${path} is ${described(value)}, expected ${expected}`);
    }
  }
}

/**
 * The metadata of a site, checked.
 *
 * @param {Uint8Array} bytes The content of `tagger.json`.
 * @returns {SiteMetadata}
 */
export function readMetadata(bytes) {
  const metadata = parsed(bytes);
  const is = (/** @type {string} */ field, /** @type {unknown} */ value, /** @type {unknown} */ expected) => {
    if (value === expected) return;
    const message = `\`tagger.json\`: ${field} is ${JSON.stringify(value)}, this module reads ${JSON.stringify(expected)}; export the tagger again`;
    throw new HyperloaderError("unsupported", message);
  };
  is("web", metadata?.web, WEB);
  is("format", metadata.tagger?.format, FORMAT);
  is("kind", metadata.tagger.kind ?? "encoder-decoder", "encoder-decoder");
  const rule = metadata.tagger.words?.rule;
  if (!RULES.includes(rule)) {
    throw new HyperloaderError("unsupported", `\`tagger.json\`: the rule for words is ${JSON.stringify(rule)}, expected one of ${RULES.join(", ")}`);
  }
  checkFields(metadata);
  return metadata;
}

/** @param {Uint8Array} bytes */
function parsed(bytes) {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new HyperloaderError("damaged-file", "`tagger.json` is not JSON: is the folder one that `hl-export --web` wrote?", { cause });
  }
}
