//! What a service is called in Nacos.
//!
//! A namespace and a group are called as they are, within Nacos' rules; `default` is `public`, and `DEFAULT_GROUP`. The
//! name of a service may not have blanks or Chinese characters in it there (`ParamCheckRule`), so whatever is not plain
//! ASCII is percent-encoded.

use std::borrow::Cow;
use std::sync::Arc;

use callsign_core::{Error, Group, Namespace, Result, ServiceKey, ServiceName};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::shown;

/// What is called `default` in callsign.
const PUBLIC: &str = "public";
const DEFAULT_GROUP: &str = "DEFAULT_GROUP";
const DEFAULT: &str = "default";

const LONGEST_NAMESPACE: usize = 64;
const LONGEST_GROUP: usize = 128;
const LONGEST_SERVICE: usize = 512;

/// Blanks, the sign of this encoding itself; and whatever is not ASCII, by itself.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// A service of Nacos.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) namespace: Arc<str>,
    pub(crate) group: Arc<str>,
    pub(crate) service: Arc<str>,
}

/// Where `service` is.
///
/// # Errors
/// `LimitExceeded`: Nacos takes no such name.
pub(crate) fn place_of(service: &ServiceKey) -> Result<Place> {
    let (namespace, group) = place(&service.namespace, &service.group)?;
    Ok(Place { namespace, group, service: service_name(&service.name)?.into() })
}

/// Where a group of services is: the namespace's id, and the group's name.
///
/// # Errors
/// As [`place_of`].
pub(crate) fn place(namespace: &Namespace, group: &Group) -> Result<(Arc<str>, Arc<str>)> {
    Ok((namespace_id(namespace)?, group_name(group)?))
}

fn namespace_id(namespace: &Namespace) -> Result<Arc<str>> {
    let name = namespace.as_str();
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name == DEFAULT {
        Ok(PUBLIC.into())
    } else if name == PUBLIC {
        Err(refuse("namespace", name, "is what Nacos calls the namespace `default`: use that name"))
    } else if name.len() > LONGEST_NAMESPACE || !name.bytes().all(legal) {
        Err(refuse(
            "namespace",
            name,
            "is no id that Nacos takes: 1 to 64 letters, digits, `-` and `_` are allowed",
        ))
    } else {
        Ok(name.into())
    }
}

fn group_name(group: &Group) -> Result<Arc<str>> {
    let name = group.as_str();
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b':' | b'.');
    if name == DEFAULT {
        Ok(DEFAULT_GROUP.into())
    } else if name == DEFAULT_GROUP {
        Err(refuse("group", name, "is what Nacos calls the group `default`: use that name"))
    } else if name.len() > LONGEST_GROUP || !name.bytes().all(legal) {
        let rule = "is no name that Nacos takes: 1 to 128 letters, digits, `-`, `_`, `:` and `.` are allowed";
        Err(refuse("group", name, rule))
    } else {
        Ok(name.into())
    }
}

/// What Nacos knows a service by: for tools that look at it there.
///
/// ```
/// use callsign_core::ServiceName;
///
/// let name = ServiceName::new("orders/eu 1")?;
/// assert_eq!(callsign_nacos::service_name(&name)?, "orders/eu%201");
/// # Ok::<(), callsign_core::Error>(())
/// ```
///
/// # Errors
/// `LimitExceeded`: with `@@` in it, with `@` at its beginning, or when it takes more than 512 characters.
pub fn service_name(name: &ServiceName) -> Result<String> {
    let text = name.as_str();
    if text.contains("@@") || text.starts_with('@') {
        let rule = "has `@@` in it or begins with `@`, by which Nacos tells group and service apart: choose another one";
        return Err(refuse("service name", text, rule));
    }
    let encoded = encoded(text);
    if encoded.len() > LONGEST_SERVICE {
        let rule = format!("takes {} characters: Nacos takes up to {LONGEST_SERVICE}", encoded.len());
        return Err(refuse("service name", text, &rule));
    }
    Ok(encoded.into_owned())
}

/// The service that Nacos knows by `name`; `None` for a name that callsign has not made.
pub(crate) fn service_in(name: &str) -> Option<ServiceName> {
    // Some servers put the group before it.
    let name = name.rsplit_once("@@").map_or(name, |(_, name)| name);
    let text = percent_decode_str(name).decode_utf8().ok()?;
    (encoded(&text) == name).then(|| ServiceName::new(text).ok()).flatten()
}

fn encoded(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, ENCODED).into()
}

fn refuse(what: &str, name: &str, rule: &str) -> Error {
    Error::limit_exceeded(format!("the {what} `{}` {rule}", shown(name)))
}

#[cfg(test)]
mod tests {
    use callsign_core::ErrorKind;
    use proptest::prelude::*;

    use super::*;

    fn key(namespace: &str, group: &str, service: &str) -> ServiceKey {
        let key = ServiceKey::new(service).unwrap();
        key.with_namespace(Namespace::new(namespace).unwrap()).with_group(Group::new(group).unwrap())
    }

    fn at(namespace: &str, group: &str, service: &str) -> Place {
        Place { namespace: namespace.into(), group: group.into(), service: service.into() }
    }

    #[test]
    fn plain_names_are_what_they_are_and_the_default_has_nacos_own() {
        let placed = |namespace, group, service| place_of(&key(namespace, group, service)).unwrap();
        assert_eq!(placed("default", "default", "orders"), at("public", "DEFAULT_GROUP", "orders"));
        assert_eq!(placed("team-a", "blue.1", "a/b@c"), at("team-a", "blue.1", "a/b@c"));
        assert_eq!(&*placed("default", "default", "订 50%").service, "%E8%AE%A2%2050%25");
    }

    #[test]
    fn what_nacos_does_not_take_is_refused_with_its_rule() {
        for (namespace, group, service, message) in [
            (
                "a.b",
                "default",
                "s",
                "limit exceeded: the namespace `a.b` is no id that Nacos takes: 1 to 64 letters, digits, `-` and `_` are \
                 allowed",
            ),
            (
                "public",
                "default",
                "s",
                "limit exceeded: the namespace `public` is what Nacos calls the namespace `default`: use that name",
            ),
            (
                "default",
                "a/b",
                "s",
                "limit exceeded: the group `a/b` is no name that Nacos takes: 1 to 128 letters, digits, `-`, `_`, `:` and \
                 `.` are allowed",
            ),
            (
                "default",
                "DEFAULT_GROUP",
                "s",
                "limit exceeded: the group `DEFAULT_GROUP` is what Nacos calls the group `default`: use that name",
            ),
            (
                "default",
                "default",
                "a@@b",
                "limit exceeded: the service name `a@@b` has `@@` in it or begins with `@`, by which Nacos tells group and \
                 service apart: choose another one",
            ),
        ] {
            let error = place_of(&key(namespace, group, service)).unwrap_err();
            assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::LimitExceeded, message));
        }
        let long = "é".repeat(127);
        let error = place_of(&key("default", "default", &long)).unwrap_err().to_string();
        assert!(error.ends_with("takes 762 characters: Nacos takes up to 512"), "{error}");
        assert!(place_of(&key(&"x".repeat(65), "default", "s")).is_err());
        assert!(place_of(&key("default", &"x".repeat(129), "s")).is_err());
    }

    #[test]
    fn a_name_that_callsign_has_not_made_is_nobodys() {
        for foreign in ["a b", "%", "%41", "%e8", ""] {
            assert_eq!(service_in(foreign), None, "{foreign}");
        }
        assert_eq!(service_in("DEFAULT_GROUP@@orders").unwrap().as_str(), "orders");
    }

    proptest! {
        #[test]
        fn every_name_comes_back_and_is_what_nacos_takes(name in "\\PC{1,60}") {
            let Ok(name) = ServiceName::new(&name) else { return Ok(()) };
            if let Ok(encoded) = service_name(&name) {
                prop_assert!(encoded.bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert_eq!(service_in(&encoded), Some(name));
            }
        }
    }
}
