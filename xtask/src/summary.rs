//! The table at the end of a run, and the line below it that machines read.

use std::fmt;
use std::time::Duration;

use crate::counts::Counts;
use crate::step::Outcome;

/// A step that has run.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) outcome: Outcome,
    pub(crate) counts: Counts,
    pub(crate) duration: Duration,
    /// What the failed tests said.
    pub(crate) failures: String,
}

/// Tests, where a step without tests counts as one.
///
/// `failed` is zero exactly if every step passed or was ignored: a test step that fails before a test does, because it
/// does not compile, counts as one failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Totals {
    pub(crate) fn of(rows: &[Row]) -> Self {
        let mut totals = Self::default();
        for Row { outcome, counts, .. } in rows {
            totals.passed += counts.passed;
            totals.failed += counts.failed;
            totals.skipped += counts.ignored;
            match outcome {
                Outcome::Passed if counts.is_empty() => totals.passed += 1,
                Outcome::Failed(_) if counts.failed == 0 => totals.failed += 1,
                Outcome::Ignored(_) => totals.skipped += 1,
                Outcome::Passed | Outcome::Failed(_) => {}
            }
        }
        totals
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

pub(crate) fn table(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or_default();
    let mut table = format!(
        "{:<width$}  {:<7}  {:>6}  {:>6}  {:>7}  {:>9}  reason\n",
        "step", "outcome", "passed", "failed", "ignored", "duration"
    );
    for row in rows {
        let (outcome, reason) = match &row.outcome {
            Outcome::Passed => ("passed", ""),
            Outcome::Failed(reason) => ("FAILED", reason.as_str()),
            Outcome::Ignored(reason) => ("ignored", reason.as_str()),
        };
        let figure = |count: u64| {
            if row.counts.is_empty() { "-".to_owned() } else { count.to_string() }
        };
        let Counts { passed, failed, ignored } = row.counts;
        let line = format!(
            "{:<width$}  {outcome:<7}  {:>6}  {:>6}  {:>7}  {:>9}  {reason}",
            row.name,
            figure(passed),
            figure(failed),
            figure(ignored),
            seconds(row.duration),
        );
        table.push_str(line.trim_end());
        table.push('\n');
    }
    table
}

/// What failed tests said, step by step; nothing if none failed.
pub(crate) fn failures(rows: &[Row]) -> String {
    let failed = rows.iter().filter(|row| !row.failures.is_empty());
    failed.fold(String::new(), |told, row| {
        let failures = row.failures.trim_end();
        told + "failed tests of " + row.name + ":\n\n" + failures + "\n\n"
    })
}

pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &'static str, outcome: Outcome, passed: u64, failed: u64, ignored: u64) -> Row {
        Row {
            name,
            outcome,
            counts: Counts { passed, failed, ignored },
            duration: Duration::from_millis(1250),
            failures: String::new(),
        }
    }

    #[test]
    fn a_step_without_tests_counts_as_one() {
        let rows = [
            row("formatting", Outcome::Passed, 0, 0, 0),
            row("lints", Outcome::Failed("exited with 101".to_owned()), 0, 0, 0),
            row("advisories", Outcome::Ignored("no network".to_owned()), 0, 0, 0),
            row("tests", Outcome::Failed("2 tests failed".to_owned()), 40, 2, 3),
        ];
        assert_eq!(Totals::of(&rows).to_string(), "41 passed, 3 failed, 4 skipped");
    }

    #[test]
    fn a_test_step_that_does_not_compile_is_a_failure() {
        let rows = [row("tests", Outcome::Failed("exited with 101".to_owned()), 7, 0, 0)];
        assert_eq!(Totals::of(&rows), Totals { passed: 7, failed: 1, skipped: 0 });
    }

    #[test]
    fn the_table_has_a_line_per_step_with_its_reason() {
        let rows = [
            row("formatting", Outcome::Passed, 0, 0, 0),
            row("tests", Outcome::Failed("2 tests failed".to_owned()), 40, 2, 3),
        ];
        let expected = "\
step        outcome  passed  failed  ignored   duration  reason
formatting  passed        -       -        -      1.2 s
tests       FAILED       40       2        3      1.2 s  2 tests failed
";
        assert_eq!(table(&rows), expected);
    }
}
