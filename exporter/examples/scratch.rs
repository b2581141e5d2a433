//! scratch
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]
use hyperloader_core::{backbone::Backbone, run::*, sentt::SentT, spans::bio_to_sbio};
use hyperloader_exporter::{materialise::task_weights, model::TaskModel, reference::*};
use hyperloader_runtime::backend::*;
use ndarray::Array2;
fn pad(r: &[Vec<i64>]) -> Array2<i64> {
    let w = r.iter().map(Vec::len).max().unwrap();
    Array2::from_shape_fn((r.len(), w), |(i, j)| r[i].get(j).copied().unwrap_or(0))
}
fn main() {
    let run = Run::open("fixtures/runs/nano".as_ref()).unwrap();
    let t5 = run.manifest.t5.clone();
    let ck = run.read(run.checkpoint(Which::Best).unwrap()).unwrap();
    let task = std::env::args().nth(1).unwrap();
    let file = std::env::args().nth(2).unwrap();
    let n: usize = std::env::args().nth(3).unwrap().parse().unwrap();
    let w = task_weights(&run.manifest.method, &t5, &ck, &task).unwrap();
    let bb = run.backbone(None).unwrap();
    let codec = SentT::from_file(bb.tokenizer()).unwrap();
    let trained = t5.norms().into_iter().map(|n| (n.clone(), ck[&n].clone())).collect();
    let model = TaskModel::new(bb, trained, w);
    let _ = Backbone::open;
    let ins = std::fs::read_to_string("fixtures/corpora/snips/test/seq.in").unwrap();
    let outs = std::fs::read_to_string("fixtures/corpora/snips/test/seq.out").unwrap();
    let kinds = [BackendKind::Ort, BackendKind::Tract];
    let mut graphs: Vec<_> = kinds
        .iter()
        .map(|k| {
            Backend::load(&BackendOptions { kind: *k, ..Default::default() })
                .unwrap()
                .open_file(file.as_ref())
                .unwrap()
        })
        .collect();
    let lines: Vec<_> = ins.lines().zip(outs.lines()).take(n).collect();
    let mut most = [0f64; 4];
    let mut maxabs = 0f64;
    for chunk in lines.chunks(16) {
        let src: Vec<Vec<i64>> = chunk
            .iter()
            .map(|(i, _)| {
                codec
                    .encode_source(&i.split_whitespace().collect::<Vec<_>>())
                    .unwrap()
                    .into_iter()
                    .map(i64::from)
                    .collect()
            })
            .collect();
        let tgt: Vec<Vec<i64>> = chunk
            .iter()
            .map(|(_, o)| {
                let tags: Vec<&str> = o.split_whitespace().collect();
                let s = bio_to_sbio(&tags);
                std::iter::once(0)
                    .chain(codec.encode_target(&s).unwrap().into_iter().map(i64::from))
                    .collect()
            })
            .collect();
        let mask = pad(&src.iter().map(|r| vec![1; r.len()]).collect::<Vec<_>>());
        let (src, tgt) = (pad(&src), pad(&tgt));
        let r = Reference::new(&model, Form::Folded);
        let e = r.encode(&src, &mask).unwrap();
        let exact: Vec<f64> = r.decode(&e, &mask, &tgt).unwrap().into_rows().into_iter().collect();
        maxabs = exact.iter().fold(maxabs, |m, x| m.max(x.abs()));
        let v = |a: &Array2<i64>| Value::from_i64s(a.shape(), a.iter().copied().collect()).unwrap();
        let got: Vec<Vec<f64>> = graphs
            .iter_mut()
            .map(|g| {
                let o = g
                    .run(&[
                        ("input_ids", &v(&src)),
                        ("attention_mask", &v(&mask)),
                        ("decoder_input_ids", &v(&tgt)),
                    ])
                    .unwrap();
                o[0].f32s().unwrap().iter().map(|x| f64::from(*x)).collect()
            })
            .collect();
        let d = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        most[0] = most[0].max(d(&exact, &got[0]));
        most[1] = most[1].max(d(&exact, &got[1]));
        most[2] = most[2].max(d(&got[0], &got[1]));
        println!(
            "ort {:.1e} tract {:.1e} ort-tract {:.1e}",
            d(&exact, &got[0]),
            d(&exact, &got[1]),
            d(&got[0], &got[1])
        );
    }
    println!(
        "max: exact-ort {:.2e} exact-tract {:.2e} ort-tract {:.2e}; |logit| {maxabs:.1}",
        most[0], most[1], most[2]
    );
}
