//! What goes into a step of the registrar, and what comes out.

use std::time::Duration;

use callsign_core::{Error, Instance, Receipt, Record, Result};

use super::{Departure, RegistrationState};

/// What happens to a registration.
#[derive(Debug)]
pub(crate) enum Input {
    /// The write under way was answered, or its time was up.
    Answer(Result<Receipt>),
    /// The backend noticed by itself that the record is lost.
    Lost(Error),
    /// The backend says that its registry answers again.
    Ready,
    /// The application changed what it wants.
    Update(Instance),
    /// The application leaves: announce, delete after `notice`, be done by `deadline`.
    Leave { notice: Duration, deadline: Duration },
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Output {
    /// Start this write; there is none under way. Its answer, or that there was none in time, comes back as
    /// [`Input::Answer`].
    Write(Write),
    /// The state has changed.
    State(RegistrationState),
    /// It is over.
    Gone(Departure),
}

/// One call of the backend.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub(crate) verb: Verb,
    pub(crate) record: Record,
    /// No answer within this counts as `Timeout`.
    pub(crate) timeout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Register,
    Renew,
    Deregister,
}
