/**
 * The reasons of a {@link HyperloaderError}:
 *
 * - `missing-file`: a file of the site cannot be read
 * - `damaged-file`: a file has another size or digest than `tagger.json` says, or is not what its name says
 * - `unsupported`: the site needs what this module lacks, such as another version of the format, or `threads` cannot be as asked for
 * - `insecure`: digests cannot be computed, because the page was not loaded by HTTPS or from this machine
 * - `runtime`: ONNX Runtime failed
 * - `closed`: the tagger was closed
 * - `not-text`: a text has a lone surrogate
 * - `too-long`: a text is longer than the tagger takes, and `split` is `"never"`, or a word is longer than the tokenizer takes
 * - `not-finite`: the model computed a number that is infinite or not a number
 *
 * @typedef {"missing-file" | "damaged-file" | "unsupported" | "insecure" | "runtime" | "closed" | "not-text" | "too-long" | "not-finite"} ErrorCode
 */

/** A tagger cannot be opened, or a text cannot be tagged. Arguments of a wrong type are a `TypeError`. */
export class HyperloaderError extends Error {
  /**
   * @param {ErrorCode} code Its reason.
   * @param {string} message What was attempted and what was found.
   * @param {{ cause?: unknown, index?: number }} [options]
   */
  constructor(code, message, { cause, index } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "HyperloaderError";
    /** @type {ErrorCode} Its reason. */
    this.code = code;
    /** @type {number | undefined} The index of the text that cannot be tagged, from 0. */
    this.index = index;
  }
}

/**
 * What a value is, for messages about arguments.
 *
 * @param {unknown} value
 */
export function described(value) {
  if (value === null) return "null";
  return Array.isArray(value) ? "an array" : `of type ${typeof value}`;
}
