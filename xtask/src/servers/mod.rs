//! The registry servers that tests start, without root and without Docker.
//!
//! Which ones there are is a table ([`table`]). Each is looked for in the variable that names it and in the cache folder
//! ([`place`]); what is missing comes from Debian's packages, by an apt of our own ([`apt`]), or is built by cargo
//! ([`fetch`]).

mod apt;
mod fetch;
mod lines;
mod links;
mod place;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;

use self::fetch::Failure;
use self::place::Place;
use self::table::{SERVERS, Server};
use crate::cache;
use crate::transcript::Transcript;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    List,
    Fetch,
}

/// What keeps tests from having the servers that they need.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// A variable leads nowhere: whoever set it wants to know.
    Misled(String),
    /// A server that the tests are meant to have cannot be had here.
    Lacking(String),
}

pub(crate) fn run(action: Action) -> Result<ExitCode> {
    let cache = cache::folder()?;
    let trouble = match action {
        Action::List => {
            println!("{}", list(&cache));
            if any_missing(&cache) {
                println!("\n`cargo xtask servers fetch` fetches what is missing");
            }
            None
        }
        Action::Fetch => provide(&cache, &mut Transcript::new(true)).err(),
    };
    Ok(match trouble {
        None => ExitCode::SUCCESS,
        Some(Trouble::Misled(reason) | Trouble::Lacking(reason)) => {
            eprintln!("error: {reason}");
            ExitCode::FAILURE
        }
    })
}

/// Fetches what is missing and says what there is. Servers that are nice to have may stay missing.
pub(crate) fn provide(cache: &Path, transcript: &mut Transcript) -> Result<(), Trouble> {
    let places: Vec<_> = SERVERS.iter().map(|server| (server, place::find(server, cache))).collect();
    let missing = places.iter().filter(|(_, place)| matches!(place, Ok(Place::Missing)));
    let missing: Vec<_> = missing.map(|(server, _)| *server).collect();
    let failures = fetch::fetch(&missing, cache, transcript);
    let (required, optional): (Vec<_>, Vec<_>) =
        failures.into_iter().partition(|failure| failure.server.required);
    for Failure { server, cause } in &optional {
        transcript.say(&format!("{} is not to be had here, and goes untested: {cause}", server.name));
    }
    transcript.say(&list(cache));
    let misled: Vec<_> = places.into_iter().filter_map(|(_, place)| place.err()).collect();
    if !misled.is_empty() {
        return Err(Trouble::Misled(misled.join("; ")));
    }
    if required.is_empty() { Ok(()) } else { Err(Trouble::Lacking(fetch::explain(&required))) }
}

/// Whether [`provide`] would have something to download, and so takes its time.
pub(crate) fn any_missing(cache: &Path) -> bool {
    SERVERS.iter().any(|server| matches!(place::find(server, cache), Ok(Place::Missing)))
}

/// The variables by which tests and benches are told where the servers are.
pub(crate) fn variables(cache: &Path) -> Vec<(String, PathBuf)> {
    let found = |server: &Server| match place::find(server, cache).ok()? {
        Place::Given(program) | Place::Fetched { program, .. } => Some((server.variable(), program)),
        Place::Missing => None,
    };
    SERVERS.iter().filter_map(found).collect()
}

/// Names of the servers that CI does not do without, as `CALLSIGN_REQUIRE` takes them.
pub(crate) fn required() -> String {
    let names: Vec<_> = SERVERS.iter().filter(|server| server.required).map(|server| server.name).collect();
    names.join(",")
}

fn list(cache: &Path) -> String {
    let rows = SERVERS.iter().map(|server| {
        let (version, program) = match place::find(server, cache) {
            Ok(Place::Given(program)) => ("given".to_owned(), program.display().to_string()),
            Ok(Place::Fetched { program, version }) => (version, program.display().to_string()),
            Ok(Place::Missing) => ("missing".to_owned(), server.source.shown()),
            Err(misled) => ("wrong".to_owned(), misled),
        };
        [server.name.to_owned(), version, server.variable(), program]
    });
    let head = ["server", "version", "variable", "program"].map(str::to_owned);
    lines::aligned(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}
