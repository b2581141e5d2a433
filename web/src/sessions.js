import { HyperloaderError } from "./errors.js";
import { ort } from "./vendor.js";

/** Whether ONNX Runtime has begun to run: its threads cannot be changed then. */
let hasBegun = false;

/**
 * Sets the threads of ONNX Runtime, which would ignore a number that it cannot have.
 *
 * @param {number} threads
 */
function setThreads(threads) {
  const { wasm } = ort.env;
  const refused = (/** @type {string} */ why) => new HyperloaderError("unsupported", `\`threads\` cannot be ${threads}: ${why}`);
  if (threads > 1 && globalThis.crossOriginIsolated === false) throw refused("the page is not isolated (`crossOriginIsolated`)");
  if (hasBegun && wasm.numThreads !== threads) throw refused(`ONNX Runtime runs with ${wasm.numThreads} already`);
  wasm.numThreads = threads;
}

/**
 * Opens the two graphs of a site. Both refer to the same weights.
 *
 * @param {Awaited<ReturnType<typeof import("./site.js").readSite>>} site
 * @param {number | undefined} threads
 */
export async function openSessions(site, threads) {
  if (threads !== undefined) setThreads(threads);
  hasBegun = true;
  const externalData = [{ path: site.metadata.graphs.weights, data: site.weights }];
  // Warnings would go to the console of each page; errors are thrown.
  const options = { executionProviders: ["wasm"], externalData, logSeverityLevel: /** @type {3} */ (3) };
  const open = async (/** @type {string} */ what, /** @type {Uint8Array} */ model) => {
    try {
      return await ort.InferenceSession.create(model, options);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new HyperloaderError("runtime", `ONNX Runtime cannot open the ${what}: ${reason}`, { cause });
    }
  };
  // One after the other: both copy the weights.
  const encoder = await open("encoder", site.encoder);
  const decoder = await open("decoder", site.decoder).catch(async (error) => {
    await encoder.release();
    throw error;
  });
  const release = async () => {
    await encoder.release();
    await decoder.release();
  };
  return { encoder, decoder, release };
}
