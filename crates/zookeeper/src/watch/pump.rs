//! Draining one watch, whether or not anybody reads.
//!
//! Work-arounds for `zookeeper-client` 0.11.2:
//!
//! - A watch of this kind is never asked for again when the session reconnects (src/session/watch.rs, `resend_watches`:
//!   `index.max(index)` leaves the index at 0, and the requests that it chooses are without these watches), and no error
//!   tells. So a watch ends here with its connection, and its owner begins another one. The test
//!   `a_persistent_watch_is_still_lost_with_its_connection` tells when the library has mended it; events of the time
//!   between would still be missing (ZOOKEEPER-4698).
//! - `PersistentWatcher::changed` panics when it is called after the session's last event, or without the task that keeps
//!   the connection. Nothing is asked of it after the session is known to have changed; the one time left is a runtime
//!   that shuts down and drops that task first. That panic is caught (its message is not).
//! - What it has not been asked for waits in a queue without a bound. It is asked all the time.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use callsign_core::Error;
use futures::FutureExt;
use tokio::sync::{mpsc, oneshot};
use zookeeper_client as zk;

use super::sink::Sink;

/// Tells when everything was taken that had come before it was sent.
pub(super) type Mark = oneshot::Sender<()>;

/// Puts what `watcher` tells about `folder` into `sink`, until the connection is lost.
pub(super) async fn drain(
    mut watcher: zk::PersistentWatcher,
    folder: String,
    sink: Arc<Sink>,
    mut marks: mpsc::Receiver<Mark>,
    disconnected: impl Future<Output = ()> + Send,
) {
    let lost = || Error::unavailable("the connection is lost, and the watch with it");
    let mut disconnected = pin!(disconnected);
    loop {
        let event = tokio::select! {
            biased;
            () = &mut disconnected => return sink.end(lost()),
            event = AssertUnwindSafe(watcher.changed()).catch_unwind() => match event {
                Ok(event) => event,
                Err(_) => return sink.end(lost()),
            },
            Some(mark) = marks.recv() => {
                // Whoever has sent it may have given up.
                let _ = mark.send(());
                continue;
            }
        };
        if event.event_type == zk::EventType::Session {
            return sink.end(lost());
        }
        match event.path.strip_prefix(&folder) {
            // ClickHouse Keeper says only this much of what happens below (ClickHouse#115475).
            Some("") => sink.all_changed(),
            Some(rest) => match rest.strip_prefix('/') {
                Some(name) if !name.contains('/') => sink.changed(name),
                _ => {}
            },
            // A watch of the whole namespace tells of the folders above this one, too.
            None if folder.strip_prefix(&event.path).is_some_and(|rest| rest.starts_with('/')) => {
                sink.all_changed();
            }
            None => {}
        }
    }
}
