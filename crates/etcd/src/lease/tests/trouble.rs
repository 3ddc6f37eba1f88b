//! What goes wrong around a ledger.

use callsign_core::{Error, Pair};

use super::super::member::Key;
use super::world::{Event, World};

/// What happens to calls for a while.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Mood {
    Fine,
    Down,
    /// The registry is there, and too busy.
    Refuses,
    /// They may be made, now or much later, and nobody hears of it.
    Silent,
    /// They are made, and nobody hears of it.
    LosesAnswers,
    /// Another member answers at once, and the first one may make them, too, much later.
    Rotates,
    Mixed,
}

impl World {
    pub(super) fn set_mood(&mut self, mood: Mood) {
        let before = std::mem::replace(&mut self.mood, mood);
        if mood == Mood::Down && before != Mood::Down {
            self.down_since = self.now;
        }
        if before == Mood::Down && mood != Mood::Down {
            self.ledger.reconnected(self.now - self.down_since, self.now);
        }
        if mood == Mood::Fine && before != Mood::Fine {
            self.fine_since = self.now;
            // Other connection, other watches.
            for key in self.watched.keys().cloned().collect::<Vec<_>>() {
                self.begin_watch(key);
            }
            self.settle();
        }
    }

    /// The registry starts with an empty disk, or from a backup. Nothing of before arrives.
    pub(super) fn start_anew(&mut self, leases: bool) {
        if leases {
            self.registry.restore(self.now);
        } else {
            self.registry.wipe(self.now);
        }
        self.agenda.retain(|_, event| !matches!(event, Event::Reach { .. } | Event::Saw(..)));
        for request in self.requests.values_mut() {
            request.reply = Err(Error::unavailable("the connection was lost").with_outcome_unknown());
        }
        self.set_mood(Mood::Down);
    }

    pub(super) fn rival_puts(&mut self, key: &Key, pair: Pair) {
        let value = format!("{pair} of a rival").into_bytes();
        self.registry.put(key, pair, value, self.now);
        self.show_changes();
    }

    pub(super) fn operator_deletes(&mut self, key: &Key) {
        self.registry.delete(key, self.now);
        self.show_changes();
    }

    pub(super) fn some_lease_ends(&mut self) {
        let leases = self.registry.leases();
        if let Some(lease) = self.rng.choice(leases) {
            self.registry.revoke(lease, self.now);
            self.show_changes();
        }
    }

    pub(super) fn elect(&mut self) {
        self.registry.extend_all(self.now);
    }
}
