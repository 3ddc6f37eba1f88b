//! Runs the tests that start real servers.

use anyhow::Result;

use super::commands;
use crate::process::Invocation;
use crate::servers;
use crate::session::Session;
use crate::step::Report;

/// Names the servers that the tests may not do without; they are ignored where others are missing.
const REQUIRE: &str = "CALLSIGN_REQUIRE";

pub(super) fn test(commands: &[Invocation], session: &Session, echo: bool) -> Result<Report> {
    // Looked up now, for an earlier step has fetched them.
    let mut variables: Vec<_> = servers::variables(&session.cache)
        .into_iter()
        .map(|(name, program)| (name, program.into_os_string()))
        .collect();
    if session.ci && std::env::var_os(REQUIRE).is_none() {
        variables.push((REQUIRE.to_owned(), servers::required().into()));
    }
    let commands: Vec<_> =
        commands.iter().map(|command| command.clone().with_variables(variables.clone())).collect();
    commands::test(&commands, session.ci, echo)
}
