import { ASTRAY, agreement, extended, noHints, repeated } from "./drafter.js";

/** @typedef {import("./drafter.js").Drafter} Drafter */
/** @typedef {import("./drafter.js").Sentence} Sentence */

/** After as many passes in a row that accept no drafted id, drafts are abandoned. */
const PATIENCE = 3;

/**
 * Limits of targets: the id of `</s>`, the most ids, and the size of the graph's vocabulary.
 *
 * @typedef {{ eos: number, maxTargetLen: number, vocabSize: number }} Limits
 */

/**
 * The logarithm of an id's probability, and by how much it exceeds that of the best other id that would make another tag.
 *
 * @typedef {{ logProbability: number, margin: number }} IdScore
 */

/**
 * What a pass chooses: an id for each undecided position, their scores, and the index of the first choice that a number decided
 * which is not finite.
 *
 * @typedef {{ ids: number[], scores: IdScore[], faulty: number | undefined }} Choices
 */

/** A target while it grows: certain ids, then drafted ids. */
export class Row {
  /**
   * @param {Sentence} sentence
   * @param {Limits} limits
   * @param {Drafter | undefined} drafter Absent if ids are chosen one by one.
   */
  constructor(sentence, limits, drafter) {
    this.sentence = sentence;
    this.limits = limits;
    this.drafter = drafter;
    /** @type {number[]} */
    this.target = [];
    /** Number of certain ids. */
    this.accepted = 0;
    /** The score of each certain id. @type {IdScore[]} */
    this.scores = [];
    /** Whether a number that decided a certain id was not finite. */
    this.isFaulty = false;
    /** @type {import("./drafter.js").Slot[]} */
    this.slots = [];
    /** Passes in a row that accepted no drafted id. */
    this.failures = 0;
    this.ended = limits.maxTargetLen === 0;
    this.passes = 0;
    this.draft(noHints());
  }

  /** Where the positions that the next pass decides end; they begin at the first id that is not certain. */
  get undecidedEnd() {
    const { target, limits } = this;
    const ends = target.length > this.accepted && target[target.length - 1] === limits.eos;
    return Math.min(target.length + (ends ? 0 : 1), limits.maxTargetLen);
  }

  /**
   * Drafts the rest after the certain ids. If drafts have failed too often, the draft only repeats the target's own ids: a model
   * that does not end its target usually repeats itself.
   *
   * @param {import("./drafter.js").Hints} hints
   */
  draft(hints) {
    const { limits } = this;
    this.slots = [];
    if (!this.drafter || this.ended) return;
    if (this.failures >= PATIENCE) {
      this.target = extended(this.target, Math.min(limits.maxTargetLen, this.accepted + ASTRAY), repeated);
      return;
    }
    const { ids, slots } = this.drafter.draft(this.sentence, this.target, hints);
    // The tokenizer may have ids that the graph has no rows for.
    const unknown = ids.findIndex((id) => id >= limits.vocabSize);
    this.target = [...this.target, ...(unknown < 0 ? ids : ids.slice(0, unknown))].slice(0, limits.maxTargetLen);
    this.slots = slots;
  }

  /**
   * Takes the decoder's choices: the drafted ids up to the first that the decoder does not choose, and the choice there. Then the
   * rest is drafted anew.
   *
   * @param {Choices} choices
   */
  take({ ids: choices, scores, faulty }) {
    const from = this.accepted;
    const drafted = this.target.slice(from);
    const agreed = agreement(choices, drafted);
    const taken = Math.min(choices.length, agreed + 1);
    // A fault after a wrong drafted id decides nothing.
    if (faulty !== undefined && faulty < taken) {
      this.isFaulty = true;
      this.ended = true;
      return;
    }
    const isMistaken = agreed < Math.min(drafted.length, choices.length);
    const hints =
      this.drafter && isMistaken
        ? this.drafter.hints(this.sentence, this.target, this.slots, from, choices)
        : noHints();
    if (drafted.length > 0 && this.failures < PATIENCE) this.failures = agreed > 0 ? 0 : this.failures + 1;
    this.passes += 1;
    if (agreed < choices.length) this.target = [...this.target.slice(0, from + agreed), choices[agreed]];
    this.accepted = from + taken;
    this.scores.push(...scores.slice(0, taken));
    this.ended =
      choices.length === 0 ||
      this.target[this.accepted - 1] === this.limits.eos ||
      this.accepted >= this.limits.maxTargetLen;
    if (this.ended) this.target = this.target.slice(0, this.accepted);
    else if (this.target.length === this.accepted) this.draft(hints);
  }
}
