//! The plain client: what a case does, and looks at, past the backend.

use std::time::Duration;

use callsign_core::InstanceKey;
use callsign_integration_tests::etcd::PREFIX;
use callsign_testkit::suite::{CaseResult, Stop};
use etcd_client::{
    Client, CompactionOptions, DeleteOptions, EventType, GetOptions, KeyValue, PutOptions, Txn, TxnOp,
    WatchOptions,
};
use tokio::time::timeout;

/// How many operations etcd takes at a time.
const AT_A_TIME: usize = 128;

/// A plain client of one member.
pub(crate) struct Raw(Client);

/// One thing that has happened.
#[derive(Debug, Clone)]
pub(crate) enum Happened {
    Put { key: String, value: String },
    Deleted { key: String },
}

impl Raw {
    pub(crate) fn new(client: Client) -> Self {
        Self(client)
    }

    pub(crate) fn client(&mut self) -> &mut Client {
        &mut self.0
    }

    /// What stands under a key.
    pub(crate) async fn get(&mut self, key: &[u8]) -> CaseResult<Option<KeyValue>> {
        let mut got = self.0.get(key, None).await.map_err(stop)?;
        Ok(got.take_kvs().pop())
    }

    /// The record of an instance.
    pub(crate) async fn record(&mut self, key: &InstanceKey) -> CaseResult<Option<KeyValue>> {
        self.get(&place(key)).await
    }

    /// Puts without a lease; the revision.
    pub(crate) async fn put(
        &mut self,
        key: impl Into<Vec<u8>>,
        value: impl Into<Vec<u8>>,
    ) -> CaseResult<i64> {
        let put = self.0.put(key, value, None::<PutOptions>).await.map_err(stop)?;
        Ok(put.header().map_or(0, etcd_client::ResponseHeader::revision))
    }

    /// Puts many without a lease.
    pub(crate) async fn put_all(&mut self, pairs: &[(Vec<u8>, Vec<u8>)]) -> CaseResult {
        for some in pairs.chunks(AT_A_TIME) {
            let puts: Vec<_> =
                some.iter().map(|(key, value)| TxnOp::put(key.clone(), value.clone(), None)).collect();
            self.0.txn(Txn::new().and_then(puts)).await.map_err(stop)?;
        }
        Ok(())
    }

    pub(crate) async fn delete(&mut self, key: impl Into<Vec<u8>>) -> CaseResult {
        self.0.delete(key, None::<DeleteOptions>).await.map(drop).map_err(stop)
    }

    /// The revision of the store.
    pub(crate) async fn revision(&mut self) -> CaseResult<i64> {
        let got = self.0.get("/", Some(GetOptions::new().with_count_only())).await.map_err(stop)?;
        Ok(got.header().map_or(0, etcd_client::ResponseHeader::revision))
    }

    /// Forgets all history up to now. What is answered before the history is gone from the disk frees no room there.
    pub(crate) async fn compact(&mut self) -> CaseResult<i64> {
        let revision = self.revision().await?;
        self.0.compact(revision, Some(CompactionOptions::new().with_physical())).await.map_err(stop)?;
        Ok(revision)
    }

    /// Everything that has happened to keys below `prefix` after `revision`, up to now.
    pub(crate) async fn history(&mut self, prefix: &str, revision: i64) -> CaseResult<Vec<Happened>> {
        const PATIENCE: Duration = Duration::from_secs(10);
        let end = format!("{prefix}~the-end-of-a-history");
        self.put(end.as_str(), "").await?;
        let options = WatchOptions::new().with_prefix().with_start_revision(revision + 1);
        let mut watch = self.0.watch(prefix, Some(options)).await.map_err(stop)?;
        let mut history = Vec::new();
        loop {
            let message = timeout(PATIENCE, watch.message()).await;
            let message = message.map_err(|_| Stop::failed("a history does not come"))?.map_err(stop)?;
            let response = message.ok_or_else(|| Stop::failed("a history ends too early"))?;
            if response.canceled() {
                return Err(Stop::failed(format!("a history was refused: {response:?}")));
            }
            for event in response.events() {
                let Some(kv) = event.kv() else { continue };
                let key = String::from_utf8_lossy(kv.key()).into_owned();
                if key == end {
                    self.delete(end).await?;
                    return Ok(history);
                }
                history.push(match event.event_type() {
                    EventType::Put => {
                        Happened::Put { key, value: String::from_utf8_lossy(kv.value()).into_owned() }
                    }
                    EventType::Delete => Happened::Deleted { key },
                });
            }
        }
    }
}

/// Where an instance stands.
pub(crate) fn place(key: &InstanceKey) -> Vec<u8> {
    callsign_etcd::instance_key(PREFIX, key)
}

/// An error of the plain client.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub(crate) fn stop(error: etcd_client::Error) -> Stop {
    Stop::failed(format!("the plain client: {error}"))
}
