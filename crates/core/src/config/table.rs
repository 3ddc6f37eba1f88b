//! One registry's table of a configuration, on its way to the factory of its type.

use std::fmt;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

use figment::error::{Actual, Kind};
use figment::providers::Serialized;
use figment::value::Dict;
use figment::{Figment, Metadata, Source};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::{Error, Result};

/// The key that chooses the factory; the factory itself never sees it.
const TYPE: &str = "type";

/// A table `[registries.NAME]`, with what is needed for errors that name file and key.
#[derive(Clone)]
pub struct Table {
    name: Arc<str>,
    kind: String,
    path: String,
    figment: Figment,
}

impl Table {
    /// The table `[registries.NAME]` of `figment`.
    ///
    /// # Errors
    /// `ConfigInvalid` when it is not a table or has no `type`.
    pub fn new(figment: &Figment, name: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Head {
            r#type: String,
        }

        let path = format!("registries.{name}");
        let head: Head = extract(figment, &path)?;
        Ok(Self { name: name.into(), kind: head.r#type, path, figment: figment.clone() })
    }

    /// A table that was made in a program rather than read: the registry `name` of type `kind`.
    #[must_use]
    pub fn from_dict(name: &str, kind: &str, dict: Dict) -> Self {
        let path = format!("registries.{name}");
        let figment = Figment::from(Serialized::default(&path, dict))
            .merge(Serialized::default(&format!("{path}.{TYPE}"), kind));
        Self { name: name.into(), kind: kind.to_owned(), path, figment }
    }

    /// The registry's configured name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The registry's type.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Reads the table, without `type`, into a factory's own struct.
    ///
    /// # Errors
    /// `ConfigInvalid`, with key, file, value and what is allowed.
    pub fn extract<T: DeserializeOwned>(&self) -> Result<T> {
        extract::<WithoutType<T>>(&self.figment, &self.path).map(|table| table.0)
    }

    /// An error about `key` of this table, with the file it came from.
    #[must_use]
    pub fn error(&self, key: &str, rule: impl fmt::Display) -> Error {
        error_at(&self.figment, &format!("{}.{key}", self.path), rule)
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the figment: it holds every secret in the clear.
        f.debug_struct("Table").field("name", &self.name).field("type", &self.kind).finish_non_exhaustive()
    }
}

/// Reads what stands at `path` of `figment` (the whole of it when `path` is empty).
///
/// # Errors
/// `ConfigInvalid`, with key, file, value and what is allowed; of several errors the first.
pub fn extract<T: DeserializeOwned>(figment: &Figment, path: &str) -> Result<T> {
    // `focus`, then our own prefix: `extract_inner` of figment 0.10.19 prints the path in the wrong order.
    let focused = if path.is_empty() { figment.clone() } else { figment.focus(path) };
    focused.extract().map_err(|error| explain(figment, path, &error))
}

/// An error about the key at `path` of `figment`, with the file it came from.
pub fn error_at(figment: &Figment, path: &str, rule: impl fmt::Display) -> Error {
    let place =
        figment.find_metadata(path).and_then(place).map(|place| format!(" in {place}")).unwrap_or_default();
    Error::config(format!("`{path}`{place}: {rule}"))
}

/// Where a value was read: a file's path or the name of a provider such as the environment.
fn place(metadata: &Metadata) -> Option<String> {
    match metadata.source.as_ref() {
        Some(Source::File(path)) => Some(shorten(path).display().to_string()),
        Some(Source::Code(_)) => None,
        _ => Some(metadata.name.to_string()),
    }
}

/// The path as the user would write it: relative to the current folder where it lies below it.
fn shorten(path: &Path) -> &Path {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path)
}

fn explain(figment: &Figment, path: &str, error: &figment::Error) -> Error {
    let join = |key: &str| {
        [path, &error.path.join("."), key]
            .iter()
            .filter(|part| !part.is_empty())
            .copied()
            .collect::<Vec<_>>()
            .join(".")
    };
    let (key, rule) = match &error.kind {
        Kind::UnknownField(field, allowed) => {
            // figment has put the key into the path, except where `SkipType` handed it over.
            let named = error.path.last() == Some(field);
            let key = join(if named { "" } else { field });
            (key, format!("unknown key; {}", one_of("keys", allowed)))
        }
        Kind::MissingField(field) => (join(field), "missing".to_owned()),
        Kind::UnknownVariant(value, allowed) => {
            (join(""), format!("`{value}` is unknown; {}", one_of("values", allowed)))
        }
        Kind::InvalidType(actual, expected) => {
            let expected = plain(expected);
            (join(""), format!("{} found, expected {expected}", shown(actual)))
        }
        Kind::InvalidValue(actual, expected) => {
            (join(""), format!("{} is not allowed, expected {expected}", shown(actual)))
        }
        Kind::Message(message) => (join(""), message.clone()),
        kind => (join(""), kind.to_string()),
    };
    let place = figment.find_metadata(&key).or(error.metadata.as_ref()).and_then(place);
    let place = place.map(|place| format!(" in {place}")).unwrap_or_default();
    Error::config(format!("`{key}`{place}: {rule}"))
}

fn one_of(what: &str, allowed: &[&str]) -> String {
    if allowed.is_empty() {
        return format!("no {what} are allowed here");
    }
    format!("allowed {what}: {}", allowed.join(", "))
}

/// What serde calls a type, in the words of a configuration file.
fn plain(expected: &str) -> &str {
    match expected {
        "a map" => "a table",
        "a sequence" => "a list",
        "a string" => "text in quotes",
        "a boolean" => "`true` or `false`",
        other => other,
    }
}

/// A value of the wrong type, as far as it may be shown: text with an `@` may be a URL with a password in it.
fn shown(actual: &Actual) -> String {
    match actual {
        Actual::Str(text) if text.contains('@') => "text".to_owned(),
        Actual::Str(text) => format!("the text `{}`", text.escape_debug()),
        Actual::Unsigned(number) => format!("the number `{number}`"),
        Actual::Signed(number) => format!("the number `{number}`"),
        Actual::Float(number) => format!("the number `{number}`"),
        Actual::Bool(value) => format!("`{value}`"),
        Actual::Map => "a table".to_owned(),
        Actual::Seq => "a list".to_owned(),
        other => other.to_string(),
    }
}

/// Deserializes a table as `T`, which does not know the key `type`.
struct WithoutType<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for WithoutType<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TableVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for TableVisitor<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(SkipType(map)))
            }
        }

        deserializer.deserialize_map(TableVisitor(PhantomData)).map(Self)
    }
}

struct SkipType<A>(A);

impl<'de, A: MapAccess<'de>> MapAccess<'de> for SkipType<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        while let Some(key) = self.0.next_key::<String>()? {
            if key == TYPE {
                self.0.next_value::<IgnoredAny>()?;
            } else {
                return seed.deserialize(serde::de::value::StringDeserializer::new(key)).map(Some);
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.0.next_value_seed(seed)
    }
}

#[cfg(test)]
mod tests {
    use figment::providers::{Format, Toml};

    use super::*;
    use crate::config::{Secret, Tls};

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "read from a table, and no further")]
    struct Config {
        endpoints: Vec<String>,
        #[serde(default)]
        retries: u8,
        #[serde(default)]
        password: Option<Secret>,
        #[serde(default)]
        tls: Option<Tls>,
    }

    fn read(toml: &str) -> Result<Config> {
        Table::new(&Figment::from(Toml::string(toml)), "main")?.extract()
    }

    #[test]
    fn the_type_chooses_and_the_rest_is_for_the_factory() {
        let figment = Figment::from(Toml::string("[registries.main]\ntype = \"etcd\"\nendpoints = [\"a\"]"));
        let table = Table::new(&figment, "main").unwrap();
        assert_eq!((&**table.name(), table.kind()), ("main", "etcd"));
        assert_eq!(table.extract::<Config>().unwrap().endpoints, ["a"]);
    }

    #[test]
    fn errors_name_key_place_value_and_what_is_allowed() {
        for (toml, message) in [
            ("endpoints = []", "`registries.main.type`: missing"),
            ("type = \"x\"", "`registries.main.endpoints`: missing"),
            (
                "type = \"x\"\nendpoint = []",
                "`registries.main.endpoint` in TOML source string: unknown key; allowed keys: endpoints, retries, password, tls",
            ),
            (
                "type = \"x\"\nendpoints = []\ntls.ca = \"x\"",
                "`registries.main.tls.ca` in TOML source string: unknown key; allowed keys: ca_file, cert_file, key_file, server_name",
            ),
            (
                "type = \"x\"\nendpoints = \"a,b\"",
                "`registries.main.endpoints` in TOML source string: the text `a,b` found, expected a list",
            ),
            (
                "type = \"x\"\nendpoints = []\nretries = 300",
                "`registries.main.retries` in TOML source string: the number `300` is not allowed, expected u8",
            ),
        ] {
            assert_eq!(read(&format!("[registries.main]\n{toml}")).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn an_unknown_key_at_the_top_level_is_named_once() {
        let error = extract::<Config>(&Figment::from(Toml::string("endpoint = []")), "").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`endpoint` in TOML source string: unknown key; allowed keys: endpoints, retries, password, tls"
        );
    }

    #[test]
    fn no_error_and_no_debug_shows_a_secret() {
        let toml = "[registries.main]\ntype = \"x\"\nendpoints = \"http://u:hunter2@h\"\npassword = 1234567";
        let figment = Figment::from(Toml::string(toml));
        let table = Table::new(&figment, "main").unwrap();
        let wrong_type =
            read("[registries.main]\ntype = \"x\"\nendpoints = []\npassword = 1234567").unwrap_err();
        assert!(wrong_type.to_string().ends_with("the secret is a number: put it in quotes"), "{wrong_type}");
        for shown in [
            format!("{table:?}"),
            table.extract::<Config>().unwrap_err().to_string(),
            format!("{wrong_type:?}"),
        ] {
            assert!(!shown.contains("hunter2") && !shown.contains("1234567"), "{shown}");
        }
    }

    #[test]
    fn a_table_made_in_a_program_reads_the_same() {
        let dict: Dict = [("endpoints".to_owned(), vec!["a"].into())].into();
        let table = Table::from_dict("main", "etcd", dict);
        assert_eq!(table.extract::<Config>().unwrap().endpoints, ["a"]);
        assert!(table.error("endpoints", "wrong").to_string().starts_with("`registries.main.endpoints`"));
    }
}
