//! Removals: each is tried until its member has confirmed it.

use callsign_core::{Error, InstanceKey, Record};
use tokio::time::Instant;

use super::entry::{Entry, Intent, Mode, Output, Removal, Verb};
use super::ledger::{Begun, Ledger, answer};

/// So many removals wait for a member that is away. What is beyond them ends there with its lease, as it would have without
/// anybody's doing.
pub(super) const WAITING: usize = 50_000;

impl Ledger {
    pub(super) fn begin_removal(
        &mut self,
        record: &Record,
        now: Instant,
        begun: &mut Begun,
        outputs: &mut Vec<Output>,
    ) {
        let key = record.key();
        let mut concerned = Vec::new();
        for member in 0..self.members.len() {
            let Some((side, at)) = self.side(member, key) else { continue };
            if matches!(side.mode, Mode::Passive) && !at.touched {
                continue;
            }
            begun.expected += 1;
            let full = side.pending.len() >= WAITING && matches!(side.mode, Mode::Closed(_));
            if !full || side.pending.contains(key) {
                concerned.push(member);
                at.removal = Some(Removal {
                    record: record.clone(),
                    retry_at: now,
                    attempts: 0,
                    refused: false,
                    journalled: true,
                });
                side.pending.insert(key.clone());
            }
            match &side.mode {
                Mode::Closed(error) => {
                    begun.refused.push((member, error.clone()));
                    // What is not sent yet never will be.
                    let error = error.clone();
                    self.drop_queued(member, key, &error, outputs);
                }
                _ => self.enqueue(member, key, Verb::Deregister, Some(begun.call), outputs),
            }
        }
        if !concerned.is_empty() {
            outputs.push(Output::Remember { record: record.clone(), members: concerned });
        }
    }

    /// Removals that a former process did not get done.
    pub(crate) fn restore(
        &mut self,
        record: &Record,
        members: &[usize],
        now: Instant,
        outputs: &mut Vec<Output>,
    ) {
        let key = record.key();
        let count = self.members.len();
        let entry = self.entries.entry(key.clone()).or_insert_with(|| Entry::new(record.clone(), count, now));
        if entry.generation > 0 && entry.intent.record().pair() >= record.pair() {
            // What this process wants is newer; where it is written, the former record is gone.
            if matches!(entry.intent, Intent::Gone(_)) {
                return;
            }
        }
        for &member in members {
            let Some((side, at)) = self.side(member, key) else { continue };
            if at.removal.is_some() {
                continue;
            }
            let record = record.clone();
            at.removal =
                Some(Removal { record, retry_at: now, attempts: 0, refused: false, journalled: true });
            side.pending.insert(key.clone());
        }
        for &member in members {
            self.retry_removals(member, now, outputs);
        }
    }

    /// Sends the removals that are due.
    pub(crate) fn retry_removals(&mut self, member: usize, now: Instant, outputs: &mut Vec<Output>) {
        let Some(side) = self.members.get(member).filter(|side| side.mode.takes_removals()) else { return };
        let due: Vec<_> = side
            .pending
            .iter()
            .filter(|key| {
                let Some(entry) = self.entries.get(*key) else { return false };
                let at = &entry.at[member];
                let due = at.removal.as_ref().is_some_and(|removal| removal.retry_at <= now);
                // Where it is wanted again, the registration takes its place.
                due && at.is_idle() && entry.alive(now).is_none()
            })
            .cloned()
            .collect();
        for key in due {
            self.enqueue(member, &key, Verb::Deregister, None, outputs);
        }
    }

    pub(super) fn hurry_removals(&mut self, member: usize, now: Instant) {
        let Some(side) = self.members.get(member) else { return };
        for key in &side.pending {
            let removal = self.entries.get_mut(key).and_then(|entry| entry.at[member].removal.as_mut());
            if let Some(removal) = removal {
                (removal.retry_at, removal.attempts) = (now, 0);
            }
        }
    }

    fn drop_queued(&mut self, member: usize, key: &InstanceKey, error: &Error, outputs: &mut Vec<Output>) {
        let Some((side, at)) = self.side(member, key) else { return };
        side.ready.retain(|ready| ready != key);
        if let Some(queued) = at.queued.take() {
            answer(&queued.calls, member, error, outputs);
        }
    }
}
