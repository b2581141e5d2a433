use super::*;
use crate::backend::{Backend, BackendKind, BackendOptions, Value};
use crate::common::{lexicon_tagger, many_sources};
use crate::model::Parts;
use crate::model_file::ModelFile;

#[test]
fn values_of_one_backend_are_inputs_of_another() {
    let load = |kind| Backend::load(&BackendOptions { kind, ..Default::default() }).unwrap();
    let [ort, tract] = [BackendKind::Ort, BackendKind::Tract].map(load);
    let file = ModelFile::open(lexicon_tagger()).unwrap();
    let Parts { model, metadata, .. } = file.parts();
    let (names, cache) = (memory_names(metadata), cache_names(metadata));
    let encoder = encoder(model, &names, false).unwrap();
    let decoder = decoder(model, &names, &cache, Chosen::Ids).unwrap();
    let source = &many_sources()[3];
    let input_ids =
        Value::from_i64s(&[1, source.len()], source.iter().map(|&id| i64::from(id)).collect()).unwrap();
    let mask = Value::from_i64s(&[1, source.len()], vec![1; source.len()]).unwrap();
    let (start, wanted) = (Value::from_i64s(&[1, 1], vec![0]), Value::from_i64s(&[1], vec![0]));
    let (start, wanted) = (start.unwrap(), wanted.unwrap());
    let position = Value::from_i64s(&[1, 1, 1], vec![0]).unwrap();
    let [heads, d_kv] = cache_shape(model.graph.as_ref().unwrap(), &cache[0]).unwrap();
    let nothing = Value::from_f32s(&[1, heads, 0, d_kv], vec![]).unwrap();
    let past: Vec<String> = cache.iter().map(|name| past(name)).collect();
    for (first, second) in [(&ort, &tract), (&tract, &ort)] {
        let memory = first
            .open(&encoder, None)
            .unwrap()
            .run(&[(INPUT_IDS, &input_ids), (ATTENTION_MASK, &mask)])
            .unwrap();
        let mut inputs = vec![(DECODER_INPUT_IDS, &start), (ATTENTION_MASK, &mask), (WANTED, &wanted)];
        inputs.extend([(QUERY_POSITIONS, &position), (KEY_POSITIONS, &position)]);
        inputs.extend(past.iter().map(|name| (name.as_str(), &nothing)));
        inputs.extend(names.iter().map(String::as_str).zip(&memory));
        let next = second.open(&decoder, None).unwrap().run(&inputs).unwrap();
        assert_eq!((next[0].shape(), next[0].i64s().unwrap().len()), (vec![1, 1], 1));
        assert!(next[0].f32s().is_err());
    }
}
