//! `(epoch, revision)` of what is handed out, and whom it comes from.

/// Counts what is handed out for one service, whoever it comes from: it never goes back, and is the same for listings
/// that are asked for and listings that are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Position {
    pub(crate) epoch: u64,
    pub(crate) revision: u64,
}

impl Position {
    /// Where a service begins that was forgotten: above everything that was handed out before.
    pub(crate) const fn above(epoch: u64) -> Self {
        Self { epoch, revision: 0 }
    }

    /// Something is different; `origin`: it comes from elsewhere, or from a registry that has forgotten.
    pub(crate) fn advance(&mut self, origin: bool) {
        self.epoch += u64::from(origin);
        self.revision += 1;
    }
}

/// Whom a listing comes from: the member, or all of them, and the epochs of all that it was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) source: usize,
    pub(crate) epochs: Vec<Option<u64>>,
}

impl Origin {
    /// Whether `next` comes from elsewhere, or from a registry that has forgotten.
    pub(crate) fn differs(&self, next: &Self) -> bool {
        self.source != next.source
            || self
                .epochs
                .iter()
                .zip(&next.epochs)
                .any(|(old, new)| old.is_some() && new.is_some() && old != new)
    }

    /// Epochs that are not known now are still those of before.
    pub(crate) fn followed_by(&self, mut next: Self) -> Self {
        if self.source == next.source {
            for (new, old) in next.epochs.iter_mut().zip(&self.epochs) {
                *new = new.or(*old);
            }
        }
        next
    }
}
