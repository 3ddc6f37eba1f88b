//! The task that looks at the clock for all members: what is due, who is whole, what is covered.

use std::sync::Arc;
use std::time::Duration;

use callsign_core::{EventKind, MemberState};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::Topology;
use crate::group::{Evidence, Word};
use crate::metrics;
use crate::shared::Shared;

/// How often members that come back are looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How often, in looks, what is over is forgotten.
const SWEEP_EVERY: u32 = 20;

/// Supervises for ever.
pub(crate) async fn supervise(shared: Arc<Shared>) {
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut whole = vec![false; shared.members.len()];
    let mut looks = 0_u32;
    loop {
        let wake_at = shared.group().wake_at(Instant::now());
        tokio::select! {
            () = sleep_until(wake_at.unwrap_or_else(Instant::now)), if wake_at.is_some() => {}
            () = shared.clock.notified() => {}
            _ = look.tick() => {
                looks = looks.wrapping_add(1);
                if looks.is_multiple_of(SWEEP_EVERY) {
                    shared.writer.sweep();
                }
                reconcile(&shared, &mut whole);
                hear(&shared);
                // What is kept only for a time goes with it.
                shared.services.refresh(&shared.picture());
            }
        }
        shared.step(|group| group.tick(Instant::now()));
    }
}

/// Tells of members that have everything again.
fn reconcile(shared: &Shared, whole: &mut [bool]) {
    let longest_ttl = shared.writer.longest_ttl();
    let states: Vec<_> = {
        let mut group = shared.group();
        group.lives_for(longest_ttl);
        group.members().iter().map(crate::group::Machine::state).collect()
    };
    for (member, state) in states.into_iter().enumerate() {
        let name = &shared.members[member].name;
        metrics::pending(&shared.info.name, name, shared.writer.pending(member));
        if state != MemberState::Recovering {
            whole[member] = false;
            continue;
        }
        let now = shared.writer.is_whole(member);
        let before = std::mem::replace(&mut whole[member], now);
        if now && !before {
            let (added, removed, refused) = shared.writer.healed(member);
            metrics::prevented(&shared.info.name, removed);
            let kind = EventKind::Reconciled { member: name.clone(), added, removed, refused };
            shared.publish(kind, None);
        }
        shared.learn(member, if now { Evidence::Whole } else { Evidence::Lacking });
    }
}

/// Tells what each member says of what is followed.
fn hear(shared: &Shared) {
    if let Some(oldest) = shared.services.oldest() {
        metrics::age(&shared.info.name, oldest.elapsed());
    }
    if shared.settings.topology == Topology::Union {
        return;
    }
    let active = shared.group().choice().active();
    let own = (shared.settings.topology == Topology::Standby && active > 0).then(|| shared.writer.own());
    for (member, one) in shared.members.iter().enumerate() {
        let coverage = shared.services.coverage(member);
        metrics::coverage(&shared.info.name, &one.name, coverage);
        let inhabited = own
            .as_ref()
            .is_some_and(|own| member < active && shared.services.is_deserted(active, member, own));
        let word = Word { coverage, unheard: shared.services.is_unheard(member), inhabited };
        shared.step(|group| group.says(member, word, Instant::now()));
    }
}
