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

use callsign_core::{Group, InstanceId, InstanceKey, Namespace, ServiceKey, ServiceName};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

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
/// How much of a foreign key is shown.
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

    /// What everything of the namespace begins with that `key`, or a prefix within it, belongs to; nothing for what
    /// belongs to none.
    pub(crate) fn namespace_of<'a>(&self, key: &'a [u8]) -> &'a str {
        let below = key.strip_prefix(&*self.root()).unwrap_or_default();
        let name = below.iter().position(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let length = if name == 0 { 0 } else { key.len() - below.len() + name };
        str::from_utf8(&key[..length]).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys() -> Keys {
        Keys::new("/callsign/v1")
    }

    fn service(namespace: &str, group: &str, name: &str) -> ServiceKey {
        ServiceKey::new(name)
            .unwrap()
            .with_namespace(Namespace::new(namespace).unwrap())
            .with_group(Group::new(group).unwrap())
    }

    fn orders() -> ServiceKey {
        service("prod", "default", "orders/eu")
    }

    fn text(bytes: &[u8]) -> &str {
        str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn prefixes_are_nested_and_each_ends_with_a_slash() {
        let (keys, service) = (keys(), orders());
        assert_eq!(text(&keys.root()), "/callsign/v1/");
        assert_eq!(text(&keys.namespace(&service.namespace)), "/callsign/v1/prod/");
        assert_eq!(text(&keys.group(&service.namespace, &service.group)), "/callsign/v1/prod/i/default/");
        assert_eq!(text(&keys.service(&service)), "/callsign/v1/prod/i/default/orders%2Feu/");
    }

    #[test]
    fn what_belongs_to_a_namespace_is_granted_by_its_prefix() {
        let (keys, service) = (keys(), orders());
        let namespace = keys.namespace(&service.namespace);
        for key in [keys.service(&service), keys.group(&service.namespace, &service.group), namespace.clone()]
        {
            assert_eq!(keys.namespace_of(&key), text(&namespace));
        }
        for nowhere in ["/callsign/v1/", "/callsign/v1/prod", "/elsewhere/prod/i/", ""] {
            assert_eq!(keys.namespace_of(nowhere.as_bytes()), "");
        }
    }

    #[test]
    fn what_is_easy_to_read_stays_readable_and_everything_else_is_encoded() {
        let encode = |name| encoded(name).collect::<String>();
        assert_eq!(encode("azAZ09-_.~@:+=,"), "azAZ09-_.~@:+=,");
        assert_eq!(encode("a/b%c d*"), "a%2Fb%25c%20d%2A");
        assert_eq!(encode("é"), "%C3%A9");
        assert_eq!(encode(".."), "..");
    }

    #[test]
    fn a_key_that_callsign_has_not_made_is_shown_and_names_nothing() {
        let prefix = keys().service(&orders());
        for (rest, shown) in [
            (&b""[..], ""),
            (b"a/b", "a/b"),
            (b"a%2fb", "a%2fb"),
            (b"%61", "%61"),
            (b"a b", "a b"),
            (b"a%", "a%"),
            (b"%0A", "%0A"),
            (b"\xff\n", "\\xff\\n"),
            ("é".as_bytes(), "\\xc3\\xa9"),
        ] {
            let key = [&prefix[..], rest].concat();
            assert_eq!(id_in(&prefix, &key).unwrap_err(), shown.into());
        }
        let long = [&prefix[..], &[b'x'; 1_000]].concat();
        assert!(id_in(&prefix, &long).unwrap_err().len() < 200);

        let group = keys().group(&orders().namespace, &orders().group);
        for rest in ["", "orders", "orders/", "/o-1", "orders/o/1", "%6Frders/o-1", "orders/%61"] {
            assert_eq!(service_in(&group, &[&group[..], rest.as_bytes()].concat()), None, "{rest}");
        }
    }

    fn any_name() -> impl Strategy<Value = String> {
        prop_oneof!["\\PC{1,40}", "[a-c/%.]{1,4}", "[a-z]{255}", "[é/]{1,100}"]
            .prop_filter("a legal name", |name| ServiceName::new(name).is_ok())
    }

    fn any_service() -> impl Strategy<Value = ServiceKey> {
        (any_name(), any_name(), any_name())
            .prop_map(|(namespace, group, name)| service(&namespace, &group, &name))
    }

    proptest! {
        #[test]
        fn every_instance_comes_back_from_its_key(service in any_service(), id in any_name()) {
            prop_assume!(InstanceId::new(&id).is_ok());
            let (keys, id) = (keys(), InstanceId::new(&id).unwrap());
            let whole = InstanceKey::new(service.clone(), id.clone());
            let key = keys.instance(&whole);
            prop_assert!(key.is_ascii());
            prop_assert_eq!(&key, &instance_key("/callsign/v1", &whole));
            prop_assert_eq!(id_in(&keys.service(&service), &key).unwrap(), id);
            let group = keys.group(&service.namespace, &service.group);
            prop_assert_eq!(service_in(&group, &key), Some(service.name.clone()));
            prop_assert!(key.starts_with(&keys.namespace(&service.namespace)));
        }

        #[test]
        fn no_service_is_found_below_another(one in any_service(), other in any_service()) {
            prop_assume!(one != other);
            let (one, other) = (keys().service(&one), keys().service(&other));
            prop_assert!(!one.starts_with(&other) && !other.starts_with(&one));
        }

        #[test]
        fn no_namespace_is_found_below_another(one in any_name(), other in any_name()) {
            prop_assume!(one != other);
            let prefix = |name: &str| keys().namespace(&Namespace::new(name).unwrap());
            prop_assert!(!prefix(&one).starts_with(&prefix(&other)));
        }

        #[test]
        fn a_key_has_one_spelling(rest in "[a-c%2-6FfE]{0,8}|\\PC{0,20}") {
            let prefix = keys().service(&orders());
            let key = [&prefix[..], rest.as_bytes()].concat();
            if let Ok(id) = id_in(&prefix, &key) {
                prop_assert_eq!(keys().instance(&InstanceKey::new(orders(), id)), key);
            }
        }

        #[test]
        fn garbage_never_panics(garbage: Vec<u8>) {
            let prefix = keys().service(&orders());
            let key = [&prefix[..], &garbage].concat();
            for key in [&key, &garbage] {
                let _ = id_in(&prefix, key);
                let _ = service_in(&keys().group(&orders().namespace, &orders().group), key);
            }
        }
    }
}
