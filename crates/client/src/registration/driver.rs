//! The task behind one registration: feeds the machine, makes its writes, shows its states.

use std::sync::Arc;
use std::time::Duration;

use callsign_core::{Backend, EventKind, LostSignal, Pair, Receipt, Result};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::machine::Registrar;
use super::step::{Input, Output, Verb, Write};
use super::{Departure, Patch, RegistrationState};
use crate::call::{ended, lasting, within};
use crate::events::{ClientEvent, ClientEvents};

/// How long the one delete of a dropped handle may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// What the handle asks for.
#[derive(Debug)]
pub(crate) enum Command {
    /// Change the instance; answers with the pair that the change got.
    Update(Patch, oneshot::Sender<Result<Pair>>),
    /// Leave; answers when it is over.
    Leave { notice: Duration, deadline: Duration, done: oneshot::Sender<Departure> },
}

/// What the handle can see without asking.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub(crate) state: RegistrationState,
    /// Grows with each new state.
    pub(crate) seq: u64,
    pub(crate) written: Option<Pair>,
    pub(crate) refused: Option<Pair>,
}

pub(crate) struct Driver {
    pub(crate) machine: Registrar,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) shown: watch::Sender<Shown>,
    pub(crate) events: ClientEvents,
}

type Call = BoxFuture<'static, Result<Receipt>>;

impl Driver {
    /// Runs until the registration is gone, or its handle is.
    pub(crate) async fn run(mut self) {
        let mut call: Option<Call> = None;
        let mut lost = LostSignal::never();
        let backend = self.backend.clone();
        let mut news = lasting(move || backend.events());
        let mut waiting: Vec<oneshot::Sender<Departure>> = Vec::new();
        let mut input = Input::Tick;
        loop {
            for output in self.machine.step(input, Instant::now()) {
                match output {
                    Output::Write(write) => call = Some(start(self.backend.clone(), write)),
                    Output::State(state) => self.show(state),
                    Output::Gone(departure) => {
                        return self.tell_the_end(waiting, &departure);
                    }
                }
            }
            self.show_pairs();
            let wake_at = self.machine.wake_at();
            input = tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    None => return self.farewell(call).await,
                    Some(Command::Update(patch, answer)) => self.patch(patch, answer),
                    Some(Command::Leave { notice, deadline, done }) => {
                        waiting.push(done);
                        Input::Leave { notice, deadline }
                    }
                },
                answer = ended(&mut call) => {
                    if let Ok(receipt) = &answer {
                        lost = receipt.lost.clone();
                    }
                    Input::Answer(answer)
                }
                cause = lost.fired() => {
                    lost = LostSignal::never();
                    Input::Lost(cause)
                }
                Some(event) = news.next() => match event.kind {
                    EventKind::Ready => Input::Ready,
                    _ => Input::Tick,
                },
                () = sleep_until(wake_at.unwrap_or_else(Instant::now)), if wake_at.is_some() => Input::Tick,
            };
        }
    }

    /// Computes the new instance and tells the handle its pair, or the rule that the change breaks.
    fn patch(&mut self, patch: Patch, answer: oneshot::Sender<Result<Pair>>) -> Input {
        match patch.apply(self.machine.desired()) {
            Ok(instance) => {
                let pair = self.machine.desired().pair();
                // Who no longer waits for the pair does not need it.
                let _ = answer.send(Ok(Pair::new(pair.incarnation, pair.seq.saturating_add(1))));
                Input::Update(instance)
            }
            Err(error) => {
                let _ = answer.send(Err(error));
                Input::Tick
            }
        }
    }

    fn show(&self, state: RegistrationState) {
        let key = self.machine.desired().key.clone();
        self.events.publish(ClientEvent::Registration { key, state: state.clone() });
        self.shown.send_modify(|shown| {
            shown.state = state;
            shown.seq += 1;
        });
    }

    fn show_pairs(&self) {
        let now = (self.machine.written(), self.machine.refused());
        self.shown.send_if_modified(|shown| {
            let before = (shown.written, shown.refused);
            (shown.written, shown.refused) = now;
            before != now
        });
    }

    /// Tells everybody who waits for the end, also those who have asked for it a moment too late.
    fn tell_the_end(&mut self, mut waiting: Vec<oneshot::Sender<Departure>>, departure: &Departure) {
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Leave { done, .. } = command {
                waiting.push(done);
            }
        }
        for done in waiting {
            // Who no longer waits does not need to be told.
            let _ = done.send(departure.clone());
        }
    }

    /// The handle was dropped: one delete, bounded in time, and nothing else.
    async fn farewell(self, call: Option<Call>) {
        let deadline = Instant::now() + FAREWELL;
        match (call, self.machine.in_flight()) {
            // What was sent and not answered could be applied after the delete: its answer is waited for, half of the
            // time at the most.
            (Some(call), Some(Verb::Register)) => drop(timeout(FAREWELL / 2, call).await),
            (call, _) => drop(call),
        }
        if let Some(record) = self.machine.farewell() {
            let timeout = deadline.saturating_duration_since(Instant::now());
            let write = Write { verb: Verb::Deregister, record, timeout };
            // Without a handle there is nobody to tell; the lease ends by itself.
            let _ = start(self.backend.clone(), write).await;
        }
        self.show(RegistrationState::Gone);
    }
}

fn start(backend: Arc<dyn Backend>, write: Write) -> Call {
    let Write { verb, record, timeout } = write;
    let operation = match verb {
        Verb::Register => "register",
        Verb::Renew => "renew",
        Verb::Deregister => "deregister",
    };
    let call = async move {
        match verb {
            Verb::Register => backend.register(&record).await,
            Verb::Renew => backend.renew(&record).await,
            Verb::Deregister => backend.deregister(&record).await,
        }
    };
    within(operation, timeout, call).boxed()
}
