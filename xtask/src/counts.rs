//! How many tests ran, read off the lines `test result: ok. 3 passed; 0 failed; 1 ignored; ...` that libtest and
//! libtest-mimic print once per test binary.

use std::ops::AddAssign;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
}

impl Counts {
    /// The sum over all test binaries whose result is in `output`.
    pub(crate) fn parse(output: &str) -> Self {
        let mut sum = Self::default();
        output.lines().filter_map(parse_line).for_each(|counts| sum += counts);
        sum
    }

    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

fn parse_line(line: &str) -> Option<Counts> {
    let line = without_colours(line);
    let (_, figures) = line.trim().strip_prefix("test result: ")?.split_once(". ")?;
    let figure = |label: &str| {
        figures.split(';').find_map(|part| part.trim().strip_suffix(label)?.trim().parse::<u64>().ok())
    };
    Some(Counts { passed: figure("passed")?, failed: figure("failed")?, ignored: figure("ignored")? })
}

/// `ok` is coloured when a harness is told to: `\x1b[32mok\x1b[m`.
fn without_colours(line: &str) -> String {
    let mut pieces = line.split('\x1b');
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        plain.push_str(piece.split_once('m').map_or("", |(_, text)| text));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_several_binaries_add_up() {
        let output = "\
running 2 tests
test a ... ok
test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
   Doc-tests callsign
test result: FAILED. 3 passed; 4 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.50s
";
        assert_eq!(Counts::parse(output), Counts { passed: 5, failed: 4, ignored: 1 });
    }

    #[test]
    fn colours_do_not_hide_a_result() {
        let line = "test result: \x1b[32mok\x1b[m. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(Counts::parse(line).passed, 5);
    }

    #[test]
    fn other_lines_count_nothing() {
        assert!(Counts::parse("test result: none\n5 passed; 1 failed\n").is_empty());
    }
}
