//! Whom to ask for what, when a record is to be there.

use callsign_core::{Error, Record};
use tokio::time::Instant;

use super::Verb;
use super::entry::{At, Mode};
use super::ledger::{Ledger, Side};

/// What a member is asked.
pub(super) enum Step {
    Nothing,
    Refuse(Error),
    Send(Verb),
}

impl Ledger {
    /// What each member is asked when `record` is to be there.
    pub(super) fn plan(&self, verb: Verb, record: &Record, known: bool, now: Instant) -> Vec<Step> {
        let Some(entry) = self.entries.get(record.key()) else {
            return Vec::new();
        };
        let pair = record.pair();
        // Who is outranked asks those who said so, and nobody else: elsewhere the record would live on for nothing.
        let is_outranked = |at: &At| at.outranked.is_some_and(|holder| holder > pair);
        let outranked = entry.at.iter().any(is_outranked);
        let sides = || self.members.iter().zip(&entry.at);
        let reachable = |(side, at): (&Side, &At)| {
            matches!(side.mode, Mode::Open | Mode::RenewOnly(_)) && at.has(pair, now)
        };
        let proof_can_be_had = sides().any(reachable);
        // Of those that are out of reach, one has it, as far as anybody can know.
        let believed = !proof_can_be_had && sides().any(|(_, at)| at.has(pair, now));
        let step = |(side, at): (&Side, &At)| {
            if outranked && !is_outranked(at) {
                return Step::Nothing;
            }
            match (&side.mode, verb) {
                (Mode::Passive, _) => Step::Nothing,
                (Mode::RenewOnly(_), Verb::Renew) if at.has(pair, now) => Step::Send(Verb::Renew),
                (Mode::Closed(error) | Mode::RenewOnly(error), _) => Step::Refuse(error.clone()),
                (Mode::Open, Verb::Renew) if !known || outranked || at.has(pair, now) => {
                    Step::Send(Verb::Renew)
                }
                (Mode::Open, Verb::Renew) if proof_can_be_had => {
                    let refused = at.refused.as_ref().map(|(error, _)| error.clone());
                    Step::Refuse(
                        refused.unwrap_or_else(|| Error::unavailable("it is not registered there yet")),
                    )
                }
                (Mode::Open, Verb::Renew) if believed => Step::Send(Verb::Register),
                (Mode::Open, verb) => Step::Send(verb),
            }
        };
        sides().map(step).collect()
    }
}
