//! Runs suites as a test binary, with the arguments of `cargo test`.

use std::any::Any;
use std::env;
use std::fmt;
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::Harness;
use crate::suite::{Case, CaseResult, Ctx, Need, Stop, Suite, refused};

/// Names subjects whose cases may not be ignored because the registry is missing: `CALLSIGN_REQUIRE=etcd,consul`.
/// `etcd` stands for `etcd` itself and for all subjects that start with `etcd-`.
pub const REQUIRE: &str = "CALLSIGN_REQUIRE";

/// A case that has said nothing for so long hangs, in whatever way; paused time does not pass while a thread is
/// stuck, so that the case's own time-out would never come.
const STUCK: Duration = Duration::from_secs(600);

type Make = dyn Fn() -> Arc<dyn Harness> + Send + Sync;

/// A registry in one setup, and the suites that it has to pass.
pub struct Subject {
    name: String,
    make: Arc<Make>,
    /// Held by every case: a case that hurts the registry waits for the others, and they for it.
    registry: Option<Arc<RwLock<()>>>,
    trials: Vec<Trial>,
}

impl Subject {
    /// A registry that is made afresh for each case: embedded ones, and servers that start fast. `make` is called
    /// outside of a runtime; what needs one is started in [`Harness::available`] or [`Harness::client`].
    pub fn fresh<H: Harness>(name: impl Into<String>, make: impl Fn() -> H + Send + Sync + 'static) -> Self {
        Self {
            name: name.into(),
            make: Arc::new(move || Arc::new(make())),
            registry: None,
            trials: Vec::new(),
        }
    }

    /// A registry that all cases share. Cases that hurt it run alone.
    pub fn shared(name: impl Into<String>, harness: impl Harness) -> Self {
        let harness: Arc<dyn Harness> = Arc::new(harness);
        Self {
            name: name.into(),
            make: Arc::new(move || harness.clone()),
            registry: Some(Arc::default()),
            trials: Vec::new(),
        }
    }

    /// Has the registry pass `suite`.
    #[must_use]
    pub fn passes<C: Send + Sync + 'static>(mut self, suite: &'static Suite<C>) -> Self {
        for case in suite.cases {
            let (subject, make, registry) = (self.name.clone(), self.make.clone(), self.registry.clone());
            let trial = Trial::ignorable_test(format!("{}::{}", self.name, case.name), move || {
                let stopped = unstuck(case.name, move || {
                    let _turn = registry.as_deref().map(|registry| Turn::take(registry, case.needs));
                    run_on_its_runtime(&subject, &*make, suite, case)
                });
                match stopped {
                    Ok(()) => Ok(Completion::Completed),
                    Err(Stop::Ignored(reason)) => Ok(Completion::ignored_with(reason)),
                    Err(Stop::Failed(failure)) => {
                        Err(Failed::from(format!("promise: {}\n{failure}", case.promise)))
                    }
                }
            });
            self.trials.push(trial.with_kind(suite.name));
        }
        self
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

/// Runs all cases of all subjects and reports as `cargo test` does: a filter, `--list`, `--skip`, `--exact`,
/// `--format` and `--test-threads` work. A case that cannot run is reported as ignored, with its reason.
///
/// Return it from the `main` of a test target with `harness = false`.
#[must_use]
pub fn run(subjects: impl IntoIterator<Item = Subject>) -> ExitCode {
    let trials = subjects.into_iter().flat_map(|subject| subject.trials).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Runs one case by itself, for tests of suites: what [`run`] does for each of them.
pub fn prove<C, H: Harness>(suite: &Suite<C>, case: &Case<C>, make: impl Fn() -> H) -> CaseResult {
    run_on_its_runtime("", &|| Arc::new(make()) as Arc<dyn Harness>, suite, case)
}

fn run_on_its_runtime<C>(
    subject: &str,
    make: &dyn Fn() -> Arc<dyn Harness>,
    suite: &Suite<C>,
    case: &Case<C>,
) -> CaseResult {
    let harness = make();
    let runtime = runtime(harness.paused())?;
    let result = runtime.block_on(run_case(subject, harness, suite, case));
    runtime.shutdown_timeout(Duration::from_secs(5));
    result
}

fn runtime(paused: bool) -> CaseResult<Runtime> {
    let runtime = if paused {
        Builder::new_current_thread().enable_all().start_paused(true).build()
    } else {
        Builder::new_multi_thread().worker_threads(2).enable_all().build()
    };
    runtime.map_err(|error| Stop::failed(format!("no runtime for the case: {error}")))
}

async fn run_case<C>(
    subject: &str,
    harness: Arc<dyn Harness>,
    suite: &Suite<C>,
    case: &Case<C>,
) -> CaseResult {
    if let Err(reason) = harness.available().await {
        return Err(unavailable(subject, &env::var(REQUIRE).unwrap_or_default(), reason));
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
    result.unwrap_or_else(|_| Err(Stop::failed(format!("the case has not ended after {:?}", ctx.limit()))))
}

/// What becomes of a case whose registry cannot be used.
fn unavailable(subject: &str, required: &str, reason: String) -> Stop {
    if is_required(subject, required) {
        Stop::failed(format!("`{REQUIRE}` names `{subject}`, and it is not available: {reason}"))
    } else {
        Stop::Ignored(reason)
    }
}

fn is_required(subject: &str, required: &str) -> bool {
    required.split(',').map(str::trim).any(|name| {
        let rest = subject.strip_prefix(name);
        !name.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    })
}

/// A case's turn at a shared registry.
enum Turn<'a> {
    WithOthers { _turn: std::sync::RwLockReadGuard<'a, ()> },
    Alone { _turn: std::sync::RwLockWriteGuard<'a, ()> },
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

/// Runs a case on a thread of its own, so that one that hangs or panics does not take the others along.
fn unstuck(name: &str, case: impl FnOnce() -> CaseResult + Send + 'static) -> CaseResult {
    let (done, result) = channel();
    let thread = thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            // Nobody listens any more: the case was given up as stuck.
            let _ = done.send(case());
        })
        .map_err(|error| Stop::failed(format!("no thread for the case: {error}")))?;
    match result.recv_timeout(STUCK) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => Err(Stop::failed(format!("the case is stuck since {STUCK:?}"))),
        Err(RecvTimeoutError::Disconnected) => Err(Stop::failed(match thread.join() {
            Ok(()) => "the case said nothing".to_owned(),
            Err(panic) => format!("the case panicked: {}", words(&*panic)),
        })),
    }
}

fn words(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a word")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_required_name_stands_for_all_setups_of_a_registry() {
        for (subject, required) in [("etcd", true), ("etcd-tls", true), ("etcdx", false), ("consul", false)] {
            assert_eq!(is_required(subject, "nacos, etcd,"), required, "{subject}");
        }
        assert!(!is_required("etcd", ""));
    }

    #[test]
    fn a_registry_that_is_missing_is_ignored_unless_it_is_required() {
        let missing = |required| unavailable("etcd", required, "no such file".to_owned());
        assert!(matches!(missing("consul"), Stop::Ignored(reason) if reason == "no such file"));
        assert!(
            matches!(missing("etcd"), Stop::Failed(failure) if failure.to_string().contains("no such file"))
        );
    }

    #[test]
    fn a_panic_is_a_failure_with_its_words() {
        let result = unstuck("case", || panic!("the {} burnt", "bread"));
        assert!(
            matches!(result, Err(Stop::Failed(failure)) if failure.to_string().contains("the bread burnt"))
        );
    }
}
