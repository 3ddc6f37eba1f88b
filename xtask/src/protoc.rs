//! The compiler of protocol buffers, which building etcd's client library needs.

use std::env;
use std::path::PathBuf;

const PROTOC: &str = "PROTOC";

/// What tells a build script where `protoc` is: the one that cargo has fetched along with this program, with the
/// well-known types beside it. Nothing where there is none for this system, or where the user has set the variable.
pub(crate) fn variable() -> Option<(&'static str, PathBuf)> {
    let is_set = env::var_os(PROTOC).is_some_and(|program| !program.is_empty());
    choose(is_set, protoc_bin_vendored::protoc_bin_path().ok())
}

fn choose(is_set: bool, fetched: Option<PathBuf>) -> Option<(&'static str, PathBuf)> {
    fetched.filter(|_| !is_set).map(|program| (PROTOC, program))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Invocation;

    #[test]
    fn the_compiler_starts_and_its_well_known_types_are_beside_it() {
        let (_, program) = choose(false, protoc_bin_vendored::protoc_bin_path().ok()).unwrap();
        assert!(Invocation::new(&program).with_arguments(["--version"]).run(false).unwrap().success());
        let include = program.parent().and_then(|bin| bin.parent()).unwrap().join("include");
        assert!(include.join("google/protobuf/any.proto").is_file(), "{}", include.display());
    }

    #[test]
    fn what_the_user_has_set_stays() {
        assert_eq!(choose(true, Some("/fetched".into())), None);
        assert_eq!(choose(false, Some("/fetched".into())), Some((PROTOC, "/fetched".into())));
    }
}
