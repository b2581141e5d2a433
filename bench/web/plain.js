/**
 * Plain greedy decoding, as docs/examples/tag.py does it: one run of the whole graph for each id of the target.
 *
 * @param {any} ort ONNX Runtime.
 * @param {any} session A session on the exported file.
 * @param {number[]} source Source ids.
 * @param {{ decoder_start_token_id: number, eos_token_id: number, max_target_len: number }} metadata
 */
export async function plainGreedy(ort, session, source, metadata) {
  const integers = (/** @type {number[]} */ ids) => new ort.Tensor("int64", BigInt64Array.from(ids, BigInt), [1, ids.length]);
  const feeds = { input_ids: integers(source), attention_mask: integers(source.map(() => 1)) };
  const target = [metadata.decoder_start_token_id];
  while (target.length <= metadata.max_target_len) {
    const { logits } = await session.run({ ...feeds, decoder_input_ids: integers(target) });
    const last = logits.data.subarray(logits.data.length - logits.dims[2]);
    let best = 0;
    for (let id = 1; id < last.length; id += 1) if (last[id] > last[best]) best = id;
    target.push(best);
    if (best === metadata.eos_token_id) break;
  }
  return target.slice(1);
}
