import { Codec } from "./codec.js";
import { Decoder } from "./decoder.js";
import { decided, merged } from "./document/merge.js";
import { makeDocument } from "./document/document.js";
import { Drafter } from "./drafter.js";
import { HyperloaderError, described } from "./errors.js";
import { Grammar, OUTSIDE } from "./grammar.js";
import { UNITS, converter } from "./offsets.js";
import { readTarget } from "./read-target.js";
import { calibrated, probability, product, tagScores, wordScores } from "./scores.js";
import { openSessions } from "./sessions.js";
import { readSite } from "./site.js";
import { toBio, toSpans } from "./spans.js";
import { splitWords } from "./words.js";

/** @typedef {import("./offsets.js").OffsetUnit} OffsetUnit */

/**
 * The score of a tag or a span: its calibrated probability, and its distance to the second-best tag in nats (docs/scores.md).
 *
 * @typedef {{ score: number, margin: number }} TagScore
 */

/**
 * A labelled span. Offsets are in the unit that was asked for; `text` is the text between them.
 *
 * @typedef {object} Span
 * @property {number} start
 * @property {number} end
 * @property {string} label
 * @property {string} text
 * @property {number} score The calibrated probability.
 * @property {number} margin The distance to the second-best tag in nats; infinite if there is no other.
 * @property {boolean} unknown Whether the file lists no such label: the model wrote other text.
 */

/**
 * A tagged text.
 *
 * @typedef {object} Tagged
 * @property {string} text
 * @property {import("./words.js").Word[]} words The words as the model reads them. Their offsets are in the unit of the spans.
 * @property {string[]} tags A BIO tag for each word.
 * @property {Span[]} spans The labelled spans in the order of the text. They do not overlap.
 * @property {boolean} complete Whether the model ended its output. If not, words at the end may lack their tags.
 * @property {number[]} unread Indices of words that the model did not read, because each alone takes more tokens than the tagger does.
 * @property {number} score The calibrated probability of the whole output; 1 if the text has no words.
 * @property {TagScore[]} tagScores The score of each word's tag.
 * @property {number} passes Passes of the decoder.
 */

/**
 * How texts are tagged.
 *
 * @typedef {object} TagOptions
 * @property {OffsetUnit} [offsets] The unit of offsets (default `"utf16"`).
 * @property {"long" | "never"} [split] Whether texts that are longer than the tagger takes are tagged in parts (default `"long"`) or refused.
 * @property {"verified" | "greedy"} [decode] `"verified"` (default) gives the tags of `"greedy"`, which writes one token per pass, in fewer passes.
 * @property {"throw" | "return"} [errors] Whether the error of a text is thrown (default) or takes its place in the results.
 */

/**
 * How a tagger is opened.
 *
 * @typedef {object} OpenOptions
 * @property {number} [threads] Threads of ONNX Runtime. More than one needs a page that is isolated (`crossOriginIsolated`).
 * @property {import("./site.js").FileCheck} [check] How files are checked (default `"sha256"`).
 */

/** The values that each option of {@link TagOptions} may have; the first is the default. */
const TAG_OPTIONS = {
  offsets: UNITS,
  split: ["long", "never"],
  decode: ["verified", "greedy"],
  errors: ["throw", "return"],
};

/**
 * The options with their defaults.
 *
 * @param {Record<string, any>} given
 * @param {Record<string, readonly (string | undefined)[]>} known
 * @returns {any}
 */
function checkedOptions(given, known) {
  if (typeof given !== "object" || given === null) throw new TypeError(`options are ${described(given)}, expected an object`);
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(known, name)) throw new TypeError(`there is no option \`${name}\`, only ${Object.keys(known).join(", ")}`);
    if (known[name].length > 0 && value !== undefined && !known[name].includes(value)) {
      throw new TypeError(`\`${name}\` is ${JSON.stringify(value)}, expected one of ${known[name].join(", ")}`);
    }
  }
  const defaults = Object.fromEntries(Object.entries(known).map(([name, values]) => [name, values[0]]));
  return { ...defaults, ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) };
}

/** The words of the longest target in which all tags are `O`, limited by the sentinels. */
function mostWords(/** @type {Grammar} */ grammar, /** @type {number} */ maxTargetLen) {
  const each = 1 + grammar.ids[OUTSIDE].length;
  return Math.max(1, Math.min(grammar.codec.maxWords, Math.floor(Math.max(0, maxTargetLen - 2) / each)));
}

/** A tagger that `hl-export --web` wrote, ready to run. {@link Tagger.open} opens one. */
export class Tagger {
  /** @type {Grammar} */
  #grammar;
  /** @type {Decoder} */
  #decoder;
  /** @type {import("./document/document.js").Encoder} */
  #encoder;
  /** @type {() => Promise<void>} */
  #release;
  /** Texts are tagged one after the other: a session runs one input at a time. @type {Promise<unknown>} */
  #queue = Promise.resolve();
  #isClosed = false;
  /** @type {Promise<void> | undefined} */
  #closing;

  /**
   * Use {@link Tagger.open}.
   *
   * @param {import("./metadata.js").SiteMetadata} metadata
   * @param {Grammar} grammar
   * @param {{ encoder: any, decoder: any, release: () => Promise<void> }} sessions
   */
  constructor({ tagger, graphs, precision }, grammar, sessions) {
    /** The metadata of the tagger, as in the exported file. */
    this.metadata = Object.freeze(tagger);
    /** The number format of the large matrices. */
    this.precision = precision;
    const { codec } = grammar;
    const limits = { eos: codec.eos, maxTargetLen: tagger.max_target_len, vocabSize: graphs.vocab_size };
    const prefix = codec.encodeText(tagger.source_prefix ?? "");
    this.#grammar = grammar;
    this.#release = sessions.release;
    this.#decoder = new Decoder(sessions, graphs, grammar, {
      start: tagger.decoder_start_token_id,
      limits,
      temperature: Math.fround(tagger.calibration?.temperature ?? 1),
      drafter: new Drafter(grammar, tagger.drafter),
    });
    this.#encoder = {
      source: (words) => source(codec, prefix, words),
      length: (word) => 1 + codec.word(word).length,
      other: prefix.length + 2,
      maxWords: mostWords(grammar, tagger.max_target_len),
      maxSourceLen: tagger.max_source_len,
      sentenceWords: tagger.sentence_words ?? undefined,
    };
  }

  /**
   * Opens the tagger in a folder that `hl-export --web` wrote.
   *
   * @param {string | URL} folder Its address or, in Node, its path.
   * @param {OpenOptions} [options]
   */
  static async open(folder, options = {}) {
    if (typeof folder !== "string" && !(folder instanceof URL)) {
      throw new TypeError(`the folder is ${described(folder)}, expected its address as text or URL`);
    }
    const { threads, check } = checkedOptions(options, { threads: [], check: ["sha256", "size"] });
    if (threads !== undefined && !(Number.isInteger(threads) && threads > 0)) {
      throw new TypeError(`\`threads\` is ${JSON.stringify(threads)}, expected a whole number above 0`);
    }
    const site = await readSite(folder, check);
    const { tagger } = site.metadata;
    const codec = new Codec(parsedTokenizer(site.tokenizer));
    if (codec.pad !== tagger.pad_token_id || codec.eos !== tagger.eos_token_id) {
      const found = `<pad> ${codec.pad} and </s> ${codec.eos}`;
      const message = `\`tokenizer.json\` has ${found}, \`tagger.json\` ${tagger.pad_token_id} and ${tagger.eos_token_id}`;
      throw new HyperloaderError("damaged-file", message);
    }
    return new Tagger(site.metadata, new Grammar(codec, tagger.labels), await openSessions(site, threads));
  }

  /**
   * Tags texts. The results have their order.
   *
   * @overload
   * @param {string[]} texts
   * @param {TagOptions & { errors?: "throw" }} [options]
   * @returns {Promise<Tagged[]>}
   */
  /**
   * @overload
   * @param {string[]} texts
   * @param {TagOptions & { errors: "return" }} options
   * @returns {Promise<(Tagged | HyperloaderError)[]>}
   */
  /**
   * @param {string[]} texts
   * @param {TagOptions} [options]
   * @returns {Promise<(Tagged | HyperloaderError)[]>}
   */
  async tag(texts, options = {}) {
    if (!Array.isArray(texts)) throw new TypeError(`the texts are ${described(texts)}, expected an array of strings`);
    const wrong = texts.findIndex((text) => typeof text !== "string");
    if (wrong >= 0) throw new TypeError(`text ${wrong} is ${described(texts[wrong])}, expected a string`);
    const checked = checkedOptions(options, TAG_OPTIONS);
    const results = [];
    for (const [index, text] of texts.entries()) {
      try {
        results.push(await this.#inTurn(() => this.#tagText(text, checked)));
      } catch (error) {
        if (!(error instanceof HyperloaderError)) throw error;
        error.index = index;
        if (checked.errors === "throw" || ["runtime", "closed"].includes(error.code)) throw error;
        results.push(error);
      }
    }
    return results;
  }

  /** Frees the memory of the model, after the texts that are being tagged. The tagger cannot be used afterwards; closing it again does nothing. */
  async close() {
    const close = async () => {
      this.#isClosed = true;
      await this.#release();
    };
    this.#closing ??= this.#inTurn(close);
    await this.#closing;
  }

  /**
   * @template T
   * @param {() => Promise<T>} step
   * @returns {Promise<T>}
   */
  #inTurn(step) {
    const turn = this.#queue.then(() => {
      if (this.#isClosed) throw new HyperloaderError("closed", "the tagger is closed");
      return step();
    });
    this.#queue = turn.catch(() => {});
    return turn;
  }

  /**
   * @param {string} text
   * @param {Required<TagOptions>} options
   * @returns {Promise<Tagged>}
   */
  async #tagText(text, { offsets, split, decode }) {
    const surrogate = text.search(/\p{Surrogate}/u);
    if (surrogate >= 0) throw new HyperloaderError("not-text", `code unit ${surrogate} is a lone surrogate, which is not text`);
    const words = splitWords(text, this.metadata.words);
    const document = this.#document(text, words, split);
    const outputs = [];
    for (const part of document.sources) outputs.push(await this.#decoder.run(part, decode));
    return this.#finished({ text, words, document, outputs }, converter(text, offsets));
  }

  /**
   * @param {string} text
   * @param {import("./words.js").Word[]} words
   * @param {"long" | "never"} split
   */
  #document(text, words, split) {
    try {
      return makeDocument(this.#encoder, text, words, split);
    } catch (cause) {
      // The tokenizer recurses, and passes the characters of a word as arguments.
      if (!(cause instanceof RangeError)) throw cause;
      throw new HyperloaderError("too-long", "a word is longer than the tokenizer takes", { cause });
    }
  }

  /**
   * The tagged text from the output of each of its parts.
   *
   * @param {{ text: string, words: import("./words.js").Word[], document: import("./document/document.js").Document, outputs: import("./decoder.js").Output[] }} parts
   * @param {(offset: number) => number} convert
   * @returns {Tagged}
   */
  #finished({ text, words, document, outputs }, convert) {
    const { parts, unread } = document;
    const read = outputs.map(({ ids }, at) => readTarget(this.#grammar, ids, parts[at].end - parts[at].start));
    const ranges = decided(parts, read.map(({ written }) => toBio(written)));
    const tags = merged(parts, ranges, read.map(({ written }) => written), words.length);
    const ofWords = words.map(() => ({ logProbability: -Infinity, margin: 0 }));
    outputs.forEach(({ scores }, at) => {
      const all = wordScores(read[at].places, scores);
      for (let word = ranges[at].start; word < ranges[at].end; word += 1) ofWords[word] = all[word - parts[at].start];
    });
    const whole = product([...outputs.flatMap(({ scores }) => scores), ...unread.map(() => ({ logProbability: -Infinity, margin: 0 }))]);
    const maps = this.metadata.calibration?.maps;
    const scored = (/** @type {import("./scores.js").Score} */ score) => ({ score: calibrated(maps?.tag, probability(score)), margin: score.margin });
    const spans = toSpans(tags).map(({ first, end, label }) => {
      const [from, to] = [words[first].start, words[end - 1].end];
      const place = { start: convert(from), end: convert(to), label, text: text.slice(from, to) };
      return { ...place, ...scored(product(ofWords.slice(first, end))), unknown: !this.metadata.labels.includes(label) };
    });
    return {
      text,
      words: words.map((word) => ({ ...word, start: convert(word.start), end: convert(word.end) })),
      tags,
      spans,
      complete: outputs.every(({ ids }) => ids[ids.length - 1] === this.metadata.eos_token_id),
      unread,
      score: words.length === 0 ? 1 : calibrated(maps?.sentence, probability(whole)),
      tagScores: tagScores(tags, ofWords).map(scored),
      passes: outputs.reduce((sum, { passes }) => sum + passes, 0),
    };
  }
}

/**
 * The source of words: a sentinel before each, and one after the last.
 *
 * @param {Codec} codec
 * @param {number[]} prefix
 * @param {string[]} words
 * @returns {import("./decoder.js").Source}
 */
function source(codec, prefix, words) {
  const ids = [...prefix];
  const marks = [ids.length];
  words.forEach((word, at) => {
    ids.push(codec.sentinels[at]);
    for (const id of codec.word(word)) ids.push(id);
    marks.push(ids.length);
  });
  ids.push(codec.sentinels[words.length], codec.eos);
  return { ids, marks };
}

/** @param {Uint8Array} bytes */
function parsedTokenizer(bytes) {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch (cause) {
    throw new HyperloaderError("damaged-file", "`tokenizer.json` is not JSON", { cause });
  }
}
