//! Where an instance stands in ZooKeeper, and what stands there. Pure.
//!
//! ```text
//! <root>/<namespace>/<group>/services/<service>/<id>      {"v":1,"id":"o-1","endpoints":["http://10.0.0.5:80"],..}
//! ```
//!
//! Each element is percent-encoded. A service is a node, and its instances are the children of that node, so `order`
//! never matches `orders`.

use std::borrow::Cow;
use std::sync::Arc;

use callsign_core::{Group, InstanceId, InstanceKey, Namespace, ServiceKey, ServiceName};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What stands between group and service. Leaves room for other things of the same group.
const SERVICES: &str = "services";
/// Everything but letters, digits and what is harmless in a path and easy to read. `/` and `%` must be in it.
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
/// How much of a foreign name is shown.
const SHOWN: usize = 120;

/// The paths below one root.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    root: Arc<str>,
}

impl Paths {
    /// The paths below `root`, which has no slash at its end.
    pub(crate) fn new(root: &str) -> Self {
        Self { root: root.into() }
    }

    pub(crate) fn root(&self) -> &str {
        &self.root
    }

    /// Where the instance `key` stands.
    pub(crate) fn instance(&self, key: &InstanceKey) -> String {
        child(&self.service(&key.service), &encoded(key.id.as_str()))
    }

    /// The node whose children are the instances of `service`.
    pub(crate) fn service(&self, service: &ServiceKey) -> String {
        child(&self.group(&service.namespace, &service.group), &encoded(service.name.as_str()))
    }

    /// The node whose children are the services of a group.
    pub(crate) fn group(&self, namespace: &Namespace, group: &Group) -> String {
        format!("{}/{}/{SERVICES}", self.namespace(namespace), encoded(group.as_str()))
    }

    /// The node that everything of a namespace is below.
    pub(crate) fn namespace(&self, namespace: &Namespace) -> String {
        child(&self.root, &encoded(namespace.as_str()))
    }
}

/// The path of the child `name` of `parent`.
pub(crate) fn child(parent: &str, name: &str) -> String {
    format!("{parent}/{name}")
}

/// The path of the node that `path` is a child of.
pub(crate) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// The path at which a registry with this `root` keeps the instance: for tools that look at it there.
///
/// ```
/// use callsign_core::{InstanceId, InstanceKey, ServiceKey};
///
/// let key = InstanceKey::new(ServiceKey::new("orders/eu")?, InstanceId::new("o-1")?);
/// let stored = callsign_zookeeper::instance_path("/callsign/v1", &key);
/// assert_eq!(stored, "/callsign/v1/default/default/services/orders%2Feu/o-1");
/// # Ok::<(), callsign_core::Error>(())
/// ```
#[must_use]
pub fn instance_path(root: &str, key: &InstanceKey) -> String {
    Paths::new(root).instance(key)
}

/// The id of the node `name`; or what to show of a name that callsign has not made.
pub(crate) fn id_in(name: &str) -> Result<InstanceId, Arc<str>> {
    decoded(name).and_then(|id| InstanceId::new(id).ok()).ok_or_else(|| shown(name).into())
}

/// The service of the node `name`; `None` for a name that callsign has not made.
pub(crate) fn service_in(name: &str) -> Option<ServiceName> {
    ServiceName::new(decoded(name)?).ok()
}

/// `name` as one element of a path. ZooKeeper refuses `.` and `..` as elements.
fn encoded(name: &str) -> Cow<'_, str> {
    match name {
        "." => Cow::Borrowed("%2E"),
        ".." => Cow::Borrowed("%2E%2E"),
        name => utf8_percent_encode(name, ENCODED).into(),
    }
}

/// The name that `element` is the encoding of. There is one encoding of each name: two nodes never mean the same.
fn decoded(element: &str) -> Option<Cow<'_, str>> {
    let name = percent_decode_str(element).decode_utf8().ok()?;
    (encoded(&name) == element).then_some(name)
}

fn shown(text: &str) -> String {
    let escaped: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() { format!("{escaped}...") } else { escaped }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(namespace: &str, group: &str, service: &str, id: &str) -> InstanceKey {
        let service = ServiceKey::new(service)
            .unwrap()
            .with_namespace(Namespace::new(namespace).unwrap())
            .with_group(Group::new(group).unwrap());
        InstanceKey::new(service, InstanceId::new(id).unwrap())
    }

    fn name() -> impl Strategy<Value = String> {
        "[^\\x00-\\x1f\\x7f-\\u{9f}]{1,20}".prop_filter("a name", |name| {
            Namespace::new(name).is_ok()
                && Group::new(name).is_ok()
                && ServiceName::new(name).is_ok()
                && InstanceId::new(name).is_ok()
        })
    }

    #[test]
    fn paths_are_the_documented_ones() {
        let paths = Paths::new("/callsign/v1");
        let key = key("prod", "blue", "orders/eu", "..");
        assert_eq!(paths.instance(&key), "/callsign/v1/prod/blue/services/orders%2Feu/%2E%2E");
        assert_eq!(parent(&paths.instance(&key)), paths.service(&key.service));
        assert_eq!(paths.namespace(&key.service.namespace), "/callsign/v1/prod");
    }

    proptest! {
        #[test]
        fn every_name_is_one_element_and_comes_back(namespace in name(), group in name(), service in name(), id in name()) {
            let key = key(&namespace, &group, &service, &id);
            let path = Paths::new("/r").instance(&key);
            let elements: Vec<_> = path.split('/').skip(2).collect();
            prop_assert_eq!(elements.len(), 5);
            prop_assert!(elements.iter().all(|element| !matches!(*element, "" | "." | "..")));
            prop_assert!(path.bytes().all(|byte| byte.is_ascii_graphic()));
            prop_assert_eq!(service_in(elements[3]).unwrap(), key.service.name);
            prop_assert_eq!(id_in(elements[4]).unwrap(), key.id);
        }

        #[test]
        fn a_foreign_name_never_panics_and_means_one_thing_at_most(name in "\\PC{0,40}") {
            if let Ok(id) = id_in(&name) {
                prop_assert_eq!(encoded(id.as_str()), name);
            }
        }
    }
}
