//! The table of cases is complete and legible.

use std::collections::BTreeSet;
use std::path::Path;

use callsign_testkit::suite::{backend, client};

/// Names and promises.
type Cases = Vec<(&'static str, &'static str)>;

/// The cases of each suite, with the suite's folder and context.
fn suites() -> [(&'static str, &'static str, Cases); 2] {
    [
        ("backend", "Ctx", backend::CASES.iter().map(|case| (case.name, case.promise)).collect()),
        ("client", "ClientCtx", client::CASES.iter().map(|case| (case.name, case.promise)).collect()),
    ]
}

#[test]
fn every_case_is_named_once_and_promises_a_sentence() {
    for (_, _, cases) in suites() {
        let names: BTreeSet<_> = cases.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), cases.len());
        for (name, promise) in cases {
            assert!(promise.ends_with('.') && promise.starts_with(char::is_alphanumeric), "{name}");
        }
    }
}

/// The compiler warns of a case that is in no table; this says it also to those who silence warnings.
#[test]
fn every_case_that_is_written_is_in_the_table() {
    for (suite, context, cases) in suites() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/suite").join(suite);
        let end = format!("ctx: &{context}) -> CaseResult {{");
        let mut written = BTreeSet::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            // A long name has its parameter on the next line.
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap().replace("(\n    ", "(");
            let text = text.replace(",\n) -> CaseResult {", ") -> CaseResult {");
            let cases = text.lines().filter_map(|line| {
                line.strip_prefix("pub(super) async fn ")?.strip_suffix(&end)?.strip_suffix('(')
            });
            written.extend(cases.map(ToOwned::to_owned));
        }
        let listed: BTreeSet<_> = cases.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(written, listed, "{suite}");
    }
}
