//! From what clap parsed to [`Args`]: which of the words after `--model` are models, and which are sentences.

use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{ArgMatches, CommandFactory, Error, FromArgMatches, Parser};

use hyperloader_cli::ErrorLimits;
use hyperloader_runtime::Guarantee;

use crate::args::{Args, TagArgs, Typed};

impl CommandFactory for Args {
    fn command() -> clap::Command {
        Typed::command()
    }

    fn command_for_update() -> clap::Command {
        Typed::command_for_update()
    }
}

impl FromArgMatches for Args {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let Typed { command, mut tag, limits, common } = Typed::from_arg_matches(matches)?;
        if let Some(tag) = &mut tag {
            check_cache(matches)?;
            sort(tag, matches)?;
            let ErrorLimits { max_error, max_span_error, confidence } = limits;
            tag.guarantee = Guarantee::of_limits(max_error, max_span_error, confidence);
        }
        Ok(Self { command, tag, common })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Parser for Args {}

/// Refuses a single word right after `--cache` without a folder: it could be the folder or a sentence.
fn check_cache(matches: &ArgMatches) -> Result<(), Error> {
    let is_bare = matches.get_one::<PathBuf>("cache").is_some_and(|folder| folder.as_os_str().is_empty());
    let place = matches.index_of("cache").filter(|_| is_bare);
    let places = matches.indices_of("sentences").into_iter().flatten();
    let words = places.zip(matches.get_many::<String>("sentences").into_iter().flatten());
    let after = words.into_iter().find(|(at, _)| place.is_some_and(|place| *at == place + 1));
    match after {
        Some((_, word)) if !word.contains(char::is_whitespace) && !word.is_empty() => {
            let message = format!(
                "'{word}' after '--cache' could be its folder or a sentence\n\
                 hint: `--cache={word}` names the folder; write a sentence before `--cache`\n"
            );
            Err(Error::raw(ErrorKind::ArgumentConflict, message))
        }
        _ => Ok(()),
    }
}

/// Moves the words after the models of `--model` to the sentences, in the order of the command line.
fn sort(tag: &mut TagArgs, matches: &ArgMatches) -> Result<(), Error> {
    let mut places = matches.indices_of("model").into_iter().flatten();
    let (mut models, mut moved) = (Vec::new(), Vec::new());
    for words in matches.get_occurrences::<PathBuf>("model").into_iter().flatten() {
        // The words come first: `zip` takes a place only if there is a word.
        let words: Vec<(usize, &PathBuf)> =
            words.zip(places.by_ref()).map(|(word, place)| (place, word)).collect();
        let count = 1 + words.iter().skip(1).take_while(|(_, word)| is_model(word)).count();
        let (files, sentences) = words.split_at(count.min(words.len()));
        models.extend(files.iter().map(|(_, file)| (*file).clone()));
        moved.extend(sentences.iter().copied());
    }
    tag.models = models;
    if moved.is_empty() {
        return Ok(());
    }
    let others = [
        (!tag.input.is_empty(), "--input <FILE>..."),
        (tag.info, "--info"),
        (tag.gold.is_some(), "--gold <FILE>"),
    ];
    if let Some((_, other)) = others.into_iter().find(|(given, _)| *given) {
        let message = format!("the argument '{other}' cannot be used with '[SENTENCES]...'\n");
        return Err(Error::raw(ErrorKind::ArgumentConflict, message));
    }
    let places = matches.indices_of("sentences").into_iter().flatten();
    let mut sentences: Vec<(usize, String)> = places.zip(std::mem::take(&mut tag.sentences)).collect();
    for (place, word) in moved {
        let Some(sentence) = word.to_str() else {
            return Err(Error::raw(ErrorKind::InvalidUtf8, "a sentence is not UTF-8\n"));
        };
        sentences.push((place, sentence.to_owned()));
    }
    sentences.sort();
    tag.sentences = sentences.into_iter().map(|(_, sentence)| sentence).collect();
    Ok(())
}

/// Whether a word after the first model is a model: by its name alone, whatever files there are.
fn is_model(word: &Path) -> bool {
    word.as_os_str().to_string_lossy().to_ascii_lowercase().ends_with(".onnx")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &str) -> Result<TagArgs, Error> {
        let words = std::iter::once("hl-run").chain(args.split('|').filter(|word| !word.is_empty()));
        Args::try_parse_from(words).map(|args| args.tag.unwrap())
    }

    #[test]
    fn words_after_a_model_are_models_if_they_are_named_so_and_else_sentences() {
        let cases = [
            ("--model|a.onnx", "a.onnx", ""),
            ("--model|a", "a", ""),
            ("--model|a.onnx|set an alarm", "a.onnx", "set an alarm"),
            ("--model|a|set|paris", "a", "set paris"),
            ("--model|a.onnx|b.ONNX", "a.onnx b.ONNX", ""),
            ("--model|a.onnx|b.onnx|set|paris", "a.onnx b.onnx", "set paris"),
            ("--model|a.onnx|--model|b|set", "a.onnx b", "set"),
            ("--model|a.onnx|set|--model|b.onnx|paris", "a.onnx b.onnx", "set paris"),
            // After a sentence and after `--`, all words are sentences.
            ("--model|a.onnx|set|b.onnx", "a.onnx", "set b.onnx"),
            ("--model|a.onnx|--|b.onnx|--model", "a.onnx", "b.onnx --model"),
            ("--model|a.onnx|b.onnx|--|c.onnx", "a.onnx b.onnx", "c.onnx"),
            ("--model|a.onnx|set|--|paris", "a.onnx", "set paris"),
            // Sentences have the order in which they are typed.
            ("set|--model|a.onnx|7|--stats|paris", "a.onnx", "set 7 paris"),
            ("set|paris|--model|a.onnx|b.onnx", "a.onnx b.onnx", "set paris"),
            ("--model=a.onnx|b.onnx", "a.onnx", "b.onnx"),
            ("--model|a.onnx|man", "a.onnx", "man"),
            ("--model|a.onnx|-", "a.onnx", "-"),
        ];
        for (args, models, sentences) in cases {
            let tag = parse(args).unwrap();
            let found: Vec<&str> = tag.models.iter().map(|path| path.to_str().unwrap()).collect();
            assert_eq!((&*found.join(" "), &*tag.sentences.join(" ")), (models, sentences), "{args}");
        }
    }

    #[test]
    fn a_word_after_the_cache_is_neither_taken_for_its_folder_nor_for_a_sentence() {
        for args in
            ["--model|a.onnx|--cache|DIR", "--cache|/tmp/c|--model|a.onnx", "--cache|7|set|--model|a.onnx"]
        {
            let error = parse(args).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ArgumentConflict, "{args}");
            assert!(error.to_string().contains("hint: `--cache="), "{error}");
        }
        let folder = |args: &str| {
            let tag = parse(args).unwrap();
            (tag.options(Path::new("m/a.onnx")).backend.cache, tag.sentences.join(" "))
        };
        let named = |folder: &str, words: &str| (Some(PathBuf::from(folder)), words.to_owned());
        assert_eq!(folder("--model|a.onnx|--cache"), named("m", ""));
        assert_eq!(folder("--model|a.onnx|--cache|set an alarm"), named("m", "set an alarm"));
        assert_eq!(folder("--model|a.onnx|set|--cache"), named("m", "set"));
        assert_eq!(folder("--model|a.onnx|--cache|--stats|set"), named("m", "set"));
        assert_eq!(folder("--model|a.onnx|--cache=c|set"), named("c", "set"));
        assert_eq!(folder("--cache|--model|a.onnx|set"), named("m", "set"));
        assert_eq!(folder("--model|a.onnx|set").0, None);
    }

    #[test]
    fn sentences_after_a_model_exclude_inputs_as_others_do() {
        for other in ["--input|a.txt", "--info", "--gold|a.txt"] {
            for args in [format!("--model|a.onnx|set|{other}"), format!("{other}|--model|a.onnx|set")] {
                assert_eq!(parse(&args).unwrap_err().kind(), ErrorKind::ArgumentConflict, "{args}");
            }
        }
        assert_eq!(parse("set").unwrap_err().kind(), ErrorKind::MissingRequiredArgument);
        assert!(parse("--model|a.onnx|b.onnx|--input|a.txt").is_ok());
        let blank = Args::try_parse_from(["hl-run", "--model", "a.onnx", "", "set"]).unwrap();
        assert_eq!(blank.tag.unwrap().sentences, ["", "set"]);
    }
}
