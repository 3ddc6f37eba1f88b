//! Licences, bans, sources and known vulnerabilities of the dependencies, by cargo-deny and `deny.toml`.

use std::time::Duration;

use anyhow::Result;

use super::without_tool;
use crate::process::Invocation;
use crate::session::Session;
use crate::step::{Outcome, Report};
use crate::tools::CARGO_DENY;
use crate::transcript::Transcript;

/// The advisory database is a git repository of a few megabytes; where there is no way to it, waiting does not help.
const FETCH_LIMIT: Duration = Duration::from_secs(120);

pub(super) fn check(session: &Session, echo: bool) -> Result<Report> {
    let deny = match CARGO_DENY.provide(session, echo)? {
        Ok(program) => Invocation::new(program),
        Err(unavailable) => return Ok(without_tool(unavailable, session)),
    };
    let mut transcript = Transcript::new(echo);
    let finished =
        transcript.run(&deny.with_arguments(["--all-features", "check", "bans", "licenses", "sources"]))?;
    let outcome =
        if finished.success() { Outcome::Passed } else { Outcome::Failed(finished.end.to_string()) };
    Ok(Report::new(outcome, transcript.into_text()))
}

/// Ignored, in CI too, where the database cannot be had: that is the network's doing, not the checkout's.
pub(super) fn check_advisories(session: &Session, echo: bool) -> Result<Report> {
    let deny = match CARGO_DENY.provide(session, echo)? {
        Ok(program) => Invocation::new(program),
        Err(unavailable) => return Ok(without_tool(unavailable, session)),
    };
    let mut transcript = Transcript::new(echo);
    let fetch = deny.clone().with_arguments(["fetch", "db"]).with_limit(FETCH_LIMIT);
    if !transcript.run(&fetch)?.success() {
        let reason = "the advisory database cannot be fetched".to_owned();
        return Ok(Report::new(Outcome::Ignored(reason), transcript.into_text()));
    }
    let check = deny.with_arguments(["--all-features", "check", "--disable-fetch", "advisories"]);
    let finished = transcript.run(&check)?;
    let outcome =
        if finished.success() { Outcome::Passed } else { Outcome::Failed(finished.end.to_string()) };
    Ok(Report::new(outcome, transcript.into_text()))
}
