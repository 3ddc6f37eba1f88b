//! Reading services: whole, or some of their nodes.

use std::sync::Arc;

use callsign_core::{
    Authority, Error, Group, Listing, Namespace, Probe, Read, Result, ServiceKey, ServiceName,
};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;
use zookeeper_client as zk;

use crate::codec::{child, parent, service_in};
use crate::epoch::{Epochs, Root};
use crate::error::Call;
use crate::records::{Content, Place, Records, Watched, lock};
use crate::session::{Live, Session};
use crate::watch::Budget;

/// So many nodes go into one request: 10 000 are read in fifty, each far below what a server answers at most.
const BATCH: usize = 200;
/// How many requests of one listing are under way at a time.
const REQUESTS: usize = 4;

/// What lists and watches have in common.
#[derive(Debug)]
pub(crate) struct Reader {
    name: Arc<str>,
    session: Arc<Session>,
    epochs: Epochs,
    watched: Watched,
    budget: Arc<Budget>,
}

/// What was read of a service.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) place: Place,
    pub(crate) nodes: Vec<(String, Content)>,
}

impl Reader {
    pub(crate) fn new(name: Arc<str>, session: Arc<Session>) -> Self {
        let (epochs, watched, budget) = (Epochs::default(), Watched::default(), Arc::default());
        Self { name, session, epochs, watched, budget }
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    pub(crate) fn watched(&self) -> &Watched {
        &self.watched
    }

    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    pub(crate) async fn list(&self, service: &ServiceKey, read: Read) -> Result<Listing> {
        let live = self.session.live().await?;
        let authority = match read {
            Read::Any => Authority::Stale,
            _ => authority(&live),
        };
        let as_of = Instant::now();
        let seen = self.whole(&live, service, authority == Authority::Quorum).await?;
        let mut records = Records::new(service.clone());
        match self.watched.get(service) {
            Some(known) => records.replace(seen.place, seen.nodes, Some(&*lock(&known))),
            None => records.replace(seen.place, seen.nodes, None),
        }
        Ok(records.listing(&self.name, authority, as_of))
    }

    /// All nodes of `service`; with `sync`, as the ensemble's leader has them.
    pub(crate) async fn whole(&self, live: &Live, service: &ServiceKey, sync: bool) -> Result<Seen> {
        let settings = self.session.settings();
        let folder = settings.paths.service(service);
        let subject = format!("list {folder}");
        let client = live.client()?;
        let listing = async {
            if sync {
                synced(&client, settings.paths.root()).await?;
            }
            let (names, changed) = match client.get_children(&folder).await {
                Ok((names, stat)) => (names, stat.pzxid),
                Err(zk::Error::NoNode) => (Vec::new(), i64::MAX),
                Err(error) => return Err(error),
            };
            let mut seen = self.nodes(&client, &folder, names).await?;
            // Who has come since the names were read is not among them.
            seen.place.revision = seen.place.revision.min(changed);
            Ok(seen)
        };
        self.session.run(live, settings.list_timeout, Call::read(&subject), listing).await
    }

    /// Some nodes of `service`.
    pub(crate) async fn some(&self, live: &Live, service: &ServiceKey, names: Vec<String>) -> Result<Seen> {
        let settings = self.session.settings();
        let folder = settings.paths.service(service);
        let subject = format!("read changes of {folder}");
        let client = live.client()?;
        let reading = self.nodes(&client, &folder, names);
        self.session.run(live, settings.list_timeout, Call::read(&subject), reading).await
    }

    /// Proves that what was seen on this connection is all there is.
    pub(crate) async fn prove(&self, live: &Live) -> Result<()> {
        let settings = self.session.settings();
        let root = settings.paths.root();
        let client = live.client()?;
        let proving = async {
            if !live.read_only {
                synced(&client, root).await?;
            }
            answered(client.check_stat(root).await)
        };
        self.session.run(live, settings.op_timeout, Call::read("reach a quorum"), proving).await
    }

    async fn nodes(&self, client: &zk::Client, folder: &str, names: Vec<String>) -> Result<Seen, zk::Error> {
        let root = self.session.settings().paths.root();
        let asked = self.epochs.ask();
        let batches: Vec<Vec<String>> = if names.is_empty() {
            vec![Vec::new()]
        } else {
            names.chunks(BATCH).map(<[String]>::to_vec).collect()
        };
        // The first one tells where the answer belongs, too: which registry it is, and when the folder has changed; or,
        // where that is gone, the one that it was in.
        let requests = batches.into_iter().enumerate().map(|(number, names)| async move {
            let about: &[&str] = if number == 0 { &[root, folder, parent(folder)] } else { &[] };
            read(client, about, folder, names).await
        });
        let mut answers = stream::iter(requests).buffered(REQUESTS);
        let Some((about, mut nodes)) = answers.try_next().await? else {
            return Err(zk::Error::UnexpectedError("no answer at all".to_owned()));
        };
        while let Some((_, more)) = answers.try_next().await? {
            nodes.extend(more);
        }
        let mut about = about.into_iter();
        let epoch = match about.next() {
            Some(Ok((_, stat))) => self.judge(asked, Some(Root::of(&stat))),
            Some(Err(zk::Error::NoNode)) => self.judge(asked, None),
            _ => self.epochs.unproven(),
        };
        let revision = match (about.next(), about.next()) {
            (Some(Ok((_, stat))), _) | (Some(Err(zk::Error::NoNode)), Some(Ok((_, stat)))) => stat.pzxid,
            (Some(Err(zk::Error::NoAuth)), _) => return Err(zk::Error::NoAuth),
            _ => 0,
        };
        Ok(Seen { place: Place { epoch, revision }, nodes })
    }

    fn judge(&self, asked: crate::epoch::Asked, root: Option<Root>) -> u64 {
        let (epoch, begins) = self.epochs.saw(asked, root);
        if begins {
            let cause = format!(
                "the node {} is gone, or another one: the registry was wiped, restored or replaced",
                self.session.settings().paths.root()
            );
            self.session.reset(Error::unexpected(cause));
        }
        epoch
    }

    pub(crate) async fn services(&self, namespace: &Namespace, group: &Group) -> Result<Vec<ServiceName>> {
        let live = self.session.live().await?;
        let settings = self.session.settings();
        let folder = settings.paths.group(namespace, group);
        let subject = format!("list the services at {folder}");
        let client = live.client()?;
        let listing = async {
            if !live.read_only {
                synced(&client, settings.paths.root()).await?;
            }
            let names = match client.list_children(&folder).await {
                Err(zk::Error::NoNode) => return Ok(Vec::new()),
                names => names?,
            };
            let batches: Vec<Vec<String>> = names.chunks(BATCH).map(<[String]>::to_vec).collect();
            let requests = batches.into_iter().map(|names| populated(&client, &folder, names));
            stream::iter(requests).buffered(REQUESTS).try_concat().await
        };
        let names = self.session.run(&live, settings.list_timeout, Call::read(&subject), listing).await?;
        let mut services: Vec<_> = names.iter().filter_map(|name| service_in(name)).collect();
        services.sort_unstable();
        Ok(services)
    }

    pub(crate) async fn probe(&self, level: Probe) -> Result<()> {
        let live = self.session.live().await?;
        match level {
            Probe::Authority if live.read_only => Err(Error::unavailable(
                "cannot reach a quorum: the server has lost its own, is a majority of the servers there?",
            )),
            Probe::Authority => self.prove(&live).await,
            _ => {
                let settings = self.session.settings();
                let client = live.client()?;
                let asked = async { answered(client.check_stat(settings.paths.root()).await) };
                self.session.run(&live, settings.op_timeout, Call::read("reach a server"), asked).await
            }
        }
    }
}

/// Who may not read a node is answered all the same.
fn answered<T>(answer: Result<T, zk::Error>) -> Result<(), zk::Error> {
    match answer {
        Ok(_) | Err(zk::Error::NoAuth) => Ok(()),
        Err(error) => Err(error),
    }
}

/// What stands behind what is read on a connection.
pub(crate) fn authority(live: &Live) -> Authority {
    if live.read_only { Authority::Stale } else { Authority::Quorum }
}

/// Has the server catch up with the leader.
async fn synced(client: &zk::Client, root: &str) -> Result<(), zk::Error> {
    match client.sync(root).await {
        Err(zk::Error::NoNode) => Ok(()),
        done => done,
    }
}

type Answer = (Vec<Result<(Vec<u8>, zk::Stat), zk::Error>>, Vec<(String, Content)>);

/// What stands at the paths `about`, and at the nodes `names` in `folder`.
async fn read(
    client: &zk::Client,
    about: &[&str],
    folder: &str,
    names: Vec<String>,
) -> Result<Answer, zk::Error> {
    let mut reader = client.new_multi_reader();
    for path in about {
        reader.add_get_data(path)?;
    }
    for name in &names {
        reader.add_get_data(&child(folder, name))?;
    }
    let mut results: Vec<_> = reader.commit().await?.into_iter().map(data).collect();
    if results.len() != about.len() + names.len() {
        return Err(zk::Error::UnexpectedError("another number of answers than questions".to_owned()));
    }
    let nodes = results.split_off(about.len());
    let nodes = names.into_iter().zip(nodes).map(|(name, result)| {
        let content = match result {
            Ok((data, stat)) => Content::of(data, &stat),
            Err(zk::Error::NoNode) => Content::Gone,
            Err(zk::Error::NoAuth) => Content::Hidden,
            Err(error) => return Err(error),
        };
        Ok((name, content))
    });
    Ok((results, nodes.collect::<Result<_, _>>()?))
}

fn data(result: zk::MultiReadResult) -> Result<(Vec<u8>, zk::Stat), zk::Error> {
    match result {
        zk::MultiReadResult::Data { data, stat } => Ok((data, stat)),
        zk::MultiReadResult::Error { err } => Err(err),
        other => Err(zk::Error::UnexpectedError(format!("an answer to another question: {other:?}"))),
    }
}

/// Which of the nodes `names` in `folder` have children.
async fn populated(client: &zk::Client, folder: &str, names: Vec<String>) -> Result<Vec<String>, zk::Error> {
    let mut reader = client.new_multi_reader();
    for name in &names {
        reader.add_get_data(&child(folder, name))?;
    }
    let answers = reader.commit().await?.into_iter().map(data);
    let populated = names.into_iter().zip(answers).filter(|(_, answer)| {
        // What may not be read is somebody's.
        answer.as_ref().map_or_else(|error| *error == zk::Error::NoAuth, |(_, stat)| stat.num_children > 0)
    });
    Ok(populated.map(|(name, _)| name).collect())
}
