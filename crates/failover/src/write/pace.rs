//! How fast a member that comes back is filled: a thousand records at once are the next outage.

use std::collections::VecDeque;

use callsign_core::InstanceKey;
use tokio::time::Instant;

use super::entry::Output;
use super::ledger::Ledger;

/// Registrations a second that no caller waits for, as long as a member is healing. A thousand take 50 s.
const RATE: f64 = 20.0;
/// The most that are made up for at once.
const BURST: f64 = 20.0;

/// One member's.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// What there is of tokens, and since when. `None`: as fast as it goes.
    tokens: Option<(f64, Instant)>,
    waiting: VecDeque<InstanceKey>,
}

impl Pace {
    pub(super) fn is_slow(&self) -> bool {
        self.tokens.is_some()
    }

    pub(super) fn wait(&mut self, key: InstanceKey) {
        self.waiting.push_back(key);
    }

    pub(super) fn into_waiting(self) -> VecDeque<InstanceKey> {
        self.waiting
    }

    /// Who may go now.
    fn released(&mut self, now: Instant) -> Vec<InstanceKey> {
        let Some((tokens, since)) = &mut self.tokens else { return self.waiting.drain(..).collect() };
        *tokens = (*tokens + now.duration_since(*since).as_secs_f64() * RATE).min(BURST);
        *since = now;
        let mut released = Vec::new();
        while *tokens >= 1.0
            && let Some(key) = self.waiting.pop_front()
        {
            *tokens -= 1.0;
            released.push(key);
        }
        released
    }
}

impl Ledger {
    /// Whether `member` is healing.
    pub(crate) fn set_healing(
        &mut self,
        member: usize,
        healing: bool,
        now: Instant,
        outputs: &mut Vec<Output>,
    ) {
        let Some(side) = self.members.get_mut(member).filter(|side| side.pace.is_slow() != healing) else {
            return;
        };
        side.pace.tokens = healing.then_some((0.0, now));
        self.heal(member, now, outputs);
    }

    /// Sends what may be made up for by now.
    pub(crate) fn heal(&mut self, member: usize, now: Instant, outputs: &mut Vec<Output>) {
        let Some(side) = self.members.get_mut(member) else { return };
        for key in side.pace.released(now) {
            let Some((side, at)) = self.side(member, &key) else { continue };
            if at.queued.is_some() && at.flight.is_none() {
                side.ready.push_back(key);
                outputs.push(Output::Wake { member });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use callsign_core::{InstanceId, ServiceKey};

    use super::*;

    #[test]
    fn a_thousand_are_made_up_for_within_a_minute_and_not_at_once() {
        let (start, service) = (Instant::now(), ServiceKey::new("orders").unwrap());
        let mut pace = Pace { tokens: Some((0.0, start)), waiting: VecDeque::new() };
        for nth in 0..1000 {
            pace.wait(InstanceKey::new(service.clone(), InstanceId::new(format!("id-{nth}")).unwrap()));
        }
        let (mut now, mut released) = (start, 0);
        while released < 1000 {
            now += Duration::from_millis(250);
            released += pace.released(now).len();
            let most = now.duration_since(start).as_secs_f64() * RATE + BURST;
            assert!(f64::from(u32::try_from(released).unwrap()) <= most);
        }
        assert!(now.duration_since(start) <= Duration::from_secs(60));
        pace.wait(InstanceKey::new(service, InstanceId::new("late").unwrap()));
        pace.tokens = None;
        assert_eq!(pace.released(now).len(), 1);
    }
}
