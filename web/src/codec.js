import { Charsmap } from "./charsmap.js";
import { HyperloaderError } from "./errors.js";
import { isWhitespace } from "./words.js";
import { Tokenizer } from "./vendor.js";

/** Words whose ids are kept. */
const CACHED_WORDS = 1 << 16;

/**
 * Text as SentencePiece normalizes it, in a form that the tokenizer does not take for an added token: a text that becomes one,
 * such as `＜/s＞`, stays text.
 *
 * @param {string} base64
 * @param {Set<string>} added
 */
function normalizer(base64, added) {
  const charsmap = new Charsmap(base64);
  const normalize = (/** @type {string} */ text) => {
    const normalized = charsmap.normalize(text);
    return added.has(normalized) ? `\u2581${normalized}` : normalized;
  };
  return Object.assign(normalize, { normalize });
}

/**
 * The tokenizer of a tokenizer.json, with SentencePiece's own table of characters.
 *
 * @param {any} json
 * @returns {any}
 */
function tokenizerOf(json) {
  const tokenizer = /** @type {any} */ (new Tokenizer(json, {}));
  const added = new Set(json.added_tokens.map((/** @type {any} */ token) => token.content));
  const { normalizer: part } = json;
  if (part?.type === "Precompiled") tokenizer.normalizer = normalizer(part.precompiled_charsmap, added);
  if (part?.type === "Sequence") {
    const parts = tokenizer.normalizer.normalizers;
    part.normalizers.forEach((/** @type {any} */ { type, precompiled_charsmap }, /** @type {number} */ at) => {
      if (type === "Precompiled") parts[at] = normalizer(precompiled_charsmap, added);
    });
  }
  return tokenizer;
}

/** SentT': sentences and tags as the ids that a T5 reads and writes (docs/file-format.md#source). */
export class Codec {
  /** @param {any} json The content of a tokenizer.json. */
  constructor(json) {
    try {
      this.tokenizer = tokenizerOf(json);
    } catch (cause) {
      throw new HyperloaderError("damaged-file", "`tokenizer.json` is not a tokenizer", { cause });
    }
    /** The ids of `<extra_id_0>`, `<extra_id_1>`, ... @type {number[]} */
    this.sentinels = [];
    for (let id; (id = this.tokenizer.token_to_id(`<extra_id_${this.sentinels.length}>`)) !== undefined; ) this.sentinels.push(id);
    /** `k` of each sentinel `<extra_id_k>`, by its id. */
    this.sentinelIndex = new Map(this.sentinels.map((id, k) => [id, k]));
    /** @type {number} */
    this.pad = this.tokenizer.token_to_id("<pad>");
    /** @type {number} */
    this.eos = this.tokenizer.token_to_id("</s>");
    /** @type {Map<string, number[]>} */
    this.cache = new Map();
    this.#check();
  }

  #check() {
    const [first, second] = this.sentinels;
    const together = this.encodeText("<extra_id_0> word <extra_id_1>");
    const apart = [first, ...this.word("word"), second];
    if (this.pad === undefined || this.eos === undefined || together.join() !== apart.join()) {
      const message = `\`tokenizer.json\` is not that of a T5: a word after a sentinel has the ids ${together}, expected ${apart}`;
      throw new HyperloaderError("damaged-file", message);
    }
  }

  /** The most words that a sentence can have: one fewer than there are sentinels. */
  get maxWords() {
    return Math.max(0, this.sentinels.length - 1);
  }

  /**
   * Ids of a text as it stands, without `</s>`.
   *
   * @param {string} text
   * @returns {number[]}
   */
  encodeText(text) {
    return this.tokenizer.encode(text, { add_special_tokens: false }).ids;
  }

  /**
   * Ids of one word or tag by itself.
   *
   * @param {string} word
   */
  word(word) {
    let ids = this.cache.get(word);
    if (!ids) {
      ids = this.encodeText(word);
      if (this.cache.size < CACHED_WORDS) this.cache.set(word, ids);
    }
    return ids;
  }

  /**
   * The text of ids without special ones, split at white space.
   *
   * @param {number[]} ids
   * @returns {string[]}
   */
  decodeWords(ids) {
    if (ids.length === 0) return [];
    const options = { skip_special_tokens: true, clean_up_tokenization_spaces: false };
    const words = [""];
    for (const c of this.tokenizer.decode(ids, options)) {
      if (isWhitespace(c)) words.push("");
      else words[words.length - 1] += c;
    }
    return words.filter((word) => word !== "");
  }
}
