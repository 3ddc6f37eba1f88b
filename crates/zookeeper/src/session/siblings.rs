//! What the two sessions of one backend know of each other: that a server is there for one of them.
//!
//! They are connected one after the other. A call that comes between is not refused for that: it waits for its session, as
//! long as the other one stands.

use tokio::sync::watch;

use super::Role;

/// Which sessions are connected.
#[derive(Debug)]
pub(crate) struct Siblings(watch::Sender<Connected>);

#[derive(Debug, Clone, Copy, Default)]
struct Connected {
    registrations: bool,
    discovery: bool,
}

impl Connected {
    fn of(&mut self, role: Role) -> &mut bool {
        match role {
            Role::Registrations => &mut self.registrations,
            Role::Discovery => &mut self.discovery,
        }
    }

    fn other_than(self, role: Role) -> bool {
        match role {
            Role::Registrations => self.discovery,
            Role::Discovery => self.registrations,
        }
    }
}

impl Siblings {
    pub(crate) fn new() -> Self {
        Self(watch::channel(Connected::default()).0)
    }

    /// Says whether the session of `role` is connected, to a server with a quorum.
    pub(super) fn say(&self, role: Role, connected: bool) {
        self.0.send_if_modified(|now| std::mem::replace(now.of(role), connected) != connected);
    }

    /// Resolves when another session than that of `role` connects, from now on.
    pub(super) async fn another_connects(&self, role: Role) {
        let mut connected = self.0.subscribe();
        let mut before = connected.borrow_and_update().other_than(role);
        // The sender is here, so there is no error.
        while connected.changed().await.is_ok() {
            let now = connected.borrow_and_update().other_than(role);
            if now && !before {
                return;
            }
            before = now;
        }
    }

    /// Resolves when no other session than that of `role` is connected.
    pub(super) async fn none_is_live(&self, role: Role) {
        // The sender is here, so there is no error.
        let _ = self.0.subscribe().wait_for(|connected| !connected.other_than(role)).await;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_session_hears_of_the_other_one_and_not_of_itself() {
        let siblings = Siblings::new();
        let mut heard = Box::pin(siblings.another_connects(Role::Registrations));
        let mut own = Box::pin(siblings.another_connects(Role::Discovery));
        assert!(futures::poll!(&mut heard).is_pending() && futures::poll!(&mut own).is_pending());
        siblings.say(Role::Discovery, true);
        assert!(futures::poll!(&mut heard).is_ready() && futures::poll!(&mut own).is_pending());
        assert!(siblings.another_connects(Role::Registrations).now_or_never().is_none(), "it was before");
        assert!(siblings.none_is_live(Role::Registrations).now_or_never().is_none());
        siblings.say(Role::Discovery, false);
        assert!(siblings.none_is_live(Role::Registrations).now_or_never().is_some());
    }
}
