//! What services and instances are called in Consul.
//!
//! Consul takes nearly every name, but looks services and ids up without regard to case, and its HTTP server takes a
//! path with `//` or `..` in it for another one.

use callsign_core::{Error, Group, InstanceId, InstanceKey, Namespace, Result, ServiceKey, ServiceName};
use percent_encoding::percent_decode_str;

use crate::config::Tenancy;

/// Between namespace and name.
const SEPARATOR: &str = "--";
/// Between the four parts of an id.
const ID_SEPARATOR: char = ':';
/// What a tag begins with that names the group.
const GROUP: &str = "group=";

/// Where a service is found in Consul.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// The service's name there.
    pub(crate) name: String,
    /// Consul Enterprise's namespace.
    pub(crate) namespace: Option<String>,
}

impl Place {
    /// Where `service` is, in any of its groups.
    ///
    /// # Errors
    /// `LimitExceeded` for a namespace that Consul Enterprise does not take.
    pub(crate) fn of(tenancy: &Tenancy, service: &ServiceKey) -> Result<Self> {
        let namespace = Self::namespace_of(tenancy, &service.namespace)?;
        let name = if namespace.is_none() {
            prefixed(service)
        } else {
            let mut name = String::new();
            escape(service.name.as_str(), false, &mut name);
            name
        };
        Ok(Self { name, namespace })
    }

    /// Consul Enterprise's namespace, where it keeps namespaces apart.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub(crate) fn namespace_of(tenancy: &Tenancy, namespace: &Namespace) -> Result<Option<String>> {
        if *tenancy == Tenancy::Prefix {
            return Ok(None);
        }
        let text = namespace.as_str();
        if text.len() > 64 || !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(Error::limit_exceeded(format!(
                "the namespace `{}` is none that consul enterprise takes: up to 64 letters, digits and `-`",
                text.escape_debug()
            )));
        }
        Ok(Some(text.to_owned()))
    }
}

/// The service of `namespace` that Consul calls `text`; `None` for one of another namespace, or none of ours.
pub(crate) fn service_named(tenancy: &Tenancy, namespace: &Namespace, text: &str) -> Option<ServiceName> {
    let name = match text.split_once(SEPARATOR) {
        Some((_, name)) if *tenancy == Tenancy::Prefix => name,
        _ => text,
    };
    let name = ServiceName::new(decoded(name)?).ok()?;
    let service = ServiceKey::from(name.clone()).with_namespace(namespace.clone());
    // There is one way to write each name: two services never mean the same.
    (Place::of(tenancy, &service).ok()?.name == text).then_some(name)
}

/// What Consul calls the service, in any of its groups, where names keep namespaces apart: for tools that look at it
/// there.
///
/// ```
/// use callsign_core::{Namespace, ServiceKey};
///
/// let orders = ServiceKey::new("orders")?;
/// assert_eq!(callsign_consul::service_name(&orders), "orders");
/// assert_eq!(callsign_consul::service_name(&orders.with_namespace(Namespace::new("shop")?)), "shop--orders");
/// # Ok::<(), callsign_core::Error>(())
/// ```
#[must_use]
pub fn service_name(service: &ServiceKey) -> String {
    prefixed(service)
}

/// The id under which Consul has the instance: its whole key, as ids are unique among all services of an agent.
///
/// ```
/// use callsign_core::{InstanceId, InstanceKey, ServiceKey};
///
/// let key = InstanceKey::new(ServiceKey::new("orders")?, InstanceId::new("o-1")?);
/// assert_eq!(callsign_consul::instance_id(&key), "default:default:orders:o-1");
/// # Ok::<(), callsign_core::Error>(())
/// ```
#[must_use]
pub fn instance_id(key: &InstanceKey) -> String {
    let mut id = String::new();
    let parts = [
        key.service.namespace.as_str(),
        key.service.group.as_str(),
        key.service.name.as_str(),
        key.id.as_str(),
    ];
    for (n, part) in parts.into_iter().enumerate() {
        if n > 0 {
            id.push(ID_SEPARATOR);
        }
        escape_id(part, &mut id);
    }
    id
}

/// The group and the id of the instance that `text` is the id of, if callsign has made it for `service` (in any group).
pub(super) fn parse_id(service: &ServiceKey, text: &str) -> Option<(Group, InstanceId)> {
    let mut parts = text.split(ID_SEPARATOR);
    let mut next = || parts.next().and_then(decoded);
    let (namespace, group, name, id) = (next()?, next()?, next()?, next()?);
    if namespace != service.namespace.as_str() || name != service.name.as_str() {
        return None;
    }
    let (group, id) = (Group::new(group).ok()?, InstanceId::new(id).ok()?);
    let key = InstanceKey::new(service.clone().with_group(group.clone()), id.clone());
    (instance_id(&key) == text).then_some((group, id))
}

/// The id of the ttl check of the instance with this id: what other clients call it, too.
pub(crate) fn check_id(instance: &str) -> String {
    format!("service:{instance}")
}

/// The id of the check that the agent makes by itself.
pub(crate) fn check_id_of_probe(instance: &str) -> String {
    format!("probe:{instance}")
}

/// The tag that names `group`.
pub(crate) fn group_tag(group: &Group) -> String {
    format!("{GROUP}{group}")
}

/// The groups that are named among `tags`.
pub(crate) fn group_in<'a>(tags: impl IntoIterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    tags.into_iter().filter_map(|tag| tag.strip_prefix(GROUP))
}

/// The name of a service whose namespace stands before it.
fn prefixed(service: &ServiceKey) -> String {
    let mut name = String::new();
    if service.namespace != Namespace::default() {
        escape(service.namespace.as_str(), true, &mut name);
        // Or the separator would begin one character too early.
        if name.ends_with('-') {
            name.pop();
            name.push_str("%2D");
        }
        name.push_str(SEPARATOR);
    }
    escape(service.name.as_str(), true, &mut name);
    name
}

/// Appends `name` to `out`. Most names stay as they are, so that other software finds them.
fn escape(name: &str, separated: bool, out: &mut String) {
    let start = out.len();
    let cleaned_away = name.split('/').any(|part| matches!(part, "" | "." | ".."));
    for c in name.chars() {
        match c {
            '%' => out.push_str("%25"),
            '/' if cleaned_away => out.push_str("%2F"),
            '.' if cleaned_away => out.push_str("%2E"),
            '-' if separated && out[start..].ends_with('-') => out.push_str("%2D"),
            _ => out.push(c),
        }
    }
}

/// Appends `part` to `out`, in lower case and ASCII: ids that differ in case alone are one id to Consul.
fn escape_id(part: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for byte in part.bytes() {
        if byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

fn decoded(text: &str) -> Option<std::borrow::Cow<'_, str>> {
    percent_decode_str(text).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ENTERPRISE: Tenancy = Tenancy::Enterprise { partition: None };

    fn service(namespace: &str, name: &str) -> ServiceKey {
        ServiceKey::new(name).unwrap().with_namespace(Namespace::new(namespace).unwrap())
    }

    fn name(namespace: &str, name: &str) -> String {
        Place::of(&Tenancy::Prefix, &service(namespace, name)).unwrap().name
    }

    #[test]
    fn a_plain_name_stays_as_it_is_and_a_namespace_stands_before_it() {
        for (namespace, plain, expected) in [
            ("default", "orders", "orders"),
            ("default", "orders-eu.v2/a", "orders-eu.v2/a"),
            ("default", "订单 Service", "订单 Service"),
            ("shop", "orders", "shop--orders"),
            ("default", "a--b", "a-%2Db"),
            ("default", "a---b", "a-%2D-b"),
            ("a-", "b", "a%2D--b"),
            ("a", "-b", "a---b"),
            ("default", "100%", "100%25"),
            ("default", "..", "%2E%2E"),
            ("default", "a/../b.c", "a%2F%2E%2E%2Fb%2Ec"),
        ] {
            assert_eq!(name(namespace, plain), expected);
        }
    }

    #[test]
    fn on_enterprise_the_namespace_is_consuls_own() {
        let place = Place::of(&ENTERPRISE, &service("shop", "a--b")).unwrap();
        assert_eq!(place, Place { name: "a--b".to_owned(), namespace: Some("shop".to_owned()) });
        assert_eq!(
            Place::of(&ENTERPRISE, &service("a/b", "x")).unwrap_err().to_string(),
            "limit exceeded: the namespace `a/b` is none that consul enterprise takes: up to 64 letters, digits and `-`"
        );
    }

    #[test]
    fn an_id_holds_the_whole_key_in_lower_case() {
        let key = InstanceKey::new(service("shop", "a:b"), InstanceId::new("O-1").unwrap());
        assert_eq!(instance_id(&key), "shop:default:a%3ab:%4f-1");
        assert_eq!(parse_id(&service("shop", "a:b"), "shop:default:a%3Ab:%4f-1"), None);
    }

    #[test]
    fn ids_of_others_are_not_taken_for_ours() {
        for text in ["orders-1", "default:default:other:o-1", "default:default:orders", "a:b:c:d:e", ""] {
            assert_eq!(parse_id(&service("default", "orders"), text), None, "{text}");
        }
    }

    fn any_name() -> impl Strategy<Value = String> {
        prop_oneof!["[-a.%/]{1,8}", "\\PC{1,20}", Just("default".to_owned())]
            .prop_filter("longer than a name may be", |text| text.len() <= 255)
    }

    proptest! {
        #[test]
        fn names_come_back_and_no_two_share_one(
            (a, b, c, d) in (any_name(), any_name(), any_name(), any_name()),
            enterprise: bool,
        ) {
            let tenancy = if enterprise { ENTERPRISE } else { Tenancy::Prefix };
            let (one, other) = (service(&a, &b), service(&c, &d));
            if let (Ok(first), Ok(second)) = (Place::of(&tenancy, &one), Place::of(&tenancy, &other)) {
                prop_assert_eq!(first == second, one == other);
                prop_assert_eq!(service_named(&tenancy, &one.namespace, &first.name), Some(one.name));
            }
        }

        #[test]
        fn no_name_is_bent_by_a_server_that_cleans_paths(namespace in any_name(), plain in any_name()) {
            let name = name(&namespace, &plain);
            prop_assert!(!name.split('/').any(|part| matches!(part, "" | "." | "..")), "{}", name);
        }

        #[test]
        fn ids_come_back_and_differ_whatever_the_case(
            (a, b, c) in (any_name(), any_name(), any_name()),
            (d, e, f) in (any_name(), any_name(), any_name()),
        ) {
            let key = |group: &str, name: &str, id: &str| {
                let service = service("default", name).with_group(Group::new(group).unwrap());
                InstanceKey::new(service, InstanceId::new(id).unwrap())
            };
            let (one, other) = (key(&a, &b, &c), key(&d, &e, &f));
            let id = instance_id(&one);
            prop_assert_eq!(id.to_lowercase() == instance_id(&other).to_lowercase(), one == other);
            prop_assert_eq!(parse_id(&one.service, &id), Some((one.service.group.clone(), one.id.clone())));
        }

        #[test]
        fn garbage_never_panics(text in "\\PC{0,60}") {
            let _ = parse_id(&service("default", "orders"), &text);
            let _ = service_named(&Tenancy::Prefix, &Namespace::default(), &text);
        }
    }
}
