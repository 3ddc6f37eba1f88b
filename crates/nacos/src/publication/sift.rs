//! Finding who it is that a server refuses: of a set it says only that it does not take it. Pure.
//!
//! Those who are new in a refused set are tried by halves, the others held back, until the refused one stands alone. One in
//! ten thousand costs some thirty requests of one round trip each.

use std::collections::BTreeSet;

use callsign_core::InstanceId;

/// After so many refusals it is not about single ones, and all who are left are refused.
const PATIENCE: u32 = 64;

/// A search, from the refusal of a set on.
#[derive(Debug)]
pub(super) struct Sift {
    /// The version of the refused set: who came later waits.
    pub(super) version: u64,
    /// Who is still to be tried, the next ones last.
    groups: Vec<Vec<InstanceId>>,
    patience: u32,
}

impl Sift {
    /// Among those who were new at `version`, whose set was refused.
    pub(super) fn among(version: u64, new: Vec<InstanceId>) -> Self {
        Self { version, groups: vec![new], patience: PATIENCE }
    }

    /// Who is kept out of the next set.
    pub(super) fn held_back(&self) -> BTreeSet<&InstanceId> {
        self.groups.split_last().into_iter().flat_map(|(_, waiting)| waiting).flatten().collect()
    }

    /// The set was taken; whether that was the last one.
    pub(super) fn was_taken(&mut self) -> bool {
        self.groups.pop();
        self.groups.is_empty()
    }

    /// The set was refused; who is known to be refused now. `None`: it is none of them.
    pub(super) fn was_refused(&mut self) -> Option<Vec<InstanceId>> {
        let mut tried = self.groups.pop()?;
        if tried.is_empty() {
            return None;
        }
        self.patience = self.patience.saturating_sub(1);
        if self.patience == 0 {
            tried.extend(self.groups.drain(..).flatten());
        } else if tried.len() > 1 {
            let second = tried.split_off(tried.len() / 2);
            self.groups.extend([second, tried]);
            return Some(Vec::new());
        }
        if self.groups.is_empty() {
            // Of all of them the server has taken nothing last: what is left is to be said.
            self.groups.push(Vec::new());
        }
        Some(tried)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who is found among `count` when a server takes nobody of `bad`, and with how many requests.
    fn found(count: u32, bad: &[u32]) -> (Vec<u32>, u32) {
        let id = |number: u32| InstanceId::new(number.to_string()).unwrap();
        let mut sift = Sift::among(1, (0..count).map(id).collect());
        let (mut found, mut requests) = (Vec::new(), 0);
        loop {
            requests += 1;
            let held_back = sift.held_back();
            let is_sent = |number: &&u32| !held_back.contains(&id(**number)) && !found.contains(*number);
            if bad.iter().any(|number| is_sent(&number)) {
                let refused = sift.was_refused().unwrap();
                found.extend(refused.iter().map(|id| id.as_str().parse::<u32>().unwrap()));
            } else if sift.was_taken() {
                found.sort_unstable();
                return (found, requests);
            }
        }
    }

    #[test]
    fn whoever_is_refused_is_found_and_nobody_else() {
        for count in [1, 2, 3, 7, 100] {
            for bad in 0..count {
                assert_eq!(found(count, &[bad]).0, [bad]);
            }
        }
        assert_eq!(found(50, &[0, 7, 49]).0, [0, 7, 49]);
        assert_eq!(found(2, &[0, 1]).0, [0, 1]);
        assert_eq!(found(5, &[]).0, [0_u32; 0]);
    }

    #[test]
    fn the_search_costs_little_and_ends_where_everybody_is_refused() {
        assert!(found(1000, &[567]).1 <= 23, "{:?}", found(1000, &[567]));
        let all: Vec<_> = (0..1000).collect();
        let (found, requests) = found(1000, &all);
        assert_eq!(found, all);
        assert!(requests <= PATIENCE + 1, "{requests}");
    }

    #[test]
    fn one_alone_is_the_one_and_a_refusal_without_any_is_not_theirs() {
        let id = InstanceId::new("a").unwrap();
        let mut sift = Sift::among(1, vec![id.clone()]);
        assert_eq!(sift.was_refused(), Some(vec![id]));
        assert_eq!(sift.was_refused(), None);
    }
}
