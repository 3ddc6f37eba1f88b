//! Reading services.

use std::sync::Arc;

use callsign_core::{Authority, Group, Listing, Namespace, Probe, Read, Result, ServiceKey, ServiceName};
use etcd_client::KeyValue;
use tokio::time::Instant;

use crate::codec;
use crate::connection::Connection;
use crate::epoch::Place;
use crate::listing::{How, read};
use crate::records::{Records, Watched, lock};
use crate::session::Session;

/// What lists and watches have in common.
#[derive(Debug)]
pub(crate) struct Reader {
    name: Arc<str>,
    session: Arc<Session>,
    watched: Watched,
}

impl Reader {
    pub(crate) fn new(name: Arc<str>, session: Arc<Session>) -> Self {
        Self { name, session, watched: Watched::default() }
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

    pub(crate) async fn list(&self, service: &ServiceKey, how: Read) -> Result<Listing> {
        let prefix: Arc<[u8]> = self.session.keys().service(service).into();
        let (settings, session, range) = (self.session.settings(), &self.session, &prefix);
        let asked_at = Instant::now();
        let (place, kvs, authority) = match how {
            Read::Any => {
                let (place, kvs) = self.any(&prefix).await?;
                (place, kvs, Authority::Stale)
            }
            _ => {
                let read = session.ask(|connection| async move {
                    let floor = session.epochs().floor();
                    let (header, kvs) = read(&connection, settings, range, How::Linearizable, false).await?;
                    Ok((session.place(&connection, floor, &header), kvs))
                });
                let (place, kvs) = read.await?;
                (place, kvs, Authority::Quorum)
            }
        };
        let mut records = Records::new(service.clone(), prefix);
        let known = self.watched.get(service);
        records.replace(place, &kvs, known.as_deref().map(lock).as_deref());
        Ok(records.listing(&self.name, authority, asked_at))
    }

    /// What some member has, whether or not it has a quorum.
    async fn any(&self, prefix: &[u8]) -> Result<(Place, Vec<KeyValue>)> {
        let settings = self.session.settings();
        let ask = |connection: Arc<Connection>| async move {
            read(&connection, settings, prefix, How::Serializable, false).await
        };
        let (header, kvs) = self.session.ask_any(ask).await?;
        Ok((self.session.epochs().unproven(header.revision()), kvs))
    }

    pub(crate) async fn services(&self, namespace: &Namespace, group: &Group) -> Result<Vec<ServiceName>> {
        let prefix = self.session.keys().group(namespace, group);
        let (settings, range) = (self.session.settings(), &prefix);
        let read = self.session.ask(|connection| async move {
            read(&connection, settings, range, How::Linearizable, true).await
        });
        let (_, kvs) = read.await?;
        let mut names: Vec<_> = kvs.iter().filter_map(|kv| codec::service_in(&prefix, kv.key())).collect();
        // Keys come in order, and names are encoded in them: nearly sorted.
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    pub(crate) async fn probe(&self, level: Probe) -> Result<()> {
        let home = self.session.home();
        let home = &home;
        match level {
            Probe::Authority => {
                let proof = self.session.ask(|connection| async move { connection.prove(home).await });
                proof.await.map(drop)
            }
            _ => {
                let limit = self.session.settings().op_timeout;
                let ask = |connection: Arc<Connection>| async move { connection.reach(home, limit).await };
                self.session.ask_any(ask).await
            }
        }
    }
}
