//! The rules, one function each.

use std::collections::BTreeMap;
use std::sync::Arc;

use callsign_core::{InstanceId, Pair};
use tokio::time::Instant;

use super::lives::{Lives, of_all};
use super::violation::trace;
use super::{Bounds, Entries, Rule, Sight, Violation};

/// A broken rule without its trace: which, about whom, when.
type Finding = (Rule, InstanceId, Instant);

pub(super) fn violations(entries: &Entries, bounds: &Bounds, now: Instant) -> Vec<Violation> {
    let all = of_all(&entries.operations);
    let mut violations = Vec::new();
    for (view, sights) in &entries.views {
        let mut findings = Vec::new();
        for (id, lives) in &all {
            findings.extend(ghost(id, lives, sights, bounds, now));
            findings.extend(step_back(id, sights));
            findings.extend(gap(id, lives, sights, bounds, now));
        }
        findings.extend(disagreement(&all, sights, now));
        violations.extend(findings.into_iter().map(|(rule, id, at)| Violation {
            rule,
            view: Arc::clone(view),
            trace: trace(entries, view, &id, at),
            id,
            at,
        }));
    }
    violations.sort_by_key(|violation| (violation.at, violation.rule));
    violations
}

/// Each sight with the end of the time during which it is shown.
fn spans(sights: &[Sight], now: Instant) -> impl Iterator<Item = (&Sight, Instant)> {
    let ends = sights.iter().skip(1).map(|sight| sight.at).chain([now]);
    sights.iter().zip(ends)
}

fn ghost(id: &InstanceId, lives: &Lives, sights: &[Sight], bounds: &Bounds, now: Instant) -> Option<Finding> {
    for removal in &lives.removals {
        let too_late = removal.at + bounds.disappears;
        // Seen once and gone after its removal, it stays gone.
        let (mut seen, mut gone) = (false, false);
        for (sight, end) in spans(sights, now) {
            match sight.set.get(id) {
                None => gone |= seen && sight.at >= removal.at,
                Some(shown) if shown.incarnation > removal.pair.incarnation => {}
                Some(_) if gone && sight.at > removal.at + bounds.returns => {
                    return Some((Rule::NoGhosts, id.clone(), sight.at));
                }
                // A sight counts also when the next one comes at the same instant.
                Some(_) if end.max(sight.at) > too_late => {
                    return Some((Rule::NoGhosts, id.clone(), too_late.max(sight.at)));
                }
                Some(shown) => {
                    seen |= shown.incarnation == removal.pair.incarnation;
                    gone = false;
                }
            }
        }
    }
    None
}

fn step_back(id: &InstanceId, sights: &[Sight]) -> Option<Finding> {
    let mut highest = Pair::NONE;
    for sight in sights {
        // Records of other software have no pair, and nothing to go back to.
        let Some(shown) = sight.set.get(id).filter(|pair| !pair.is_none()) else {
            continue;
        };
        if *shown < highest {
            return Some((Rule::NoStepBack, id.clone(), sight.at));
        }
        highest = *shown;
    }
    None
}

fn gap(id: &InstanceId, lives: &Lives, sights: &[Sight], bounds: &Bounds, now: Instant) -> Option<Finding> {
    for (nth, life) in lives.spans.iter().enumerate() {
        let until = life.until.unwrap_or(now);
        let bound = life.from + bounds.appears;
        let first = nth == 0 && !life.doubted;
        let mut seen = false;
        for (sight, end) in spans(sights, now) {
            if let Some(shown) = sight.set.get(id) {
                // Shown once, it may not vanish again, bound or not. What is shown early in a later life may be the
                // former life's record, on its way out, and that of a former owner is.
                let own = shown.is_none() || shown.incarnation >= life.incarnation;
                seen |= own && end > life.from && (first || end > bound);
                continue;
            }
            let vanished = seen && sight.at >= life.from && sight.at < until;
            let missing_from = if vanished { sight.at } else { sight.at.max(bound) };
            if vanished || missing_from < end.min(until) {
                return Some((Rule::NoGaps, id.clone(), missing_from));
            }
        }
    }
    None
}

fn disagreement(all: &BTreeMap<InstanceId, Lives>, sights: &[Sight], now: Instant) -> Vec<Finding> {
    let Some(last) = sights.last() else {
        return Vec::new();
    };
    let nobody = Lives::default();
    let ids = all.keys().chain(last.set.keys().filter(|id| !all.contains_key(*id)));
    ids.filter(|id| {
        let lives = all.get(*id).unwrap_or(&nobody);
        match last.set.get(*id) {
            // A write without an answer may have overtaken the last acknowledged one.
            Some(shown) if lives.is_live() => {
                !(lives.written == Some(*shown) || lives.uncertain && Some(*shown) > lives.written)
            }
            Some(_) => !lives.uncertain,
            None => lives.is_live(),
        }
    })
    .map(|id| (Rule::Agreement, id.clone(), now))
    .collect()
}
