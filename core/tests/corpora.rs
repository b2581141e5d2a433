//! The readers on real files: the committed excerpts, and with `--ignored` the whole corpora under `HYPERLOADER_DATA`.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::HashSet;
use std::path::PathBuf;

use common::fixtures;
use hyperloader_core::corpus::stats::CorpusStats;
use hyperloader_core::corpus::{
    Corpus, CorpusSpec, LabelPreset, Labels, Layout, Sentence, Split, Splits, known, label_set, subset_size,
};

use hyperloader_core::text::words::WordSplitting;

fn sizes(splits: &Splits) -> [usize; 3] {
    [splits.train.len(), splits.valid.len(), splits.test.len()]
}

/// Each word is the slice of its text that its offsets name, but for mTOD's lower-casing.
fn check_offsets(sentence: &Sentence) {
    let (Some(text), Some(offsets)) = (&sentence.text, &sentence.offsets) else {
        return;
    };
    let characters: Vec<char> = text.chars().collect();
    for (word, (start, end)) in sentence.words.iter().zip(offsets) {
        let slice: String = characters[*start..*end].iter().collect();
        assert!(&slice == word || &slice.to_lowercase() == word, "{sentence:?}");
    }
}

/// Share of sentences whose words the corpus' rule finds in the raw text.
fn reproduced(words: WordSplitting, sentences: &[Sentence]) -> (usize, usize) {
    let raw: Vec<&Sentence> = sentences.iter().filter(|sentence| sentence.text.is_some()).collect();
    let same = |sentence: &&&Sentence| {
        let text = sentence.text.as_deref().unwrap_or_default();
        let words = words.split(text);
        words.into_iter().map(|word| word.text).eq(sentence.words.iter().cloned())
    };
    (raw.iter().filter(same).count(), raw.len())
}

fn all(splits: &Splits) -> impl Iterator<Item = &Sentence> {
    splits.train.iter().chain(&splits.valid).chain(&splits.test)
}

#[test]
fn excerpts_have_their_sizes_and_share_no_sentence_between_splits() {
    let (small, large) = ([12, 2, 6], [1500, 300, 300]);
    let want = [small, small, small, [10, 4, 6], large, large, large];
    let corpora = known::in_folder(&fixtures().join("corpora")).unwrap();
    assert_eq!(corpora.len(), want.len());
    for ((name, spec), want) in corpora.into_iter().zip(want) {
        let Corpus { splits, files, words, word_fit } = spec.read().unwrap();
        assert_eq!(sizes(&splits), want, "{name}");
        // What is derived from the tokens is what each layout has always had.
        assert_eq!(
            (words, spec.labels.clone()),
            (spec.layout.unwrap().words(), Labels::Preset(LabelPreset::Plain)),
            "{name}"
        );
        assert_eq!(word_fit.unwrap().missed_share(), 0.0, "{name}");
        assert!(files.iter().all(|file| file.report.notes().is_empty()), "{name}: {files:?}");
        assert_eq!(splits.train, spec.load_split(Split::Train).unwrap(), "{name}");
        assert_eq!(splits.valid, spec.load_split(Split::Valid).unwrap(), "{name}");
        let distinct: HashSet<String> =
            all(&splits).map(|sentence| sentence.words.join(" ").to_lowercase()).collect();
        assert_eq!(distinct.len(), want.iter().sum::<usize>(), "{name}");
        all(&splits).for_each(check_offsets);
        assert_eq!(CorpusStats::of(&splits, &files).train.ill_formed_tags, 0, "{name}");
    }
}

#[test]
fn free_text_is_cut_into_the_words_of_the_excerpts() {
    // MIT is distributed as words only.
    let corpora = known::in_folder(&fixtures().join("corpora")).unwrap();
    for (name, spec) in corpora.iter().filter(|(_, spec)| spec.layout != Some(Layout::BioColumns)) {
        let Corpus { splits, words, .. } = spec.read().unwrap();
        for sentences in [&splits.valid, &splits.test] {
            let rows = sentences.len();
            assert_eq!(reproduced(words, sentences), (rows, rows), "{name}");
        }
    }
}

#[test]
fn a_missing_file_is_named() {
    let spec = CorpusSpec::new(Layout::SeqInOut, "nowhere", None, "nowhere");
    let error = spec.load().unwrap_err().to_string();
    assert!(error.starts_with("cannot read `nowhere/seq.in`"), "{error}");
}

#[test]
fn seq_in_and_seq_out_of_different_length_are_refused_with_both_lengths() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("seq.in"), "a\nb\n").unwrap();
    std::fs::write(folder.path().join("seq.out"), "O\n").unwrap();
    let error = CorpusSpec::new(Layout::SeqInOut, "", None, "").resolved(folder.path()).load().unwrap_err();
    let root = folder.path().display().to_string();
    let message = error.to_string().replace(&root, "DATA");
    assert_eq!(message, "`DATA/seq.in`, line 2: `seq.in` has 2 lines but `seq.out` has 1");
}

#[test]
fn a_hold_out_that_leaves_nothing_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("one.bio"), "O\ta\n").unwrap();
    let mut spec = CorpusSpec::new(Layout::BioColumns, "one.bio", None, "one.bio").resolved(folder.path());
    let root = folder.path().display().to_string();
    let message = spec.load().unwrap_err().to_string().replace(&root, "DATA");
    assert_eq!(
        message,
        "0.9 of the 1 sentences of `DATA/one.bio` leaves none\nhint: use more sentences or another fraction"
    );
    spec.holdout = 1.0;
    assert_eq!(spec.load().unwrap_err().to_string(), "holdout is 1, but must be over 0 and under 1");
}

/// The paper's Table 2: sentences of the splits, labels over all splits. The paper counts 1,521 test sentences of MIT restaurant; the
/// file has 1,520 between blank lines (two seem to be run together at line 7,513, see docs/results/corpora.md). Subsets are those of the
/// reference's logs.
#[test]
#[ignore = "needs the whole corpora in HYPERLOADER_DATA"]
fn whole_corpora_have_the_papers_sizes_and_labels() {
    let want = [
        ([7_034, 782, 1_953], 12, [703, 78, 1_406, 156]),
        ([8_797, 978, 2_443], 12, [879, 97, 1_759, 195]),
        ([6_894, 766, 1_520], 8, [689, 76, 1_378, 153]),
        ([4_478, 500, 893], 83, [447, 50, 895, 100]),
        ([13_084, 700, 700], 39, [1_308, 70, 2_616, 140]),
        ([15_667, 2_235, 4_386], 75, [1_566, 223, 3_133, 447]),
        ([30_521, 4_181, 8_621], 9, [3_052, 418, 6_104, 836]),
    ];
    let root = PathBuf::from(std::env::var_os("HYPERLOADER_DATA").expect("HYPERLOADER_DATA is not set"));
    let corpora = known::in_folder(&root).unwrap();
    assert_eq!(corpora.len(), want.len());
    for ((name, mut spec), (want_sizes, want_labels, want_subsets)) in corpora.into_iter().zip(want) {
        for preset in [LabelPreset::Plain, LabelPreset::Reference] {
            spec.labels = Labels::Preset(preset);
            let Corpus { splits, files, .. } = spec.read().unwrap();
            let stats = CorpusStats::of(&splits, &files);
            assert_eq!((sizes(&splits), stats.labels().len()), (want_sizes, want_labels), "{name}");
            all(&splits).for_each(check_offsets);
            let only_in_test = match name.as_str() {
                "atis" => 4,
                "mtop" => 1,
                _ => 0,
            };
            assert_eq!(stats.labels_only_in_test.len(), only_in_test, "{name}");
            if name == "atis" {
                assert_eq!(label_set(&splits.train, &name).unwrap().len(), 79);
            }
        }
        let Corpus { splits, words, .. } = spec.read().unwrap();
        assert_eq!(words, spec.layout.unwrap().words(), "{name}");
        if spec.layout != Some(Layout::BioColumns) {
            // Derived from the tokens, it is the same.
            assert_eq!(CorpusSpec { words: None, ..spec.clone() }.read().unwrap().words, words, "{name}");
        }
        let [train, valid, _] = want_sizes;
        let subsets = [(train, 0.1), (valid, 0.1), (train, 0.2), (valid, 0.2)];
        assert_eq!(subsets.map(|(all, share)| subset_size(all, share)), want_subsets, "{name}");
        for split in [&splits.valid, &splits.test] {
            let (same, rows) = reproduced(words, split);
            assert_eq!(same, rows, "{name}");
        }
    }
}
