//! A view is read while its registries are killed, frozen and wiped, one and all.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use callsign_benches::fleet;
use callsign_client::{Client, RegisterOptions};
use callsign_core::Ttl;
use tokio::time::sleep;

use super::{Both, WITHIN, alone, reads_main, runtime, until};
use crate::measure::Measure;
use crate::readers::{Alive, is_troubled, is_whole, read_through};

const LIVE: usize = 20;
/// Leases end while a registry is away.
const TTL: Duration = Duration::from_secs(3);
const OUTAGE: Duration = Duration::from_secs(5);
const FAULTS: usize = 4;

/// None of a million reads lacks anybody.
pub(crate) fn under_fault() -> Result<Vec<Measure>> {
    let runtime = runtime()?;
    let service = fleet::service()?;
    let (both, failover, owner, view) = runtime.block_on(async {
        let both = Both::start(alone()).await?;
        let owner =
            Client::builder(Arc::new(both.failover(both.endpoints())?)).ttl(Ttl::new(TTL)?).build()?;
        let failover = both.failover(both.endpoints())?;
        let looking = Client::builder(Arc::new(failover.clone())).prober(Alive).build()?;
        anyhow::Ok((both, failover, owner, looking.service(&service)))
    })?;
    let registrations = runtime.block_on(async {
        let mut registrations = Vec::with_capacity(LIVE);
        for number in 0..LIVE {
            let options = RegisterOptions::new().required();
            registrations.push(owner.register(fleet::instance(&service, number)?, options).await?);
        }
        anyhow::Ok(registrations)
    })?;
    let ids: Vec<_> = registrations.iter().map(|registration| registration.key().id.clone()).collect();
    let recovered = || async {
        let whole = view.wait_for(WITHIN, |seen| !is_troubled(seen) && is_whole(seen, &ids));
        whole.await.map(drop)?;
        until(&failover, reads_main).await
    };
    runtime.block_on(recovered())?;
    let faults = async {
        let killed = both.main.kill_all().await?;
        sleep(OUTAGE).await;
        killed.heal().await?;
        recovered().await?;
        let frozen = both.main.freeze_all().await?;
        sleep(OUTAGE).await;
        frozen.heal().await?;
        recovered().await?;
        both.main.wipe().await?;
        recovered().await?;
        let (main, backup) = (both.main.kill_all().await?, both.backup.kill_all().await?);
        sleep(OUTAGE).await;
        main.heal().await?;
        backup.heal().await?;
        recovered().await
    };
    let tally = read_through(&runtime, &view, &ids, faults)?;
    Ok(vec![tally.measured("failover.reads_under_fault", FAULTS)])
}
