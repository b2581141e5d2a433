import { HyperloaderError } from "./errors.js";
import { Row } from "./row.js";
import { ort } from "./vendor.js";

/** @typedef {import("./grammar.js").Grammar} Grammar */
/** @typedef {import("./metadata.js").Graphs} Graphs */
/** @typedef {Record<string, any>} Tensors */

/**
 * A sentence as the model reads it: its ids, and the positions of the sentinel before each word and of the last one.
 *
 * @typedef {{ ids: number[], marks: number[] }} Source
 */

/**
 * What the decoder wrote: ids, with `</s>` if the model wrote it, their scores, and the number of passes.
 *
 * @typedef {{ ids: number[], scores: import("./row.js").IdScore[], passes: number }} Output
 */

/** Source tokens whose scores the drafter sums for a word. */
const ROLES = 4;

/**
 * @param {ArrayLike<number>} numbers
 * @param {number[]} dims
 */
function integers(numbers, dims) {
  return new ort.Tensor("int64", BigInt64Array.from(Array.from(numbers), BigInt), dims);
}

/**
 * The positions of the tokens that the tag of `word` is predicted from: its sentinel, its first token, and those of its neighbors.
 *
 * @param {number[]} marks
 * @param {number} word
 */
function readFrom(marks, word) {
  const first = (/** @type {number} */ at) => (at >= 0 && at + 1 < marks.length ? marks[at] + 1 : undefined);
  return [marks[word], first(word), first(word - 1), first(word + 1)];
}

/**
 * The drafter's scores of each word's tags from its output `[1, length, roles * tags]`.
 *
 * @param {Float32Array} output
 * @param {number[]} marks
 * @param {number} tags
 */
function wordScores(output, marks, tags) {
  return marks.slice(1).map((_, word) => {
    const sums = new Float32Array(tags);
    readFrom(marks, word).forEach((at, role) => {
      if (at === undefined) return;
      const start = (at * ROLES + role) * tags;
      for (let tag = 0; tag < tags; tag += 1) sums[tag] += output[start + tag];
    });
    return sums;
  });
}

/**
 * The first `kept` columns of keys or values `[1, heads, columns, d_kv]`.
 *
 * @param {any} tensor
 * @param {number} kept
 */
function firstColumns(tensor, kept) {
  const [, heads, columns, width] = tensor.dims;
  if (columns === kept) return tensor;
  const data = new Float32Array(heads * kept * width);
  for (let head = 0; head < heads; head += 1) {
    const start = head * columns * width;
    data.set(tensor.data.subarray(start, start + kept * width), head * kept * width);
  }
  return new ort.Tensor("float32", data, [1, heads, kept, width]);
}

/** Runs the two graphs of a tagger on one sentence at a time. */
export class Decoder {
  /**
   * @param {{ encoder: any, decoder: any }} sessions Sessions of ONNX Runtime.
   * @param {Graphs} graphs
   * @param {Grammar} grammar
   * @param {{ start: number, limits: import("./row.js").Limits, temperature: number, drafter: import("./drafter.js").Drafter }} options
   */
  constructor(sessions, graphs, grammar, options) {
    this.sessions = sessions;
    this.graphs = graphs;
    this.grammar = grammar;
    this.options = options;
    this.columns = new Map(graphs.scored_ids.map((id, column) => [id, column]));
  }

  /**
   * @param {any} session
   * @param {Tensors} feeds
   * @returns {Promise<any>}
   */
  async #run(session, feeds) {
    try {
      return await session.run(feeds);
    } catch (cause) {
      throw new HyperloaderError("runtime", `ONNX Runtime failed: ${cause instanceof Error ? cause.message : cause}`, { cause });
    }
  }

  /**
   * The target of a source.
   *
   * @param {Source} source
   * @param {"verified" | "greedy"} mode
   * @returns {Promise<Output>}
   */
  async run(source, mode) {
    const { graphs, options } = this;
    const { length } = source.ids;
    const mask = integers(new Array(length).fill(1), [1, length]);
    const encoded = await this.#run(this.sessions.encoder, { input_ids: integers(source.ids, [1, length]), attention_mask: mask });
    /** @type {Tensors} */
    const memory = { attention_mask: mask };
    for (const name of graphs.memory) memory[name] = encoded[name];
    const scores = encoded.draft_tags ? wordScores(encoded.draft_tags.data, source.marks, this.grammar.names.length) : [];
    const drafter = mode === "verified" ? options.drafter : undefined;
    const row = new Row({ words: source.marks.length - 1, scores }, options.limits, drafter);
    /** @type {Tensors} */
    let past = {};
    for (const { input } of graphs.past) past[input] = new ort.Tensor("float32", new Float32Array(0), [1, graphs.heads, 0, graphs.d_kv]);
    for (let seen = 0; !row.ended; ) {
      const outputs = await this.#pass(memory, past, row, seen);
      row.take(this.#choices(row, outputs));
      // The decoder's input at k is the id before position k: it has seen the ids before the newest one.
      seen = row.accepted;
      past = {};
      for (const { input, output } of graphs.past) past[input] = firstColumns(outputs[output], seen);
    }
    if (row.isFaulty) {
      const message = "the model's output is not finite: the weights are damaged, or too large for their precision";
      throw new HyperloaderError("not-finite", message);
    }
    return { ids: row.target, scores: row.scores, passes: row.passes };
  }

  /**
   * One pass of the decoder over the ids of `row` that earlier passes have not settled.
   *
   * @param {Tensors} memory
   * @param {Tensors} past
   * @param {Row} row
   * @param {number} seen Ids that earlier passes have settled.
   */
  #pass(memory, past, row, seen) {
    const end = row.undecidedEnd;
    const length = end - seen;
    const fresh = Array.from({ length }, (_, at) => seen + at);
    const inputs = fresh.map((at) => (at === 0 ? this.options.start : row.target[at - 1]));
    return this.#run(this.sessions.decoder, {
      ...memory,
      ...past,
      decoder_input_ids: integers(inputs, [1, length]),
      query_positions: integers(fresh, [1, length, 1]),
      key_positions: integers(Array.from({ length: end }, (_, at) => at), [1, 1, end]),
      wanted: integers(fresh.map((at) => at - seen), [length]),
    });
  }

  /**
   * The choices of a pass for `row`, and their scores.
   *
   * @param {Row} row
   * @param {Tensors} outputs
   * @returns {import("./row.js").Choices}
   */
  #choices(row, outputs) {
    const ids = Array.from(/** @type {BigInt64Array} */ (outputs.next_ids.data), Number);
    /** @type {Float32Array} */
    const logits = outputs.next_logits.data;
    /** @type {Float32Array} */
    const logProbabilities = outputs.next_log_probabilities.data;
    const isFaulty = (/** @type {number} */ at) => !Number.isFinite(logits[at]) || !Number.isFinite(logProbabilities[at]);
    const faulty = ids.findIndex((_, at) => isFaulty(at));
    const scores = ids.map((id, at) => {
      const others = this.grammar.next(row.target.slice(0, row.accepted + at), row.sentence.words).filter((other) => other !== id);
      const best = Math.max(-Infinity, ...others.map((other) => this.#logit(outputs.some_logits.data, at, other)));
      return { logProbability: logProbabilities[at], margin: (logits[at] - best) / this.options.temperature };
    });
    return { ids, scores, faulty: faulty < 0 ? undefined : faulty };
  }

  /**
   * The logit of `id` at the wanted position `at`.
   *
   * @param {Float32Array} data `[wanted, 1, scored ids]`.
   * @param {number} at
   * @param {number} id
   */
  #logit(data, at, id) {
    const column = this.columns.get(id);
    return column === undefined ? -Infinity : data[at * this.columns.size + column];
  }
}
