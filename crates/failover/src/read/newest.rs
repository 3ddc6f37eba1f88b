//! No instance goes back to a former version, whoever is read next: a member that has missed a write lists what was there
//! before it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use callsign_core::{Instance, InstanceId};
use tokio::time::Instant;

/// For how long it is remembered who was shown and is not any more: as long as a view remembers who has left.
const REMEMBERED: Duration = Duration::from_secs(600);
/// The most that are remembered, of one service.
const AT_MOST: usize = 4096;

/// Who is not shown any more, as it was last.
#[derive(Debug, Default)]
pub(crate) struct Newest {
    gone: HashMap<InstanceId, (Arc<Instance>, Instant)>,
}

impl Newest {
    /// `listed`, with nobody in a version that is older than what was shown. `None`: it is as it should be. Both are sorted by
    /// their ids. Who had announced its leaving and is listed again is leaving still: the view hides it, and tells of it.
    pub(crate) fn of(
        &mut self,
        listed: &[Arc<Instance>],
        shown: &[Arc<Instance>],
        now: Instant,
    ) -> Option<Vec<Arc<Instance>>> {
        let mut before = shown.iter().peekable();
        let mut changed: Option<Vec<Arc<Instance>>> = None;
        for (nth, instance) in listed.iter().enumerate() {
            while let Some(missing) = before.next_if(|former| former.id() < instance.id()) {
                self.is_gone(missing, now);
            }
            let former = before.next_if(|former| former.id() == instance.id());
            let newer = match former {
                Some(former) => raised(instance, former),
                None => self.back(instance),
            };
            match (&mut changed, newer) {
                (None, None) => {}
                (Some(changed), newer) => changed.push(newer.unwrap_or_else(|| instance.clone())),
                (None, Some(newer)) => {
                    changed = Some(listed[..nth].iter().cloned().chain([newer]).collect());
                }
            }
        }
        for missing in before {
            self.is_gone(missing, now);
        }
        changed
    }

    fn is_gone(&mut self, instance: &Arc<Instance>, now: Instant) {
        if instance.pair().is_none() {
            return;
        }
        if self.gone.len() >= AT_MOST {
            self.gone.retain(|_, (_, since)| now.duration_since(*since) < REMEMBERED);
        }
        if self.gone.len() < AT_MOST {
            self.gone.insert(instance.id().clone(), (instance.clone(), now));
        }
    }

    fn back(&mut self, instance: &Arc<Instance>) -> Option<Arc<Instance>> {
        // Most of the time nobody is.
        let (former, _) = self.gone.get_mut(instance.id())?;
        let newer = raised(instance, former);
        if newer.is_none() {
            // What answers a question need not be what is shown: it is gone until it is.
            former.clone_from(instance);
        }
        newer
    }
}

fn raised(listed: &Arc<Instance>, former: &Arc<Instance>) -> Option<Arc<Instance>> {
    if Arc::ptr_eq(listed, former) || listed.pair() >= former.pair() {
        return None;
    }
    if listed.health == former.health {
        return Some(former.clone());
    }
    // How it is, the member that is read says.
    let mut raised = Instance::clone(former);
    raised.health = listed.health;
    Some(Arc::new(raised))
}

#[cfg(test)]
mod tests {
    use callsign_core::{Pair, Status};

    use super::*;

    fn one(id: &str, pair: u64, status: Status) -> Arc<Instance> {
        let builder = Instance::builder("orders").id(id).endpoint("http://127.0.0.1:1");
        Arc::new(builder.pair(Pair::new(1, pair)).status(status).build().unwrap())
    }

    fn up(id: &str, pair: u64) -> Arc<Instance> {
        one(id, pair, Status::Up)
    }

    fn pairs(newest: Option<Vec<Arc<Instance>>>) -> Vec<(String, u64)> {
        newest.unwrap().iter().map(|one| (one.id().to_string(), one.pair().seq)).collect()
    }

    #[test]
    fn a_former_version_is_replaced_by_what_was_shown() {
        let (mut newest, now) = (Newest::default(), Instant::now());
        let shown = [up("a", 3), up("b", 2), up("d", 5)];
        assert!(newest.of(&[up("a", 3), up("b", 4), up("c", 1), up("d", 5)], &shown, now).is_none());
        let listed = [up("a", 2), up("b", 4), up("d", 4)];
        let expected = [("a", 3), ("b", 4), ("d", 5)].map(|(id, pair)| (id.to_owned(), pair));
        assert_eq!(pairs(newest.of(&listed, &shown, now)), expected);
    }

    #[test]
    fn who_was_gone_in_between_does_not_come_back_as_less_than_it_was() {
        let (mut newest, now) = (Newest::default(), Instant::now());
        assert!(newest.of(&[up("b", 1)], &[up("a", 3), up("b", 1), up("c", 2)], now).is_none());
        let listed = [up("a", 2), up("b", 1), up("c", 3)];
        let expected = [("a", 3), ("b", 1), ("c", 3)].map(|(id, pair)| (id.to_owned(), pair));
        assert_eq!(pairs(newest.of(&listed, &[up("b", 1)], now)), expected);
    }

    #[test]
    fn who_had_announced_its_leaving_is_leaving_still() {
        let (mut newest, now) = (Newest::default(), Instant::now());
        assert!(newest.of(&[], &[one("a", 3, Status::Draining)], now).is_none());
        let back = newest.of(&[up("a", 2)], &[], now).unwrap();
        assert_eq!(back[0].status, Status::Draining);
        assert!(newest.of(&[up("a", 4)], &[], now).is_none());
    }

    #[test]
    fn who_is_gone_is_forgotten_in_time_and_never_too_many_are_remembered() {
        let (mut newest, start) = (Newest::default(), Instant::now());
        let all: Vec<_> = (0..=AT_MOST).map(|nth| up(&format!("id-{nth:05}"), 3)).collect();
        assert!(newest.of(&[], &all, start).is_none());
        assert_eq!(newest.gone.len(), AT_MOST);
        assert!(newest.of(&[], &[up("late", 3)], start + REMEMBERED).is_none());
        assert_eq!(newest.gone.len(), 1);
    }
}
