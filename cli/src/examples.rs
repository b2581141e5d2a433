//! The examples in help texts, so that a program's tests can parse each of them.

use clap::{Command, CommandFactory};

/// The command lines of the program `P` in its help texts and in those of its commands, split into words as a shell does.
/// Lines of other programs, redirections and what comes after a pipe are left out.
pub fn examples<P: CommandFactory>() -> Vec<Vec<String>> {
    let program = P::command();
    let mut found = Vec::new();
    collect(&program, program.get_name(), &mut found);
    found
}

fn collect(command: &Command, program: &str, found: &mut Vec<Vec<String>>) {
    let texts = [command.get_after_long_help(), command.get_long_about()];
    for text in texts.into_iter().flatten() {
        let lines: Vec<String> = text.to_string().lines().map(str::to_owned).collect();
        let examples = lines.iter().filter(|line| line.starts_with("  ")).map(|line| words(line));
        found.extend(examples.filter(|words| words.first().is_some_and(|first| first == program)));
    }
    command.get_subcommands().for_each(|command| collect(command, program, found));
}

/// The words of a command line up to a redirection or a pipe. Quotes hold words together.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for character in line.chars() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (None, '"' | '\'') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, '|' | '<' | '>' | ';' | '&') => break,
            (None, _) if character.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    #[command(
        name = "hl-test",
        after_long_help = "\
Examples:
  Count words:
    hl-test count \"a b\" '' --fast < in.txt > out.txt
    curl http://localhost
  hl-test x=1 | less

hl-test has more."
    )]
    struct Args {}

    #[test]
    fn examples_are_the_indented_lines_that_begin_with_the_program() {
        assert_eq!(
            examples::<Args>(),
            [vec!["hl-test", "count", "a b", "", "--fast"], vec!["hl-test", "x=1"]]
        );
    }
}
