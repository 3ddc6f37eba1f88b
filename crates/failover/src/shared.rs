//! What all parts of one failover share.

use std::borrow::Borrow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use callsign_core::task::Spawner;
use callsign_core::{
    Backend, BackendInfo, Error, ErrorKind, Event, EventKind, Events, InstanceKey, MemberState, Result,
    SwitchReason,
};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use crate::control::{Hold, MemberStatus, State, Steering};
use crate::group::{Evidence, Group, Order, Told};
use crate::journal::Journal;
use crate::metrics;
use crate::read::{Outlook, Picture, Question, Services};
use crate::write::{Mode, Writer};
use crate::{Settings, Topology};

/// One of the registries.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: Arc<str>,
    pub(crate) backend: Arc<dyn Backend>,
    /// Has its prober look at it now.
    pub(crate) poke: Notify,
    /// What it is to be asked.
    pub(crate) questions: mpsc::Sender<Question>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) info: BackendInfo,
    pub(crate) settings: Arc<Settings>,
    pub(crate) members: Vec<Member>,
    pub(crate) spawner: Spawner,
    pub(crate) writer: Writer,
    pub(crate) services: Services,
    pub(crate) journal: Option<Journal>,
    group: Mutex<Group>,
    /// Has the supervisor look at the clock anew.
    pub(crate) clock: Notify,
    pub(crate) changes: watch::Sender<u64>,
    /// Has all probers look at once.
    pub(crate) look_again: watch::Sender<u64>,
    pub(crate) events: Events,
    closed: watch::Sender<bool>,
}

impl Shared {
    pub(crate) fn new(
        info: BackendInfo,
        settings: Settings,
        members: Vec<Member>,
        journal: Option<Journal>,
        spawner: Spawner,
    ) -> Self {
        let settings = Arc::new(settings);
        let count = members.len();
        let sources = [info.name.clone()].into_iter();
        let sources: Arc<[Arc<str>]> =
            sources.chain(members.iter().map(|one| format!("{}/{}", info.name, one.name).into())).collect();
        let shared = Self {
            writer: Writer::new(count),
            services: Services::new(settings.clone(), sources),
            group: Mutex::new(Group::new(count, settings.clone(), Instant::now())),
            clock: Notify::new(),
            changes: watch::Sender::default(),
            look_again: watch::Sender::default(),
            events: Events::new(info.name.clone()),
            closed: watch::Sender::default(),
            info,
            settings,
            members,
            spawner,
            journal,
        };
        let group = shared.group();
        shared.set_modes(&group);
        drop(group);
        shared
    }

    pub(crate) fn group(&self) -> MutexGuard<'_, Group> {
        // A panic of another thread leaves the machines whole: their steps do not panic half way.
        self.group.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was learnt of `member`.
    pub(crate) fn learn(&self, member: usize, evidence: Evidence) {
        if self.is_closed() {
            return;
        }
        let look = matches!(evidence, Evidence::Whole | Evidence::Trouble(_));
        self.step(|group| group.learn(member, evidence, Instant::now()));
        if look {
            self.clock.notify_one();
        }
    }

    /// Steps the group, and tells and does what comes of it.
    pub(crate) fn step(&self, step: impl FnOnce(&mut Group) -> Vec<Told>) {
        let mut group = self.group();
        let told = step(&mut group);
        if told.is_empty() {
            return;
        }
        self.set_modes(&group);
        for told in &told {
            // Under the lock, so that they come in order.
            self.tell(told);
            if let Told::State { member, to: MemberState::Down, .. } = told {
                let after = group.members()[*member].last_success().elapsed();
                metrics::noticed(&self.info.name, &self.members[*member].name, after);
            }
        }
        let picture = self.picture_of(&group);
        let left: Vec<_> = told.iter().filter_map(|told| left_since(told, &group)).collect();
        drop(group);
        self.services.refresh(&picture);
        for since in left {
            metrics::shown(&self.info.name, since.elapsed());
        }
        self.changes.send_modify(|version| *version += 1);
        self.clock.notify_one();
        for told in &told {
            match told {
                Told::State { member, .. } => self.members[*member].poke.notify_one(),
                // What had cut off all of them is over.
                Told::Ready => self.look_again.send_modify(|times| *times += 1),
                _ => {}
            }
        }
    }

    fn tell(&self, told: &Told) {
        let name = |member: &usize| self.members[*member].name.clone();
        match told {
            Told::State { member, from, to, cause } => {
                metrics::member_state(&self.info.name, &name(member), *to);
                let kind = EventKind::MemberState { member: name(member), from: *from, to: *to };
                self.publish(kind, cause.clone());
            }
            Told::Switched { from, to, reason } => {
                metrics::switched(&self.info.name, &name(from), &name(to), *reason);
                self.publish(EventKind::Switched { from: name(from), to: name(to), reason: *reason }, None);
            }
            Told::Refused { member, cause } => {
                self.publish(EventKind::ConfigError { member: name(member) }, Some(cause.clone()));
            }
            Told::AllLost(cause) => self.publish(EventKind::Lost, Some(cause.clone())),
            Told::Ready => self.publish(EventKind::Ready, None),
        }
    }

    pub(crate) fn publish(&self, kind: EventKind, cause: Option<Error>) {
        tracing::info!(failover = %self.info.name, cause = cause.as_ref().map(tracing::field::display), "{kind}");
        self.events.publish(kind, cause);
    }

    /// Another owner has taken an id over.
    pub(crate) fn fenced(&self, key: InstanceKey, holder: callsign_core::Pair) {
        metrics::fenced(&self.info.name);
        self.publish(EventKind::Fenced { key, holder }, None);
    }

    /// What may be written where follows from the states.
    fn set_modes(&self, group: &Group) {
        let desperate = group.is_desperate();
        let active = group.choice().active();
        for (member, machine) in group.members().iter().enumerate() {
            let cause =
                || machine.cause().cloned().unwrap_or_else(|| Error::unavailable("it does not answer"));
            let own = match machine.state() {
                MemberState::Down if !desperate || machine.refuses() => Mode::Closed(cause()),
                MemberState::Degraded if !desperate => Mode::RenewOnly(cause()),
                _ => Mode::Open,
            };
            let is_written = self.settings.topology != Topology::Standby
                || member == active
                || (member < active
                    && matches!(machine.state(), MemberState::Recovering | MemberState::Healthy));
            let healing = machine.state() == MemberState::Recovering && member != active;
            self.writer.set_mode(self, member, if is_written { own } else { Mode::Passive }, healing);
        }
    }

    pub(crate) fn picture(&self) -> Picture {
        self.picture_of(&self.group())
    }

    fn picture_of(&self, group: &Group) -> Picture {
        let outlook = |(member, one): (usize, &crate::group::Machine)| Outlook {
            state: one.state(),
            since: one.since(),
            cause: one.cause().map(|cause| self.told_by(member, "watch", cause)),
        };
        let choice = group.choice();
        Picture {
            members: group.members().iter().enumerate().map(outlook).collect(),
            active: choice.active(),
            forced: matches!(choice.order(), Order::Forced(_)),
        }
    }

    /// Whether `member` answers and refuses: credentials or configuration.
    pub(crate) fn refuses(&self, member: usize) -> bool {
        self.group().members()[member].refuses()
    }

    /// Waits until `member` does not refuse any more.
    pub(crate) async fn accepts(&self, member: usize) {
        let mut changes = self.changes.subscribe();
        while self.refuses(member) {
            // The sender lives as long as `self`.
            let _ = changes.changed().await;
        }
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.group().choice().order() == Order::Frozen
    }

    pub(crate) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Resolves when this is closed.
    pub(crate) async fn closed(&self) {
        // The sender lives as long as `self`.
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    pub(crate) fn close(&self) {
        self.closed.send_replace(true);
    }

    /// Lets a call through.
    pub(crate) fn enter(&self, operation: &'static str) -> Result<()> {
        if self.is_closed() {
            return Err(self.named(operation, Error::closed("the backend was closed")));
        }
        Ok(())
    }

    pub(crate) fn named(&self, operation: &'static str, error: Error) -> Error {
        error.with_operation(operation).with_backend(self.info.name.clone())
    }

    /// A member's error, as this backend's own.
    pub(crate) fn told_by(&self, member: usize, operation: &'static str, error: &Error) -> Error {
        self.told_by_all(operation, &[(member, error)])
    }

    /// The errors of several members as one of this backend's own: of the first one's kind, with what each of them says.
    pub(crate) fn told_by_all(
        &self,
        operation: &'static str,
        errors: &[(usize, impl Borrow<Error>)],
    ) -> Error {
        let Some((_, error)) = errors.first() else {
            return self.named(operation, Error::unavailable("there is no member to ask"));
        };
        let error: &Error = error.borrow();
        // A member that was closed behind our back is out of reach; this backend is not closed.
        let kind = if error.kind() == ErrorKind::Closed { ErrorKind::Unavailable } else { error.kind() };
        let said = errors.iter().map(|(member, error)| {
            let error: &Error = error.borrow();
            format!("`{}`: {}", self.members[*member].name, error.context())
        });
        let context = said.collect::<Vec<_>>().join("; ");
        let mut told = match error.holder() {
            Some(holder) if kind == ErrorKind::Conflict => Error::conflict(holder, context),
            _ => Error::new(kind, context).with_retry(error.retry()),
        };
        if kind == ErrorKind::Unavailable {
            told = told.with_retry(callsign_core::Retry::Temporary);
        }
        if let Some(after) = error.retry_after() {
            told = told.with_retry_after(after);
        }
        if error.outcome_unknown() {
            told = told.with_outcome_unknown();
        }
        self.named(operation, told.with_source(error.clone()))
    }
}

impl Steering for Shared {
    fn state(&self) -> State {
        let group = self.group();
        let choice = group.choice();
        let live = |state: MemberState| !matches!(state, MemberState::Down | MemberState::Degraded);
        let union = self.settings.topology == Topology::Union && !matches!(choice.order(), Order::Forced(_));
        let members = self.members.iter().zip(group.members()).enumerate();
        let members = members
            .map(|(nth, (member, machine))| MemberStatus {
                name: member.name.clone(),
                state: machine.state(),
                since: machine.since(),
                cause: machine.cause().cloned(),
                active: if union { live(machine.state()) } else { nth == choice.active() },
                pending_deletes: self.writer.pending(nth),
            })
            .collect();
        State {
            members,
            active: self.members[choice.active()].name.clone(),
            since: choice.since(),
            switches: choice.switches(),
            hold: match choice.order() {
                Order::Automatic => Hold::None,
                Order::Frozen => Hold::Frozen,
                Order::Forced(member) => Hold::Forced(self.members[member].name.clone()),
            },
        }
    }

    fn freeze(&self) {
        self.order(Order::Frozen);
    }

    fn force(&self, member: &str) -> Result<()> {
        let found = self.members.iter().position(|one| *one.name == *member);
        let Some(found) = found else {
            let names: Vec<_> = self.members.iter().map(|one| &*one.name).collect();
            return Err(Error::invalid_input(format!(
                "there is no member `{}`: {} are known",
                member.escape_debug(),
                names.join(", ")
            )));
        };
        self.order(Order::Forced(found));
        Ok(())
    }

    fn release(&self) {
        self.order(Order::Automatic);
    }
}

impl Shared {
    fn order(&self, order: Order) {
        self.step(|group| group.command(order, Instant::now()));
        // Without a switch there is a change all the same.
        let picture = self.picture();
        self.services.refresh(&picture);
        self.changes.send_modify(|version| *version += 1);
        self.clock.notify_one();
    }
}

/// Since when the member that is left could not be read, where that is why.
fn left_since(told: &Told, group: &Group) -> Option<Instant> {
    match told {
        Told::Switched { from, reason: SwitchReason::Outage | SwitchReason::Degraded, .. } => {
            Some(group.members()[*from].since())
        }
        _ => None,
    }
}

/// What an error says of the registry it comes from.
pub(crate) fn evidence_of(error: &Error) -> Evidence {
    match error.kind() {
        ErrorKind::Unauthorized => Evidence::Refusal(error.clone()),
        ErrorKind::Closed => Evidence::Trouble(error.clone()),
        _ if error.counts_as_outage() => Evidence::Trouble(error.clone()),
        _ => Evidence::Answer,
    }
}

/// What a member's own event says of it.
pub(crate) fn evidence_of_event(event: &Event) -> Option<Evidence> {
    let cause =
        || event.cause.clone().unwrap_or_else(|| Error::unavailable(format!("it says `{}`", event.kind)));
    match event.kind {
        EventKind::Suspect | EventKind::Lost => Some(Evidence::Trouble(cause())),
        EventKind::Misconfigured => Some(Evidence::Refusal(cause())),
        _ => None,
    }
}
