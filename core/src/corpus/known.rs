//! The seven corpora of the HyperLoader paper (its Table 2) in the folders and files in which they are distributed.

use std::path::{Path, PathBuf};

use super::error::CorpusError;
use super::layout::Layout;
use super::spec::CorpusSpec;
use super::transform::{LabelPreset, Labels};

/// Folder, layout and files of each corpus, in the paper's order. MIT distributes no validation split.
const CORPORA: [(&str, Layout, [&str; 3]); 7] = [
    ("mit_movie_trivia", Layout::BioColumns, ["trivia10k13train.bio", "", "trivia10k13test.bio"]),
    ("mit_movie", Layout::BioColumns, ["engtrain.bio", "", "engtest.bio"]),
    ("mit_restaurant", Layout::BioColumns, ["restauranttrain.bio", "", "restauranttest.bio"]),
    ("atis", Layout::SeqInOut, ["train", "valid", "test"]),
    ("snips", Layout::SeqInOut, ["train", "valid", "test"]),
    ("mtop", Layout::Mtop, ["en/train.txt", "en/eval.txt", "en/test.txt"]),
    ("mtod", Layout::Mtod, ["en/train-en.tsv", "en/eval-en.tsv", "en/test-en.tsv"]),
];

/// The corpora of the paper that lie in `folder`, named by their folders, in the paper's order. Absent ones are passed over; the files
/// of those that are there are not looked at yet.
///
/// # Errors
/// If none is there.
pub fn in_folder(folder: &Path) -> Result<Vec<(String, CorpusSpec)>, CorpusError> {
    let found: Vec<(String, CorpusSpec)> = CORPORA
        .into_iter()
        .filter(|(name, ..)| folder.join(name).is_dir())
        .map(|(name, layout, [train, valid, test])| {
            let valid = (!valid.is_empty()).then(|| PathBuf::from(valid));
            let mut spec = CorpusSpec::new(layout, train, valid, test).resolved(&folder.join(name));
            spec.labels = Labels::Preset(LabelPreset::Plain);
            spec.words = Some(layout.words());
            (name.to_owned(), spec)
        })
        .collect();
    if found.is_empty() {
        let names = CORPORA.map(|(name, ..)| format!("`{name}`")).join(", ");
        return Err(CorpusError::NoKnownCorpus { folder: folder.to_owned(), names });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_folders_are_passed_over_and_the_rest_keeps_the_papers_order() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["snips", "mit_movie", "other"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let found = in_folder(folder.path()).unwrap();
        assert_eq!(found.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["mit_movie", "snips"]);
        let (movie, snips) = (&found[0].1, &found[1].1);
        assert_eq!((&movie.valid, &movie.test), (&None, &Some(folder.path().join("mit_movie/engtest.bio"))));
        assert_eq!(
            (snips.layout, &snips.valid),
            (Some(Layout::SeqInOut), &Some(folder.path().join("snips/valid")))
        );
    }

    #[test]
    fn a_folder_without_any_names_those_looked_for() {
        let error = in_folder(Path::new("nowhere")).unwrap_err().to_string();
        assert_eq!(
            error,
            "`nowhere` holds none of the folders `mit_movie_trivia`, `mit_movie`, `mit_restaurant`, `atis`, `snips`, `mtop`, `mtod`"
        );
    }
}
