//! The command line.

use std::fmt;

use crate::catalogue::{self, GROUPS, Group};

pub(crate) const USAGE: &str = "\
usage: callsign-benches [--list] [--check] [--allow-debug] [AREA | AREA.MEASURE]...

Measures everything, or what is named, prints a table and writes target/bench/report.json.

  --list         print the names of all measures
  --check        exit with 1 when a measure misses its target
  --allow-debug  measure a debug build all the same
";

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    List,
    Measure {
        /// Areas and names; all if there are none.
        words: Vec<String>,
        check: bool,
        allow_debug: bool,
    },
}

/// The command line is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Command, UsageError> {
    let (mut words, mut list, mut check, mut allow_debug) = (Vec::new(), false, false, false);
    for argument in arguments {
        match argument.as_str() {
            "-h" | "--help" => return Ok(Command::Help),
            "--list" => list = true,
            "--check" => check = true,
            "--allow-debug" => allow_debug = true,
            option if option.starts_with('-') => {
                return Err(UsageError(format!(
                    "unknown option `{option}`; known options: --list, --check, --allow-debug"
                )));
            }
            word if GROUPS.iter().any(|group| group.answers_to(word)) => words.push(argument),
            unknown => {
                let known: Vec<_> = catalogue::names().collect();
                return Err(UsageError(format!(
                    "unknown measure `{unknown}`; known measures, or an area of them: {}",
                    known.join(", ")
                )));
            }
        }
    }
    if list {
        return Ok(Command::List);
    }
    Ok(Command::Measure { words, check, allow_debug })
}

/// The groups that `words` name; all if there are no words.
pub(crate) fn select(words: &[String]) -> impl Iterator<Item = &'static Group> {
    GROUPS.iter().filter(|group| words.is_empty() || words.iter().any(|word| group.answers_to(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, UsageError> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    fn selected(line: &str) -> Vec<&'static str> {
        let Ok(Command::Measure { words, .. }) = parsed(line) else { panic!("{line}") };
        select(&words).flat_map(|group| group.names).copied().collect()
    }

    #[test]
    fn options_may_stand_anywhere() {
        assert_eq!(
            parsed("--check view --allow-debug"),
            Ok(Command::Measure { words: vec!["view".to_owned()], check: true, allow_debug: true })
        );
        assert_eq!(parsed("view --list"), Ok(Command::List));
        assert_eq!(parsed("--help --unheard-of"), Ok(Command::Help));
    }

    #[test]
    fn words_select_areas_and_measures_and_no_words_select_all() {
        assert_eq!(selected("disk"), ["disk.cold_start_10k"]);
        assert_eq!(selected("view.snapshot memory.register_10k"), ["view.snapshot", "memory.register_10k"]);
        assert!(selected("pick pick.round_robin_10").iter().all(|name| name.starts_with("pick.")));
        assert_eq!(selected(""), catalogue::names().collect::<Vec<_>>());
    }

    #[test]
    fn what_is_unknown_is_answered_with_what_is_known() {
        for (line, known) in [
            ("views", "view.update_10k, view.update_10k_p99, view.heap_per_instance"),
            ("view.", "disk.cold_start_10k"),
            ("--chek", "--check"),
        ] {
            let UsageError(message) = parsed(line).expect_err(line);
            assert!(message.contains(known), "{message}");
        }
    }
}
