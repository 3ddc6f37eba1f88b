//! What the members' answers mean.

use std::time::Duration;

use callsign_core::{Error, ErrorKind, InstanceKey, Pair, Receipt, Record, Result};
use tokio::time::Instant;

use super::entry::{Flight, Intent, Mode, Output, Removal, Verb, is_refusal};
use super::ledger::{Ledger, answer};

/// How soon a record that a member refuses is offered again without its owner asking.
const REFUSED_AGAIN: Duration = Duration::from_secs(30);
/// The pauses before a removal is tried again.
const RETRY: Duration = Duration::from_millis(250);
const LONGEST_RETRY: Duration = Duration::from_secs(5);

impl Removal {
    /// It has failed, or is not proven.
    fn try_again(&mut self, refused: bool, now: Instant) {
        self.attempts = self.attempts.saturating_add(1);
        self.refused = refused;
        let pause = RETRY.saturating_mul(1 << self.attempts.min(8)).min(LONGEST_RETRY);
        self.retry_at = now + if refused { REFUSED_AGAIN } else { pause };
    }
}

impl Ledger {
    /// The write under way to `member` for `key` has ended.
    pub(crate) fn done(
        &mut self,
        member: usize,
        key: &InstanceKey,
        answer: &Result<Receipt>,
        now: Instant,
        outputs: &mut Vec<Output>,
    ) {
        let Some((side, at)) = self.side(member, key) else { return };
        side.silent = answer.as_ref().is_err_and(Error::counts_as_outage);
        let Some(flight) = at.flight.take() else { return };
        let answers =
            flight.calls.iter().map(|call| Output::Answer { call: *call, member, answer: answer.clone() });
        outputs.extend(answers);
        match (flight.verb, answer) {
            (Verb::Deregister, answer) => self.removed(member, key, &flight, answer, now, outputs),
            (_, Ok(receipt)) => self.written(member, key, &flight, receipt, now, outputs),
            (verb, Err(error)) => self.refused(member, key, verb, &flight, error, now, outputs),
        }
        if let Some((side, at)) = self.side(member, key)
            && at.queued.is_some()
            && at.flight.is_none()
        {
            side.ready.push_back(key.clone());
            outputs.push(Output::Wake { member });
        }
    }

    /// The write under way takes too long: nobody waits for it any more, and it goes on.
    pub(crate) fn slow(
        &mut self,
        member: usize,
        key: &InstanceKey,
        error: &Error,
        outputs: &mut Vec<Output>,
    ) {
        if let Some((side, at)) = self.side(member, key)
            && let Some(flight) = &mut at.flight
        {
            side.silent = true;
            let calls = std::mem::take(&mut flight.calls);
            answer(&calls, member, error, outputs);
        }
    }

    fn written(
        &mut self,
        member: usize,
        key: &InstanceKey,
        flight: &Flight,
        receipt: &Receipt,
        now: Instant,
        outputs: &mut Vec<Output>,
    ) {
        let Some((side, at)) = self.side(member, key) else { return };
        let pair = flight.record.pair();
        let added = flight.verb == Verb::Register && !at.has(pair, now);
        at.has = Some((pair, now + receipt.ttl));
        (at.refused, at.outranked, at.touched) = (None, None, true);
        side.added += usize::from(added && flight.calls.is_empty());
        let Some(entry) = self.entries.get_mut(key) else { return };
        let current = entry.intent.wanted().is_some_and(|record| record.pair() == pair);
        if !current {
            return;
        }
        self.forget_removal(member, key, outputs);
        if receipt.committed
            && let Some(entry) = self.entries.get_mut(key)
        {
            entry.proven = Some(entry.generation);
            self.repair(key, now, outputs);
        }
    }

    /// The record is known to be somewhere: whoever lacks it gets it.
    fn repair(&mut self, key: &InstanceKey, now: Instant, outputs: &mut Vec<Output>) {
        let Some(entry) = self.entries.get(key) else { return };
        let Some(record) = entry.alive(now) else { return };
        let pair = record.pair();
        let lacking: Vec<_> = (0..self.members.len())
            .filter(|&member| {
                let at = &entry.at[member];
                matches!(self.members[member].mode, Mode::Open)
                    && at.is_idle()
                    && !at.has(pair, now)
                    && !at.refuses(now)
                    && at.outranked.is_none_or(|holder| holder < pair)
            })
            .collect();
        for member in lacking {
            self.enqueue(member, key, Verb::Register, None, outputs);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "all of it is the answer")]
    fn refused(
        &mut self,
        member: usize,
        key: &InstanceKey,
        verb: Verb,
        flight: &Flight,
        error: &Error,
        now: Instant,
        outputs: &mut Vec<Output>,
    ) {
        if let (ErrorKind::Conflict, Some(holder)) = (error.kind(), error.holder()) {
            return self.outranked(member, key, &flight.record, holder, outputs, now);
        }
        let Some((_, at)) = self.side(member, key) else { return };
        if error.kind() == ErrorKind::NotFound && verb == Verb::Renew {
            at.has = None;
            let proven = self.entries.get(key).is_some_and(|entry| entry.proven == Some(entry.generation));
            if proven {
                self.repair(key, now, outputs);
            }
        } else if is_refusal(error) {
            at.refused = Some((error.clone(), now + REFUSED_AGAIN));
        }
    }

    /// Another owner's pair stands in the way. The higher pair wins everywhere: ours is withdrawn where it still is, and
    /// our owner is told.
    fn outranked(
        &mut self,
        member: usize,
        key: &InstanceKey,
        record: &Record,
        holder: Pair,
        outputs: &mut Vec<Output>,
        now: Instant,
    ) {
        let Some((_, at)) = self.side(member, key) else { return };
        at.has = None;
        let Some(entry) = self.entries.get_mut(key) else { return };
        let Some(wanted) = entry.intent.wanted().map(Record::pair) else { return };
        // Our own later write, whose answer is under way, or one that has raised itself above the holder meanwhile.
        if holder <= wanted || holder.incarnation == record.pair().incarnation {
            return;
        }
        let news = entry.at[member].outranked.replace(holder) != Some(holder);
        let ours = entry.intent.record().clone();
        let proven = entry.proven.is_some();
        entry.intent = Intent::Gone(ours.clone());
        entry.generation += 1;
        if news && proven {
            outputs.push(Output::Fenced { key: key.clone(), holder });
        }
        let cause =
            Error::conflict(holder, format!("another owner has taken `{key}` over with the pair {holder}"));
        outputs.push(Output::Lost { key: key.clone(), cause });
        for other in (0..self.members.len()).filter(|other| *other != member) {
            let Some((side, at)) = self.side(other, key) else { continue };
            let there = at.has.is_some_and(|(has, _)| has == ours.pair()) || !at.is_idle();
            if !there || at.removal.is_some() || !side.mode.takes_removals() {
                continue;
            }
            at.has = None;
            at.removal = Some(Removal {
                record: ours.clone(),
                retry_at: now,
                attempts: 0,
                refused: false,
                journalled: false,
            });
            side.pending.insert(key.clone());
            self.enqueue(other, key, Verb::Deregister, None, outputs);
        }
    }

    fn removed(
        &mut self,
        member: usize,
        key: &InstanceKey,
        flight: &Flight,
        answer: &Result<Receipt>,
        now: Instant,
        outputs: &mut Vec<Output>,
    ) {
        let Some((side, at)) = self.side(member, key) else { return };
        match answer {
            Err(error) if !matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {
                if let Some(removal) = &mut at.removal {
                    removal.try_again(is_refusal(error), now);
                }
            }
            // Taken, and not proven: the record may be there yet.
            Ok(receipt) if !receipt.committed && at.removal.is_some() => {
                if let Some(removal) = &mut at.removal {
                    removal.try_again(false, now);
                }
            }
            _ => {
                at.has = None;
                at.touched = false;
                side.removed += usize::from(flight.calls.is_empty());
                // One that was asked for meanwhile, with a higher pair, is another.
                let same = at.removal.as_ref().is_some_and(|one| one.record.pair() == flight.record.pair());
                if same {
                    self.forget_removal(member, key, outputs);
                }
            }
        }
    }

    fn forget_removal(&mut self, member: usize, key: &InstanceKey, outputs: &mut Vec<Output>) {
        let Some((side, at)) = self.side(member, key) else { return };
        side.pending.remove(key);
        if at.removal.take().is_some_and(|removal| removal.journalled) {
            outputs.push(Output::Forget { key: key.clone(), member });
        }
    }

    /// `member` has lost the record by its own account.
    pub(crate) fn lost(
        &mut self,
        member: usize,
        key: &InstanceKey,
        cause: &Error,
        now: Instant,
        outputs: &mut Vec<Output>,
    ) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let Some(record) = entry.intent.wanted().cloned() else { return };
        if let (ErrorKind::Conflict, Some(holder)) = (cause.kind(), cause.holder()) {
            return self.outranked(member, key, &record, holder, outputs, now);
        }
        if let Some(at) = entry.at.get_mut(member) {
            at.has = None;
        }
        // Who has it elsewhere is not bothered: it is repaired with the next renewal.
        if !entry.at.iter().any(|at| at.has(record.pair(), now) || at.flight.is_some()) {
            outputs.push(Output::Lost { key: key.clone(), cause: cause.clone() });
        }
    }
}
