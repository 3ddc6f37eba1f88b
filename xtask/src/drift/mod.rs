//! The documentation against the checkout: what a page names must exist.
//!
//! Checked in `README.md`, `ARCHITECTURE.md` and `CONTRIBUTING.md`, and in every other `README.md`:
//!
//! * **paths** ([`paths`]): link targets, code spans, and words in shell blocks that look like a path of this
//!   repository exist in it;
//! * **commands** ([`commands`]): the packages, programs, tests, examples and features that a `cargo` command names
//!   exist, and so does the `cargo xtask` command.
//!
//! Checked everywhere:
//!
//! * **examples are compiled** ([`fences`]): no code block in a `.md` file or a doc comment is marked `ignore`;
//! * **sizes** ([`sizes`]): `README.md` has at most 150 lines, `crates/*/README.md` at most 80, a `.rs` file under
//!   `crates/` or `xtask/` at most 400 without its test module.

mod checkout;
mod commands;
mod fences;
mod markdown;
mod paths;
mod sizes;

use std::fmt;

use anyhow::Result;

use self::checkout::Checkout;
use self::markdown::Piece;
use crate::step::{Outcome, Report};
use crate::workspace::Workspace;

/// Pages that a repository like this one has at its root.
const PAGES: [&str; 3] = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"];

/// Something that is not as the documentation or the rules have it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    file: String,
    /// From 1; 0 is the file as a whole.
    line: usize,
    message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": {}", self.message)
    }
}

pub(crate) fn report(workspace: &Workspace, echo: bool) -> Result<Report> {
    let findings = check(&Checkout::read(&workspace.root)?, workspace)?;
    let output = findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    if echo {
        println!("{output}");
    }
    let outcome = match findings.len() {
        0 => Outcome::Passed,
        1 => Outcome::Failed("1 finding".to_owned()),
        several => Outcome::Failed(format!("{several} findings")),
    };
    Ok(Report::new(outcome, output))
}

fn check(checkout: &Checkout, workspace: &Workspace) -> Result<Vec<Finding>> {
    let missing = PAGES.iter().filter(|page| !checkout.contains(page));
    let mut findings: Vec<_> = missing
        .map(|page| Finding { file: (*page).to_owned(), line: 0, message: "does not exist".to_owned() })
        .collect();
    for file in checkout.files() {
        let markdown = has_extension(file, "md");
        if !markdown && !has_extension(file, "rs") {
            continue;
        }
        let text = checkout.text(file)?;
        let mut found = fences::check(&text, markdown);
        found.extend(sizes::check(file, &text));
        if is_page(file) {
            found.extend(check_page(file, &text, checkout, workspace));
        }
        let file = || file.to_owned();
        findings.extend(found.into_iter().map(|(line, message)| Finding { file: file(), line, message }));
    }
    findings.sort();
    Ok(findings)
}

fn check_page(file: &str, text: &str, checkout: &Checkout, workspace: &Workspace) -> Vec<(usize, String)> {
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
    let of_piece = |(line, piece): (usize, Piece)| {
        let messages = match piece {
            Piece::Link(target) => Vec::from_iter(paths::check_link(&target, folder, checkout)),
            Piece::Code(code) | Piece::Shell(code) => {
                let mut messages = commands::check(&code, workspace);
                messages.extend(
                    code.split_whitespace().filter_map(|word| paths::check_word(word, folder, checkout)),
                );
                messages
            }
            Piece::Fence(_) => Vec::new(),
        };
        messages.into_iter().map(move |message| (line, message))
    };
    markdown::pieces(text).into_iter().flat_map(of_piece).collect()
}

fn is_page(file: &str) -> bool {
    PAGES.contains(&file) || file.ends_with("/README.md")
}

fn has_extension(file: &str, extension: &str) -> bool {
    std::path::Path::new(file).extension().is_some_and(|found| found == extension)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::sample;

    #[test]
    fn findings_name_file_and_line() {
        let checkout = Checkout::of(&[
            ("README.md", "# A\n\nSee [more](docs/gone.md).\n\n```sh\ncargo run --bin slowstart\n```\n"),
            ("ARCHITECTURE.md", "The trait is in `crates/core/src/registry.rs`.\n"),
            ("crates/core/src/backend.rs", "/// ```ignore\n/// ```\nfn f() {}\n"),
        ]);
        let findings: Vec<_> = check(&checkout, &sample()).unwrap().iter().map(ToString::to_string).collect();
        let expected = [
            ("ARCHITECTURE.md:1: ", "crates/core/src/registry.rs"),
            ("CONTRIBUTING.md: ", "does not exist"),
            ("README.md:3: ", "docs/gone.md"),
            ("README.md:6: ", "slowstart"),
            ("crates/core/src/backend.rs:1: ", "ignore"),
        ];
        assert_eq!(findings.len(), expected.len(), "{findings:#?}");
        for (finding, (place, what)) in findings.iter().zip(expected) {
            assert!(finding.starts_with(place) && finding.contains(what), "{finding}");
        }
    }

    #[test]
    fn this_checkout_can_be_read() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let checkout = Checkout::read(root).unwrap();
        assert!(checkout.contains("xtask/src/drift/mod.rs") && checkout.contains(".ci/run"));
        assert!(!checkout.contains("target") && !checkout.contains(".git"));
    }
}
