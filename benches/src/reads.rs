//! Reading a view while its registry goes through everything that can happen to one.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use callsign_benches::fleet;
use callsign_client::{Client, RegisterOptions, Registration, ServiceView};
use callsign_core::{Discovery, Read, Ttl};
use callsign_memory::{Fault, Memory, Store};
use tokio::runtime;
use tokio::time::{sleep, timeout};

use crate::measure::Measure;
use crate::readers::{Alive, is_troubled, read_through};

const LIVE: usize = 20;
/// The shortest there is, so that leases end during an outage.
const TTL: Duration = Ttl::MIN;
const OUTAGE: Duration = Duration::from_secs(3);
const RECOVERED_WITHIN: Duration = Duration::from_secs(30);
/// `None` is a wipe, which is over at once.
const FAULTS: [Option<Fault>; 5] =
    [Some(Fault::Unavailable), Some(Fault::Frozen), None, Some(Fault::Stale), Some(Fault::Partial)];

/// The registry of 20 live instances is made unavailable, frozen, wiped, stale and partial in turn.
pub(crate) fn under_fault() -> Result<Vec<Measure>> {
    let runtime = runtime::Builder::new_multi_thread().enable_all().build()?;
    let store = Store::new();
    let (view, registrations) = runtime.block_on(start(&store))?;
    let ids: Vec<_> = registrations.iter().map(|it| it.key().id.clone()).collect();
    let tally = read_through(&runtime, &view, &ids, break_and_heal(&store, &view))?;
    Ok(vec![tally.measured("view.reads_under_fault", FAULTS.len())])
}

async fn start(store: &Store) -> Result<(ServiceView, Vec<Registration>)> {
    let service = fleet::service()?;
    let memory = || Arc::new(Memory::new(store.clone(), "main"));
    let owner = Client::builder(memory()).ttl(Ttl::new(TTL)?).build()?;
    let mut registrations = Vec::with_capacity(LIVE);
    for number in 0..LIVE {
        let instance = fleet::instance(&service, number)?;
        registrations.push(owner.register(instance, RegisterOptions::new().required()).await?);
    }
    let view = Client::builder(memory()).prober(Alive).build()?.service(&service);
    view.wait_for(RECOVERED_WITHIN, |snapshot| snapshot.routable().len() == LIVE).await?;
    Ok((view, registrations))
}

async fn break_and_heal(store: &Store, view: &ServiceView) -> Result<()> {
    for fault in FAULTS {
        match fault {
            Some(fault) => {
                let guard = store.inject(fault);
                sleep(OUTAGE).await;
                guard.heal();
            }
            None => store.wipe(),
        }
        timeout(RECOVERED_WITHIN, recovered(store, view)).await?;
    }
    Ok(())
}

/// The registry lists everybody again, and the view believes it.
async fn recovered(store: &Store, view: &ServiceView) {
    let memory = Memory::new(store.clone(), "main");
    loop {
        let listed = memory.list(view.service(), Read::Quorum).await;
        if listed.is_ok_and(|listing| listing.instances.len() == LIVE) && !is_troubled(&view.snapshot()) {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
}
