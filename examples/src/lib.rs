//! What the examples share: a table to print into, a stand-in for processes, and how a program ends.

mod process;
mod table;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

pub use process::Process;
pub use table::{Column, Table, seconds};

/// Prints a line. A reader that has gone away, as `head` does, is no error.
pub fn say(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// How a program ends: what went wrong is one line, and a status that a shell can see.
#[must_use]
pub fn end(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With its sources, each behind a colon.
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
