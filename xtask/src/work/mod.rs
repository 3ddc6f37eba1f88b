//! Doing what a step says.

mod commands;
mod dependencies;
mod examples;
mod real_servers;
mod servers;
mod spelling;

use anyhow::Result;

use crate::drift;
use crate::session::Session;
use crate::step::{Outcome, Report, Work};
use crate::tools::Unavailable;
use crate::workspace::Workspace;

/// With `echo`, output is shown while it comes.
pub(crate) fn perform(work: &Work, session: &Session, workspace: &Workspace, echo: bool) -> Report {
    attempt(work, session, workspace, echo)
        .unwrap_or_else(|error| Report::new(Outcome::Failed(format!("{error:#}")), ""))
}

fn attempt(work: &Work, session: &Session, workspace: &Workspace, echo: bool) -> Result<Report> {
    match work {
        Work::Commands(commands) => commands::run(commands, echo),
        Work::Tests { commands, at_least_one } => commands::test(commands, *at_least_one, echo),
        Work::RealServers { build, lanes } => real_servers::test(build, lanes, session, echo),
        Work::Servers => Ok(servers::provide(session, echo)),
        Work::Examples { programs } => examples::run(programs, echo),
        Work::Drift => drift::report(workspace, echo),
        Work::Dependencies => dependencies::check(session, echo),
        Work::Advisories => dependencies::check_advisories(session, echo),
        Work::Spelling => spelling::check(session, echo),
        Work::Missing(reason) => Ok(Report::new(Outcome::Failed(reason.clone()), "")),
    }
}

/// Where a tool cannot be had the step says so, and CI does not let it pass.
fn without_tool(Unavailable { reason, output }: Unavailable, session: &Session) -> Report {
    let outcome = if session.ci { Outcome::Failed(reason) } else { Outcome::Ignored(reason) };
    Report::new(outcome, output)
}
