//! Exit codes, the same in all programs.

use std::process::ExitCode;

/// How a program ends.
///
/// A wrong command line is the user's error: it gives 1, not clap's 2.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// 0: everything was done.
    #[default]
    Success,
    /// 1: the input, the command line or the machine (a full disk, a missing library) is at fault.
    UserError,
    /// 2: the program or a runtime that it uses is at fault.
    InternalError,
    /// 130: the user pressed Ctrl-C, as shells report it.
    Interrupted,
}

impl Exit {
    /// The number that the shell sees.
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::UserError => 1,
            Self::InternalError => 2,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}
