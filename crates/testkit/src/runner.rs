//! Runs suites as a test binary, with the arguments of `cargo test`.

mod board;
mod isolation;
mod required;
mod subject;
mod table;

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Conclusion, FormatSetting, Trial};

use crate::Harness;
use crate::suite::{Case, CaseResult, Suite};
pub use subject::Subject;
use table::Table;

/// Names subjects whose cases may not be ignored because the registry is missing: `CALLSIGN_REQUIRE=etcd,consul`.
/// `etcd` stands for `etcd` itself and for all subjects that start with `etcd-`.
pub const REQUIRE: &str = "CALLSIGN_REQUIRE";

/// Says whether a table of all cases and subjects is printed at the end: `1` for always, `0` for never. Unset, it is
/// printed where there is more than one subject.
pub const TABLE: &str = "CALLSIGN_TABLE";

/// Runs all cases of all subjects and reports as `cargo test` does: a filter, `--list`, `--skip`, `--exact`,
/// `--format` and `--test-threads` work. A case that cannot run is reported as ignored, with its reason. Where there
/// is more than one subject, a table of what was proved where follows.
///
/// Return it from the `main` of a test target with `harness = false`.
#[must_use]
pub fn run(subjects: impl IntoIterator<Item = Subject>) -> ExitCode {
    run_as(&Arguments::from_args(), subjects)
}

/// As [`run`], with `threads` cases at the same time unless `--test-threads` says otherwise. For registries whose
/// cases mostly wait: the default is one for each core.
#[must_use]
pub fn run_with_threads(threads: usize, subjects: impl IntoIterator<Item = Subject>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(threads);
    run_as(&arguments, subjects)
}

/// As [`run_with_threads`], with a case of each subject in turn instead of one subject after the other. For subjects of
/// which some need more of the machine than others: their cases are spread over the run.
#[must_use]
pub fn run_in_turn(threads: usize, subjects: impl IntoIterator<Item = Subject>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(threads);
    report(&arguments, conclude(&arguments, subjects, in_turn))
}

fn run_as(arguments: &Arguments, subjects: impl IntoIterator<Item = Subject>) -> ExitCode {
    report(arguments, conclude(arguments, subjects, one_after_the_other))
}

fn report(arguments: &Arguments, (conclusion, table): (Conclusion, Table)) -> ExitCode {
    let wanted = match env::var(TABLE).as_deref() {
        Ok("0") => false,
        Ok("1") => true,
        _ => table.has_columns_to_compare(),
    };
    if wanted && !table.is_empty() && arguments.format != Some(FormatSetting::Json) {
        // Nobody who closes our output wants to hear of it.
        let _ = writeln!(io::stdout().lock(), "{table}");
    }
    conclusion.exit_code()
}

fn conclude(
    arguments: &Arguments,
    subjects: impl IntoIterator<Item = Subject>,
    order: fn(Vec<Vec<Trial>>) -> Vec<Trial>,
) -> (Conclusion, Table) {
    let (mut trials, mut boards) = (Vec::new(), Vec::new());
    for subject in subjects {
        trials.push(subject.trials);
        boards.push((subject.name, subject.board));
    }
    let conclusion = libtest_mimic::run(arguments, order(trials));
    (conclusion, Table::new(boards.into_iter().map(|(name, board)| (name, board.read())).collect()))
}

fn one_after_the_other(subjects: Vec<Vec<Trial>>) -> Vec<Trial> {
    subjects.into_iter().flatten().collect()
}

fn in_turn(subjects: Vec<Vec<Trial>>) -> Vec<Trial> {
    let mut subjects: Vec<_> = subjects.into_iter().map(Vec::into_iter).collect();
    let mut trials = Vec::new();
    while subjects.iter().any(|left| left.len() > 0) {
        trials.extend(subjects.iter_mut().filter_map(Iterator::next));
    }
    trials
}

/// Runs one case by itself, for tests of suites: what [`run`] does for each of them.
pub fn prove<C, H: Harness>(suite: &Suite<C>, case: &Case<C>, make: impl Fn() -> H) -> CaseResult {
    let result = subject::run_case(&|| Arc::new(make()) as Arc<dyn Harness>, suite, case);
    required::decided(result, "", "")
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use callsign_core::{Backend, Capabilities, Error, Result, async_trait};

    use super::*;
    use crate::suite::Stop;

    struct Nothing;

    #[async_trait]
    impl Harness for Nothing {
        async fn client(&self) -> Result<Arc<dyn Backend>> {
            Err(Error::unsupported("there is nothing here"))
        }

        fn capabilities(&self) -> Capabilities {
            Capabilities::all(callsign_core::Authority::Single)
        }
    }

    /// What the inner run prints would be taken for a result of the outer one.
    fn arguments(more: &[&str]) -> Arguments {
        Arguments::from_iter(["tests", "--logfile", "/dev/null"].iter().chain(more))
    }

    #[test]
    fn a_case_of_ones_own_is_counted_and_tabled_as_the_others_are() {
        let subject = Subject::fresh("nothing", || Nothing)
            .proves("own", "passes", "It passes.", || async { Ok(()) })
            .proves("own", "fails", "It holds.", || async { Err(Stop::failed("it does not")) })
            .proves("own", "panics", "It stands.", || async { panic!("it fell") })
            .proves("own", "is_elsewhere", "It is here.", || async {
                Err(Stop::Ignored("not here".to_owned()))
            })
            .proves("own", "is_missing", "It is.", || async { Err(Stop::Missing("no server".to_owned())) });
        let (conclusion, table) = conclude(&arguments(&[]), [subject], one_after_the_other);
        assert_eq!((conclusion.num_passed, conclusion.num_failed, conclusion.num_ignored), (1, 2, 2));
        let text = table.to_string();
        for line in [
            "  passes        +",
            "  fails         F",
            "  panics        F",
            "  is_elsewhere  i",
            "  is_missing    i",
            "  nothing::panics: ",
            "  not here: nothing::is_elsewhere",
            "  no server: nothing::is_missing",
        ] {
            assert!(text.lines().any(|found| found.starts_with(line)), "{line}\n{text}");
        }
    }

    #[test]
    fn subjects_take_turns_until_each_has_run_all_its_cases() {
        let trials =
            |names: &[&str]| names.iter().map(|name| Trial::test(*name, || Ok(()))).collect::<Vec<_>>();
        let order = in_turn(vec![trials(&["a1", "a2", "a3"]), trials(&["b1"]), trials(&["c1", "c2"])]);
        let names: Vec<_> = order.iter().map(Trial::name).collect();
        assert_eq!(names, ["a1", "b1", "c1", "a2", "c2", "a3"]);
    }

    #[test]
    fn a_case_of_ones_own_runs_on_a_thread_and_a_runtime_of_its_own() {
        let seen = Arc::<Mutex<Vec<_>>>::default();
        let told = seen.clone();
        let subject =
            Subject::fresh("nothing", || Nothing).proves("own", "looks", "It is alone.", move || {
                let told = told.clone();
                async move {
                    let thread = std::thread::current();
                    told.lock().unwrap().push((thread.id(), thread.name().map(str::to_owned)));
                    tokio::task::yield_now().await;
                    Ok(())
                }
            });
        let (conclusion, _) = conclude(&arguments(&["--test-threads", "1"]), [subject], in_turn);
        assert_eq!(conclusion.num_passed, 1);
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), 1);
        assert_ne!(seen[0].0, std::thread::current().id());
        assert_eq!(seen[0].1.as_deref(), Some("looks"));
    }
}
