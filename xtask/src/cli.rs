//! What can be typed after `cargo xtask`.

use std::fmt;

use crate::servers;

/// Name, arguments and one line of help for each command.
pub(crate) const COMMANDS: [(&str, &str, &str); 4] = [
    (
        "test",
        "[--verbose] [NAME ...]",
        "run every check and test, or those of the named crates or registries",
    ),
    (
        "bench",
        "[AREA] [ARGUMENT ...]",
        "run the benchmarks in release mode and write target/bench/report.json",
    ),
    ("servers", "[list|fetch]", "list or fetch the registry servers that tests need"),
    ("ci", "", "print the tool versions, then run what CI runs"),
];

/// A parsed command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Test { names: Vec<String>, verbose: bool },
    Bench { arguments: Vec<String> },
    Servers(servers::Action),
    Ci,
}

/// The command line is wrong: the tool exits with 2, as cargo's own commands do for a usage error.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UsageError(pub(crate) String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Command, UsageError> {
    let mut arguments = arguments.into_iter();
    let Some(command) = arguments.next() else {
        return Ok(Command::Help);
    };
    let rest: Vec<String> = arguments.collect();
    if is_help(&command) || rest.iter().any(|argument| is_help(argument)) {
        return Ok(Command::Help);
    }
    match command.as_str() {
        "test" => parse_test(rest),
        "bench" => Ok(Command::Bench { arguments: rest }),
        "servers" => parse_servers(&rest),
        "ci" if rest.is_empty() => Ok(Command::Ci),
        "ci" => Err(UsageError(format!("`ci` takes no arguments, got `{}`", rest.join(" ")))),
        unknown => Err(UsageError(format!(
            "unknown command `{unknown}`; known commands: {}",
            COMMANDS.map(|(name, ..)| name).join(", ")
        ))),
    }
}

pub(crate) fn usage() -> String {
    let shown = COMMANDS.map(|(name, arguments, about)| (format!("{name} {arguments}"), about));
    let width = shown.iter().map(|(command, _)| command.len()).max().unwrap_or_default();
    let lines = shown.map(|(command, about)| format!("  {command:<width$}  {about}\n"));
    format!("Usage: cargo xtask COMMAND\n\n{}", lines.concat())
}

fn is_help(argument: &str) -> bool {
    matches!(argument, "--help" | "-h" | "help")
}

fn parse_test(arguments: Vec<String>) -> Result<Command, UsageError> {
    let (options, names): (Vec<_>, Vec<_>) =
        arguments.into_iter().partition(|argument| argument.starts_with('-'));
    if let Some(unknown) = options.iter().find(|option| !matches!(option.as_str(), "--verbose" | "-v")) {
        return Err(UsageError(format!("unknown option `{unknown}` of `test`; known options: --verbose")));
    }
    Ok(Command::Test { names, verbose: !options.is_empty() })
}

fn parse_servers(arguments: &[String]) -> Result<Command, UsageError> {
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] | ["list"] => Ok(Command::Servers(servers::Action::List)),
        ["fetch"] => Ok(Command::Servers(servers::Action::Fetch)),
        other => Err(UsageError(format!("`servers` takes `list` or `fetch`, got `{}`", other.join(" ")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, UsageError> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn nothing_and_help_show_the_usage() {
        for line in ["", "help", "--help", "-h", "test --help"] {
            assert_eq!(parsed(line), Ok(Command::Help), "{line}");
        }
        for (name, ..) in COMMANDS {
            assert!(usage().contains(&format!("\n  {name} ")), "{name}");
        }
    }

    #[test]
    fn test_takes_names_and_verbose_in_any_order() {
        let expected = Command::Test { names: vec!["core".to_owned(), "memory".to_owned()], verbose: true };
        assert_eq!(parsed("test core --verbose memory"), Ok(expected));
        assert_eq!(parsed("test"), Ok(Command::Test { names: vec![], verbose: false }));
    }

    #[test]
    fn bench_hands_everything_over() {
        let arguments = vec!["pick".to_owned(), "--quick".to_owned()];
        assert_eq!(parsed("bench pick --quick"), Ok(Command::Bench { arguments }));
    }

    #[test]
    fn a_wrong_word_is_answered_with_the_known_ones() {
        for (line, known) in [
            ("tests", "test, bench, servers, ci"),
            ("test --fast", "--verbose"),
            ("servers start", "`list` or `fetch`"),
            ("ci core", "no arguments"),
        ] {
            let UsageError(message) = parsed(line).expect_err(line);
            assert!(message.contains(known), "{message}");
        }
    }
}
