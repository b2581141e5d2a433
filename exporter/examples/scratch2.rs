//! scratch
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]
use hyperloader_core::{sentt::SentT, spans::bio_to_sbio};
use hyperloader_runtime::backend::*;
use ndarray::Array2;
fn pad(r: &[Vec<i64>]) -> Array2<i64> { let w = r.iter().map(Vec::len).max().unwrap(); Array2::from_shape_fn((r.len(), w), |(i,j)| r[i].get(j).copied().unwrap_or(0)) }
fn main() {
    let file = std::env::args().nth(1).unwrap();
    let model = hyperloader_onnx::read_model(file.as_ref()).unwrap();
    let names: Vec<String> = model.graph.as_ref().unwrap().output.iter().map(|o| o.name.clone()).collect();
    let codec = SentT::from_file("fixtures/backbones/t5-nano/tokenizer.json").unwrap();
    let ins = std::fs::read_to_string("fixtures/corpora/snips/test/seq.in").unwrap();
    let outs = std::fs::read_to_string("fixtures/corpora/snips/test/seq.out").unwrap();
    let lines: Vec<_> = ins.lines().zip(outs.lines()).skip(48).take(16).collect();
        let src: Vec<Vec<i64>> = lines.iter().map(|(i, _)| codec.encode_source(&i.split_whitespace().collect::<Vec<_>>()).unwrap().into_iter().map(i64::from).collect()).collect();
        let tgt: Vec<Vec<i64>> = lines.iter().map(|(_, o)| { let tags: Vec<&str> = o.split_whitespace().collect(); let s = bio_to_sbio(&tags); std::iter::once(0).chain(codec.encode_target(&s).unwrap().into_iter().map(i64::from)).collect() }).collect();
        let mask = pad(&src.iter().map(|r| vec![1; r.len()]).collect::<Vec<_>>());
        let (src, tgt) = (pad(&src), pad(&tgt));
        let v = |a: &Array2<i64>| Value::from_i64s(a.shape(), a.iter().copied().collect()).unwrap();
    let got: Vec<Vec<Value>> = [BackendKind::Ort, BackendKind::Tract].iter().map(|k| { let mut g = Backend::load(&BackendOptions { kind: *k, ..Default::default() }).unwrap().open_file(file.as_ref()).unwrap(); g.run(&[("input_ids", &v(&src)), ("attention_mask", &v(&mask)), ("decoder_input_ids", &v(&tgt))]).unwrap() }).collect();
    for (k, g) in ["ort", "tract"].iter().zip(&got) {
        let t = names.iter().zip(g).map(|(n, v)| (n.clone(), ndarray::ArrayD::from_shape_vec(v.shape(), v.f32s().unwrap().to_vec()).unwrap())).collect();
        hyperloader_core::tensors::write_tensors(format!("/tmp/exp/{k}.safetensors").as_ref(), &t).unwrap();
    }
    for (i, n) in names.iter().enumerate() {
        let (a, b) = (got[0][i].f32s().unwrap(), got[1][i].f32s().unwrap());
        let m = a.iter().fold(0f32, |m, x| if x.abs() < 1e8 { m.max(x.abs()) } else { m });
        let d = a.iter().zip(b).fold(0f32, |m, (x, y)| if x.abs() < 1e8 { m.max((x - y).abs()) } else { m });
        println!("{:.1e} abs {:.1e} of {:.1e}  {n}", d / m, d, m);
    }
}
