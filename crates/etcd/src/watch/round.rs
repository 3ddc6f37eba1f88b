//! The watch of one service.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use callsign_core::watch::{WatchOptions, drive};
use callsign_core::{Authority, Error, Listing, Result, ServiceKey, WatchEvent, WatchStream};
use futures::StreamExt;
use tokio::time::{Instant, timeout};

use super::{Ended, Range, Sink, Subscription};
use crate::connection::Connection;
use crate::listing::{How, read};
use crate::reader::Reader;
use crate::records::{Records, lock};

/// The never-ending watch of `service`.
pub(crate) fn follow(reader: Arc<Reader>, service: &ServiceKey) -> WatchStream {
    let prefix: Arc<[u8]> = reader.session().keys().service(service).into();
    let records = reader.watched().begin(service, &prefix);
    let told = Arc::new(AtomicBool::new(false));
    let closed = reader.session().closed();
    drive(reader.name().clone(), WatchOptions::default(), closed, move || {
        let (reader, records, prefix, told) = (reader.clone(), records.clone(), prefix.clone(), told.clone());
        async move {
            // The first round of an outage tells why; the next ones wait for its end.
            let session = reader.session();
            let connection = if told.load(Ordering::Relaxed) {
                session.reconnected().await
            } else {
                session.connection().await
            };
            told.store(connection.is_err(), Ordering::Relaxed);
            let mut follower = Follower { reader, connection: connection?, records, prefix, on: None };
            let first = follower.begin().await?;
            let first = futures::stream::iter([Ok(WatchEvent::Listing(first))]);
            let rest = futures::stream::unfold(follower, |mut follower| async move {
                Some((follower.next().await, follower))
            });
            Ok(first.chain(rest).boxed())
        }
    })
}

struct Follower {
    reader: Arc<Reader>,
    connection: Arc<Connection>,
    records: Arc<Mutex<Records>>,
    prefix: Arc<[u8]>,
    on: Option<(Arc<Sink>, Subscription)>,
}

impl Follower {
    /// Watches first, reads then.
    async fn begin(&mut self) -> Result<Listing> {
        let sink = Sink::new();
        let range = Range::Prefix(self.prefix.clone());
        let subscription = self.connection.watches().subscribe(range, sink.clone());
        let settings = self.reader.session().settings();
        // Others may be before it: watches begin one after the other.
        let begun = timeout(settings.list_timeout, sink.take()).await;
        let begun = begun.map_err(|_| Error::timeout("the watch does not begin"))?;
        match begun.ended {
            None => {}
            Some(Ended::Failed(error)) => return Err(error),
            Some(Ended::Overtaken) => return Err(Error::unavailable("the watch was over as it began")),
        }
        self.on = Some((sink, subscription));

        let floor = self.reader.session().epochs().floor();
        let read = read(&self.connection, settings, &self.prefix, How::Linearizable, false).await;
        let (header, kvs) = read.map_err(|failure| self.connection.judged(failure))?;
        let place = self.reader.session().place(&self.connection, floor, &header);
        let mut records = lock(&self.records);
        records.replace(place, &kvs, None);
        Ok(self.listing(&records))
    }

    fn listing(&self, records: &Records) -> Listing {
        records.listing(self.reader.name(), Authority::Quorum, Instant::now())
    }

    async fn next(&mut self) -> Result<WatchEvent> {
        loop {
            let Some((sink, _)) = &self.on else {
                return self.begin().await.map(WatchEvent::Listing);
            };
            let taken = sink.take().await;
            match taken.ended {
                Some(Ended::Failed(error)) => return Err(error),
                Some(Ended::Overtaken) => {
                    self.on = None;
                    continue;
                }
                None => {}
            }
            let mut records = lock(&self.records);
            if records.apply(taken.changes.into_values()) {
                let (epoch, revision) = records.place();
                self.reader.session().epochs().saw(epoch, revision);
                return Ok(WatchEvent::Listing(self.listing(&records)));
            }
            if let Some(as_of) = taken.progress {
                return Ok(WatchEvent::Progress { authority: Authority::Quorum, as_of });
            }
        }
    }
}
