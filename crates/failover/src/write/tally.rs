//! What several members' answers to one write come to: pure.

use std::sync::Arc;

use callsign_core::{Error, ErrorKind, Receipt, Result};

use super::Verb;

/// The answers to one write.
#[derive(Debug)]
pub(crate) struct Tally {
    verb: Verb,
    expected: usize,
    answers: Vec<(usize, Result<Receipt>)>,
}

impl Tally {
    pub(crate) fn new(verb: Verb, expected: usize) -> Self {
        Self { verb, expected, answers: Vec::with_capacity(expected) }
    }

    pub(crate) fn take(&mut self, member: usize, answer: Result<Receipt>) {
        if self.answers.iter().all(|(known, _)| *known != member) {
            self.answers.push((member, answer));
        }
    }

    /// Whether there is nothing to wait for.
    pub(crate) fn is_complete(&self) -> bool {
        self.answers.len() >= self.expected
    }

    /// Whether it has succeeded already: only proven writes count.
    pub(crate) fn has_succeeded(&self) -> bool {
        self.answers.iter().any(|(_, answer)| answer.as_ref().is_ok_and(|receipt| receipt.committed))
    }

    /// Whether anybody may still do what was asked, or has not said that it was done.
    pub(crate) fn is_pending(&self) -> bool {
        !self.is_complete() || self.answers.iter().any(|(_, answer)| answer.is_err())
    }

    /// What it comes to: `Conflict` with the highest pair that is in the way; or else what one member has done is done;
    /// `NotFound` if nobody has the record and one says so; otherwise why nobody has it.
    ///
    /// `name` names a member, `told_by` makes members' errors one of this backend's own. Members that have not answered have not
    /// answered in time.
    pub(crate) fn result(
        mut self,
        members: usize,
        name: impl Fn(usize) -> Arc<str>,
        told_by: impl Fn(&[(usize, &Error)]) -> Error,
    ) -> Result<Receipt> {
        for member in 0..members {
            if self.answers.len() < self.expected && self.answers.iter().all(|(known, _)| *known != member) {
                let silent = Error::timeout("no answer in time").with_outcome_unknown();
                self.answers.push((member, Err(silent)));
            }
        }
        self.answers.sort_by_key(|(member, _)| *member);
        let errors =
            || self.answers.iter().filter_map(|(member, answer)| Some((*member, answer.as_ref().err()?)));
        let conflicts = errors().filter(|(_, error)| error.kind() == ErrorKind::Conflict);
        if let Some(conflict) = conflicts.max_by_key(|(_, error)| error.holder()) {
            return Err(told_by(&[conflict]));
        }
        let done = self.answers.iter().filter_map(|(_, answer)| answer.as_ref().ok());
        if let Some(ttl) = done.clone().map(|receipt| receipt.ttl).min() {
            let committed = done.clone().any(|receipt| receipt.committed);
            let pending = errors().map(|(member, error)| (name(member), error.clone())).collect();
            return Ok(Receipt::new(ttl).with_committed(committed).with_pending(pending));
        }
        if self.verb == Verb::Renew
            && let Some(missing) = errors().find(|(_, error)| error.kind() == ErrorKind::NotFound)
        {
            return Err(told_by(&[missing]));
        }
        // An outage may pass; what is refused is told when everybody refuses.
        let mut all: Vec<_> = errors().collect();
        all.sort_by_key(|(_, error)| !error.counts_as_outage());
        let unknown = all.iter().any(|(_, error)| error.outcome_unknown());
        let told = told_by(&all);
        Err(if unknown { told.with_outcome_unknown() } else { told })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use callsign_core::Pair;

    use super::*;

    fn result(verb: Verb, answers: Vec<Result<Receipt>>) -> Result<Receipt> {
        let mut tally = Tally::new(verb, 3);
        let count = answers.len();
        for (member, answer) in answers.into_iter().enumerate() {
            tally.take(member, answer);
        }
        assert_eq!(tally.is_complete(), count == 3);
        tally.result(3, |member| format!("m{member}").into(), |errors| errors[0].1.clone())
    }

    #[expect(clippy::unnecessary_wraps, reason = "an answer beside others")]
    fn ok() -> Result<Receipt> {
        Ok(Receipt::new(Duration::from_secs(9)))
    }

    #[test]
    fn one_member_is_enough_and_the_others_are_pending() {
        let down = || Err(Error::unavailable("down"));
        let receipt = result(Verb::Register, vec![down(), ok()]).unwrap();
        let pending: Vec<_> = receipt.pending.iter().map(|(name, error)| (&**name, error.kind())).collect();
        assert_eq!(pending, [("m0", ErrorKind::Unavailable), ("m2", ErrorKind::Timeout)]);
        let receipt = result(Verb::Register, vec![ok().map(|one| one.with_committed(false)), down(), down()]);
        assert!(!receipt.unwrap().committed);
    }

    #[test]
    fn a_record_is_lost_when_nobody_has_it_and_one_says_so() {
        let kind = |verb, answers| result(verb, answers).unwrap_err().kind();
        let (missing, down) = (|| Err(Error::not_found("x")), || Err(Error::unavailable("down")));
        assert_eq!(kind(Verb::Renew, vec![down(), missing(), down()]), ErrorKind::NotFound);
        assert_eq!(kind(Verb::Renew, vec![down(), down(), down()]), ErrorKind::Unavailable);
        assert!(result(Verb::Renew, vec![missing(), ok(), down()]).is_ok());
        assert_eq!(kind(Verb::Renew, vec![]), ErrorKind::Timeout);
    }

    #[test]
    fn the_highest_pair_in_the_way_wins_over_successes() {
        let conflict = |incarnation| Err(Error::conflict(Pair::new(incarnation, 1), "held"));
        let error = result(Verb::Register, vec![conflict(7), ok(), conflict(9)]).unwrap_err();
        assert_eq!(error.holder(), Some(Pair::new(9, 1)));
    }

    #[test]
    fn what_everybody_refuses_is_told_as_that() {
        let large = || Err(Error::limit_exceeded("too large"));
        let kind = |answers| result(Verb::Register, answers).unwrap_err().kind();
        assert_eq!(kind(vec![large(), large(), large()]), ErrorKind::LimitExceeded);
        let unknown = Err(Error::timeout("late").with_outcome_unknown());
        let error = result(Verb::Register, vec![large(), unknown, large()]).unwrap_err();
        assert!(error.kind() == ErrorKind::Timeout && error.outcome_unknown());
    }
}
