import { OUTSIDE } from "./grammar.js";

/** @typedef {import("./grammar.js").Grammar} Grammar */

/**
 * What is known about a sentence before the decoder has run.
 *
 * @typedef {object} Sentence
 * @property {number} words Number of words.
 * @property {Float32Array[]} scores The drafter's scores of each word, `[words][tags]`; empty without a drafter.
 */

/**
 * A drafted tag: the word, the tag, the tag of the word before, and the position of its first id in the whole target.
 *
 * @typedef {{ word: number, tag: number, previous: number, start: number }} Slot
 */

/**
 * The decoder's choices after a wrong drafted id: tags by word, each with the tag before in that input, and all ids.
 *
 * @typedef {{ tags: Map<number, { tag: number, previous: number }>, ids: number[] }} Hints
 */

/** Ids that are drafted at once after a target that is not well-formed. */
export const ASTRAY = 16;

/** @returns {Hints} */
export const noHints = () => ({ tags: new Map(), ids: [] });

/**
 * `ids`, extended by what is `next` up to `length` ids.
 *
 * @param {number[]} ids
 * @param {number} length
 * @param {(ids: number[]) => number | undefined} next
 */
export function extended(ids, length, next) {
  const found = [...ids];
  while (found.length < length) {
    const id = next(found);
    if (id === undefined) break;
    found.push(id);
  }
  return found;
}

/**
 * The id that followed the last two ids when they occurred before.
 *
 * @param {number[]} ids
 * @returns {number | undefined}
 */
export function repeated(ids) {
  const [first, second] = ids.slice(-2);
  for (let at = ids.length - 3; at >= 0 && second !== undefined; at -= 1) {
    if (ids[at] === first && ids[at + 1] === second) return ids[at + 2];
  }
  return undefined;
}

/**
 * How many ids at the beginning of two lists are the same.
 *
 * @param {number[]} a
 * @param {number[]} b
 */
export function agreement(a, b) {
  let at = 0;
  while (at < a.length && at < b.length && a[at] === b[at]) at += 1;
  return at;
}

/** Drafts the probable rest of a target, as `hl-run` does. */
export class Drafter {
  /**
   * @param {Grammar} grammar
   * @param {number[][] | undefined} transitions What the previous tag adds to the score of each tag, `[tags][tags]`.
   */
  constructor(grammar, transitions) {
    this.grammar = grammar;
    this.transitions = transitions;
  }

  /**
   * The most likely rest of `target`, to the end.
   *
   * @param {Sentence} sentence
   * @param {number[]} target
   * @param {Hints} hints
   * @returns {{ ids: number[], slots: Slot[] }}
   */
  draft(sentence, target, hints) {
    const { grammar } = this;
    if (!grammar.isInOrder(target, sentence.words)) return { ids: this.#astray(target, hints.ids), slots: [] };
    const { opened, partial } = grammar.place(target);
    if (opened > sentence.words) return { ids: [grammar.codec.eos], slots: [] };
    /** @type {number[]} */
    const ids = [];
    /** @type {Slot[]} */
    const slots = [];
    let previous = OUTSIDE;
    if (opened > 0) {
      const before = this.#tagBefore(target, partial);
      const tag = this.#tag(sentence, opened - 1, before, partial, hints);
      if (tag !== undefined) {
        slots.push({ word: opened - 1, tag, previous: before, start: target.length - partial.length });
        ids.push(...grammar.ids[tag].slice(partial.length));
        previous = tag;
      }
    }
    for (let word = opened; word < sentence.words; word += 1) {
      ids.push(...grammar.sentinel(word));
      const tag = this.#tag(sentence, word, previous, [], hints) ?? OUTSIDE;
      slots.push({ word, tag, previous, start: target.length + ids.length });
      ids.push(...grammar.ids[tag]);
      previous = tag;
    }
    ids.push(...grammar.sentinel(sentence.words), grammar.codec.eos);
    return { ids, slots };
  }

  /**
   * The rest of a target whose sentinels are out of order: the decoder's `choices`, then as the target went on after the same two
   * ids or, if they are new, with the next word.
   *
   * @param {number[]} target
   * @param {number[]} choices
   */
  #astray(target, choices) {
    const end = choices.indexOf(this.grammar.codec.eos);
    const begun = [...target, ...(end < 0 ? choices : choices.slice(0, end))];
    const next = (/** @type {number[]} */ ids) => repeated(ids) ?? this.grammar.nextRepeated(ids);
    return extended(begun, target.length + ASTRAY, next).slice(target.length);
  }

  /**
   * What the decoder's choices at the positions of `target` from `from` on say about the words after the first choice that differs.
   *
   * @param {Sentence} sentence
   * @param {number[]} target
   * @param {Slot[]} slots
   * @param {number} from
   * @param {number[]} choices
   * @returns {Hints}
   */
  hints(sentence, target, slots, from, choices) {
    const hints = noHints();
    hints.ids = choices.slice(agreement(choices, target.slice(from)) + 1);
    for (const { word, tag, previous, start } of slots) {
      if (start < from) continue;
      const chosen = choices.slice(start - from);
      const drafted = target.slice(start);
      const { length } = this.grammar.ids[tag];
      const agreed = agreement(chosen.slice(0, length + 1), drafted);
      const found = agreed > length ? tag : this.#chosen(sentence, { word, previous }, drafted.slice(0, agreed), chosen[agreed]);
      if (found !== undefined) hints.tags.set(word, { tag: found, previous });
    }
    return hints;
  }

  /**
   * The tag that a differing choice begins, or the shorter tag that it ends.
   *
   * @param {Sentence} sentence
   * @param {{ word: number, previous: number }} slot
   * @param {number[]} agreed
   * @param {number | undefined} choice
   */
  #chosen(sentence, { word, previous }, agreed, choice) {
    if (choice === undefined) return undefined;
    return this.#likeliest(sentence, word, previous, [...agreed, choice]) ?? this.grammar.tag(agreed);
  }

  /**
   * The likeliest tag of `word` after `previous` whose ids begin with `partial`.
   *
   * @param {Sentence} sentence
   * @param {number} word
   * @param {number} previous
   * @param {number[]} partial
   * @param {Hints} hints
   */
  #tag(sentence, word, previous, partial, hints) {
    const hint = hints.tags.get(word);
    // The decoder's choice after the same tag is more reliable than the drafter's scores.
    const fits =
      hint &&
      (hint.previous === previous || sentence.scores.length === 0) &&
      agreement(this.grammar.ids[hint.tag], partial) === partial.length;
    return fits ? hint.tag : this.#likeliest(sentence, word, previous, partial);
  }

  /**
   * @param {Sentence} sentence
   * @param {number} word
   * @param {number} previous
   * @param {number[]} partial
   * @returns {number | undefined}
   */
  #likeliest(sentence, word, previous, partial) {
    const tags = this.grammar.tagsFrom(partial).filter((tag) => this.grammar.mayFollow(tag, previous));
    const scores = sentence.scores[word];
    const row = this.transitions?.[previous];
    if (!scores || !row) return tags[0];
    const score = (/** @type {number} */ tag) => Math.fround(scores[tag] + Math.fround(row[tag]));
    return tags.reduce((/** @type {number | undefined} */ best, tag) => (best === undefined || score(tag) > score(best) ? tag : best), undefined);
  }

  /**
   * The tag before the last sentinel of `target`, which `partial` follows.
   *
   * @param {number[]} target
   * @param {number[]} partial
   */
  #tagBefore(target, partial) {
    const before = target.slice(0, target.length - partial.length - 1);
    return this.grammar.tag(this.grammar.place(before).partial) ?? OUTSIDE;
  }
}
