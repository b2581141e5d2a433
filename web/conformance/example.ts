import { HyperloaderError, Tagger } from "hyperloader";

declare const process: { argv: string[] };

const tagger = await Tagger.open(process.argv[2]);
const texts: string[] = ["set an alarm for 7 am", "half of a \ud83d smiley"];
for (const result of await tagger.tag(texts, { errors: "return", offsets: "chars" })) {
  if (result instanceof HyperloaderError) console.log(result.code, result.index);
  else for (const { start, end, label, score } of result.spans) console.log(start, end, label, score.toFixed(1));
}
