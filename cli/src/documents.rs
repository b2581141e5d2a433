//! The commands `completions` and `man`, which every program has.

use anyhow::{Context, Result, bail};
use clap::{Command, CommandFactory, Subcommand};
use clap_complete::Shell;

use crate::console::Console;

/// Commands that describe a program to a shell and to `man`.
#[derive(Debug, Clone, Subcommand)]
pub enum Documents {
    /// Print a completion script for a shell
    #[command(display_order = 900, after_long_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Print a man page
    #[command(display_order = 901, after_long_help = MAN_EXAMPLES)]
    Man {
        /// The command that the page describes [default: the program]
        command: Option<String>,
    },
}

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  hl-train completions bash > ~/.local/share/bash-completion/completions/hl-train
  hl-train completions fish > ~/.config/fish/completions/hl-train.fish

hl-export, hl-run and hl-serve have the same command.";

const MAN_EXAMPLES: &str = "\
Examples:
  hl-train man > hl-train.1
  hl-train man corpora | man -l -

hl-export, hl-run and hl-serve have the same command.";

impl Documents {
    /// Prints the document that was asked for about the program `P`.
    ///
    /// # Errors
    /// If the program has no such command or stdout cannot be written.
    pub fn print<P: CommandFactory>(&self, console: &Console) -> Result<()> {
        let mut program = P::command();
        let document = match self {
            Self::Completions { shell } => completions(*shell, &mut program),
            Self::Man { command } => man_page(&mut program, command.as_deref())?,
        };
        console.print_data(&document)
    }
}

fn completions(shell: Shell, program: &mut Command) -> Vec<u8> {
    let name = program.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, program, name, &mut script);
    script
}

/// The man page of `program` or of one of its commands, in roff.
fn man_page(program: &mut Command, command: Option<&str>) -> Result<Vec<u8>> {
    program.build();
    let described = match command {
        None => program.clone(),
        Some(name) => match program.find_subcommand(name) {
            Some(found) => found.clone(),
            None => bail!(unknown_command(program, name)),
        },
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(described).render(&mut page).context("cannot write the man page")?;
    Ok(page)
}

fn unknown_command(program: &Command, name: &str) -> String {
    let known = program.get_subcommands().map(|command| format!("`{}`", command.get_name()));
    let known = known.collect::<Vec<_>>().join(", ");
    format!("`{}` has no command `{name}`\nhint: its commands are {known}", program.get_name())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Command {
        Command::new("hl-test").about("Tests").subcommand(Command::new("count").about("Count words"))
    }

    #[test]
    fn every_shell_gets_a_script_that_names_the_program() {
        for shell in [Shell::Bash, Shell::Elvish, Shell::Fish, Shell::PowerShell, Shell::Zsh] {
            let script = String::from_utf8(completions(shell, &mut program())).unwrap();
            assert!(script.contains("hl-test") && script.contains("count"), "{shell}");
        }
    }

    #[test]
    fn a_command_has_a_page_of_its_own() {
        let page = |command| String::from_utf8(man_page(&mut program(), command).unwrap()).unwrap();
        assert!(page(None).contains(".TH hl-test 1"));
        assert!(page(Some("count")).contains(".TH hl-test-count 1"));
        let error = man_page(&mut program(), Some("cuont")).unwrap_err().to_string();
        assert_eq!(error, "`hl-test` has no command `cuont`\nhint: its commands are `count`, `help`");
    }
}
