//! Suites: tables of promises, each with the code that proves it.
//!
//! [`BACKEND`] is for everybody who writes a backend, [`CLIENT`] proves what an application holds over it. A suite is run over a [`Subject`](crate::Subject) by
//! [`run`](crate::run); [`Case`] is public so that a suite of your own can stand beside ours:
//!
//! ```
//! use callsign_core::{Backend, Discovery, Read, Registry};
//! use callsign_testkit::suite::{Case, CaseResult, Ctx, Stop, Suite};
//!
//! /// What is under test here: something that is built over backends.
//! struct Census(Ctx);
//!
//! impl Census {
//!     async fn counts_everybody(&self) -> CaseResult {
//!         let (backend, service) = (self.0.client().await?, self.0.service("orders")?);
//!         backend.register(&self.0.record(&service, "one")?).await?;
//!         match backend.list(&service, Read::Quorum).await?.instances.len() {
//!             1 => Ok(()),
//!             other => Err(Stop::failed(format!("counted {other} instead of 1"))),
//!         }
//!     }
//! }
//!
//! static CENSUS: Suite<Census> = Suite {
//!     name: "census",
//!     context: Census,
//!     cases: &[Case {
//!         name: "counts_everybody",
//!         promise: "Everybody is counted.",
//!         needs: &[],
//!         run: |census| Box::pin(census.counts_everybody()),
//!     }],
//! };
//! ```
//!
//! It is passed as the others are: `Subject::fresh(..).passes(&BACKEND).passes(&CENSUS)`.

pub mod backend;
pub mod client;
mod compare;
mod context;
mod lacking;
mod need;
mod outcome;
mod watcher;

use std::fmt;

use futures::future::BoxFuture;

pub use backend::BACKEND;
pub use client::CLIENT;
pub use context::{Ctx, Patience};
pub(crate) use lacking::refused;
pub use need::Need;
pub use outcome::{CaseResult, Failure, Stop, chain};
pub use watcher::Watcher;

/// A table of cases, and the context that they share. `C` is what a case is handed: [`Ctx`] itself, or what is
/// made of it.
pub struct Suite<C: 'static> {
    /// What is proved: `backend`, ...
    pub name: &'static str,
    /// Every case once.
    pub cases: &'static [Case<C>],
    /// Makes a case's context; called once for each case.
    pub context: fn(Ctx) -> C,
}

/// One promise, and the code that proves it.
pub struct Case<C: 'static> {
    /// The promise in words joined by `_`; the name of the trial behind the subject's.
    pub name: &'static str,
    /// The promise as a sentence; printed when it is broken.
    pub promise: &'static str,
    /// What the registry must be able to do. Where it cannot, the case proves that the calls are refused with
    /// `Unsupported`, or is ignored where there is no call to refuse.
    pub needs: &'static [Need],
    /// Proves it.
    pub run: for<'a> fn(&'a C) -> BoxFuture<'a, CaseResult>,
}

impl<C> fmt::Debug for Suite<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suite").field("name", &self.name).field("cases", &self.cases).finish_non_exhaustive()
    }
}

impl<C> fmt::Debug for Case<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case")
            .field("name", &self.name)
            .field("promise", &self.promise)
            .field("needs", &self.needs)
            .finish_non_exhaustive()
    }
}

/// A row of a table of cases, named after its function so that the two cannot drift apart.
macro_rules! case {
    ($module:ident :: $name:ident $([$($need:ident),+])?, $promise:literal) => {
        $crate::suite::Case {
            name: stringify!($name),
            promise: $promise,
            needs: &[$($($crate::suite::Need::$need),+)?],
            run: |ctx| Box::pin($module::$name(ctx)),
        }
    };
}

pub(crate) use case;
