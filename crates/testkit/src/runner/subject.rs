//! A registry under test, with its cases as trials.

use std::env;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use libtest_mimic::{Completion, Failed, Trial};
use tokio::time::timeout;

use super::REQUIRE;
use super::board::{Board, Place};
use super::isolation::{on_its_runtime, unstuck};
use super::required::decided;
use crate::Harness;
use crate::suite::{Case, CaseResult, Ctx, Need, Stop, Suite, refused};

/// How long a case of [`Subject::proves`] may take: longer than the slowest of the suites.
const LIMIT: Duration = Duration::from_secs(300);

type Make = dyn Fn() -> Arc<dyn Harness> + Send + Sync;

/// A registry in one setup, and the suites that it has to pass.
pub struct Subject {
    pub(super) name: String,
    /// Cases that this registry is known not to pass, and why.
    known: Vec<(&'static str, &'static str)>,
    make: Arc<Make>,
    /// Held by every case: a case that hurts the registry waits for the others, and they for it.
    registry: Option<Arc<RwLock<()>>>,
    pub(super) board: Arc<Board>,
    pub(super) trials: Vec<Trial>,
}

impl Subject {
    /// A registry that is made afresh for each case: embedded ones, and servers that start fast. `make` is called
    /// outside of a runtime; what needs one is started in [`Harness::available`] or [`Harness::client`].
    pub fn fresh<H: Harness>(name: impl Into<String>, make: impl Fn() -> H + Send + Sync + 'static) -> Self {
        Self::new(name.into(), Arc::new(move || Arc::new(make())), None)
    }

    /// A registry that all cases share. Cases that hurt it run alone.
    pub fn shared(name: impl Into<String>, harness: impl Harness) -> Self {
        let harness: Arc<dyn Harness> = Arc::new(harness);
        Self::new(name.into(), Arc::new(move || harness.clone()), Some(Arc::default()))
    }

    fn new(name: String, make: Arc<Make>, registry: Option<Arc<RwLock<()>>>) -> Self {
        Self { name, known: Vec::new(), make, registry, board: Arc::default(), trials: Vec::new() }
    }

    /// Leaves cases of the suites that follow out, each for a reason that is shown: a stand-in for a registry differs from
    /// it in what it is known to. Whoever is stood in for has to be proven on another subject.
    #[must_use]
    pub fn without(mut self, cases: impl IntoIterator<Item = (&'static str, &'static str)>) -> Self {
        self.known.extend(cases);
        self
    }

    /// Has the registry pass `suite`.
    #[must_use]
    pub fn passes<C: Send + Sync + 'static>(mut self, suite: &'static Suite<C>) -> Self {
        for case in suite.cases {
            let make = self.make.clone();
            let place = Place { suite: suite.name, case: case.name };
            let known = self.known.iter().find(|(name, _)| *name == case.name).map(|(_, reason)| *reason);
            self.push(place, case.promise, case.needs, move || match known {
                Some(reason) => Err(Stop::Ignored(reason.to_owned())),
                None => run_case(&*make, suite, case),
            });
        }
        self
    }

    /// Has the registry prove a promise that no suite has: on a thread and a runtime of its own, and within 5
    /// minutes. A server that `case` starts and that is not installed is [`Stop::Missing`].
    ///
    /// ```
    /// use callsign_testkit::suite::{CaseResult, Stop};
    /// # use callsign_testkit::{Harness, Subject};
    /// # fn with(subject: Subject) -> Subject {
    /// async fn survives_compaction() -> CaseResult {
    ///     let server = std::path::Path::new("/opt/registry/bin/server");
    ///     if !server.exists() {
    ///         return Err(Stop::Missing(format!("there is no {}", server.display())));
    ///     }
    ///     Ok(())
    /// }
    ///
    /// subject.proves("faults", "survives_compaction", "Nothing is lost in a compaction.", survives_compaction)
    /// # }
    /// ```
    #[must_use]
    pub fn proves<F, P>(
        mut self,
        suite: &'static str,
        name: &'static str,
        promise: &'static str,
        case: F,
    ) -> Self
    where
        F: Fn() -> P + Send + Sync + 'static,
        P: Future<Output = CaseResult>,
    {
        // Nobody knows what it does to a registry that others use.
        self.push(Place { suite, case: name }, promise, &[Need::Alone], move || {
            on_its_runtime(false, async {
                let proof = timeout(LIMIT, case()).await;
                proof.unwrap_or_else(|_| Err(Stop::failed(format!("the case has not ended after {LIMIT:?}"))))
            })
        });
        self
    }

    fn push(
        &mut self,
        place: Place,
        promise: &'static str,
        needs: &'static [Need],
        case: impl FnOnce() -> CaseResult + Send + 'static,
    ) {
        let (subject, registry, board) = (self.name.clone(), self.registry.clone(), self.board.clone());
        let number = board.add(place);
        let trial = Trial::ignorable_test(format!("{subject}::{}", place.case), move || {
            let result = unstuck(place.case, move || {
                let _turn = registry.as_deref().map(|registry| Turn::take(registry, needs));
                case()
            });
            let result = decided(result, &subject, &env::var(REQUIRE).unwrap_or_default());
            board.record(number, &result);
            match result {
                Ok(()) => Ok(Completion::Completed),
                Err(Stop::Ignored(reason) | Stop::Missing(reason)) => Ok(Completion::ignored_with(reason)),
                Err(Stop::Failed(failure)) => Err(Failed::from(format!("promise: {promise}\n{failure}"))),
            }
        });
        self.trials.push(trial.with_kind(place.suite));
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("name", &self.name)
            .field("trials", &self.trials.len())
            .finish_non_exhaustive()
    }
}

pub(super) fn run_case<C>(
    make: &dyn Fn() -> Arc<dyn Harness>,
    suite: &Suite<C>,
    case: &Case<C>,
) -> CaseResult {
    let harness = make();
    on_its_runtime(harness.paused(), async {
        if let Err(reason) = harness.available().await {
            return Err(Stop::Missing(reason));
        }
        let ctx = Ctx::new(harness);
        let unmet = case.needs.iter().find(|need| !need.is_met_by(ctx.capabilities()));
        let proof = async {
            match unmet {
                Some(need) => refused(&ctx, *need).await,
                None => (case.run)(&(suite.context)(ctx.clone())).await,
            }
        };
        let result = timeout(ctx.limit(), proof).await;
        ctx.close().await;
        result
            .unwrap_or_else(|_| Err(Stop::failed(format!("the case has not ended after {:?}", ctx.limit()))))
    })
}

/// A case's turn at a shared registry.
enum Turn<'a> {
    WithOthers { _turn: RwLockReadGuard<'a, ()> },
    Alone { _turn: RwLockWriteGuard<'a, ()> },
}

impl<'a> Turn<'a> {
    fn take(registry: &'a RwLock<()>, needs: &[Need]) -> Self {
        // A case that panicked has left nothing behind in a lock around nothing.
        if needs.contains(&Need::Alone) {
            Self::Alone { _turn: registry.write().unwrap_or_else(PoisonError::into_inner) }
        } else {
            Self::WithOthers { _turn: registry.read().unwrap_or_else(PoisonError::into_inner) }
        }
    }
}
