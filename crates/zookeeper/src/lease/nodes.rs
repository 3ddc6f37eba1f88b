//! Writing and removing one node, guarded by what was read of it.

use std::time::Duration;

use callsign_core::{Pair, stored};
use tokio::sync::Mutex;
use tokio::time::Instant;
use zookeeper_client as zk;

use crate::codec::parent;
use crate::config::Settings;
use crate::session::acls;

/// A guard that fails so often has another writer against it that never rests.
const ROUNDS: u32 = 16;
/// After so many different versions one may come again. A node that is replaced gets the next one: were it 0 each time,
/// a guard could not tell one owner's node from the next one's.
const VERSIONS: i32 = 64;

/// What tells one state of a node from every other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Node {
    /// The session that it lives and dies with; 0 for a node that does not.
    pub(crate) owner: i64,
    czxid: i64,
    version: i32,
}

impl Node {
    pub(crate) fn of(stat: &zk::Stat) -> Self {
        Self { owner: stat.ephemeral_owner, czxid: stat.czxid, version: stat.version }
    }
}

/// What is to be done with a node.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Work<'a> {
    /// Make it this session's, with this value, unless a pair higher than this one stands there.
    Put { value: &'a [u8], pair: Pair },
    /// Remove it, unless its pair is higher.
    Remove { pair: Pair },
    /// Remove it if it is this session's, whatever its pair.
    Evict,
}

/// What became of it.
#[derive(Debug)]
pub(crate) enum Outcome {
    Written(Node),
    /// Nothing is there, or nothing of ours.
    Gone,
    /// A higher pair stands there.
    Refused(Pair),
}

/// Where nodes are written: by one session.
#[derive(Clone, Copy)]
pub(crate) struct Writer<'a> {
    pub(crate) client: &'a zk::Client,
    pub(crate) settings: &'a Settings,
    pub(crate) ways: &'a Ways,
}

/// The service whose node was made last, and when: of a thousand instances that come together, one makes the way.
#[derive(Debug, Default)]
pub(crate) struct Ways(Mutex<Option<(String, Instant)>>);

/// For so long a node that was made is believed to be there.
const FRESH: Duration = Duration::from_secs(1);

impl Writer<'_> {
    /// Does `work` at `path`. `known`: there is a node, probably.
    pub(crate) async fn run(&self, path: &str, work: Work<'_>, known: bool) -> Result<Outcome, zk::Error> {
        match work {
            Work::Put { value, pair } => self.put(path, value, pair, known).await,
            Work::Remove { pair } => self.remove(path, Some(pair)).await,
            Work::Evict => self.remove(path, None).await,
        }
    }

    async fn put(&self, path: &str, value: &[u8], pair: Pair, known: bool) -> Result<Outcome, zk::Error> {
        let (mut look, mut lost) = (known, false);
        for _ in 0..ROUNDS {
            let found = if look { self.read(path).await? } else { None };
            let Some((data, stat)) = found else {
                match self.create(path, value).await {
                    Ok(stat) => return Ok(Outcome::Written(Node::of(&stat))),
                    Err(zk::Error::NodeExists) => look = true,
                    Err(zk::Error::NoNode) => {
                        self.make_way(path, lost).await?;
                        lost = true;
                    }
                    Err(error) => return Err(error),
                }
                continue;
            };
            let holder = stored::pair_in(&data);
            if holder > pair {
                return Ok(Outcome::Refused(holder));
            }
            let ours = stat.ephemeral_owner == self.client.session_id().0;
            let written = if !ours {
                self.replace(path, value, &stat).await
            } else if data == value {
                Ok(Some(stat))
            } else {
                self.client.set_data(path, value, Some(stat.version)).await.map(Some)
            };
            match written {
                // Else it is another one's by now, and the next round replaces it.
                Ok(Some(stat)) if stat.ephemeral_owner == self.client.session_id().0 => {
                    return Ok(Outcome::Written(Node::of(&stat)));
                }
                Ok(_) | Err(zk::Error::BadVersion | zk::Error::NoNode | zk::Error::NodeExists) => {}
                Err(error) => return Err(error),
            }
        }
        Err(zk::Error::BadVersion)
    }

    /// Without a pair: removes what is this session's.
    async fn remove(&self, path: &str, pair: Option<Pair>) -> Result<Outcome, zk::Error> {
        for _ in 0..ROUNDS {
            let found = match (self.read(path).await, pair) {
                // What may not be read is not of this session.
                (Err(zk::Error::NoAuth), None) => None,
                (found, _) => found?,
            };
            let Some((data, stat)) = found else { return Ok(Outcome::Gone) };
            match pair {
                Some(pair) if stored::pair_in(&data) > pair => {
                    return Ok(Outcome::Refused(stored::pair_in(&data)));
                }
                None if stat.ephemeral_owner != self.client.session_id().0 => return Ok(Outcome::Gone),
                _ => {}
            }
            match self.client.delete(path, Some(stat.version)).await {
                Ok(()) | Err(zk::Error::NoNode) => return Ok(Outcome::Gone),
                Err(zk::Error::BadVersion) => {}
                Err(error) => return Err(error),
            }
        }
        Err(zk::Error::BadVersion)
    }

    async fn read(&self, path: &str) -> Result<Option<(Vec<u8>, zk::Stat)>, zk::Error> {
        match self.client.get_data(path).await {
            Ok(found) => Ok(Some(found)),
            Err(zk::Error::NoNode) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn create(&self, path: &str, value: &[u8]) -> Result<zk::Stat, zk::Error> {
        let options = zk::CreateMode::Ephemeral.with_acls(acls(self.settings.acl));
        self.client.create(path, value, &options).await.map(|(stat, _)| stat)
    }

    /// Replaces a node of somebody else in one step. To set its data would not do: it would go with the session that it
    /// belongs to.
    async fn replace(
        &self,
        path: &str,
        value: &[u8],
        former: &zk::Stat,
    ) -> Result<Option<zk::Stat>, zk::Error> {
        let options = zk::CreateMode::Ephemeral.with_acls(acls(self.settings.acl));
        let next = (former.version + 1).rem_euclid(VERSIONS);
        // Nobody sees what is between the first step and the last; the value is sent once, as a request has its limit.
        let at = |version| if version == next { value } else { &[] };
        let mut writer = self.client.new_multi_writer();
        writer.add_delete(path, Some(former.version))?;
        writer.add_create(path, at(0), &options)?;
        for version in 0..next {
            writer.add_set_data(path, at(version + 1), Some(version))?;
        }
        writer.commit().await?;
        // What 3.8.0 says of a node that is made so is not true (ZOOKEEPER-4026).
        self.client.check_stat(path).await
    }

    /// Makes the nodes above an instance. What tenants have in common is everybody's.
    /// `lost`: it is known not to be there.
    async fn make_way(&self, path: &str, lost: bool) -> Result<(), zk::Error> {
        let service = parent(path);
        let mut made = self.ways.0.lock().await;
        if !lost && made.as_ref().is_some_and(|(last, at)| last == service && at.elapsed() < FRESH) {
            return Ok(());
        }
        self.make(service).await?;
        *made = Some((service.to_owned(), Instant::now()));
        Ok(())
    }

    async fn make(&self, service: &str) -> Result<(), zk::Error> {
        let acls = acls(self.settings.acl);
        // Servers remove a container some time after its last child.
        let container = zk::CreateMode::Container.with_acls(acls);
        match self.client.create(service, &[], &container).await {
            Ok(_) | Err(zk::Error::NodeExists) => return Ok(()),
            Err(zk::Error::NoNode) => {}
            Err(error) => return Err(error),
        }
        let open = zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());
        self.client.mkdir(self.settings.paths.root(), &open).await?;
        self.client.mkdir(parent(service), &zk::CreateMode::Persistent.with_acls(acls)).await?;
        match self.client.create(service, &[], &container).await {
            Ok(_) | Err(zk::Error::NodeExists | zk::Error::NoNode) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
