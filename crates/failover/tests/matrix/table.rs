//! Which fault is where in the matrix.

use callsign_failover::Topology;
use futures::future::LocalBoxFuture;
use libtest_mimic::{Completion, Failed, Trial};
use tokio::runtime::Builder;

use super::cells::{authority, availability, content, disk, owners, refusals, split, watching};
use super::random;

const TOPOLOGIES: [Topology; 3] = [Topology::Standby, Topology::Mirror, Topology::Union];

/// A row of the matrix.
struct Row {
    number: u8,
    name: &'static str,
    run: fn(Topology) -> LocalBoxFuture<'static, ()>,
    /// Where there is nothing to prove, and why.
    except: Option<(Topology, &'static str)>,
}

macro_rules! rows {
    ($($number:literal $module:ident :: $name:ident $(except $topology:ident because $reason:literal)?,)*) => {
        [$(Row {
            number: $number,
            name: stringify!($name),
            run: |topology| Box::pin($module::$name(topology)),
            except: rows!(@ $($topology $reason)?),
        }),*]
    };
    (@) => { None };
    (@ $topology:ident $reason:literal) => { Some((Topology::$topology, $reason)) };
}

const ROWS: [Row; 30] = rows! {
    1 availability::killed,
    2 availability::frozen,
    3 availability::black_hole,
    4 availability::answers_lost,
    5 availability::reset,
    6 availability::slow_then_lossy,
    7 authority::quorum_lost,
    8 authority::minority,
    9 authority::restarted_empty,
    10 availability::rolling_restart,
    11 availability::flapping except Union because "a union reads all members, and switches between none",
    12 disk::all_down_and_a_client_restarted,
    13 disk::store_damaged,
    14 owners::crashed_in_the_outage,
    15 owners::left_in_the_outage,
    16 owners::restarted_in_the_outage,
    17 content::emptied,
    18 content::all_leases_ended,
    19 content::half_written except Standby because "who stands by is not written",
    20 owners::two_of_one_id,
    21 refusals::forbidden,
    22 refusals::too_many_requests,
    23 owners::clock_set_back,
    24 split::each_half_reaches_another,
    25 disk::journal_torn,
    26 content::undecodable,
    27 watching::silent_watch,
    28 watching::changes_missed,
    29 watching::a_thousand_at_once,
    30 random::schedule,
};

/// Every cell, and what counts them.
pub(crate) fn trials() -> Vec<Trial> {
    let cells = ROWS.iter().flat_map(|row| TOPOLOGIES.map(|topology| cell(row, topology)));
    let mut trials: Vec<_> = cells.collect();
    let names: Vec<_> = trials.iter().map(|trial| trial.name().to_owned()).collect();
    trials.push(Trial::test("the_matrix_has_every_cell_once", move || every_cell_once(&names)));
    trials
}

fn cell(row: &'static Row, topology: Topology) -> Trial {
    let name = format!("{topology}_{:02}_{}", row.number, row.name);
    let except = row.except.filter(|(except, _)| *except == topology);
    Trial::ignorable_test(name, move || {
        if let Some((_, reason)) = except {
            return Ok(Completion::ignored_with(reason));
        }
        live(row.number.into(), (row.run)(topology));
        Ok(Completion::Completed)
    })
}

/// Runs one life on a clock that jumps to whatever is next.
pub(crate) fn live(seed: u64, life: impl Future<Output = ()>) {
    // The dice of everybody's jitter belong to the thread.
    fastrand::seed(seed);
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(life);
}

fn every_cell_once(names: &[String]) -> Result<(), Failed> {
    let found = |topology: Topology, number: usize| {
        let start = format!("{topology}_{number:02}_");
        names.iter().filter(|name| name.starts_with(&start)).count()
    };
    for topology in TOPOLOGIES {
        if let Some(number) = (1..=30).find(|number| found(topology, *number) != 1) {
            return Err(format!("{topology} has {} cells {number}", found(topology, number)).into());
        }
    }
    if names.len() == 90 { Ok(()) } else { Err(format!("{} cells instead of 90", names.len()).into()) }
}
