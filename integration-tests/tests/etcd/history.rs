//! What etcd has forgotten, and what it has in store for who was slow.

use std::sync::Arc;
use std::time::Duration;

use callsign_client::{Client, ServiceView, Snapshot};
use callsign_core::{Backend, Pair, Read, ServiceKey};
use callsign_integration_tests::etcd::Options;
use callsign_integration_tests::proxy::{Mode, Proxy};
use callsign_testkit::suite::client::observe::{always, brief, is_stale, shows};
use callsign_testkit::suite::{CaseResult, Stop};
use futures::future::try_join_all;
use tokio::time::sleep;

use crate::ensure;
use crate::raw::{Raw, place};
use crate::setup::Setup;
use crate::stage::{RECOVERY, SOON, Stage, backend, instance, record};

const TTL: Duration = Duration::from_secs(120);

/// A view behind a proxy, without protection: it shows what its registry lists.
struct Reader {
    stage: Stage,
    service: ServiceKey,
    view: ServiceView,
    writer: Arc<dyn Backend>,
}

impl Reader {
    async fn settle(setup: &Setup) -> CaseResult<Self> {
        let stage = setup.with(Options::with_client_proxies).stage().await?;
        let service = stage.service("orders")?;
        let client = Client::builder(stage.backend()?).protection(false).build()?;
        let view = stage.view(&client, &service).await?;
        let writer = backend(&stage.direct_config())?;
        Ok(Self { stage, service, view, writer })
    }

    fn proxy(&self) -> CaseResult<&Proxy> {
        self.stage.etcd().member(0)?.clients().ok_or_else(|| Stop::failed("there is no proxy"))
    }

    /// Writes `count` instances with the pair `1.seq`, of about `size` bytes each.
    async fn write(&self, count: usize, seq: u64, size: usize) -> CaseResult {
        let filler = "x".repeat(size);
        let records = (0..count).map(|number| {
            let id = format!("id-{number:03}");
            let instance = instance(&self.service, &id).pair(Pair::new(1, seq));
            let instance = instance.metadata("filler", filler.as_str()).build();
            async move {
                let record = callsign_core::Record::new(instance?, callsign_core::Ttl::new(TTL)?);
                self.writer.register(&record).await
            }
        });
        try_join_all(records).await?;
        Ok(())
    }

    /// Waits until the view shows exactly what the registry lists, live.
    async fn shows_the_truth(&self) -> CaseResult {
        let truth = self.writer.list(&self.service, Read::Quorum).await?;
        let same = |snapshot: &Snapshot| {
            let pairs = |instances: &[Arc<callsign_core::Instance>]| {
                instances.iter().map(|one| (one.id().clone(), one.pair())).collect::<Vec<_>>()
            };
            snapshot.freshness.is_live() && pairs(&snapshot.instances) == pairs(&truth.instances)
        };
        shows(&self.view, RECOVERY, "what the registry lists", same).await?;
        Ok(())
    }

    /// What the keys of the instances begin with, and what the first of them would be with the next `count` seqs; `ID`
    /// stands for its id.
    async fn documents(&self, count: usize) -> CaseResult<(String, Vec<String>)> {
        let id = "id-000";
        let key = place(record(&self.service, id, 1, TTL)?.key());
        let stored = self.stage.raw().await?.get(&key).await?;
        let stored = stored.ok_or_else(|| Stop::failed("there is no record"))?;
        let document = String::from_utf8_lossy(stored.value()).replace(id, "ID");
        let prefix = String::from_utf8_lossy(&key).replace(id, "");
        let with = |seq: usize| document.replace("\"seq\":1", &format!("\"seq\":{}", seq + 2));
        Ok((prefix, (0..count).map(with).collect()))
    }

    async fn raws(&self, count: usize) -> CaseResult<Vec<Raw>> {
        try_join_all((0..count).map(|_| self.stage.raw())).await
    }

    async fn compact(&self) -> CaseResult<i64> {
        let mut raw = self.stage.raw().await?;
        Box::pin(raw.compact()).await
    }
}

pub(crate) async fn compaction_while_disconnected_is_survived(setup: Setup) -> CaseResult {
    let reader = Reader::settle(&setup).await?;
    reader.write(20, 1, 10).await?;
    reader.shows_the_truth().await?;

    // One that everybody is connected to concerns nobody.
    always(&reader.view, "nothing happens", |snapshot| snapshot.freshness.is_live(), async {
        reader.compact().await?;
        reader.write(20, 2, 10).await?;
        reader.shows_the_truth().await
    })
    .await?;

    let proxy = reader.proxy()?;
    proxy.set(Mode::Refuse).await;
    shows(&reader.view, SOON, "trouble", is_stale).await?;
    reader.write(10, 3, 10).await?;
    for number in 12..20 {
        let id = format!("id-{number:03}");
        reader.writer.deregister(&record(&reader.service, &id, 2, TTL)?).await?;
    }
    let compacted = reader.compact().await?;
    // What has to be asked for is gone: all that was missed, and the revision itself.
    reader.write(25, 4, 10).await?;
    ensure!(reader.compact().await? > compacted, "nothing was written");
    proxy.set(Mode::Pass).await;
    reader.shows_the_truth().await?;
    reader.write(3, 5, 10).await?;
    reader.shows_the_truth().await
}

pub(crate) async fn large_backlog_is_taken_without_an_endless_loop(setup: Setup) -> CaseResult {
    const IDS: usize = 100;
    const SIZE: usize = 12_000;
    // etcd keeps 1024 messages for a watcher that does not read, of one revision each. What it has missed beyond them
    // comes in one message of up to 1000 revisions: here some 8 MB, twice what the native client takes unless told.
    const WRITES: usize = 1_700;
    let reader = Reader::settle(&setup).await?;
    reader.write(IDS, 1, SIZE).await?;
    reader.shows_the_truth().await?;
    let (prefix, documents) = reader.documents(WRITES).await?;
    let (proxy, raws) = (reader.proxy()?, reader.raws(8).await?);
    let before = proxy.counts().accepted;

    // For less time than it takes to give the connection up, on a machine that is fast enough.
    proxy.set(Mode::Stall).await;
    let parts = raws.into_iter().enumerate().map(|(part, mut raw)| {
        let (prefix, documents) = (&prefix, &documents);
        async move {
            // Each writes to records of its own: the last of them counts.
            for (number, document) in documents.iter().enumerate().filter(|(number, _)| number % 8 == part) {
                let id = (number % 8) + 8 * (number / 8 % (IDS / 8));
                raw.put(format!("{prefix}id-{id:03}"), document.replace("ID", &format!("id-{id:03}")))
                    .await?;
            }
            Ok::<_, Stop>(())
        }
    });
    try_join_all(parts).await?;
    proxy.set(Mode::Pass).await;
    reader.shows_the_truth().await?;
    let snapshot = reader.view.snapshot();
    ensure!(snapshot.instances.len() == IDS, "{}", brief(&snapshot));

    // It has settled: the same connection tells what comes next.
    let settled = proxy.counts().accepted;
    ensure!(settled <= before + 2, "it took {} connections", settled - before);
    always(&reader.view, "it has settled", |snapshot| snapshot.freshness.is_live(), async {
        reader.write(3, 1_000_000, SIZE).await?;
        reader.shows_the_truth().await?;
        sleep(Duration::from_secs(5)).await;
        ensure!(proxy.counts().accepted == settled, "it goes on connecting");
        Ok(())
    })
    .await
}
