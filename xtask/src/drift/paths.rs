//! Paths of the repository that a page names.
//!
//! A link's target is one unless it has a scheme or stays on the page. A word of a code span or a shell block is one if
//!
//! * it has a slash and its first part is a file or folder at the root or beside the page (`crates/core`,
//!   `.ci/run`): then that very path must exist, seen from the root or from the page;
//! * or it ends in `.rs` or `.md` (`codec.rs`, `src/lease.rs`): then some file's path must end like this, for a page
//!   may speak of a file that every crate has.
//!
//! `*` and `<anything>` stand for any part of a name. Build output (`target/...`), absolute paths, and words with
//! characters that no path of ours has (`$HOME/x`, `memory://local`, `a::b`) are not looked at.

use super::checkout::Checkout;

/// What is wrong with a link's target, if anything.
pub(super) fn check_link(target: &str, folder: &str, checkout: &Checkout) -> Option<String> {
    let path = target.split_once('#').map_or(target, |(path, _)| path);
    // A README that is a crate's documentation may link to an item.
    if path.is_empty() || path.contains("::") || path.contains("://") || path.starts_with("mailto:") {
        return None;
    }
    let exists = match path.strip_prefix('/') {
        Some(from_root) => checkout.contains(from_root),
        None => resolve(folder, path).is_some_and(|path| checkout.contains(&path)),
    };
    (!exists).then(|| format!("the link leads to `{target}`, which does not exist"))
}

/// What is wrong with a word, if it is a path and anything is.
pub(super) fn check_word(word: &str, folder: &str, checkout: &Checkout) -> Option<String> {
    let path = path_like(word)?;
    let beside = resolve(folder, &path);
    let (first, _) = path.split_once('/').unwrap_or((&path, ""));
    let anchored = path.contains('/')
        && (first == ".."
            || checkout.contains(first)
            || resolve(folder, first).is_some_and(|first| checkout.contains(&first)));
    let exists = if anchored {
        checkout.contains(&path) || beside.is_some_and(|path| checkout.contains(&path))
    } else if super::has_extension(&path, "rs") || super::has_extension(&path, "md") {
        checkout.contains_tail(&path)
    } else {
        return None;
    };
    (!exists).then(|| format!("`{word}` does not exist"))
}

/// The path in a word that could be one, without `./`, quotes, a line number, and with `<anything>` as `*`.
fn path_like(word: &str) -> Option<String> {
    let word = word.trim_matches(['\'', '"', ',', ';', '(', ')']);
    let word = word.strip_prefix("./").unwrap_or(word);
    let path = without_placeholders(without_line(word));
    let ours = |c: char| c.is_ascii_alphanumeric() || "_-./*".contains(c);
    let foreign = path.starts_with(['/', '-']) || path.starts_with("target/") || path.contains("...");
    (!path.is_empty() && !foreign && path.chars().all(ours)).then_some(path)
}

/// `src/lib.rs` of `src/lib.rs:12` and `src/lib.rs:12:5`.
fn without_line(word: &str) -> &str {
    match word.rsplit_once(':') {
        Some((path, number)) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => {
            without_line(path)
        }
        _ => word,
    }
}

fn without_placeholders(word: &str) -> String {
    let mut pieces = word.split('<');
    let mut path = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        path.push('*');
        path.push_str(piece.split_once('>').map_or("", |(_, rest)| rest));
    }
    path
}

/// A path seen from a folder, as seen from the root; none if it leaves the repository.
fn resolve(folder: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkout() -> Checkout {
        Checkout::of(&[
            (".ci/run", ""),
            ("README.md", ""),
            ("crates/core/README.md", ""),
            ("crates/core/src/codec.rs", ""),
            ("docs/decisions/0001-traits.md", ""),
        ])
    }

    #[test]
    fn words_that_exist_or_are_no_paths_pass() {
        for word in [
            ".ci/run",
            "./.ci/run",
            "crates/",
            "crates/core/src/codec.rs:12:5",
            "crates/*/src",
            "docs/decisions/<number>-<title>.md",
            "codec.rs",
            "src/codec.rs",
            "application/json",
            "callsign.toml",
            "target/bench/report.json",
            "~/.cache/callsign",
            "$HOME/crates/x",
            "/etc/hosts",
            "memory://local/crates/x",
            "Arc<dyn",
            "--all",
            "and/or",
        ] {
            assert_eq!(check_word(word, "", &checkout()), None, "{word}");
        }
    }

    #[test]
    fn words_that_look_like_our_paths_must_exist() {
        for word in [
            ".ci/test",
            "crates/client",
            "crates/core/src/lib.rs",
            "lib.rs",
            "docs/<a>.md",
            "GUIDE.md",
            "../x/y",
        ] {
            assert!(check_word(word, "", &checkout()).is_some(), "{word}");
        }
    }

    #[test]
    fn a_page_in_a_folder_may_speak_from_there_or_from_the_root() {
        for word in ["src/codec.rs", "crates/core/src/codec.rs", "../../README.md", "../core"] {
            assert_eq!(check_word(word, "crates/core", &checkout()), None, "{word}");
        }
        assert!(check_word("src/lease.rs", "crates/core", &checkout()).is_some());
    }

    #[test]
    fn links_lead_somewhere() {
        for target in [
            "#top",
            "https://example.org/x",
            "mailto:a@b.c",
            "README.md#use",
            "/docs",
            "crates/core/README.md",
        ] {
            assert_eq!(check_link(target, "", &checkout()), None, "{target}");
        }
        assert_eq!(check_link("../../docs/", "crates/core", &checkout()), None);
        for target in ["docs/gone.md", "../README.md", "codec.rs"] {
            assert!(check_link(target, "", &checkout()).is_some(), "{target}");
        }
    }
}
