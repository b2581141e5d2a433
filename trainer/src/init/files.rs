//! Files grouped to tasks and splits by their names: `train.jsonl` and `test.jsonl` belong together, and so do
//! `invoices-train.conll` and `invoices-dev.conll`; a file whose name says no split is a training file.

use std::path::{Path, PathBuf};

use hyperloader_core::corpus::{CorpusSpec, Layout};

use super::error::InitError;

/// The files of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskFiles {
    /// Name of the task.
    pub name: String,
    /// The training file.
    pub train: PathBuf,
    /// The validation file, if there is one.
    pub valid: Option<PathBuf>,
    /// The test file, if there is one.
    pub test: Option<PathBuf>,
}

impl TaskFiles {
    /// How the files are read: with the settings that their extensions tell.
    pub fn spec(&self) -> CorpusSpec {
        let spec = CorpusSpec::new(Layout::Text, self.train.clone(), self.valid.clone(), self.train.clone());
        let is_folder = self.train.is_dir();
        CorpusSpec { layout: is_folder.then_some(Layout::SeqInOut), test: self.test.clone(), ..spec }
    }
}

/// Words in file names that tell the split.
const SPLITS: [(&str, &[&str]); 3] = [
    ("train", &["train", "training"]),
    ("valid", &["valid", "validation", "val", "dev", "eval"]),
    ("test", &["test", "testing"]),
];
/// Extensions of compressed files, before which the real extension stands.
const COMPRESSED: [&str; 2] = ["gz", "zst"];

/// The tasks of some files, in the order in which they are first named.
///
/// # Errors
/// If two files are for the same split of a task, a task has no training file, or a name tells two splits.
pub fn tasks(files: &[PathBuf]) -> Result<Vec<TaskFiles>, InitError> {
    let mut found: Vec<(String, [Option<PathBuf>; 3])> = Vec::new();
    for file in files {
        let (name, split) = named(file)?;
        let place = match found.iter().position(|(task, _)| *task == name) {
            Some(place) => place,
            None => {
                found.push((name.clone(), [None, None, None]));
                found.len() - 1
            }
        };
        if let Some(first) = found[place].1[split].replace(file.clone()) {
            let (task, second) = (name, file.clone());
            return Err(InitError::Twice { task, split: SPLITS[split].0, first, second });
        }
    }
    let task = |(name, [train, valid, test]): (String, [Option<PathBuf>; 3])| match (train, valid, test) {
        (Some(train), valid, test) => Ok(TaskFiles { name, train, valid, test }),
        (None, valid, test) => {
            Err(InitError::NoTraining { task: name, found: valid.into_iter().chain(test).collect() })
        }
    };
    found.into_iter().map(task).collect()
}

/// The task and the split (an index of [`SPLITS`]) that a file's name tells.
fn named(file: &Path) -> Result<(String, usize), InitError> {
    let stem = stem(file);
    let usable = |c: char| if c.is_alphanumeric() { c } else { ' ' };
    let plain: String = stem.chars().map(usable).collect();
    let words: Vec<&str> = plain.split_whitespace().collect();
    let words = match words[..] {
        // Data sets number their parts: `train-00000-of-00001`.
        [ref name @ .., part, "of", parts] if is_number(part) && is_number(parts) => {
            if parts.trim_start_matches('0') != "1" {
                let [part, parts] = [part, parts].map(str::to_owned);
                return Err(InitError::Part { path: file.to_owned(), part, parts });
            }
            name
        }
        ref all => all,
    };
    let split = |word: &&str| {
        let word = word.to_lowercase();
        SPLITS.iter().position(|(_, names)| names.contains(&word.as_str()))
    };
    let rest: Vec<&str> = words.iter().filter(|word| split(word).is_none()).copied().collect();
    let mut told = words.iter().filter_map(|word| Some((word, split(word)?)));
    let first = told.next();
    if let Some((first, place)) = first
        && let Some((second, _)) = told.find(|(_, other)| *other != place)
    {
        let (first, second) = ((*first).to_owned(), (*second).to_owned());
        return Err(InitError::TwoSplits { path: file.to_owned(), first, second });
    }
    let split = first.map_or(0, |(_, split)| split);
    let folder = || {
        let parent = std::path::absolute(file).ok()?.parent()?.file_name()?.to_string_lossy().into_owned();
        let name: String = parent.chars().map(usable).collect();
        Some(name.split_whitespace().collect::<Vec<_>>().join("-")).filter(|name| !name.is_empty())
    };
    Ok(match rest.is_empty() {
        true => (folder().unwrap_or_else(|| "task".to_owned()), split),
        false => (rest.join("-"), split),
    })
}

fn is_number(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_digit())
}

/// The name of a file without its extensions.
fn stem(file: &Path) -> String {
    let compressed = file.extension().is_some_and(|extension| COMPRESSED.iter().any(|c| extension == *c));
    let file = if compressed { file.with_extension("") } else { file.to_owned() };
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(files: &[&str]) -> Vec<(String, [bool; 2])> {
        let files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
        let tasks = tasks(&files).unwrap().into_iter();
        tasks.map(|task| (task.name, [task.valid.is_some(), task.test.is_some()])).collect()
    }

    #[test]
    fn names_tell_tasks_and_splits() {
        assert_eq!(names(&["invoices.jsonl"]), [("invoices".to_owned(), [false, false])]);
        assert_eq!(
            names(&["a/ner/train.conll", "a/ner/dev.conll", "a/ner/test.conll"]),
            [("ner".to_owned(), [true, true])]
        );
        assert_eq!(
            names(&["my_invoices-train.jsonl.gz", "my_invoices-valid.jsonl", "orders.csv"]),
            [("my-invoices".to_owned(), [true, false]), ("orders".to_owned(), [false, false])]
        );
        assert_eq!(names(&["caf\u{e9} 2.json"])[0].0, "caf\u{e9}-2");
        assert_eq!(
            names(&["ner/train-00000-of-00001.parquet", "ner/test-00000-of-00001.parquet"]),
            [("ner".to_owned(), [false, true])]
        );
    }

    #[test]
    fn files_that_do_not_make_a_task_are_named() {
        let error = |files: &[&str]| {
            let files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
            tasks(&files).unwrap_err().to_string()
        };
        let twice = error(&["a.conll", "a.jsonl"]);
        assert!(
            twice.starts_with("`a.conll` and `a.jsonl` are both train files of task `a`\nhint: "),
            "{twice}"
        );
        let valid = error(&["b.conll", "a.conll", "a-dev.conll", "x/a-val.conll"]);
        assert!(
            valid.starts_with("`a-dev.conll` and `x/a-val.conll` are both valid files of task `a`"),
            "{valid}"
        );
        let none = error(&["a-test.conll"]);
        assert!(none.starts_with("task `a` has no training file, only `a-test.conll`\nhint: "), "{none}");
        let none = error(&["b.conll", "a-test.conll", "a-dev.conll"]);
        assert!(
            none.starts_with("task `a` has no training file, only `a-dev.conll` and `a-test.conll`"),
            "{none}"
        );
        let part = error(&["train-00001-of-00003.parquet"]);
        assert!(
            part.starts_with("`train-00001-of-00003.parquet` is part 00001 of 00003 of a data set"),
            "{part}"
        );
        let two = error(&["train-Test.conll"]);
        assert!(
            two.starts_with("the name of `train-Test.conll` has `train` and `Test`, so it does not tell"),
            "{two}"
        );
    }
}
