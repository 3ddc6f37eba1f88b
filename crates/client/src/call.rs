//! Calls of a backend that always come back.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use callsign_core::{Error, Result};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};

/// The answer of `call`, or an error when it takes longer than `timeout` or panics: a backend of somebody else's
/// must not be able to end the task that keeps a registration or a view alive.
pub(crate) async fn within<T>(
    operation: &'static str,
    timeout: Duration,
    call: impl Future<Output = Result<T>>,
) -> Result<T> {
    match tokio::time::timeout(timeout, AssertUnwindSafe(call).catch_unwind()).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => {
            Err(Error::unexpected("the backend panicked").with_operation(operation).with_outcome_unknown())
        }
        Err(_) => Err(Error::timeout(format!("no answer within {timeout:?}"))
            .with_operation(operation)
            .with_outcome_unknown()),
    }
}

/// What a backend tells of itself. It ends only with its reader: an end, or a panic, is silence.
pub(crate) fn lasting<T: Send + 'static>(
    open: impl FnOnce() -> BoxStream<'static, T>,
) -> BoxStream<'static, T> {
    let Ok(opened) = catch_unwind(AssertUnwindSafe(open)) else {
        return futures::stream::pending().boxed();
    };
    let told = AssertUnwindSafe(opened).catch_unwind().filter_map(|told| std::future::ready(told.ok()));
    told.chain(futures::stream::pending()).boxed()
}

/// The end of what is under way, which then no longer is; for ever, if nothing is.
pub(crate) async fn ended<T>(under_way: &mut Option<BoxFuture<'static, T>>) -> T {
    match under_way {
        None => std::future::pending().await,
        Some(future) => {
            let value = future.await;
            *under_way = None;
            value
        }
    }
}
