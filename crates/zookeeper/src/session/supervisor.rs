//! The task that keeps one session: begins it, attaches to it again when its connection is lost, and lets it go only when
//! the servers say that it is over.
//!
//! What the library makes of a lost connection is waited for no longer than it takes to find another server. After that
//! it is ours to attach again: a session is over when a server says so, and after a long outage none may, for the servers
//! have not counted either.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use callsign_core::task::Spawner;
use callsign_core::{Backoff, Error, Result};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use zookeeper_client as zk;

use super::connect::{Plan, Refused};
use super::owned::Owned;
use super::preflight::explain;
use super::{Live, Role, Shared, State};
use crate::error::{Call, judge};

/// The shortest and the longest pause between two attempts to connect.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// So many attempts at least fall into the time that a server which has come back gives a session of before.
const ATTEMPTS: u32 = 6;
/// How long the library has to find another server: it tries each of them at once.
const HAND_OVER: Duration = Duration::from_secs(1);
/// How long a client may take to go, and then the session, which may have ten thousand nodes.
const LEAVING: Duration = Duration::from_millis(500);
const ENDING: Duration = Duration::from_secs(4);
/// The pause between two attempts to end it.
const RETRY: Duration = Duration::from_millis(200);
/// A session that ends sooner has been no success.
const LONG_ENOUGH: Duration = Duration::from_secs(5);
/// A look at the servers that is not older than this is not taken again.
const FRESH: Duration = Duration::from_secs(5);

/// How the time of a client was over.
enum Over {
    /// By the session's owner.
    Closed,
    /// No server has taken its connection over.
    Disconnected,
    Refused,
}

/// What is known when a session is looked for.
struct Search {
    /// The session to attach to.
    former: Option<zk::SessionInfo>,
    backoff: Backoff,
    /// What was found at the servers, and when.
    explained: Option<(Instant, Error)>,
}

pub(super) async fn supervise(shared: Arc<Shared>, spawner: Spawner) {
    let backoff = Backoff::new(PAUSE.0, PAUSE.1.min(shared.settings.session_timeout / ATTEMPTS));
    let mut search = Search { former: None, backoff, explained: None };
    loop {
        let attempt = tokio::select! {
            biased;
            () = shared.closed() => return end(&shared, &spawner, search.former).await,
            attempt = connect(&shared, &spawner, &mut search.former) => attempt,
        };
        let failure = match attempt {
            Ok(owned) => {
                let session = owned.client().session().clone();
                // The other one owns nothing; and a session that could write is given to nobody by a server without a quorum.
                search.former = (shared.role == Role::Registrations).then(|| session.clone());
                search.explained = None;
                let begun = Instant::now();
                let over = serve(&shared, owned).await;
                if begun.elapsed() >= LONG_ENOUGH {
                    search.backoff.reset();
                }
                match over {
                    Over::Closed => return end(&shared, &spawner, Some(session)).await,
                    Over::Disconnected => None,
                    Over::Refused => Some(Refused::Servers(zk::Error::AuthFailed)),
                }
            }
            Err(failure) => Some(failure),
        };
        let failed_at = Instant::now();
        let at_once = match failure {
            None => true,
            Some(failure) => {
                let over = matches!(failure, Refused::Expired);
                let failure = tokio::select! {
                    biased;
                    () = shared.closed() => return end(&shared, &spawner, search.former).await,
                    failure = search.judge(&shared, failure) => failure,
                };
                shared.signs.lost(failure.clone());
                shared.become_state(State::Away(failure));
                over
            }
        };
        if at_once && search.backoff.attempt() == 0 {
            let _ = search.backoff.next_delay();
            continue;
        }
        tokio::select! {
            () = shared.closed() => return end(&shared, &spawner, search.former).await,
            // A server is there for the other session: no reason to wait.
            () = shared.siblings.another_connects(shared.role) => {}
            () = sleep_until(failed_at + search.backoff.next_delay()) => {}
        }
    }
}

impl Search {
    async fn judge(&mut self, shared: &Shared, failure: Refused) -> Error {
        let refusal = match failure {
            Refused::Expired => {
                self.former = None;
                return Error::unavailable("the session has expired");
            }
            Refused::Unusable(error) => return error,
            Refused::Servers(error) => error,
        };
        match &self.explained {
            // This says by itself what is wrong, whatever was found before.
            _ if refusal == zk::Error::AuthFailed => explain(&shared.settings, refusal).await,
            Some((at, error)) if at.elapsed() < FRESH => error.clone(),
            _ => {
                let error = explain(&shared.settings, refusal).await;
                self.explained = Some((Instant::now(), error.clone()));
                error
            }
        }
    }
}

/// Attaches to the session `former`, or begins one. A session that is of no use yet is attached to the next time, or let
/// go: attempts leave no sessions behind.
async fn connect(
    shared: &Arc<Shared>,
    spawner: &Spawner,
    former: &mut Option<zk::SessionInfo>,
) -> Result<Owned, Refused> {
    let plan = plan(shared, spawner, shared.role).await?;
    let again = former.is_some();
    let owned = Owned::connect(plan, former.clone(), spawner).await?;
    let refused = match is_of_use(shared, &owned, again).await {
        Ok(()) => return Ok(owned),
        Err(refused) => refused,
    };
    match shared.role {
        Role::Registrations => *former = Some(owned.client().session().clone()),
        Role::Discovery => leave(owned).await,
    }
    Err(refused)
}

async fn is_of_use(shared: &Shared, owned: &Owned, again: bool) -> Result<(), Refused> {
    let (settings, client) = (&shared.settings, owned.client());
    let first = async {
        // The library forgets what the session has seen when it is attached to. A server that is behind would show nodes
        // as missing that are there.
        if again {
            client.sync("/").await?;
        }
        if settings.chroot.is_empty() { Ok(true) } else { Ok(client.check_stat("/").await?.is_some()) }
    };
    match timeout(settings.op_timeout, first).await.unwrap_or(Err(zk::Error::Timeout)) {
        Ok(true) => Ok(()),
        // Who may not read the top may not read anything below it.
        Err(error @ zk::Error::NoAuth) => {
            let subject = format!("read {}", if settings.chroot.is_empty() { "/" } else { &settings.chroot });
            Err(Refused::Unusable(judge(error, Call::read(&subject))))
        }
        Ok(false) => {
            let rule = format!("`chroot`: there is no node {}: create it", settings.chroot);
            Err(Refused::Unusable(Error::config(rule)))
        }
        Err(error) => Err(Refused::Servers(error)),
    }
}

async fn plan(shared: &Arc<Shared>, spawner: &Spawner, role: Role) -> Result<Plan, Refused> {
    let settings = shared.settings.clone();
    let plan = spawner.blocking(move || Plan::new(&settings, role)).await;
    plan.and_then(|plan| plan).map_err(Refused::Unusable)
}

/// Follows a client's states until it is of no more use.
async fn serve(shared: &Arc<Shared>, owned: Owned) -> Over {
    let client = owned.client();
    let mut states = client.state_watcher();
    let mut state = states.state();
    loop {
        let patience = match state {
            zk::SessionState::SyncConnected | zk::SessionState::ConnectedReadOnly => {
                let live = Live {
                    client: Arc::downgrade(client),
                    id: client.session_id().0,
                    connection: shared.connections.fetch_add(1, Ordering::Relaxed),
                    read_only: state == zk::SessionState::ConnectedReadOnly,
                };
                shared.signs.ready(reservation(shared.settings.session_timeout, client.session_timeout()));
                shared.become_state(State::Live(live));
                None
            }
            zk::SessionState::Disconnected => {
                let cause = Error::unavailable("the connection is lost, and no server has taken it over yet");
                shared.signs.suspect(cause.clone());
                shared.become_state(State::Away(cause));
                Some(HAND_OVER)
            }
            zk::SessionState::AuthFailed => return Over::Refused,
            _ => return Over::Disconnected,
        };
        let given_up = async {
            match patience {
                Some(patience) => sleep(patience).await,
                None => std::future::pending().await,
            }
        };
        state = tokio::select! {
            biased;
            () = shared.closed() => {
                leave(owned).await;
                return Over::Closed;
            }
            state = states.changed() => state,
            () = given_up => return Over::Disconnected,
        };
    }
}

/// Lets a client go, and gives it the time to end its session, if it does so.
async fn leave(owned: Owned) {
    let (mut states, _tasks) = owned.release();
    let _ = timeout(LEAVING, async { while !states.changed().await.is_terminated() {} }).await;
}

/// What the servers have granted instead of what was asked for.
fn reservation(asked: Duration, granted: Duration) -> Option<Error> {
    (asked != granted).then(|| {
        let (asked, granted) = (humantime::format_duration(asked), humantime::format_duration(granted));
        Error::config(format!(
            "`session_timeout`: the servers grant {granted} instead of {asked}: their limits are \
             `minSessionTimeout` and `maxSessionTimeout`"
        ))
    })
}

/// Ends the session that owns nodes. The library has left it to the servers, as it does each time when its client is let
/// go: so it is attached to once more, and closed. The other session owns nothing, and goes by itself.
async fn end(shared: &Arc<Shared>, spawner: &Spawner, session: Option<zk::SessionInfo>) {
    let Some(session) = session.filter(|_| shared.role == Role::Registrations) else { return };
    let ending = async {
        loop {
            match end_once(shared, spawner, session.clone()).await {
                // No server takes it, as while a leader is elected: one may, in time.
                Err(Refused::Servers(_)) => sleep(RETRY).await,
                ended => return ended,
            }
        }
    };
    let over = matches!(timeout(ENDING, ending).await, Ok(Ok(()) | Err(Refused::Expired)));
    shared.lingers.store(!over, Ordering::Relaxed);
}

async fn end_once(shared: &Arc<Shared>, spawner: &Spawner, session: zk::SessionInfo) -> Result<(), Refused> {
    let plan = plan(shared, spawner, Role::Discovery).await?;
    let (mut states, _tasks) = Owned::connect(plan, Some(session), spawner).await?.release();
    while !states.changed().await.is_terminated() {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_time_out_that_is_not_granted_is_told_with_both() {
        let seconds = Duration::from_secs;
        assert!(reservation(seconds(15), seconds(15)).is_none());
        assert_eq!(
            reservation(seconds(60), seconds(10)).unwrap().to_string(),
            "`session_timeout`: the servers grant 10s instead of 1m: their limits are `minSessionTimeout` and \
             `maxSessionTimeout`"
        );
    }
}
