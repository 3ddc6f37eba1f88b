//! The parts of a page that can be checked.

use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// Languages of code blocks whose lines are commands. A block without a language is one too: there, only a line that
/// starts with `cargo` or holds a path of the repository is looked at.
const SHELLS: [&str; 5] = ["", "sh", "bash", "shell", "console"];

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// The target of a link or image.
    Link(String),
    /// A code span.
    Code(String),
    /// A line of a shell block.
    Shell(String),
    /// What is written behind the opening of a code block.
    Fence(String),
}

/// The pieces with the lines they start on, counted from 1.
pub(super) fn pieces(text: &str) -> Vec<(usize, Piece)> {
    let mut pieces = Vec::new();
    let mut in_shell = false;
    for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
        let line = line_of(text, &range);
        match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                pieces.push((line, Piece::Link(dest_url.into_string())));
            }
            Event::Code(code) => pieces.push((line, Piece::Code(code.into_string()))),
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                in_shell = SHELLS.contains(&info.trim());
                pieces.push((line, Piece::Fence(info.into_string())));
            }
            Event::Text(block) if in_shell => {
                let lines = block.lines().enumerate();
                pieces.extend(lines.map(|(after, text)| (line + after, Piece::Shell(text.to_owned()))));
            }
            Event::End(TagEnd::CodeBlock) => in_shell = false,
            _ => {}
        }
    }
    pieces
}

fn line_of(text: &str, range: &Range<usize>) -> usize {
    text[..range.start].matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_spans_and_blocks_come_with_their_lines() {
        let text = "\
See [a](x.md) and `code`.

```rust,no_run
let a = `b`;
```

* item
  ```sh
  cargo test
  .ci/run
  ```

| a | `in a table` |
|---|---|
| [b][b] | |

[b]: y.md
";
        let expected = [
            (1, Piece::Link("x.md".to_owned())),
            (1, Piece::Code("code".to_owned())),
            (3, Piece::Fence("rust,no_run".to_owned())),
            (8, Piece::Fence("sh".to_owned())),
            (9, Piece::Shell("cargo test".to_owned())),
            (10, Piece::Shell(".ci/run".to_owned())),
            (13, Piece::Code("in a table".to_owned())),
            (15, Piece::Link("y.md".to_owned())),
        ];
        assert_eq!(pieces(text), expected);
    }
}
