import { HyperloaderError } from "../errors.js";
import { boundaries } from "./boundaries.js";
import { plan } from "./plan.js";

/**
 * What makes sources of words, and their limits.
 *
 * @typedef {object} Encoder
 * @property {(words: string[]) => import("../decoder.js").Source} source
 * @property {(word: string) => number} length The tokens of a word, with those that separate it from the next.
 * @property {number} other All other tokens of a source.
 * @property {number} maxWords
 * @property {number} maxSourceLen
 * @property {import("./plan.js").SentenceWords} [sentenceWords] The words of training sentences, if they are known.
 */

/**
 * A text's words in parts that the tagger takes, and the words that are in no part.
 *
 * @typedef {object} Document
 * @property {import("./plan.js").Part[]} parts
 * @property {import("../decoder.js").Source[]} sources
 * @property {number[]} unread
 */

/**
 * The document of a text: one part if it is within the tagger's limits, else several.
 *
 * @param {Encoder} encoder
 * @param {string} text
 * @param {import("../words.js").Word[]} words
 * @param {"long" | "never"} split
 * @returns {Document}
 */
export function makeDocument(encoder, text, words, split) {
  const texts = words.map((word) => word.text);
  if (words.length === 0) return { parts: [], sources: [], unread: [] };
  const tooLong = (/** @type {number} */ found, /** @type {string} */ unit, /** @type {number} */ limit) => {
    const message = `the text has ${found} ${unit}, the tagger takes at most ${limit}; leave out \`split: "never"\` to have it tagged in parts`;
    return new HyperloaderError("too-long", message);
  };
  if (words.length > encoder.maxWords && split === "never") throw tooLong(words.length, "words", encoder.maxWords);
  if (words.length <= encoder.maxWords) {
    const source = encoder.source(texts);
    const { length } = source.ids;
    if (length <= encoder.maxSourceLen) {
      return { parts: [{ start: 0, end: words.length, continues: false }], sources: [source], unread: [] };
    }
    if (split === "never") throw tooLong(length, "tokens", encoder.maxSourceLen);
  }
  const limits = { words: encoder.maxWords, tokens: Math.max(0, encoder.maxSourceLen - encoder.other), trained: encoder.sentenceWords };
  const { parts, unread } = plan(texts.map(encoder.length), boundaries(text, words), limits);
  return { parts, sources: parts.map(({ start, end }) => encoder.source(texts.slice(start, end))), unread };
}
