//! Faults that are up, and when each of them heals.

use std::time::Duration;

use callsign_memory::{Fault, FaultGuard, Store};
use callsign_testkit::ChaosControl;
use tokio::time::Instant;

enum Up {
    Store { _guard: FaultGuard },
    Link(ChaosControl),
}

/// The faults that are up.
#[derive(Default)]
pub(crate) struct Faults(Vec<(Instant, Up)>);

impl Faults {
    /// Breaks the registry for everybody. One such fault at a time.
    pub(crate) fn inject(&mut self, store: &Store, fault: Fault, lasts: Duration) {
        if !self.0.iter().any(|(_, up)| matches!(up, Up::Store { .. })) {
            self.0.push((Instant::now() + lasts, Up::Store { _guard: store.inject(fault) }));
        }
    }

    /// Breaks one client's way to it.
    pub(crate) fn cut(&mut self, control: ChaosControl, freeze: bool, lasts: Duration) {
        if freeze {
            control.freeze();
        } else {
            control.cut();
        }
        self.0.push((Instant::now() + lasts, Up::Link(control)));
    }

    /// Heals what is due.
    pub(crate) fn heal_due(&mut self) {
        let now = Instant::now();
        self.heal(|at| at <= now);
    }

    /// Heals everything.
    pub(crate) fn heal_all(&mut self) {
        self.heal(|_| true);
    }

    fn heal(&mut self, due: impl Fn(Instant) -> bool) {
        for (_, up) in self.0.extract_if(.., |(at, _)| due(*at)) {
            if let Up::Link(control) = up {
                control.heal();
            }
        }
    }
}
