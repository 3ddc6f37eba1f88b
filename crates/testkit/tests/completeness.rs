//! The table of cases is complete and legible.

use std::collections::BTreeSet;
use std::path::Path;

use callsign_testkit::suite::backend::CASES;

#[test]
fn every_case_is_named_once_and_promises_a_sentence() {
    let names: BTreeSet<_> = CASES.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), CASES.len());
    for case in CASES {
        assert!(
            case.promise.ends_with('.') && case.promise.starts_with(char::is_alphanumeric),
            "{}",
            case.name
        );
    }
}

/// The compiler warns of a case that is in no table; this says it also to those who silence warnings.
#[test]
fn every_case_that_is_written_is_in_the_table() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/suite/backend");
    let mut written = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let cases = text.lines().filter_map(|line| {
            line.strip_prefix("pub(super) async fn ")?.strip_suffix("(ctx: &Ctx) -> CaseResult {")
        });
        written.extend(cases.map(ToOwned::to_owned));
    }
    let listed: BTreeSet<_> = CASES.iter().map(|case| case.name.to_owned()).collect();
    assert_eq!(written, listed);
}
