//! Where an instance stands in etcd, and what stands there. Pure.
//!
//! ```text
//! <prefix>/<namespace>/i/<group>/<service>/<id>      {"v":1,"id":"o-1","endpoints":["http://10.0.0.5:80"],..}
//! ```
//!
//! Namespace first, so that a role is granted one prefix. What lies between two slashes is percent-encoded, and every
//! prefix that is listed or watched ends with a slash: `order` never matches `orders`.

use std::borrow::Cow;
use std::sync::Arc;

use callsign_core::{
    Document, Error, Group, Instance, InstanceId, InstanceKey, Namespace, Pair, Result, Retry, ServiceKey,
    ServiceName,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};
use serde::{Deserialize, Serialize};

/// The version of the value's format. What an older reader would misunderstand gets a new one.
const VERSION: u32 = 1;
/// What stands between namespace and group: instances. Leaves room for other things of the same namespace.
const INSTANCES: &str = "i";
/// Everything but letters, digits and what is harmless in a key and easy to read. `/` and `%` must be in it.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'@')
    .remove(b':')
    .remove(b'+')
    .remove(b'=')
    .remove(b',');
/// How much of a foreign key or of a complaint is shown.
const SHOWN: usize = 120;

/// The keys below one prefix.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    /// Without a slash at its end.
    prefix: Arc<str>,
}

impl Keys {
    /// The keys below `prefix`, which has no slash at its end.
    pub(crate) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into() }
    }

    /// What every key begins with.
    pub(crate) fn root(&self) -> Vec<u8> {
        self.below_root().into_bytes()
    }

    /// Where the instance `key` stands.
    pub(crate) fn instance(&self, key: &InstanceKey) -> Vec<u8> {
        let mut path = self.below_service(&key.service);
        path.extend(encoded(key.id.as_str()));
        path.into_bytes()
    }

    /// What the keys of all instances of `service`, and no others, begin with.
    pub(crate) fn service(&self, service: &ServiceKey) -> Vec<u8> {
        self.below_service(service).into_bytes()
    }

    /// What the keys of all instances of a group begin with.
    pub(crate) fn group(&self, namespace: &Namespace, group: &Group) -> Vec<u8> {
        self.below_group(namespace, group).into_bytes()
    }

    /// What everything of a namespace begins with: what a role is granted.
    pub(crate) fn namespace(&self, namespace: &Namespace) -> Vec<u8> {
        self.below_namespace(namespace).into_bytes()
    }

    fn below_service(&self, service: &ServiceKey) -> String {
        let mut path = self.below_group(&service.namespace, &service.group);
        push(&mut path, service.name.as_str());
        path
    }

    fn below_group(&self, namespace: &Namespace, group: &Group) -> String {
        let mut path = self.below_namespace(namespace);
        push(&mut path, INSTANCES);
        push(&mut path, group.as_str());
        path
    }

    fn below_namespace(&self, namespace: &Namespace) -> String {
        let mut path = self.below_root();
        push(&mut path, namespace.as_str());
        path
    }

    fn below_root(&self) -> String {
        format!("{}/", self.prefix)
    }
}

/// The key in etcd under which a registry with this `prefix` keeps the instance: for tools that look at it there.
///
/// ```
/// use callsign_core::{InstanceId, InstanceKey, ServiceKey};
///
/// let key = InstanceKey::new(ServiceKey::new("orders/eu")?, InstanceId::new("o-1")?);
/// let stored = callsign_etcd::instance_key("/callsign/v1", &key);
/// assert_eq!(stored, b"/callsign/v1/default/i/default/orders%2Feu/o-1");
/// # Ok::<(), callsign_core::Error>(())
/// ```
#[must_use]
pub fn instance_key(prefix: &str, key: &InstanceKey) -> Vec<u8> {
    Keys::new(prefix).instance(key)
}

/// The id in `key`, which begins with the service's `prefix`; or what to show of a key that callsign has not made.
pub(crate) fn id_in(prefix: &[u8], key: &[u8]) -> Result<InstanceId, Arc<str>> {
    let rest = key.strip_prefix(prefix).unwrap_or(key);
    decoded(rest).and_then(|id| InstanceId::new(id).ok()).ok_or_else(|| shown(rest).into())
}

/// The service whose instance stands at `key`, which begins with the group's prefix; `None` for a key that callsign
/// has not made.
pub(crate) fn service_in(group_prefix: &[u8], key: &[u8]) -> Option<ServiceName> {
    let rest = key.strip_prefix(group_prefix)?;
    let slash = rest.iter().position(|&byte| byte == b'/')?;
    let id = decoded(&rest[slash + 1..])?;
    InstanceId::new(id).ok()?;
    ServiceName::new(decoded(&rest[..slash])?).ok()
}

/// What is stored of `instance`. Its health is left out: an owner does not judge itself.
///
/// # Errors
/// `Unexpected` and permanent, should JSON refuse it.
pub(crate) fn encode(instance: &Instance) -> Result<Vec<u8>> {
    let value = Value { v: VERSION, document: Document::of(instance).without_health() };
    serde_json::to_vec(&value).map_err(|error| {
        Error::unexpected(format!("cannot turn the instance {} into JSON", instance.key))
            .with_retry(Retry::Permanent)
            .with_source(error)
    })
}

/// The instance of `service` that stands in `value`, under the key of `id`; or, in a few words, why there is none.
pub(crate) fn decode(service: &ServiceKey, id: &InstanceId, value: &[u8]) -> Result<Instance, String> {
    // The version first: what else stands in the value of a newer writer, only it knows.
    let Version { v } = serde_json::from_slice(value).map_err(|error| complaint(&error))?;
    if v != VERSION {
        return Err(format!("it has the format version {v}, this program reads {VERSION}"));
    }
    let document: Document = serde_json::from_slice(value).map_err(|error| complaint(&error))?;
    if document.id() != id {
        let other = shown(document.id().as_str().as_bytes());
        return Err(format!("its value has the id `{other}`, which is not the one of its key"));
    }
    document.into_instance(service).map_err(|error| error.to_string())
}

/// The pair in `value`, of whatever version of the format; [`Pair::NONE`] where callsign has not written it.
pub(crate) fn pair_in(value: &[u8]) -> Pair {
    #[derive(Deserialize)]
    struct Stamp {
        incarnation: u64,
        seq: u64,
    }

    serde_json::from_slice(value).map_or(Pair::NONE, |Stamp { incarnation, seq }| Pair::new(incarnation, seq))
}

#[derive(Serialize)]
struct Value {
    v: u32,
    #[serde(flatten)]
    document: Document,
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

fn push(path: &mut String, segment: &str) {
    path.extend(encoded(segment));
    path.push('/');
}

fn encoded(segment: &str) -> impl Iterator<Item = &str> {
    utf8_percent_encode(segment, ENCODED)
}

/// The name that `segment` is the encoding of. There is one encoding of each name: two keys never mean the same.
fn decoded(segment: &[u8]) -> Option<Cow<'_, str>> {
    let name = percent_decode(segment).decode_utf8().ok()?;
    encoded(&name).flat_map(str::bytes).eq(segment.iter().copied()).then_some(name)
}

fn shown(bytes: &[u8]) -> String {
    let escaped: String =
        bytes.iter().take(SHOWN).flat_map(|byte| byte.escape_ascii()).map(char::from).collect();
    if bytes.len() > SHOWN { format!("{escaped}...") } else { escaped }
}

/// What serde says, cut short: it repeats the text that it stumbled over, however long that is.
fn complaint(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if text.len() <= SHOWN {
        return text;
    }
    let start: String = text.chars().take(SHOWN).collect();
    format!("{start}... at line {} column {}", error.line(), error.column())
}
