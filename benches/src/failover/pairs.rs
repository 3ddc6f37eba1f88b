//! The fault matrix on every pair of kinds: the first of both is hurt.

use anyhow::Result;
use callsign_failover::Topology;
use callsign_integration_tests::consul::{self, Consul, Kind};
use callsign_integration_tests::etcd::{self, Etcd};
use callsign_integration_tests::nacos::{self, RNacos, RNacosOptions};
use callsign_integration_tests::pairs::{self, CELLS, Outcome, Pair};
use callsign_integration_tests::rounds::Ground;
use callsign_integration_tests::zookeeper::{self, ZooKeeper};
use futures::{StreamExt, TryStreamExt, stream};

use super::runtime;
use crate::measure::{Measure, Skipped, Unit};
use crate::samples::Samples;

/// Cells mostly wait; so many of them run at the same time, each on servers of its own.
const AT_A_TIME: usize = 4;
const KINDS: [Registry; 4] = [Registry::Etcd, Registry::Consul, Registry::ZooKeeper, Registry::RNacos];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Registry {
    Etcd,
    Consul,
    ZooKeeper,
    RNacos,
}

impl Registry {
    async fn start(self, several: bool) -> Result<Ground> {
        Ok(match self {
            Self::Etcd => {
                let options = etcd::Options::new(etcd::Version::V3_5);
                Etcd::start(if several { options.with_cluster() } else { options }).await?.into()
            }
            Self::Consul => Consul::start(consul::Options::new(Kind::Single)).await?.into(),
            Self::ZooKeeper => {
                let options = zookeeper::Options::new(zookeeper::Version::V3_9);
                ZooKeeper::start(if several { options.with_ensemble() } else { options }).await?.into()
            }
            Self::RNacos => RNacos::start(RNacosOptions::default()).await?.into(),
        })
    }
}

/// Cells in which something was wrong, and the look-ups that have failed in all of them.
pub(crate) fn all() -> Result<Vec<Measure>> {
    etcd::Version::V3_5.program().map_err(Skipped)?;
    consul::program().map_err(Skipped)?;
    zookeeper::Version::V3_9.jar().map_err(Skipped)?;
    nacos::program().map_err(Skipped)?;
    let outcomes = runtime()?.block_on(live_through_all())?;
    let count = |pick: fn(&Outcome) -> usize| outcomes.iter().map(pick).sum::<usize>();
    let (looked_up, failed) = (count(|outcome| outcome.looked_up), count(|outcome| outcome.failed));
    let wrong = count(|outcome| usize::from(outcome.complaint.is_some()));
    let switched = outcomes.iter().flat_map(|outcome| outcome.switched.iter().copied());
    let switched = Samples::new(switched, "onlookers that have turned away");
    let cells = format!("{} cells", outcomes.len());
    #[expect(clippy::cast_precision_loss, reason = "no run has 2^53 cells")]
    Ok(vec![
        Measure::count("faults.pairs_violated", wrong as f64, "cells", 0.0, cells),
        Measure::count(
            "faults.pairs_failed",
            failed as f64,
            "look-ups",
            0.0,
            format!("{looked_up} look-ups"),
        ),
        Measure::p99("faults.pairs_switched", &switched, Unit::Seconds, 4.0),
    ])
}

#[expect(clippy::print_stderr, reason = "it takes some minutes, and what is wrong has to be seen")]
async fn live_through_all() -> Result<Vec<Outcome>> {
    let pairs = KINDS.into_iter().flat_map(|main| KINDS.map(|backup| (main, backup)));
    let pairs = pairs.filter(|(main, backup)| main != backup);
    let cells = pairs.flat_map(|(main, backup)| CELLS.iter().map(move |cell| (main, backup, cell)));
    let outcomes = stream::iter(cells).map(async |(main, backup, cell)| {
        let several = cell.takes_several();
        let pair = Pair { main: main.start(several).await?, backup: backup.start(false).await? };
        if let Err(why) = cell.can_be_made_on(&pair) {
            eprintln!("{main:?} and {backup:?}, {}: skipped, {why}", cell.name);
            return Ok(None);
        }
        let outcome = pairs::run(&pair, Topology::Mirror, cell).await?;
        match &outcome.complaint {
            Some(complaint) => eprintln!("{main:?} and {backup:?}, {}: {complaint}", cell.name),
            None => eprintln!("{main:?} and {backup:?}, {}: well", cell.name),
        }
        anyhow::Ok(Some(outcome))
    });
    let outcomes: Vec<_> = outcomes.buffer_unordered(AT_A_TIME).try_collect().await?;
    Ok(outcomes.into_iter().flatten().collect())
}
