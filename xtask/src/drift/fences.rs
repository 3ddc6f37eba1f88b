//! Examples are compiled and run: no code block is marked `ignore`.
//!
//! `no_run`, `compile_fail` and `text` say what a block is; `ignore` only says that nobody looks whether it still works.

use super::markdown::{self, Piece};

/// The lines on which a block opens that is ignored.
pub(super) fn check(text: &str, is_markdown: bool) -> Vec<(usize, String)> {
    let blocks = if is_markdown { vec![(0, text.to_owned())] } else { doc_comments(text) };
    blocks
        .iter()
        .flat_map(|(before, block)| ignored(block).into_iter().map(move |line| (before + line, message())))
        .collect()
}

fn ignored(markdown: &str) -> Vec<usize> {
    let marked =
        |info: &str| info.split([',', ' ']).any(|word| word == "ignore" || word.starts_with("ignore-"));
    let fences = markdown::pieces(markdown).into_iter();
    fences
        .filter(|(_, piece)| matches!(piece, Piece::Fence(info) if marked(info)))
        .map(|(line, _)| line)
        .collect()
}

fn message() -> String {
    "a code block is marked `ignore`: let it compile, or mark it `no_run` or `text`".to_owned()
}

/// The runs of doc comment lines, without their marks, each with the number of lines before it.
fn doc_comments(source: &str) -> Vec<(usize, String)> {
    let mut comments: Vec<(usize, String)> = Vec::new();
    let mut previous = None;
    for (number, line) in source.lines().enumerate() {
        let Some(doc) = doc_line(line) else { continue };
        match comments.last_mut() {
            Some((_, comment)) if previous.is_some_and(|previous| previous + 1 == number) => {
                comment.push('\n');
                comment.push_str(doc);
            }
            _ => comments.push((number, doc.to_owned())),
        }
        previous = Some(number);
    }
    comments
}

fn doc_line(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let doc = line.strip_prefix("//!").or_else(|| line.strip_prefix("///"))?;
    // Four slashes are a plain comment.
    (!doc.starts_with('/')).then(|| doc.strip_prefix(' ').unwrap_or(doc))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, is_markdown: bool) -> Vec<usize> {
        check(text, is_markdown).into_iter().map(|(line, _)| line).collect()
    }

    #[test]
    fn ignored_blocks_of_a_page_are_found_however_they_are_marked() {
        let text = "```ignore\n```\n\n```rust,ignore\n```\n\n~~~ rust ignore-windows\n~~~\n\n```rust,no_run\n```\n`ignore`\n";
        assert_eq!(lines(text, true), [1, 4, 7]);
    }

    #[test]
    fn ignored_blocks_of_doc_comments_are_found_and_code_is_not_looked_at() {
        let source = "//! Docs.\n//! ```ignore\n//! ```\n\nfn f() {\n    let s = \"```ignore\"; // ```ignore\n}\n    /// ```rust,ignore\n    /// ```\nfn g() {}\n";
        assert_eq!(lines(source, false), [2, 8]);
    }

    #[test]
    fn an_open_block_does_not_reach_into_the_next_comment() {
        let source = "/// ```text\nfn f() {}\n/// ```ignore\nfn g() {}\n";
        assert_eq!(lines(source, false), [3]);
    }
}
