//! What failed tests said, read off the lines between `failures:` and `test result: FAILED` that libtest and
//! libtest-mimic print once per test binary.
//!
//! A run prints thousands of lines after the one that matters, so what failed is told once more at its end.

/// More lines of one test are left out: what it found comes first, and logs follow.
const LINES: usize = 60;

/// What each failed test said, under its name: `---- name ----`.
pub(crate) fn of(output: &str) -> String {
    let mut told = String::new();
    let mut lines_of_one = None;
    for line in output.lines() {
        if line.starts_with("---- ") {
            lines_of_one = Some(0);
        } else if line == "failures:" || line.starts_with("test result: ") {
            // The second `failures:` of a binary is followed by names alone.
            lines_of_one = None;
        }
        let Some(lines) = &mut lines_of_one else { continue };
        *lines += 1;
        if *lines <= LINES {
            told.push_str(line);
            told.push('\n');
        } else if *lines == LINES + 1 {
            told.push_str("(and more lines, above)\n");
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_BINARIES: &str = "\
test a ... FAILED
test b ... ok

failures:

---- a ----
the answer is another

failures:
    a

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

running 1 test
failures:

---- c stdout ----
assertion failed

failures:
    c

test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    #[test]
    fn what_every_failed_test_said_is_under_its_name() {
        let expected = "---- a ----\nthe answer is another\n\n---- c stdout ----\nassertion failed\n\n";
        assert_eq!(of(TWO_BINARIES), expected);
    }

    #[test]
    fn what_passed_says_nothing() {
        assert_eq!(of("test a ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored\n"), "");
    }

    #[test]
    fn a_test_that_says_a_lot_hides_no_other() {
        let long = "---- long ----\n".to_owned() + &"line\n".repeat(1000) + "---- next ----\nwhy\n";
        let told = of(&long);
        assert_eq!(told.lines().count(), LINES + 1 + 2, "{told}");
        assert!(told.ends_with("(and more lines, above)\n---- next ----\nwhy\n"), "{told}");
    }
}
