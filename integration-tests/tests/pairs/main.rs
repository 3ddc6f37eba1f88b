//! An etcd and a ZooKeeper behave as one registry: the suites over both, and the cells of the fault matrix in which one
//! of them is killed, frozen, wiped and cut off.

mod cells;
mod etcd;
mod suites;

use std::process::ExitCode;

use callsign_failover::Topology;
use callsign_integration_tests::Pool;
use callsign_testkit::run_with_threads;

/// Cases mostly wait; each has servers of its own.
const THREADS: usize = 4;

fn main() -> ExitCode {
    let pools = cells::Pools { etcd: Pool::new(), zookeeper: Pool::new() };
    // What differs between the topologies differs there: who is written, who is read, and when one is returned to.
    let differs = [1, 2, 9, 15];
    let subjects = [
        cells::on(&pools, Topology::Mirror, |_| true),
        cells::on(&pools, Topology::Standby, move |number| differs.contains(&number)),
        cells::on(&pools, Topology::Union, move |number| differs.contains(&number)),
        etcd::subject(),
        suites::subject(&pools),
    ];
    run_with_threads(THREADS, subjects)
}
