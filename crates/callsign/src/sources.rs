//! Where a configuration comes from, and what counts over what.

use std::path::{Path, PathBuf};

use callsign_core::{Dict, Error, Figment, Result};
use figment::value::{Map, Value};
use figment::{Metadata, Profile, Provider};

use crate::environment::{self, Environment};
use crate::file::File;

/// The file that is read when nothing names another one.
const DEFAULT_FILE: &str = "callsign.toml";
/// Who names what the builder was told.
const PROGRAM: &str = "the program";

/// What the builder was told; what it was not told is looked up.
#[derive(Default)]
pub(crate) struct Sources {
    pub(crate) figment: Option<Figment>,
    pub(crate) file: Option<PathBuf>,
    pub(crate) profile: Option<String>,
    pub(crate) environment: Option<Environment>,
    pub(crate) registry: Option<String>,
}

impl Sources {
    /// All of them as one, the lowest first: file, profile in it, environment, the program's choice of registry.
    ///
    /// # Errors
    /// `ConfigInvalid`: a file that is named and missing, broken TOML, an unknown profile, a variable that is not
    /// UTF-8.
    pub(crate) fn layer(self) -> Result<Figment> {
        let figment = match self.figment {
            Some(own) => with_profile(readable(own)?, self.profile.as_deref(), PROGRAM, None)?,
            None => look_up(self.file, self.profile, self.environment)?,
        };
        Ok(match self.registry {
            Some(registry) => figment.merge(Part {
                name: PROGRAM.to_owned(),
                dict: [("registry".to_owned(), registry.into())].into(),
            }),
            None => figment,
        })
    }
}

fn look_up(
    file: Option<PathBuf>,
    profile: Option<String>,
    environment: Option<Environment>,
) -> Result<Figment> {
    let environment = match environment {
        Some(given) => given,
        None => Environment::of_process()?,
    };
    let file = match (file, environment.get(environment::CONFIG)) {
        (Some(path), _) => Some(File::read(path, PROGRAM)?),
        (None, Some(path)) => Some(File::read(path.into(), &by_variable(environment::CONFIG))?),
        (None, None) => File::read_if_there(DEFAULT_FILE.into())?,
    };
    let path = file.as_ref().map(|file| file.path().to_owned());
    let base = file.map_or_else(Figment::new, Figment::from);
    let profiled = match (profile, environment.get(environment::PROFILE)) {
        (None, Some(name)) => {
            with_profile(base, Some(name), &by_variable(environment::PROFILE), path.as_deref())
        }
        (name, _) => with_profile(base, name.as_deref(), PROGRAM, path.as_deref()),
    }?;
    Ok(environment.variables().fold(profiled, Figment::merge))
}

/// Refuses a figment one of whose providers failed. Of the reason only the first line is shown: figment's `Toml` prints
/// the line that it cannot read on the next ones.
fn readable(own: Figment) -> Result<Figment> {
    let Err(error) = own.extract::<Dict>() else {
        return Ok(own);
    };
    let file = error.metadata.as_ref().and_then(|metadata| metadata.source.as_ref()?.file_path());
    let place = file.map(|path| format!(" because of {}", path.display())).unwrap_or_default();
    let reason = error.kind.to_string();
    Err(Error::config(format!(
        "the program's figment cannot be read{place}: {}",
        reason.lines().next().unwrap_or_default()
    )))
}

fn by_variable(name: &str) -> String {
    format!("the environment variable `{name}`")
}

/// Lays the table `[profiles.NAME]` over what else `figment` has.
///
/// figment's nested profiles would put every key of the file under a profile; here a file without any is plain.
fn with_profile(figment: Figment, name: Option<&str>, by: &str, file: Option<&Path>) -> Result<Figment> {
    let Some(name) = name else {
        return Ok(figment);
    };
    let mut profiles = figment.find_value("profiles").ok().and_then(Value::into_dict).unwrap_or_default();
    let known = if profiles.is_empty() {
        "none".to_owned()
    } else {
        profiles.keys().cloned().collect::<Vec<_>>().join(", ")
    };
    let place = file.map(|file| format!(" in {}", file.display())).unwrap_or_default();
    // Through serde, so that the values forget where they come from and take the name given below.
    let profile = profiles.remove(name).and_then(|table| Value::serialize(table).ok());
    let dict = profile.and_then(Value::into_dict).ok_or_else(|| {
        Error::config(format!(
            "there is no profile `{name}`, which {by} names: no table `[profiles.{name}]`{place}; configured: {known}"
        ))
    })?;
    Ok(figment.merge(Part { name: format!("the profile `{name}`{place}"), dict }))
}

/// Values with a name to find them by.
struct Part {
    name: String,
    dict: Dict,
}

impl Provider for Part {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.dict.clone()))
    }
}
