//! Has the servers that the tests need.

use crate::servers::{self, Trouble};
use crate::session::Session;
use crate::step::{Outcome, Report};
use crate::transcript::Transcript;

/// Where a server cannot be had the tests that need it are ignored; CI does not let that pass.
pub(super) fn provide(session: &Session, echo: bool) -> Report {
    let mut transcript = Transcript::new(echo);
    let outcome = judge(servers::provide(&session.cache, &mut transcript), session.ci);
    Report::new(outcome, transcript.into_text())
}

fn judge(provided: Result<(), Trouble>, ci: bool) -> Outcome {
    match provided {
        Ok(()) => Outcome::Passed,
        Err(Trouble::Misled(reason)) => Outcome::Failed(reason),
        Err(Trouble::Lacking(reason)) if ci => Outcome::Failed(reason),
        Err(Trouble::Lacking(reason)) => Outcome::Ignored(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_server_fails_ci_alone_and_a_wrong_variable_fails_everywhere() {
        let lacking = || Err(Trouble::Lacking("no etcd".to_owned()));
        assert_eq!(judge(lacking(), false), Outcome::Ignored("no etcd".to_owned()));
        assert_eq!(judge(lacking(), true), Outcome::Failed("no etcd".to_owned()));
        let misled = Err(Trouble::Misled("no program".to_owned()));
        assert_eq!(judge(misled, false), Outcome::Failed("no program".to_owned()));
    }
}
