//! Reading a range whole.

use etcd_client::{GetOptions, KeyValue, ResponseHeader};
use tokio::time::Instant;

use crate::config::Settings;
use crate::connection::{Connection, Subject};
use crate::error::{Failure, Verdict};

/// etcd counts all that is left for each page (etcd#16510): few large ones are read faster than many small ones.
const PAGE: i64 = 10_000;
/// A history that is compacted faster than it can be read is not read at all.
const RESTARTS: u32 = 3;

/// How a range is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// Proven by a quorum.
    Linearizable,
    /// As the member has it.
    Serializable,
}

/// Everything below `prefix`, as of one revision.
pub(crate) async fn read(
    connection: &Connection,
    settings: &Settings,
    prefix: &[u8],
    how: How,
    keys_only: bool,
) -> Result<(ResponseHeader, Vec<KeyValue>), Failure> {
    let subject = format!("list {}", String::from_utf8_lossy(prefix));
    let subject = Subject::read(&subject).within(settings.keys.namespace_of(prefix));
    // A large page takes its time; whether anybody answers must not. A login from before the registry was wiped, for
    // one, is kept waiting until its log is as long again (etcd's `isValidSimpleToken`).
    if connection.is_quiet() {
        match how {
            How::Linearizable => connection.prove(prefix).await.map(drop)?,
            How::Serializable => connection.reach(prefix, settings.op_timeout).await?,
        }
    }
    let until = Instant::now() + settings.list_timeout;
    let mut restarts = 0;
    let mut page = PAGE;
    let (mut start, mut header, mut kvs) = (prefix.to_vec(), None::<ResponseHeader>, Vec::new());
    loop {
        let mut options = GetOptions::new().with_range(end_of(prefix)).with_limit(page);
        if let Some(header) = &header {
            options = options.with_revision(header.revision());
        }
        if how == How::Serializable {
            options = options.with_serializable();
        }
        if keys_only {
            options = options.with_keys_only();
        }
        let limit = until.saturating_duration_since(Instant::now());
        match connection.get(subject, limit, &start, options).await {
            Ok(mut response) => {
                let more = response.more();
                kvs.append(&mut response.take_kvs());
                let Some(first) = header.take().or_else(|| response.take_header()) else {
                    return Err(connection.strange("an answer without a header"));
                };
                let Some(last) = kvs.last().filter(|_| more) else {
                    return Ok((first, kvs));
                };
                header = Some(first);
                start = last.key().to_vec();
                start.push(0);
            }
            Err(failure) if failure.verdict == Verdict::Compacted && restarts < RESTARTS => {
                restarts += 1;
                (start, header, kvs) = (prefix.to_vec(), None, Vec::new());
            }
            Err(failure) if failure.verdict == Verdict::TooLarge && page > 1 => page = (page / 8).max(1),
            Err(failure) => return Err(failure),
        }
    }
}

/// The first key behind all keys that begin with `prefix`.
pub(crate) fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    // etcd's way to say "to the end".
    vec![0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_before_the_first_key_that_does_not_begin_with_its_prefix() {
        assert_eq!(end_of(b"/callsign/v1/"), b"/callsign/v10");
        assert_eq!(end_of(&[b'a', 255, 255]), b"b");
        assert_eq!(end_of(&[255]), [0]);
        assert_eq!(end_of(b""), [0]);
    }

    #[test]
    fn whatever_begins_with_a_prefix_is_in_its_range_and_nothing_else_is() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut some =
            |upper| (0..rng.usize(..upper)).map(|_| rng.choice([0, 1, 254, 255]).unwrap()).collect();
        for _ in 0..10_000 {
            let (prefix, key): (Vec<u8>, Vec<u8>) = (some(4), some(6));
            let end = end_of(&prefix);
            let in_range = key >= prefix && (end == [0] || key < end);
            assert_eq!(in_range, key.starts_with(&prefix), "{prefix:?} {key:?}");
        }
    }
}
