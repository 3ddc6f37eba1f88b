//! Typos in names, comments and documentation, by the tool of that name.

use anyhow::Result;

use super::without_tool;
use crate::process::Invocation;
use crate::session::Session;
use crate::step::{Outcome, Report};
use crate::tools::TYPOS;
use crate::transcript::Transcript;

pub(super) fn check(session: &Session, echo: bool) -> Result<Report> {
    let typos = match TYPOS.provide(session, echo)? {
        Ok(program) => program,
        Err(unavailable) => return Ok(without_tool(unavailable, session)),
    };
    let mut transcript = Transcript::new(echo);
    let finished = transcript.run(&Invocation::new(typos).with_arguments([&session.root]))?;
    let outcome =
        if finished.success() { Outcome::Passed } else { Outcome::Failed(finished.end.to_string()) };
    Ok(Report::new(outcome, transcript.into_text()))
}
