//! Names, checked when they are made.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The longest name in bytes.
const MAX_BYTES: usize = 255;

/// Says which rule `name` breaks, if any.
pub(crate) fn check(what: &str, name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::invalid_input(format!("the {what} is empty: 1 to {MAX_BYTES} bytes are allowed")));
    }
    if name.len() > MAX_BYTES {
        return Err(Error::invalid_input(format!(
            "the {what} `{}...` has {} bytes: 1 to {MAX_BYTES} are allowed",
            name.chars().take(24).collect::<String>(),
            name.len()
        )));
    }
    if let Some(bad) = name.chars().find(|c| c.is_control()) {
        return Err(Error::invalid_input(format!(
            "the {what} `{}` contains the control character U+{:04X}: every other character is allowed",
            name.escape_debug(),
            u32::from(bad)
        )));
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        ///
        /// 1 to 255 bytes without control characters. Everything else, `/`, `%`, spaces and non-ASCII included, is
        /// allowed: a backend encodes it, or refuses it with `LimitExceeded`. Cloning is cheap.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `name`.
            ///
            /// # Errors
            /// `InvalidInput`, naming the broken rule.
            pub fn new(name: impl AsRef<str>) -> Result<Self> {
                let name = name.as_ref();
                check($what, name)?;
                Ok(Self(Arc::from(name)))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.as_str() == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.as_str() == *other
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(name: &str) -> Result<Self> {
                Self::new(name)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = Error;

            fn try_from(name: &str) -> Result<Self> {
                Self::new(name)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;

            fn try_from(name: String) -> Result<Self> {
                Self::new(name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.as_str().to_owned()
            }
        }

        impl From<&$name> for $name {
            fn from(name: &$name) -> Self {
                name.clone()
            }
        }
    };
}

name! {
    /// The tenant or environment that a service lives in; `default` unless told.
    Namespace, "namespace"
}
name! {
    /// A group of services within a namespace; `default` unless told.
    Group, "group"
}
name! {
    /// The name of a service.
    ServiceName, "service name"
}
name! {
    /// The identity of one instance of a service, stable for as long as the instance lives.
    InstanceId, "instance id"
}

impl Default for Namespace {
    fn default() -> Self {
        Self(Arc::from("default"))
    }
}

impl Default for Group {
    fn default() -> Self {
        Self(Arc::from("default"))
    }
}

impl InstanceId {
    /// A fresh id that no other instance has (a random UUID).
    #[must_use]
    pub fn random() -> Self {
        Self(Arc::from(uuid::Uuid::new_v4().to_string()))
    }
}

/// A service: namespace, group and name. Cloning is cheap.
///
/// ```
/// use callsign_core::{Group, Namespace, ServiceKey};
///
/// let key = ServiceKey::new("orders")?.with_namespace(Namespace::new("staging")?);
/// assert_eq!(key.to_string(), "staging/default/orders");
/// # Ok::<(), callsign_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ServiceKey {
    /// The tenant or environment.
    pub namespace: Namespace,
    /// The group within the namespace.
    pub group: Group,
    /// The name within the group.
    pub name: ServiceName,
}

impl ServiceKey {
    /// The service `name` in the namespace `default` and the group `default`.
    ///
    /// # Errors
    /// `InvalidInput` if `name` breaks a rule of [`ServiceName`].
    pub fn new(name: impl AsRef<str>) -> Result<Self> {
        ServiceName::new(name).map(Self::from)
    }

    /// The same service name in another namespace.
    #[must_use]
    pub fn with_namespace(mut self, namespace: Namespace) -> Self {
        self.namespace = namespace;
        self
    }

    /// The same service name in another group.
    #[must_use]
    pub fn with_group(mut self, group: Group) -> Self {
        self.group = group;
        self
    }
}

impl From<ServiceName> for ServiceKey {
    fn from(name: ServiceName) -> Self {
        Self { namespace: Namespace::default(), group: Group::default(), name }
    }
}

impl From<&Self> for ServiceKey {
    fn from(key: &Self) -> Self {
        key.clone()
    }
}

impl TryFrom<&str> for ServiceKey {
    type Error = Error;

    fn try_from(name: &str) -> Result<Self> {
        Self::new(name)
    }
}

/// `namespace/group/name`, for people; a name may contain `/`, so this is not for parsing.
impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.group, self.name)
    }
}

/// One instance of one service. Cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct InstanceKey {
    /// The service.
    pub service: ServiceKey,
    /// The instance within it.
    pub id: InstanceId,
}

impl InstanceKey {
    /// The instance `id` of `service`.
    #[must_use]
    pub fn new(service: ServiceKey, id: InstanceId) -> Self {
        Self { service, id }
    }
}

impl fmt::Display for InstanceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.service, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_name_is_refused_with_the_broken_rule() {
        for (name, message) in [
            (String::new(), "the service name is empty: 1 to 255 bytes are allowed"),
            (
                "x".repeat(300),
                "the service name `xxxxxxxxxxxxxxxxxxxxxxxx...` has 300 bytes: 1 to 255 are allowed",
            ),
            (
                "a\nb".to_owned(),
                "the service name `a\\nb` contains the control character U+000A: every other character is allowed",
            ),
            (
                "a\u{7f}".to_owned(),
                "the service name `a\\u{7f}` contains the control character U+007F: every other character is allowed",
            ),
        ] {
            assert_eq!(ServiceName::new(name).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn slashes_percents_spaces_and_chinese_are_names() {
        for name in ["a/b", "100%", "two words", "订单服务", "*", &"y".repeat(255)] {
            assert_eq!(ServiceName::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn a_name_from_a_file_is_checked_too() {
        let error = serde_json::from_str::<InstanceId>("\"\"").unwrap_err();
        assert!(error.to_string().contains("the instance id is empty"), "{error}");
    }
}
