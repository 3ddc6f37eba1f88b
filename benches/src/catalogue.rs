//! Everything that can be measured.

use anyhow::Result;

use crate::measure::Measure;
use crate::{consul, disk, etcd, failover, faults, memory, nacos, pick, reads, view, zookeeper};

/// Measures that are taken together.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) names: &'static [&'static str],
    pub(crate) run: fn() -> Result<Vec<Measure>>,
}

pub(crate) const GROUPS: &[Group] = &[
    Group { names: &["view.update_10k", "view.update_10k_p99"], run: view::update },
    Group { names: &["view.heap_per_instance"], run: view::heap_per_instance },
    Group { names: &["view.snapshot"], run: view::snapshot },
    Group { names: &["view.reads_under_fault"], run: reads::under_fault },
    Group { names: &["pick.round_robin_10"], run: || pick::round_robin("pick.round_robin_10", 10) },
    Group { names: &["pick.round_robin_100"], run: || pick::round_robin("pick.round_robin_100", 100) },
    Group { names: &["pick.round_robin_10k"], run: || pick::round_robin("pick.round_robin_10k", 10_000) },
    Group { names: &["pick.round_robin_allocations"], run: pick::allocations },
    Group { names: &["disk.cold_start_10k"], run: disk::cold_start },
    Group {
        names: &["memory.register_to_seen", "memory.register_to_seen_p99"],
        run: memory::register_to_seen,
    },
    Group { names: &["memory.register_10k"], run: memory::register_10k },
    Group {
        names: &[
            "etcd.register_to_seen",
            "etcd.register_to_seen_p99",
            "etcd.register_to_seen_backend",
            "etcd.register_to_seen_backend_p99",
        ],
        run: etcd::arrival::register_to_seen,
    },
    Group { names: &["etcd.register_10k", "etcd.register_10k_backend"], run: etcd::many::register_10k },
    Group { names: &["etcd.renew_requests"], run: etcd::many::renew_requests },
    Group { names: &["etcd.killed_stale"], run: etcd::outages::killed_stale },
    Group { names: &["etcd.frozen_stale"], run: etcd::outages::frozen_stale },
    Group { names: &["etcd.reads_under_fault"], run: etcd::outages::reads_under_fault },
    Group { names: &["etcd.member_killed_live"], run: etcd::members::killed_live },
    Group { names: &["etcd.leader_killed_live"], run: etcd::members::leader_killed_live },
    Group { names: &["etcd.member_frozen_live"], run: etcd::members::frozen_live },
    Group { names: &["etcd.back_after_outage"], run: etcd::outages::back_after_outage },
    Group { names: &["consul.register_to_seen"], run: consul::arrival::register_to_seen },
    Group { names: &["consul.register_200"], run: consul::agents::register_200 },
    Group { names: &["consul.back_after_restart"], run: consul::agents::back_after_restart },
    Group { names: &["consul.renewals_lost"], run: consul::agents::renewals_lost },
    Group { names: &["consul.view_10k"], run: consul::large::view_10k },
    Group { names: &["faults.violations", "faults.settled", "faults.gone"], run: faults::on_etcd },
    Group {
        names: &["faults.consul_violations", "faults.consul_settled", "faults.consul_gone"],
        run: faults::on_consul,
    },
    Group {
        names: &["faults.zookeeper_violations", "faults.zookeeper_settled", "faults.zookeeper_gone"],
        run: faults::on_zookeeper,
    },
    Group {
        names: &["faults.nacos_violations", "faults.nacos_settled", "faults.nacos_gone"],
        run: faults::on_nacos,
    },
    Group {
        names: &["faults.both_violations", "faults.both_settled", "faults.both_gone"],
        run: faults::on_both,
    },
    Group { names: &["nacos.register"], run: nacos::arrival::register },
    Group {
        names: &["nacos.register_to_seen", "nacos.register_to_seen_rnacos"],
        run: nacos::arrival::register_to_seen,
    },
    Group { names: &["nacos.back_after_outage"], run: nacos::outages::back_after_outage },
    Group { names: &["nacos.replay"], run: nacos::outages::replay },
    Group {
        names: &["faults.pairs_violated", "faults.pairs_failed", "faults.pairs_switched"],
        run: failover::pairs::all,
    },
    Group { names: &["failover.killed_noticed", "failover.switch_warm"], run: failover::noticed::killed },
    Group { names: &["failover.frozen_noticed"], run: failover::noticed::frozen },
    Group { names: &["failover.quorum_noticed"], run: failover::noticed::quorum_lost },
    Group { names: &["failover.reads_under_fault"], run: failover::reads::under_fault },
    Group {
        names: &["failover.register_blackholed", "failover.register_blackholed_slowest"],
        run: failover::writes::register_blackholed,
    },
    Group { names: &["failover.cold_start_10k"], run: failover::cold::start },
    Group {
        names: &["zookeeper.register_to_seen", "zookeeper.register_to_seen_p99"],
        run: zookeeper::arrival::register_to_seen,
    },
    Group { names: &["zookeeper.register_10k", "zookeeper.list_10k"], run: zookeeper::many::ten_thousand },
];

/// All names.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    GROUPS.iter().flat_map(|group| group.names).copied()
}

/// The part of a name before the dot.
pub(crate) fn area(name: &str) -> &str {
    name.split_once('.').map_or(name, |(area, _)| area)
}

impl Group {
    /// Whether `word` is a name in this group, or the area of one.
    pub(crate) fn answers_to(&self, word: &str) -> bool {
        self.names.iter().any(|name| *name == word || area(name) == word)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_has_an_area_and_is_there_once() {
        let mut seen = BTreeSet::new();
        for name in names() {
            assert_ne!(area(name), name);
            assert!(seen.insert(name), "{name} is there twice");
        }
    }
}
