//! What becomes of a case whose registry is missing.

use super::REQUIRE;
use crate::suite::{CaseResult, Stop};

/// Turns a missing registry into a failure where `required` names the subject, and into an ignored case elsewhere.
pub(super) fn decided(result: CaseResult, subject: &str, required: &str) -> CaseResult {
    match result {
        Err(Stop::Missing(reason)) if is_required(subject, required) => {
            Err(Stop::failed(format!("`{REQUIRE}` names `{subject}`, and it is not available: {reason}")))
        }
        Err(Stop::Missing(reason)) => Err(Stop::Ignored(reason)),
        other => other,
    }
}

fn is_required(subject: &str, required: &str) -> bool {
    required.split(',').map(str::trim).any(|name| {
        let rest = subject.strip_prefix(name);
        !name.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_required_name_stands_for_all_setups_of_a_registry() {
        for (subject, required) in [("etcd", true), ("etcd-tls", true), ("etcdx", false), ("consul", false)] {
            assert_eq!(is_required(subject, "nacos, etcd,"), required, "{subject}");
        }
        assert!(!is_required("etcd", ""));
    }

    #[test]
    fn a_registry_that_is_missing_is_ignored_unless_it_is_required() {
        let missing = |required| decided(Err(Stop::Missing("no such file".to_owned())), "etcd", required);
        assert!(matches!(missing("consul"), Err(Stop::Ignored(reason)) if reason == "no such file"));
        assert!(
            matches!(missing("etcd"), Err(Stop::Failed(failure)) if failure.to_string().contains("no such file"))
        );
    }

    #[test]
    fn a_case_that_has_no_place_here_is_ignored_also_where_the_registry_is_required() {
        let elsewhere = decided(Err(Stop::Ignored("older servers only".to_owned())), "etcd", "etcd");
        assert!(matches!(elsewhere, Err(Stop::Ignored(_))));
    }
}
