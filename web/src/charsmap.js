/**
 * SentencePiece's table of characters (`precompiled_charsmap` of a tokenizer.json), by which text is normalized.
 *
 * `@huggingface/tokenizers` approximates it by NFKC. Words with unusual characters would get other ids than in `hl-run`, so this
 * module reads the table as the crate `spm_precompiled` does: a double array of Darts, then the replacements, each ended by 0.
 */
export class Charsmap {
  /** @param {string} base64 */
  constructor(base64) {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    const size = bytes.length < 4 ? 1 : view.getUint32(0, true);
    if (size % 4 !== 0 || size === 0 || 4 + size > bytes.length) throw new Error("`precompiled_charsmap` is damaged");
    this.units = new Uint32Array(bytes.buffer.slice(4, 4 + size));
    this.replacements = bytes.subarray(4 + size);
    this.decoder = new TextDecoder();
    this.encoder = new TextEncoder();
    this.graphemes = new Intl.Segmenter("en", { granularity: "grapheme" });
  }

  /**
   * The replacement of the shortest prefix of `key` that the table has.
   *
   * @param {Uint8Array} key
   */
  #found(key) {
    const offset = (/** @type {number} */ unit) => (unit >>> 10) << ((unit & 0x200) >>> 6);
    let place = offset(this.units[0]);
    for (const byte of key) {
      if (byte === 0) return undefined;
      place ^= byte;
      const unit = this.units[place];
      if (unit === undefined || (unit & 0x800000ff) >>> 0 !== byte) return undefined;
      place ^= offset(unit);
      if ((unit >>> 8) & 1) return this.#replacement(this.units[place] & 0x7fffffff);
    }
    return undefined;
  }

  /** @param {number} start */
  #replacement(start) {
    const end = this.replacements.indexOf(0, start);
    return this.decoder.decode(this.replacements.subarray(start, end < 0 ? undefined : end));
  }

  /**
   * The text as the model's vocabulary was made for. Short clusters of characters are looked up as a whole, others one by one.
   *
   * @param {string} text
   */
  normalize(text) {
    let normalized = "";
    for (const { segment } of this.graphemes.segment(text)) {
      const bytes = this.encoder.encode(segment);
      const whole = bytes.length < 6 ? this.#found(bytes) : undefined;
      if (whole !== undefined) {
        normalized += whole;
        continue;
      }
      for (const c of segment) normalized += this.#found(this.encoder.encode(c)) ?? c;
    }
    return normalized;
  }
}
