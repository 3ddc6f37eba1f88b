//! `cargo xtask`: one command that runs what CI runs, and the few chores that need more than cargo.
//!
//! `cargo xtask test` builds a list of steps ([`plan`]) for the crates it was asked about ([`scope`]), runs them one
//! after the other ([`runner`]) and ends with a table ([`summary`]). A step is data ([`step`]): commands to run, or
//! one of the checks in [`work`] and [`drift`].
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool speaks on its standard streams"
)]

mod cache;
mod cli;
mod counts;
mod drift;
mod failures;
mod plan;
mod process;
mod protoc;
mod runner;
mod scope;
mod servers;
mod session;
mod step;
mod stopwatch;
mod summary;
mod tools;
mod transcript;
mod work;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;

use crate::cli::{Command, UsageError};
use crate::process::Invocation;
use crate::scope::Scope;
use crate::session::Session;
use crate::workspace::Workspace;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(if error.is::<UsageError>() { 2 } else { 1 })
        }
    }
}

fn run() -> Result<ExitCode> {
    match cli::parse(std::env::args().skip(1))? {
        Command::Help => {
            print!("{}", cli::usage());
            Ok(ExitCode::SUCCESS)
        }
        Command::Test { names, verbose } => test(&names, |workspace| Session::new(workspace, verbose)),
        Command::Ci => {
            tools::print_versions();
            test(&[], Session::in_ci)
        }
        Command::Bench { arguments } => bench(&arguments),
        Command::Servers(action) => servers::run(action),
    }
}

fn test(names: &[String], session: impl FnOnce(&Workspace) -> Result<Session>) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    let scope = Scope::parse(names, &workspace)?;
    let session = session(&workspace)?;
    let rows = runner::run(plan::steps(&workspace, &scope), &session, &workspace);
    print!("\n{}\n{}", summary::failures(&rows), summary::table(&rows));
    let totals = summary::Totals::of(&rows);
    println!("\n{totals}");
    Ok(if totals.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn bench(arguments: &[String]) -> Result<ExitCode> {
    let status = Invocation::cargo(["run", "--release", "--package", "callsign-benches", "--"])
        .with_arguments(arguments)
        .with_variables(servers::variables(&cache::folder()?))
        .status()?;
    // A process ended by a signal has no code.
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}
