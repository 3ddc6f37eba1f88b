//! A file is one idea, and a README is a page.

const README_LINES: usize = 150;
const CRATE_README_LINES: usize = 80;
const SOURCE_LINES: usize = 400;

/// What is too long about a file, on the line where it becomes so.
pub(super) fn check(file: &str, text: &str) -> Option<(usize, String)> {
    let parts: Vec<&str> = file.split('/').collect();
    let (lines, limit) = match parts.as_slice() {
        ["README.md"] => (text.lines().count(), README_LINES),
        ["crates", _, "README.md"] => (text.lines().count(), CRATE_README_LINES),
        ["crates" | "xtask", .., name] if super::has_extension(name, "rs") => {
            (lines_of_code(text), SOURCE_LINES)
        }
        _ => return None,
    };
    (lines > limit).then(|| (limit + 1, format!("{lines} lines, the limit is {limit}")))
}

/// All lines but those of a test module. It ends with a brace in the first column, as rustfmt leaves it.
fn lines_of_code(source: &str) -> usize {
    let mut count = 0;
    let mut lines = source.lines().peekable();
    while let Some(line) = lines.next() {
        let opens_tests = line == "#[cfg(test)]"
            && lines.peek().is_some_and(|next| next.starts_with("mod ") && next.ends_with('{'));
        if opens_tests {
            lines.by_ref().find(|line| *line == "}");
        } else {
            count += 1;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_file_has_its_limit() {
        for (file, limit) in
            [("README.md", 150), ("crates/core/README.md", 80), ("crates/core/src/watch/driver.rs", 400)]
        {
            assert_eq!(check(file, &"line\n".repeat(limit)), None, "{file}");
            let (line, message) = check(file, &"line\n".repeat(limit + 1)).expect(file);
            assert_eq!((line, message), (limit + 1, format!("{} lines, the limit is {limit}", limit + 1)));
        }
        assert_eq!(check("docs/long.md", &"line\n".repeat(1000)), None);
    }

    #[test]
    fn the_test_module_does_not_count() {
        let source = "fn f() {\n}\n\n#[cfg(test)]\nmod tests {\n    fn g() {\n    }\n}\n";
        assert_eq!(lines_of_code(source), 3);
        assert_eq!(lines_of_code("#[cfg(test)]\nfn only_for_tests() {}\n"), 2);
    }
}
