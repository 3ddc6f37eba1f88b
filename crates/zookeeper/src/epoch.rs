//! Notices that the registry is not the one it was: wiped, restored, or replaced by another ensemble.
//!
//! ZooKeeper does not tell. But everything stands below one node that nobody removes, and a registry that has begun anew
//! has another one there, or none.

use std::sync::{Mutex, MutexGuard, PoisonError};

use zookeeper_client::Stat;

/// The root that was seen last, and how often it was another one.
#[derive(Debug, Default)]
pub(crate) struct Epochs(Mutex<Now>);

#[derive(Debug, Clone, Copy, Default)]
struct Now {
    root: Option<Root>,
    epoch: u64,
    asked: u64,
    answered: u64,
}

/// A request that was sent, or is about to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    epoch: u64,
    number: u64,
}

/// What tells one root from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Root {
    czxid: i64,
    ctime: i64,
}

impl Root {
    pub(crate) fn of(stat: &Stat) -> Self {
        Self { czxid: stat.czxid, ctime: stat.ctime }
    }
}

impl Epochs {
    /// To be taken before a request is sent.
    pub(crate) fn ask(&self) -> Asked {
        let mut now = self.lock();
        now.asked += 1;
        Asked { epoch: now.epoch, number: now.asked }
    }

    /// The epoch of an answer that shows `root`; and whether the answer begins it.
    pub(crate) fn saw(&self, asked: Asked, root: Option<Root>) -> (u64, bool) {
        let mut now = self.lock();
        // Answers that overtake each other, or were on their way when the epoch began, show what was before.
        if now.epoch != asked.epoch || asked.number < now.answered {
            return (now.epoch, false);
        }
        let begins = now.root.is_some() && now.root != root;
        now.root = root;
        now.answered = asked.number;
        now.epoch += u64::from(begins);
        (now.epoch, begins)
    }

    /// The epoch of an answer that shows no root because it may not.
    pub(crate) fn unproven(&self) -> u64 {
        self.lock().epoch
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "as the register of roots has it")]
    fn root(czxid: i64) -> Option<Root> {
        Some(Root { czxid, ctime: 1 })
    }

    #[test]
    fn another_root_or_none_begins_an_epoch_once() {
        let epochs = Epochs::default();
        assert_eq!(epochs.saw(epochs.ask(), None), (0, false));
        assert_eq!(epochs.saw(epochs.ask(), root(3)), (0, false), "the first record makes the root");
        assert_eq!(epochs.saw(epochs.ask(), root(3)), (0, false));
        assert_eq!(epochs.saw(epochs.ask(), None), (1, true));
        assert_eq!(epochs.saw(epochs.ask(), root(2)), (1, false));
        assert_eq!(epochs.saw(epochs.ask(), root(9)), (2, true));
    }

    #[test]
    fn an_answer_that_was_overtaken_begins_no_epoch() {
        let epochs = Epochs::default();
        let slow = epochs.ask();
        assert_eq!(epochs.saw(epochs.ask(), root(3)), (0, false));
        assert_eq!(epochs.saw(slow, None), (0, false));
        let (early, late) = (epochs.ask(), epochs.ask());
        assert_eq!(epochs.saw(early, root(9)), (1, true));
        assert_eq!(epochs.saw(late, root(3)), (1, false), "it was asked for in the epoch before");
        assert_eq!(epochs.saw(epochs.ask(), root(9)), (1, false));
    }
}
