//! Several guarded writes as one transaction, and its answer taken apart. Pure.
//!
//! Each key gets a transaction of its own inside the one that is sent: one guard that does not hold leaves the others
//! alone. A write without a guard is never sent: one that was given up may be applied much later, after newer ones.

use callsign_core::{Error, Result, stored};
use etcd_client::proto::PbTxnOpResponse;
use etcd_client::{Compare, CompareOp, PutOptions, Txn, TxnOp, TxnResponse};

use super::ledger::{Item, Outcome};
use super::member::{Action, Key, Stored};

/// The transaction that does `items`.
///
/// etcd < 3.4.44 and < 3.5.30 look at no rights inside of a transaction's transactions, and would let everybody write
/// everywhere; hence a condition outside of them, which always holds, and which is refused to who may not read there.
/// All items are of one namespace, so that one of them stands for all.
pub(super) fn write(items: &[Item]) -> Txn {
    let guarded = |item: &Item| {
        let key = &*item.key;
        let write = match &item.action {
            Action::Put { value, .. } => {
                let options = PutOptions::new().with_lease(item.lease);
                Some(TxnOp::put(key, &**value, Some(options)))
            }
            Action::Delete { .. } | Action::Evict { .. } if item.expected == 0 => None,
            Action::Delete { .. } | Action::Evict { .. } => Some(TxnOp::delete(key, None)),
        };
        guard(key, item.expected, write)
    };
    let first = items.iter().take(1).map(|item| Compare::version(&*item.key, CompareOp::Greater, -1));
    Txn::new().when(first.collect::<Vec<_>>()).and_then(items.iter().map(guarded).collect::<Vec<_>>())
}

/// The transaction that compares revisions and changes nothing.
pub(super) fn prove(expected: &[(Key, i64)]) -> Txn {
    Txn::new()
        .and_then(expected.iter().map(|(key, revision)| guard(key, *revision, None)).collect::<Vec<_>>())
}

fn guard(key: &[u8], expected: i64, write: Option<TxnOp>) -> TxnOp {
    TxnOp::txn(
        Txn::new()
            .when([Compare::mod_revision(key, CompareOp::Equal, expected)])
            .and_then(write.into_iter().collect::<Vec<_>>())
            .or_else([TxnOp::get(key, None)]),
    )
}

/// What became of each of `count` guarded operations.
pub(super) fn outcomes(response: TxnResponse, count: usize) -> Result<Vec<Outcome>> {
    let strange = || Error::unexpected("the answer to a transaction does not fit its request");
    let response = response.0;
    let mod_revision = response.header.as_ref().ok_or_else(strange)?.revision;
    if response.responses.len() != count {
        return Err(strange());
    }
    let outcome = |answer: Option<PbTxnOpResponse>| {
        let Some(PbTxnOpResponse::ResponseTxn(inner)) = answer else {
            return Err(strange());
        };
        if inner.succeeded {
            return Ok(Outcome::Applied { mod_revision });
        }
        match inner.responses.into_iter().next().and_then(|first| first.response) {
            Some(PbTxnOpResponse::ResponseRange(range)) => {
                Ok(Outcome::Refused(range.kvs.into_iter().next().map(|kv| Stored {
                    mod_revision: kv.mod_revision,
                    lease: kv.lease,
                    pair: stored::pair_in(&kv.value),
                    value: kv.value,
                })))
            }
            _ => Err(strange()),
        }
    };
    response.responses.into_iter().map(|answer| outcome(answer.response)).collect()
}
