//! `CALLSIGN_*` environment variables.
//!
//! figment's own `Env` reads `CALLSIGN_REGISTRIES__MAIN__PASSWORD=00012345` as the number 12345, and an error about
//! one variable names them all. Here each variable is a provider of its own, and what looks like a credential stays
//! the text that it is.

use std::collections::BTreeMap;

use callsign_core::{Dict, Error, Result};
use figment::value::{Map, Value};
use figment::{Metadata, Profile, Provider};

const PREFIX: &str = "CALLSIGN_";
/// Names the configuration file.
pub(crate) const CONFIG: &str = "CALLSIGN_CONFIG";
/// Chooses the profile.
pub(crate) const PROFILE: &str = "CALLSIGN_PROFILE";
/// For tests and build tools, not configuration.
const IGNORED: [&str; 2] = ["CALLSIGN_CACHE", "CALLSIGN_REQUIRE"];
const IGNORED_PREFIXES: [&str; 2] = ["CALLSIGN_TEST_", "CALLSIGN_SIM_"];
/// Keys at the top level that are names: `CALLSIGN_NAMESPACE=42` is not a number.
const NAMES: [&str; 3] = ["registry", "namespace", "group"];
/// Keys of this name or with this ending hold credentials.
const CREDENTIALS: [&str; 7] = ["password", "passphrase", "token", "secret", "key", "user", "username"];

/// The `CALLSIGN_*` variables that are set. An empty one counts as not set.
pub(crate) struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The variables of this process.
    ///
    /// # Errors
    /// `ConfigInvalid` when the value of one of them is not UTF-8.
    pub(crate) fn of_process() -> Result<Self> {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| name.starts_with(PREFIX))
            .map(|(name, value)| match value.into_string() {
                Ok(value) => Ok((name, value)),
                Err(_) => Err(Error::config(format!("the environment variable `{name}` is not UTF-8"))),
            })
            .collect()
    }

    /// The variable `name`, where it is set.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The variables that are configuration, by name.
    pub(crate) fn variables(self) -> impl Iterator<Item = Variable> {
        self.0
            .into_iter()
            .filter(|(name, _)| is_configuration(name))
            .map(|(name, value)| Variable { name, value })
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        let ours = |(name, value): &(String, String)| name.starts_with(PREFIX) && !value.is_empty();
        Self(variables.into_iter().filter(ours).collect())
    }
}

fn is_configuration(name: &str) -> bool {
    let ignored = [CONFIG, PROFILE].contains(&name)
        || IGNORED.contains(&name)
        || IGNORED_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    !ignored && !is_service_link(name)
}

/// Whether Kubernetes set the variable. In the namespace of a Service `callsign`, or `callsign-x`, every pod has
/// `CALLSIGN_SERVICE_HOST`, `CALLSIGN_PORT_80_TCP`, ...
/// <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>
fn is_service_link(name: &str) -> bool {
    let parts = |word: &str| name.split('_').any(|part| part == word);
    !name.contains("__") && (name.ends_with("_SERVICE_HOST") || parts("PORT"))
}

/// One variable: `CALLSIGN_A__B=value` is the key `a.b`.
pub(crate) struct Variable {
    name: String,
    value: String,
}

impl Variable {
    fn value(&self, key: &[String]) -> Value {
        let last = key.last().map_or("", String::as_str);
        let credential = CREDENTIALS.iter().any(|ending| last.ends_with(ending));
        if credential || (key.len() == 1 && NAMES.contains(&last)) {
            return Value::from(self.value.as_str());
        }
        let Ok(value) = self.value.parse();
        value
    }
}

impl Provider for Variable {
    fn metadata(&self) -> Metadata {
        Metadata::named(format!("the environment variable `{}`", self.name))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let key: Vec<String> = self.name[PREFIX.len()..].split("__").map(str::to_ascii_lowercase).collect();
        let nested = |value: Value, part: &String| Dict::from([(part.clone(), value)]).into();
        let dict = key.iter().rev().fold(self.value(&key), nested).into_dict();
        Ok(Profile::Default.collect(dict.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use figment::Figment;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Figment {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let environment: Environment = variables.collect();
        environment.variables().fold(Figment::new(), Figment::merge)
    }

    #[test]
    fn credentials_and_names_stay_text_and_the_rest_has_a_type() {
        let figment = read(&[
            ("CALLSIGN_REGISTRIES__MAIN__PASSWORD", "00012345"),
            ("CALLSIGN_REGISTRIES__MAIN__API_TOKEN", "true"),
            ("CALLSIGN_REGISTRIES__MAIN__ENDPOINTS", r#"["http://a:1","http://b:2"]"#),
            ("CALLSIGN_REGISTRIES__MAIN__RETRIES", "3"),
            ("CALLSIGN_CLIENT__PROTECTION", "false"),
            ("CALLSIGN_NAMESPACE", "0042"),
        ]);
        let text = |key: &str| figment.find_value(key).unwrap().as_str().map(ToOwned::to_owned);
        assert_eq!(text("registries.main.password").as_deref(), Some("00012345"));
        assert_eq!(text("registries.main.api_token").as_deref(), Some("true"));
        assert_eq!(text("namespace").as_deref(), Some("0042"));
        let found = |key: &str| figment.find_value(key).unwrap();
        assert_eq!(found("registries.main.endpoints").as_array().unwrap().len(), 2);
        assert_eq!(found("registries.main.retries").to_u128(), Some(3));
        assert_eq!(found("client.protection").to_bool(), Some(false));
    }

    #[test]
    fn a_username_of_digits_stays_text() {
        let figment = read(&[("CALLSIGN_REGISTRIES__MAIN__USERNAME", "007")]);
        assert_eq!(figment.find_value("registries.main.username").unwrap().as_str(), Some("007"));
    }

    #[test]
    fn what_is_not_configuration_is_ignored() {
        let figment = read(&[
            ("CALLSIGN_TEST_ETCD", "http://127.0.0.1:2379"),
            ("CALLSIGN_SIM_SEED", "1"),
            ("CALLSIGN_PROFILE", "prod"),
            ("CALLSIGN_CONFIG", "x.toml"),
            ("CALLSIGN_CACHE", "x"),
            ("CALLSIGN_REQUIRE", "etcd"),
            ("CALLSIGN_SERVICE_HOST", "10.0.0.1"),
            ("CALLSIGN_SERVICE_PORT_HTTP", "80"),
            ("CALLSIGN_DASHBOARD_PORT", "tcp://10.0.0.1:80"),
            ("CALLSIGN_PORT_80_TCP_ADDR", "10.0.0.1"),
            ("CALLSIGN_GROUP", ""),
            ("PATH", "/bin"),
        ]);
        assert_eq!(figment.data().unwrap().values().map(Dict::len).sum::<usize>(), 0);
    }
}
