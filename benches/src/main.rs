//! Measures callsign against its targets: prints a table, and writes `target/bench/report.json`.
//!
//! Durations are wall-clock time, on a machine that others may use too: what takes nanoseconds is the p50 of the
//! means of batches, which a few interrupted batches do not move; a p99 includes the interruptions.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool speaks on its standard streams"
)]

mod args;
mod catalogue;
mod clock;
mod consul;
mod disk;
mod etcd;
mod failover;
mod faults;
mod heap;
mod machine;
mod measure;
mod memory;
mod nacos;
mod pick;
mod readers;
mod reads;
mod report;
mod samples;
mod table;
mod view;
mod zookeeper;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::args::{Command, UsageError};
use crate::measure::Skipped;

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
    match args::parse(std::env::args().skip(1))? {
        Command::Help => print!("{}", args::USAGE),
        Command::List => catalogue::names().for_each(|name| println!("{name}")),
        Command::Measure { words, check, allow_debug } => {
            if machine::IS_DEBUG && !allow_debug {
                bail!("a debug build measures nothing of worth: build with --release, or give --allow-debug");
            }
            return measure(&words, check);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(words: &[String], check: bool) -> Result<ExitCode> {
    // Before anything is measured: a report that cannot be read is not found out about after a minute.
    let path = report::path();
    let kept = if words.is_empty() { Vec::new() } else { report::read(&path)? };

    println!("{}", machine::describe());
    let mut rows = Vec::new();
    let mut failed = false;
    for group in args::select(words) {
        let names = group.names.join(", ");
        eprintln!("measuring {names}");
        match (group.run)() {
            Ok(measured) => rows.extend(measured),
            Err(error) if error.is::<Skipped>() => eprintln!("skipped: {error}"),
            Err(error) => {
                eprintln!("error: cannot measure {names}: {error:#}");
                failed = true;
            }
        }
    }
    print!("\n{}", table::table(&rows));

    let missed = rows.iter().filter(|row| !row.ok).count();
    report::write(&path, &report::merge(kept, rows))?;
    println!("\n{missed} missed; the report is target/bench/report.json");
    Ok(if failed || (check && missed > 0) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
