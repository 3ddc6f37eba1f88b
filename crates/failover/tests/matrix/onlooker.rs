//! A process that looks others up, two hundred times a second.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use callsign_client::{Client, Freshness, RoundRobin, ServiceView, Snapshot};
use callsign_core::task::{Spawner, Task};
use callsign_core::{Backend, Event, EventKind, EventStream, Health, InstanceId, Pair, ServiceKey};
use callsign_failover::{Control, MemberState};
use futures::StreamExt;
use tokio::time::{Instant, interval};

use super::book::Book;
use super::site::{NAMES, Site};

/// How often it looks somebody up, and how often in a row: two hundred times a second.
const PACE: Duration = Duration::from_millis(20);
const IN_A_ROW: usize = 4;

/// What an onlooker has seen of its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) states: [MemberState; 2],
    pub(crate) active: [bool; 2],
}

/// What came of all look-ups.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) looked_up: usize,
    pub(crate) failed: Vec<Instant>,
    /// Each change of what is known of the members.
    pub(crate) looks: Vec<(Instant, Look)>,
    pub(crate) events: Vec<Event>,
}

pub(crate) struct Onlooker {
    pub(crate) name: String,
    pub(crate) site: Site,
    pub(crate) views: Vec<ServiceView>,
    log: Arc<Mutex<Log>>,
    _client: Client,
    _tasks: Vec<Task>,
}

impl Onlooker {
    /// Starts to look up `services`, and writes down what it is shown.
    pub(crate) fn start(
        name: &str,
        site: Site,
        services: &[ServiceKey],
        book: &Book,
        folder: Option<&Path>,
    ) -> Self {
        let spawner = Spawner::current().unwrap();
        let mut builder = Client::builder(site.backend()).prober(book.clone());
        if let Some(folder) = folder {
            builder = builder.store_dir(folder);
        }
        let client = builder.build().unwrap();
        let log = Arc::<Mutex<Log>>::default();
        let mut tasks = vec![
            spawner.spawn(note_events(site.failover.events(), log.clone())),
            spawner.spawn(note_looks(site.control.clone(), log.clone())),
        ];
        let views: Vec<_> = services.iter().map(|service| client.service(service)).collect();
        for view in &views {
            let sights = book.history(view.service()).view(name);
            tasks.push(spawner.spawn(note_sights(view.clone(), sights)));
        }
        let pickers = views.iter().map(ServiceView::round_robin).collect();
        tasks.push(spawner.spawn(look_up(pickers, log.clone())));
        Self { name: name.to_owned(), site, views, log, _client: client, _tasks: tasks }
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap()
    }

    /// The members as they are now.
    pub(crate) fn look(&self) -> Look {
        look(&self.site.control)
    }

    /// When a member was first in a state that `matches`, from `since` on.
    pub(crate) fn first(
        &self,
        member: usize,
        since: Instant,
        matches: impl Fn(MemberState) -> bool,
    ) -> Option<Duration> {
        let log = self.log();
        let mut since_then = log.looks.iter().filter(|(at, _)| *at >= since);
        since_then.find(|(_, look)| matches(look.states[member])).map(|(at, _)| *at - since)
    }

    /// When a member was first not read, from `since` on.
    pub(crate) fn left(&self, member: usize, since: Instant) -> Option<Duration> {
        let log = self.log();
        let mut since_then = log.looks.iter().filter(|(at, _)| *at >= since);
        since_then.find(|(_, look)| !look.active[member]).map(|(at, _)| *at - since)
    }

    /// How often another member has become the active one, from `since` on.
    pub(crate) fn switches(&self, since: Instant) -> usize {
        let log = self.log();
        let changed = |pair: &[(Instant, Look)]| pair[1].0 >= since && pair[0].1.active != pair[1].1.active;
        log.looks.windows(2).filter(|pair| changed(pair)).count()
    }

    /// Whether there was an event like this, from `since` on.
    pub(crate) fn told(&self, since: Instant, matches: impl Fn(&EventKind) -> bool) -> bool {
        self.log().events.iter().any(|event| event.at >= since && matches(&event.kind))
    }

    /// Events tell each change of a member and each switch, as they were looked at.
    pub(crate) fn events_tell_what_was_seen(&self) -> Result<(), String> {
        let log = self.log();
        let mut states = [MemberState::Healthy; 2];
        let mut read = None;
        for event in &log.events {
            match &event.kind {
                EventKind::MemberState { member, from, to } => {
                    let nth = NAMES.iter().position(|name| **name == **member).ok_or("a stranger")?;
                    if states[nth] != *from {
                        return Err(format!("{member} was {}, and left {from}", states[nth]));
                    }
                    states[nth] = *to;
                }
                EventKind::Switched { from, to, .. }
                    if read.replace(to.clone()).is_some_and(|read| read != *from) =>
                {
                    return Err(format!("{from} was not read, and was switched from"));
                }
                _ => {}
            }
        }
        let now = self.look();
        if states == now.states { Ok(()) } else { Err(format!("they say {states:?}, and it is {now:?}")) }
    }

    /// Who is shown of `service`.
    pub(crate) fn shown(&self, service: &ServiceKey) -> BTreeMap<InstanceId, Pair> {
        shown(&self.view(service).snapshot()).collect()
    }

    pub(crate) fn view(&self, service: &ServiceKey) -> &ServiceView {
        self.views.iter().find(|view| view.service() == service).unwrap()
    }
}

fn look(control: &Control) -> Look {
    let members = control.members();
    let of = |nth: usize| members.iter().find(|member| *member.name == *NAMES[nth]).unwrap();
    Look { states: [of(0).state, of(1).state], active: [of(0).active, of(1).active] }
}

fn shown(snapshot: &Snapshot) -> impl Iterator<Item = (InstanceId, Pair)> {
    // Who is critical gets no traffic.
    let there = snapshot.instances.iter().filter(|instance| instance.health != Health::Critical);
    there.map(|instance| (instance.id().clone(), instance.pair()))
}

/// Writes down what a view shows, from its first answer on.
async fn note_sights(view: ServiceView, sights: callsign_testkit::history::View) {
    let mut snapshots = view.snapshots();
    while let Some(snapshot) = snapshots.next().await {
        if !matches!(snapshot.freshness, Freshness::Unknown { .. }) {
            sights.shows(shown(&snapshot));
        }
    }
}

async fn note_events(mut events: EventStream, log: Arc<Mutex<Log>>) {
    while let Some(event) = events.next().await {
        log.lock().unwrap().events.push(event);
    }
}

/// Looks every service up, for ever; from the first answer on each has to have one.
async fn look_up(pickers: Vec<RoundRobin>, log: Arc<Mutex<Log>>) {
    let mut known = vec![false; pickers.len()];
    let mut pace = interval(PACE);
    loop {
        let now = pace.tick().await;
        let mut log = log.lock().unwrap();
        for (picker, known) in pickers.iter().zip(&mut known) {
            for _ in 0..IN_A_ROW {
                let picked = picker.pick().is_some();
                *known |= picked;
                log.looked_up += usize::from(*known);
                if *known && !picked {
                    log.failed.push(now);
                }
            }
        }
    }
}

/// Writes down every change of the members.
async fn note_looks(mut control: Control, log: Arc<Mutex<Log>>) {
    loop {
        let look = look(&control);
        log.lock().unwrap().looks.push((Instant::now(), look));
        control.changed().await;
    }
}
