//! Runs a program on a pseudo-terminal.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::process::Command;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// What the program writes to its terminal, stdout and stderr together.
pub(crate) fn output(command: &mut Command) -> Vec<u8> {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    let name = ptsname(&controller, Vec::new()).unwrap().into_string().unwrap();
    let terminal = OpenOptions::new().read(true).write(true).open(name).unwrap();
    let mut child =
        command.stdout(terminal.try_clone().unwrap()).stderr(terminal.try_clone().unwrap()).spawn().unwrap();
    // The command keeps copies of the terminal: while they are open, reading does not end.
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    drop(terminal);
    let mut written = Vec::new();
    // At the end of the program Linux reports an input/output error instead of the end of the file.
    let _ = File::from(controller).read_to_end(&mut written);
    child.wait().unwrap();
    written
}
