//! `cargo` commands that a page names.
//!
//! Looked at: code spans and lines of shell blocks that start with `cargo`, perhaps after `$` or `NAME=value`, also
//! after `&&`, `||`, `;` and `|`. Of each, the subcommand, what follows `xtask`, `--package`, `--bin`, `--example`,
//! `--test`, `--bench` and `--features` must exist. A value with `<`, `[` or `...` is a placeholder. What `cargo add`
//! and `cargo install` name may be somebody else's.

use std::slice;

use crate::cli::{self, Command};
use crate::scope::Scope;
use crate::workspace::{Package, TargetKind, Workspace};

/// Those of cargo's own commands that a page of ours may use, and `xtask`, this workspace's alias.
const SUBCOMMANDS: [&str; 20] = [
    "add", "bench", "build", "check", "clean", "clippy", "doc", "fetch", "fix", "fmt", "init", "install",
    "metadata", "new", "publish", "run", "test", "tree", "update", "xtask",
];

/// What is wrong with the commands in a line.
pub(super) fn check(line: &str, workspace: &Workspace) -> Vec<String> {
    let line = with_short_placeholders(line);
    cargo_commands(&line).iter().flat_map(|words| check_command(words, workspace)).collect()
}

/// `<crate or registry>` and `[list|fetch]` as one word without a shell's signs in it.
fn with_short_placeholders(line: &str) -> String {
    let mut depth = 0_usize;
    let keep = |c: &char| {
        let closes = matches!(c, '>' | ']');
        depth = if closes { depth.saturating_sub(1) } else { depth };
        let kept = depth == 0;
        depth += usize::from(matches!(c, '<' | '['));
        kept
    };
    line.chars().filter(keep).collect()
}

/// The words behind `cargo` of each command in a line.
fn cargo_commands(line: &str) -> Vec<Vec<&str>> {
    let line = line.trim_start().trim_start_matches("$ ");
    let line = line.split_once(" #").map_or(line, |(command, _comment)| command);
    let is_variable = |word: &&str| word.contains('=') && !word.starts_with('-');
    line.split(['&', '|', ';'])
        .filter_map(|command| {
            let mut words = command.split_whitespace().skip_while(is_variable);
            (words.next()? == "cargo").then(|| words.skip_while(|word| word.starts_with('+')).collect())
        })
        .collect()
}

fn check_command(words: &[&str], workspace: &Workspace) -> Vec<String> {
    let Some((&subcommand, rest)) = words.split_first() else {
        return Vec::new();
    };
    match subcommand {
        "xtask" => Vec::from_iter(check_xtask(rest, workspace)),
        "install" => Vec::new(),
        "add" => rest
            .iter()
            .filter_map(|word| workspace.package(word))
            .flat_map(|package| unknown_features(rest, slice::from_ref(&package), workspace))
            .collect(),
        word if is_placeholder(word) || word.starts_with('-') => Vec::new(),
        known if SUBCOMMANDS.contains(&known) => check_options(rest, workspace),
        unknown => vec![format!("`cargo {unknown}` is neither cargo's nor this workspace's")],
    }
}

fn check_xtask(words: &[&str], workspace: &Workspace) -> Option<String> {
    let said = words.iter().filter(|word| !is_placeholder(word)).map(|word| (*word).to_owned());
    let checked = cli::parse(said).and_then(|command| match command {
        Command::Test { names, .. } => Scope::parse(&names, workspace).map(drop),
        _ => Ok(()),
    });
    checked.err().map(|error| format!("`cargo xtask {}`: {error}", words.join(" ")))
}

fn check_options(words: &[&str], workspace: &Workspace) -> Vec<String> {
    let mut messages = Vec::new();
    let mut named = Vec::new();
    for name in values(words, &["-p", "--package"]) {
        match workspace.package(name) {
            Some(package) => named.push(package),
            None => messages.push(format!("there is no package `{name}`")),
        }
    }
    if named.is_empty() {
        named.extend(&workspace.packages);
    }
    for (option, kind) in [
        ("--bin", TargetKind::Bin),
        ("--example", TargetKind::Example),
        ("--test", TargetKind::Test),
        ("--bench", TargetKind::Bench),
    ] {
        let unknown = |name: &&str| !named.iter().any(|package| package.has_target(kind, name));
        let missing = values(words, &[option]).into_iter().filter(unknown);
        messages.extend(missing.map(|name| format!("there is nothing for `{option} {name}`")));
    }
    messages.extend(unknown_features(words, &named, workspace));
    messages
}

/// Features are separated by commas, and `package/feature` says whose it is.
fn unknown_features(words: &[&str], named: &[&Package], workspace: &Workspace) -> Vec<String> {
    let has = |package: &Package, feature: &str| {
        feature == "default" || package.features.iter().any(|own| own == feature)
    };
    let known = |feature: &str| match feature.split_once('/') {
        Some((package, feature)) => workspace.package(package).is_some_and(|package| has(package, feature)),
        None => named.iter().any(|package| has(package, feature)),
    };
    values(words, &["-F", "--features"])
        .iter()
        .flat_map(|list| list.split(','))
        .filter(|feature| !feature.is_empty() && !known(feature))
        .map(|feature| format!("there is no feature `{feature}`"))
        .collect()
}

/// What stands behind an option, as the next word or after `=`. Words behind `--` are the program's own.
fn values<'a>(words: &[&'a str], options: &[&str]) -> Vec<&'a str> {
    let own = words.split(|word| *word == "--").next().unwrap_or_default();
    let after = own.iter().zip(own.iter().skip(1)).filter(|(option, _)| options.contains(option));
    let joined =
        own.iter().filter_map(|word| word.split_once('=')).filter(|(option, _)| options.contains(option));
    let unquoted = |value: &'a str| value.trim_matches(['\'', '"']);
    let values = after.map(|(_, value)| *value).chain(joined.map(|(_, value)| value));
    values.map(unquoted).filter(|value| !is_placeholder(value)).collect()
}

fn is_placeholder(word: &str) -> bool {
    word.contains(['<', '>', '[', ']', '…']) || word.contains("...")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::sample;

    #[test]
    fn commands_that_name_what_exists_pass() {
        for line in [
            "cargo",
            "$ cargo test",
            "cargo xtask",
            "cargo xtask test core --verbose && cargo xtask servers list",
            "cargo xtask test <crate or registry> ...",
            "cargo xtask servers [list|fetch]",
            "CALLSIGN_SIM_SEEDS=500 cargo test --release -p callsign-testkit --test simulation",
            "cargo run --bin quickstart # shows the two sides",
            "cargo run --bin quickstart -- --bin nothing",
            "cargo run --package=callsign-examples --bin=<name>",
            "cargo +nightly test --features callsign/memory,default",
            "cargo add callsign --features memory",
            "cargo add tokio --features full",
            "cargo install somebody-elses --features x",
            "npm run build --bin nothing",
        ] {
            assert_eq!(check(line, &sample()), Vec::<String>::new(), "{line}");
        }
    }

    #[test]
    fn commands_that_name_what_does_not_exist_are_found() {
        for (line, what) in [
            ("cargo xtask tests", "unknown command `tests`"),
            ("cargo xtask test mercury", "unknown crate or registry `mercury`"),
            ("cargo tests", "cargo tests"),
            ("cargo run --bin slowstart", "--bin slowstart"),
            ("cargo run -p callsign-core --bin quickstart", "--bin quickstart"),
            ("cargo build && cargo test -p callsign-pigeon", "`callsign-pigeon`"),
            ("cargo test --test simulations", "--test simulations"),
            ("cargo run --features 'memory,pigeon'", "`pigeon`"),
            ("cargo test --features callsign-core/memory", "`callsign-core/memory`"),
            ("cargo add callsign --features pigeon", "`pigeon`"),
        ] {
            let messages = check(line, &sample());
            assert!(messages.len() == 1 && messages[0].contains(what), "{line}: {messages:?}");
        }
    }
}
