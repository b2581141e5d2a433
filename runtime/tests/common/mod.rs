//! A tiny tagger with the interface of an exported one, whose tags are known: it looks each word up in a lexicon.
//!
//! Its parts are those of a T5: a decoder of two blocks attends to its own tokens and to the encoder's output and writes
//! into the space of the embedding. In block 0, the query is the last target token. The self-attention looks at the token
//! before it: after `<extra_id_1>` and a tag comes `<extra_id_2>`. A key of the cross-attention is the token before a
//! source token, and its value is the embedding of that token's tag: after `<extra_id_1>` the tag of the word after
//! `<extra_id_1>` is read off. Block 1 adds noise, so that no number is round.
#![allow(dead_code, reason = "not every test uses every part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use hyperloader_core::format::tagger::{
    ATTENTION_MASK, DECODER_HIDDEN_STATES, DECODER_INPUT_IDS, DRAFT_TAGS, ENCODER_HIDDEN_STATES, FORMAT,
    INPUT_IDS, KEY_POSITIONS, LOGITS, QUERY_POSITIONS, TaggerKind, TaggerMetadata, cross_key, cross_value,
    self_key, self_value,
};
use hyperloader_core::text::drafter::ROLES;
use hyperloader_core::text::sentt::SentT;
use hyperloader_core::text::words::{WordRule, WordSplitting};
use hyperloader_onnx::{Bytes, Dim, ElementType, GraphBuilder, Opset, Value, Weight, write_model};
use serde_json::{Value as Json, json};

/// Words and their sBIO tags. `skip` gets no tag at all, and nothing ends a sentence with `forever`.
const LEXICON: [(&str, &str); 13] = [
    ("set", "O"),
    ("an", "O"),
    ("alarm", "O"),
    ("for", "O"),
    ("7", "date_time"),
    ("am", "I"),
    ("call", "O"),
    ("caf\u{e9}", "place"),
    ("paris", "place"),
    (".", "O"),
    ("skip", "<unk>"),
    ("forever", "forever"),
    ("new", "place"),
];
const TAGS: [&str; 4] = ["O", "I", "date_time", "place"];
/// `<extra_id_0>` to `<extra_id_11>`: 11 words at most.
const SENTINELS: usize = 12;
const WIDTH: usize = 64;
const HEADS: usize = 2;

/// Longest source in tokens: ten words of the lexicon.
pub(crate) const MAX_SOURCE_LEN: usize = 22;
/// Longest target in tokens.
pub(crate) const MAX_TARGET_LEN: usize = 24;

/// An error and its causes, one per line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join("\n  caused by: ")
}

/// The tagger's file, written once by each test program.
pub(crate) fn lexicon_tagger() -> &'static Path {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| {
        // Cargo sets the variable for the programs in `tests`, not for unit tests.
        let folder = option_env!("CARGO_TARGET_TMPDIR").map_or_else(std::env::temp_dir, PathBuf::from);
        let path = folder.join(format!("lexicon-{}.onnx", std::process::id()));
        std::fs::write(&path, lexicon_bytes(&metadata())).unwrap();
        path
    })
}

/// The tagger's metadata.
pub(crate) fn metadata() -> TaggerMetadata {
    TaggerMetadata {
        format: FORMAT,
        kind: TaggerKind::EncoderDecoder,
        task: "lexicon".into(),
        labels: vec!["date_time".into(), "place".into()],
        words: WordSplitting { rule: WordRule::Punctuation, lowercase: true },
        word_fit: None,
        sentence_words: None,
        max_source_len: MAX_SOURCE_LEN,
        max_target_len: MAX_TARGET_LEN,
        pad_token_id: 0,
        eos_token_id: 1,
        decoder_start_token_id: 0,
        decoder_layers: 2,
        memory: vec![],
        source_prefix: String::new(),
        method: "none".into(),
        run: "lexicon".into(),
        step: 0,
        checkpoint_sha256: "00".into(),
        backbone_sha256: "ff".into(),
        program: "tests".into(),
        drafter: None,
        calibration: None,
        tokenizer: tokenizer().to_string(),
    }
}

/// Sentences of all lengths over the whole lexicon.
pub(crate) fn many_sources() -> Vec<Vec<u32>> {
    let words = ["set", "7", "am", "paris", "skip", "unheard", "new", "caf\u{e9}", "forever", "."];
    let codec = SentT::from_bytes(metadata().tokenizer.as_bytes()).unwrap();
    let sentence =
        |k: usize| (0..1 + k % 9).map(|at| words[(k * 7 + at * 3) % words.len()]).collect::<Vec<_>>();
    (0..60).map(|k| codec.encode_source(&sentence(k)).unwrap()).collect()
}

/// The bytes of the tagger with `metadata`.
pub(crate) fn lexicon_bytes(metadata: &TaggerMetadata) -> Vec<u8> {
    model_bytes(metadata.to_properties().unwrap())
}

/// The bytes of the tagger with a drafter that scores each word's tag of the lexicon with `sign`, all others with 0.
pub(crate) fn with_drafter(sign: f32) -> Vec<u8> {
    let tags = vec![vec![0.0; TAGS.len()]; TAGS.len()];
    drafter_bytes(&TaggerMetadata { drafter: Some(tags.try_into().unwrap()), ..metadata() }, sign)
}

/// The same with any metadata.
pub(crate) fn drafter_bytes(metadata: &TaggerMetadata, sign: f32) -> Vec<u8> {
    bytes(metadata.to_properties().unwrap(), Some(sign))
}

/// The bytes of the graph with any metadata.
pub(crate) fn model_bytes(properties: BTreeMap<String, String>) -> Vec<u8> {
    bytes(properties, None)
}

fn bytes(properties: BTreeMap<String, String>, drafter: Option<f32>) -> Vec<u8> {
    let mut graph = GraphBuilder::new("lexicon", Opset::default());
    build(&mut graph, drafter);
    let built = graph.finish().unwrap().with_metadata(properties);
    let weights = weights();
    let mut bytes = Vec::new();
    let elements = |weight: &Weight| -> Result<Bytes, std::io::Error> {
        Ok(weights[weight.name.as_str()].iter().flat_map(|number| number.to_le_bytes()).collect())
    };
    write_model(&mut bytes, &built, elements).unwrap();
    bytes
}

/// Pieces by id, as T5 orders them.
fn pieces() -> Vec<String> {
    let special = ["<pad>", "</s>", "<unk>", "\u{2581}"].map(str::to_owned);
    let words = LEXICON.iter().map(|(word, _)| *word).chain(TAGS).map(|word| format!("\u{2581}{word}"));
    let sentinels = (0..SENTINELS).rev().map(|k| format!("<extra_id_{k}>"));
    special.into_iter().chain(words).chain(sentinels).collect()
}

fn id(piece: &str) -> usize {
    let word = format!("\u{2581}{piece}");
    pieces().iter().position(|known| known == piece || *known == word).unwrap()
}

/// A T5 tokenizer in small: unigram pieces that begin with a blank, sentinels at the end of the vocabulary.
fn tokenizer() -> Json {
    let pieces = pieces();
    let special = |(id, piece): (usize, &String)| {
        json!({
            "id": id, "content": piece, "special": true,
            "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        })
    };
    let is_special = |piece: &str| piece.starts_with('<');
    let blank =
        json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": true});
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens":
            pieces.iter().enumerate().filter(|(_, piece)| is_special(piece)).map(special).collect::<Vec<_>>(),
        "normalizer": null,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, blank]},
        "post_processor": null,
        "decoder": blank,
        "model": {
            "type": "Unigram",
            "unk_id": 2,
            "vocab": pieces.iter().map(|piece| json!([piece, -3.0])).collect::<Vec<_>>(),
        },
    })
}

fn build(graph: &mut GraphBuilder, drafter: Option<f32>) {
    let source = [Dim::from("batch"), Dim::from("source_len")];
    let target = [Dim::from("batch"), Dim::from("target_len")];
    let input_ids = graph.input(INPUT_IDS, ElementType::I64, &source);
    let attention_mask = graph.input(ATTENTION_MASK, ElementType::I64, &source);
    let decoder_input_ids = graph.input(DECODER_INPUT_IDS, ElementType::I64, &target);

    let mask = graph.cast(attention_mask, ElementType::F32);
    let column = graph.unsqueeze(mask, &[2]);
    let embedded = lookup(graph, "embedding", input_ids);
    let encoded = graph.mul(embedded, column);
    let hidden = |length: &str| [Dim::from("batch"), length.into(), WIDTH.into()];
    graph.name_value(encoded, ENCODER_HIDDEN_STATES, ElementType::F32, &hidden("source_len"));
    let before = shifted(graph, input_ids, encoded);
    let tags = lookup(graph, "tag_of", input_ids);
    let memory =
        [(before, tags), (linear(graph, "noise_key", encoded), linear(graph, "noise_value", encoded))];
    let cross = |block| [cross_key(block), cross_value(block)];
    let memory: Vec<(Value, Value)> = (0..)
        .zip(memory)
        .map(|(block, memory)| named_memory(graph, cross(block), "source_len", memory))
        .collect();

    let row = graph.unsqueeze(mask, &[1, 2]);
    let (one, much) = (graph.f32(1.0), graph.f32(-1e9));
    let hole = graph.sub(one, row);
    let bias = graph.mul(hole, much);
    let last = lookup(graph, "embedding", decoder_input_ids);
    let mut states = lookup(graph, "next_of", decoder_input_ids);
    let look_back = look_back(graph, decoder_input_ids);
    let after = lookup(graph, "after_tag_of", decoder_input_ids);
    let noise = linear(graph, "noise_value", last);
    for (block, ((key, value), own)) in memory.into_iter().zip([after, noise]).enumerate() {
        graph.scoped(&format!("block.{block}"), |graph| {
            let (own_key, own_value) =
                named_memory(graph, [self_key(block), self_value(block)], "target_len", (last, own));
            let read = attend(graph, last, own_key, own_value, look_back);
            states = graph.add(states, read);
            let read = attend(graph, last, key, value, bias);
            states = graph.add(states, read);
        });
    }
    graph.name_value(states, DECODER_HIDDEN_STATES, ElementType::F32, &hidden("target_len"));

    let scale = graph.f32(4.0);
    let states = graph.mul(states, scale);
    let embedding = graph.weight("embedding", ElementType::F32, &[pieces().len(), WIDTH]);
    let head = graph.transpose(embedding, &[1, 0]);
    let logits = graph.matmul(states, head);
    let dims = ["batch".into(), "target_len".into(), pieces().len().into()];
    graph.output(logits, LOGITS, ElementType::F32, &dims);
    if let Some(sign) = drafter {
        let width = ROLES * TAGS.len();
        let table = graph.weight("draft_of", ElementType::F32, &[pieces().len(), width]);
        let scores = graph.gather(table, input_ids, 0);
        let sign = graph.f32(sign);
        let scores = graph.mul(scores, sign);
        graph.output(
            scores,
            DRAFT_TAGS,
            ElementType::F32,
            &["batch".into(), "source_len".into(), width.into()],
        );
    }
}

fn lookup(graph: &mut GraphBuilder, table: &str, ids: Value) -> Value {
    let table = graph.weight(table, ElementType::F32, &[pieces().len(), WIDTH]);
    graph.gather(table, ids, 0)
}

fn linear(graph: &mut GraphBuilder, name: &str, x: Value) -> Value {
    let weight = graph.weight(name, ElementType::F32, &[WIDTH, WIDTH]);
    graph.matmul(x, weight)
}

/// Each position of `x` `[batch, length, width]` gets what the position before it holds, the first nothing.
fn shifted(graph: &mut GraphBuilder, ids: Value, x: Value) -> Value {
    let length = graph.shape(ids, 1, 2);
    let length = graph.squeeze(length, &[0]);
    let (zero, one) = (graph.i64(0), graph.i64(1));
    let positions = graph.range(zero, length, one);
    let positions = graph.cast(positions, ElementType::F32);
    let (row, column) = (graph.unsqueeze(positions, &[1]), graph.unsqueeze(positions, &[0]));
    // 1 where row - column is 1, else 0.
    let one = graph.f32(1.0);
    let distance = graph.sub(row, column);
    let off = graph.sub(distance, one);
    let off = graph.mul(off, off);
    let near = graph.sub(one, off);
    let before = graph.relu(near);
    graph.matmul(before, x)
}

fn split_heads(graph: &mut GraphBuilder, x: Value) -> Value {
    let heads = graph.reshape(x, &[0, 0, HEADS as i64, (WIDTH / HEADS) as i64]);
    graph.transpose(heads, &[0, 2, 1, 3])
}

fn named_memory(
    graph: &mut GraphBuilder,
    names: [String; 2],
    length: &str,
    (key, value): (Value, Value),
) -> (Value, Value) {
    let dims = ["batch".into(), HEADS.into(), length.into(), (WIDTH / HEADS).into()];
    let (key, value) = (split_heads(graph, key), split_heads(graph, value));
    graph.name_value(key, &names[0], ElementType::F32, &dims);
    graph.name_value(value, &names[1], ElementType::F32, &dims);
    (key, value)
}

/// Lets each target token look at the one before it, and the first at itself: `[1, heads, target_len, target_len]`.
fn look_back(graph: &mut GraphBuilder, ids: Value) -> Value {
    let length = graph.shape(ids, 1, 2);
    let length = graph.squeeze(length, &[0]);
    let (zero, one) = (graph.i64(0), graph.i64(1));
    let positions = graph.range(zero, length, one);
    let (queries, keys) = (graph.unsqueeze(positions, &[0, 2]), graph.unsqueeze(positions, &[0, 1]));
    graph.name_value(queries, QUERY_POSITIONS, ElementType::I64, &[1.into(), "target_len".into(), 1.into()]);
    graph.name_value(keys, KEY_POSITIONS, ElementType::I64, &[1.into(), 1.into(), "target_len".into()]);
    let distance = graph.sub(keys, queries);
    let farthest = graph.i64(-2);
    let distance = graph.max(distance, farthest);
    let distance = graph.min(distance, one);
    let column = graph.sub(distance, farthest);
    let table = graph.weight("by_distance", ElementType::F32, &[HEADS, 4]);
    let bias = graph.gather(table, column, 1);
    graph.transpose(bias, &[1, 0, 2, 3])
}

fn attend(graph: &mut GraphBuilder, query: Value, key: Value, value: Value, bias: Value) -> Value {
    let query = split_heads(graph, query);
    let key = graph.transpose(key, &[0, 1, 3, 2]);
    let scores = graph.matmul(query, key);
    let sharpness = graph.f32(60.0);
    let scores = graph.mul(scores, sharpness);
    let scores = graph.add(scores, bias);
    let weights = graph.softmax(scores, -1);
    let read = graph.matmul(weights, value);
    let read = graph.transpose(read, &[0, 2, 1, 3]);
    graph.reshape(read, &[0, 0, WIDTH as i64])
}

/// Elements of each weight, row major.
fn weights() -> BTreeMap<&'static str, Vec<f32>> {
    let pieces = pieces();
    let mut random = Random(7);
    // Random signs: rows are of length 1 and nearly orthogonal.
    let sign = |random: &mut Random| if random.next() < 0.0 { -0.125 } else { 0.125 };
    let embedding: Vec<f32> = (0..pieces.len() * WIDTH).map(|_| sign(&mut random)).collect();
    // Rows of `pairs`' first members hold the embedding of the second, `factor` times.
    let table = |factor: f32, pairs: Vec<(usize, usize)>| {
        let mut table = vec![0.0; embedding.len()];
        for (from, to) in pairs {
            for column in 0..WIDTH {
                table[from * WIDTH + column] = factor * embedding[to * WIDTH + column];
            }
        }
        table
    };
    let sentinel = |k: usize| id(&format!("<extra_id_{k}>"));
    let (end, blank, unknown, forever) = (id("</s>"), 3, id("<unk>"), id("forever"));
    let tags = LEXICON.iter().map(|(word, tag)| (id(word), id(tag)));
    let tags = tags.chain([(end, end), (blank, id("O")), (unknown, id("O"))]).collect();
    let next = vec![(id("<pad>"), sentinel(0)), (forever, forever)];
    let after_tag = (1..SENTINELS).map(|k| (sentinel(k - 1), sentinel(k))).collect();
    // A word's first token is the second of the roles.
    let mut draft = vec![0.0; pieces.len() * ROLES * TAGS.len()];
    for (word, tag) in LEXICON {
        let tag = TAGS.iter().position(|known| *known == tag).unwrap_or(0);
        draft[id(word) * ROLES * TAGS.len() + TAGS.len() + tag] = 1.0;
    }
    let noise = |random: &mut Random| (0..WIDTH * WIDTH).map(|_| 0.02 * random.next()).collect();
    BTreeMap::from([
        ("tag_of", table(1.0, tags)),
        ("next_of", table(9.0, next)),
        ("after_tag_of", table(3.0, after_tag)),
        ("noise_key", noise(&mut random)),
        ("noise_value", noise(&mut random)),
        ("draft_of", draft),
        // By distance: two tokens before and farther, one before, itself, after.
        ("by_distance", [-1e9, 150.0, 0.0, -1e9].repeat(HEADS)),
        ("embedding", embedding),
    ])
}

/// Numbers in -1..1 (Knuth's MMIX generator).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }
}
