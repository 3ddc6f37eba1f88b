//! A thread and a runtime for each case, so that one that hangs, panics or leaves tasks behind does not take the
//! others along.

use std::any::Any;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;

use crate::suite::{CaseResult, Stop};

/// A case that has said nothing for so long hangs, in whatever way; paused time does not pass while a thread is
/// stuck, so that the case's own time-out would never come.
const STUCK: Duration = Duration::from_secs(600);
/// What a case leaves behind on its runtime is given so long to end.
const LEFTOVERS: Duration = Duration::from_secs(5);

/// Runs a case on a thread of its own.
pub(super) fn unstuck(name: &str, case: impl FnOnce() -> CaseResult + Send + 'static) -> CaseResult {
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

/// Runs a case on a runtime of its own.
pub(super) fn on_its_runtime(paused: bool, case: impl Future<Output = CaseResult>) -> CaseResult {
    let runtime = if paused {
        Builder::new_current_thread().enable_all().start_paused(true).build()
    } else {
        Builder::new_multi_thread().worker_threads(2).enable_all().build()
    };
    let runtime = runtime.map_err(|error| Stop::failed(format!("no runtime for the case: {error}")))?;
    let result = runtime.block_on(case);
    runtime.shutdown_timeout(LEFTOVERS);
    result
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
    fn a_panic_is_a_failure_with_its_words() {
        let result = unstuck("case", || panic!("the {} burnt", "bread"));
        assert!(
            matches!(result, Err(Stop::Failed(failure)) if failure.to_string().contains("the bread burnt"))
        );
    }
}
