//! What an agent has answered: a body of bounded size, and what its headers say of it.

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Response, StatusCode};
use tokio::time::Instant;

/// 10 000 instances take 7 MB.
const LARGEST: usize = 64 * 1024 * 1024;
/// No error says so much.
const LARGEST_COMPLAINT: usize = 4096;

/// An answer that was taken whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) body: Vec<u8>,
    pub(crate) marks: Marks,
    /// When its head arrived: what it says was so then.
    pub(crate) at: Instant,
    /// How long its body took.
    pub(crate) took: Duration,
}

/// What the headers say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) status: u16,
    /// `X-Consul-Index`, at least 1: with 0 a query would not wait.
    pub(crate) index: Option<u64>,
    /// Absent where newer agents stream.
    pub(crate) known_leader: Option<bool>,
    /// Absent where newer agents stream.
    pub(crate) last_contact: Option<Duration>,
    /// Whether something was left out because the token may not see it. Newer agents say so.
    pub(crate) filtered: Option<bool>,
    /// Whether everything is allowed that was not denied. Newer agents say so.
    pub(crate) default_allow: Option<bool>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) json: bool,
}

impl Marks {
    pub(super) fn of(status: StatusCode, headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let flag = |name: &str| text(name).map(|value| value.eq_ignore_ascii_case("true"));
        let number = |name: &str| text(name).and_then(|value| value.parse::<u64>().ok());
        Self {
            status: status.as_u16(),
            index: number("x-consul-index").map(|index| index.max(1)),
            known_leader: flag("x-consul-knownleader"),
            last_contact: number("x-consul-lastcontact").map(Duration::from_millis),
            filtered: flag("x-consul-results-filtered-by-acls"),
            default_allow: text("x-consul-default-acl-policy").map(|policy| policy == "allow"),
            retry_after: number("retry-after").map(Duration::from_secs),
            json: text("content-type").is_some_and(|value| value.starts_with("application/json")),
        }
    }

    /// Whether nothing can be hidden from whom nothing was granted.
    pub(crate) fn allows_by_default(&self) -> bool {
        self.default_allow == Some(true)
    }

    pub(super) fn is_success(&self) -> bool {
        self.status == StatusCode::OK.as_u16()
    }
}

/// Why a body was not taken.
#[derive(Debug)]
pub(super) enum NotTaken {
    Broken(reqwest::Error),
    TooLarge,
}

/// The body of `response`, as far as it is worth having.
pub(super) async fn take(mut response: Response, success: bool) -> Result<Vec<u8>, NotTaken> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(NotTaken::Broken)? {
        if success && body.len() + chunk.len() > LARGEST {
            return Err(NotTaken::TooLarge);
        }
        body.extend_from_slice(&chunk);
        if !success && body.len() > LARGEST_COMPLAINT {
            break;
        }
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn marks(headers: &[(&'static str, &'static str)]) -> Marks {
        let header = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        Marks::of(StatusCode::OK, &headers.iter().map(header).collect())
    }

    #[test]
    fn an_index_is_at_least_one_and_what_is_missing_is_not_made_up() {
        assert_eq!(marks(&[("x-consul-index", "0")]).index, Some(1));
        assert_eq!(marks(&[("x-consul-index", "17")]).index, Some(17));
        assert_eq!(marks(&[("x-consul-index", "x")]).index, None);
        let nothing = marks(&[]);
        assert_eq!((nothing.known_leader, nothing.last_contact, nothing.filtered), (None, None, None));
    }

    #[test]
    fn headers_are_read_as_old_and_new_agents_write_them() {
        let found = marks(&[
            ("x-consul-knownleader", "false"),
            ("x-consul-lastcontact", "2500"),
            ("x-consul-results-filtered-by-acls", "true"),
            ("x-consul-default-acl-policy", "deny"),
            ("content-type", "application/json; charset=utf-8"),
        ]);
        assert_eq!(found.known_leader, Some(false));
        assert_eq!(found.last_contact, Some(Duration::from_millis(2500)));
        assert!(
            found.filtered == Some(true) && !found.allows_by_default() && found.json && found.is_success()
        );
    }
}
