//! Asking the program `heap`, whose allocator counts.

use std::env;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::machine;

/// What it can answer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Question {
    BytesPerInstance,
    AllocationsOfPicks,
}

impl Question {
    fn word(self) -> &'static str {
        match self {
            Self::BytesPerInstance => "bytes-per-instance",
            Self::AllocationsOfPicks => "allocations-of-picks",
        }
    }
}

/// Builds the program, so that it is never an old one, and runs it.
pub(crate) fn ask(question: Question) -> Result<f64> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["run", "--quiet", "--manifest-path", manifest, "--bin", "heap"]);
    if !machine::IS_DEBUG {
        command.arg("--release");
    }
    let output = command
        .args(["--", question.word()])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(output.status.success(), "the program `heap` failed: {}", output.status);
    let answer = String::from_utf8(output.stdout)?;
    answer.trim().parse().with_context(|| format!("the program `heap` answered `{}`", answer.trim()))
}
