/** The tag `O`. */
export const OUTSIDE = 0;
/** The tag `I`, which continues the span of the word before. */
export const INSIDE = 1;

/**
 * What the beginning of a tag says about the tag.
 *
 * @typedef {object} Prefix
 * @property {number[]} next Ids that may follow, ascending.
 * @property {number | undefined} complete The tag that ends here.
 * @property {number[]} tags The tags that begin so, ascending.
 */

/** @typedef {{ opened: number, partial: number[] }} Place */

/**
 * The ids of a task's targets `s0 t0 s1 t1 ... sL </s>`. Tags are numbers: `O`, `I`, then the labels in their order. A tag may have
 * several ids, and one tag's ids may begin another's.
 */
export class Grammar {
  /**
   * @param {import("./codec.js").Codec} codec
   * @param {string[]} labels
   */
  constructor(codec, labels) {
    this.codec = codec;
    this.names = ["O", "I", ...labels];
    /** Ids of each tag. */
    this.ids = this.names.map((name) => codec.word(name));
    /** @type {Map<string, Prefix>} */
    this.prefixes = new Map();
    this.#prefix([]).tags = this.ids.map((_, tag) => tag);
    this.ids.forEach((ids, tag) => {
      ids.forEach((id, length) => {
        const { next } = this.#prefix(ids.slice(0, length));
        if (!next.includes(id)) next.push(id);
        next.sort((a, b) => a - b);
        this.#prefix(ids.slice(0, length + 1)).tags.push(tag);
      });
      // Of tags with the same ids the first counts.
      if (ids.length > 0) this.#prefix(ids).complete ??= tag;
    });
  }

  /** @param {number[]} ids */
  #prefix(ids) {
    const key = ids.join();
    let prefix = this.prefixes.get(key);
    if (!prefix) {
      prefix = { next: [], complete: undefined, tags: [] };
      this.prefixes.set(key, prefix);
    }
    return prefix;
  }

  /**
   * Whether an id is `<pad>`, `</s>` or a sentinel.
   *
   * @param {number} id
   */
  isSpecial(id) {
    return id === this.codec.pad || id === this.codec.eos || this.codec.sentinelIndex.has(id);
  }

  /**
   * The tag that `ids` spell completely.
   *
   * @param {number[]} ids
   */
  tag(ids) {
    return this.prefixes.get(ids.join())?.complete;
  }

  /**
   * The tags whose ids begin with `partial`, ascending.
   *
   * @param {number[]} partial
   */
  tagsFrom(partial) {
    return this.prefixes.get(partial.join())?.tags ?? [];
  }

  /**
   * Whether `tag` may follow the tag `previous`: `I` needs a span to continue.
   *
   * @param {number} tag
   * @param {number} previous
   */
  mayFollow(tag, previous) {
    return tag !== INSIDE || previous !== OUTSIDE;
  }

  /**
   * The sentinel before word `word`, or after the last word, as a list with that id; empty if the vocabulary lacks it.
   *
   * @param {number} word
   */
  sentinel(word) {
    return this.codec.sentinels.slice(word, word + 1);
  }

  /**
   * The position at the end of `target`: how many words are opened, and the ids after the last sentinel.
   *
   * @param {number[]} target
   * @returns {Place}
   */
  place(target) {
    for (let at = target.length - 1; at >= 0; at -= 1) {
      const word = this.codec.sentinelIndex.get(target[at]);
      if (word !== undefined) return { opened: word + 1, partial: target.slice(at + 1) };
    }
    return { opened: 0, partial: target };
  }

  /**
   * Whether `target` may become well-formed for `words` words.
   *
   * @param {number[]} target
   * @param {number} words
   */
  isInOrder(target, words) {
    let count = 0;
    for (const id of target) {
      const index = this.codec.sentinelIndex.get(id);
      if (index === undefined) continue;
      if (index !== count) return false;
      count += 1;
    }
    const isClosed = target.length > 0 && this.codec.sentinelIndex.get(target[target.length - 1]) === words;
    return count <= words || isClosed;
  }

  /**
   * The ids that may follow `target`, a beginning of a well-formed target for `words` words.
   *
   * @param {number[]} target
   * @param {number} words
   */
  next(target, words) {
    const { opened, partial } = this.place(target);
    if (opened === 0) return this.sentinel(0);
    if (opened > words) return [this.codec.eos];
    const ended = this.tag(partial) === undefined ? [] : this.sentinel(opened);
    return [...(this.prefixes.get(partial.join())?.next ?? []), ...ended];
  }

  /**
   * The id that follows `target` if each word has the tag of the word before; `undefined` before the first tag.
   *
   * @param {number[]} target
   * @returns {number | undefined}
   */
  nextRepeated(target) {
    const { opened, partial } = this.place(target);
    const before = target.length - partial.length - 1;
    if (before < 0) return undefined;
    const tag = this.place(target.slice(0, before)).partial;
    const isBegun = tag.length > partial.length && partial.every((id, at) => id === tag[at]);
    return isBegun ? tag[partial.length] : this.codec.sentinels[opened];
  }
}
