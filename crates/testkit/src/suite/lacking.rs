//! What a registry owes for what it cannot do: a refusal, never a silence.

use callsign_core::{Error, ErrorKind, Group, Read, ServiceKey};
use futures::StreamExt;

use super::outcome::{ensure_eq, fail};
use super::{CaseResult, Ctx, Need, Stop};

/// Proves that the calls which go beyond the registry are refused with `Unsupported`.
pub(crate) async fn refused(ctx: &Ctx, need: Need) -> CaseResult {
    match need {
        Need::Namespaces => beyond(ctx, ctx.service("orders")?.with_namespace(ctx.namespace())).await,
        Need::Groups => beyond(ctx, ctx.service("orders")?.with_group(Group::new("other")?)).await,
        Need::Services => {
            let service = ctx.service("orders")?;
            let backend = ctx.client().await?;
            is_unsupported("services", backend.services(&service.namespace, &service.group).await.err())
        }
        Need::CompareAndSet => {
            Err(Stop::Ignored("this registry cannot compare and set: the last writer wins".to_owned()))
        }
        Need::RemovesOthers => {
            Err(Stop::Ignored("a record of this registry goes with its owner alone".to_owned()))
        }
        Need::MetadataLimit => Err(Stop::Ignored("this registry takes metadata of any size".to_owned())),
        Need::Alone => Ok(()),
    }
}

/// Every call about a service that lies where the registry has no place.
async fn beyond(ctx: &Ctx, service: ServiceKey) -> CaseResult {
    let backend = ctx.client().await?;
    let record = ctx.record(&service, "one")?;
    is_unsupported("register", backend.register(&record).await.err())?;
    is_unsupported("renew", backend.renew(&record).await.err())?;
    is_unsupported("deregister", backend.deregister(&record).await.err())?;
    is_unsupported("list", backend.list(&service, Read::Quorum).await.err())?;
    let mut watch = backend.watch(&service);
    match watch.next().await {
        Some(item) => is_unsupported("watch", item.err()),
        None => fail!("the watch ended without a word"),
    }
}

fn is_unsupported(call: &str, error: Option<Error>) -> CaseResult {
    match error {
        None => fail!("`{call}` succeeded, although the backend says that its registry cannot do that"),
        Some(error) => {
            ensure_eq!(error.kind(), ErrorKind::Unsupported, "`{call}` is refused otherwise: {error}");
            Ok(())
        }
    }
}
