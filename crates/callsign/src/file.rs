//! A configuration file.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use callsign_core::{Dict, Error, Result};
use figment::value::Map;
use figment::{Metadata, Profile, Provider};

/// A TOML file, read.
///
/// figment's own `Toml` prints the whole line that it cannot read, which may be the one with the password.
pub(crate) struct File {
    path: PathBuf,
    dict: Dict,
}

impl File {
    /// Reads the file at `path`; `None` when there is none.
    ///
    /// # Errors
    /// `ConfigInvalid`: the file cannot be read, or is not TOML.
    pub(crate) fn read_if_there(path: PathBuf) -> Result<Option<Self>> {
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(path, &text).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => {
                Err(Error::config(format!("the configuration file {} cannot be read", path.display()))
                    .with_source(error))
            }
        }
    }

    /// Reads the file at `path`, which `by` names.
    ///
    /// # Errors
    /// `ConfigInvalid`: there is no such file, it cannot be read, or is not TOML.
    pub(crate) fn read(path: PathBuf, by: &str) -> Result<Self> {
        let missing = format!("there is no configuration file {}, which {by} names", path.display());
        Self::read_if_there(path)?.ok_or_else(|| Error::config(missing))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn parse(path: PathBuf, text: &str) -> Result<Self> {
        let dict = toml::from_str(text).map_err(|error| {
            let place = error.span().map(|span| line_and_column(text, span.start));
            // Without the error as source: printed, it shows the line.
            Error::config(format!(
                "{}{}: {}",
                path.display(),
                place.unwrap_or_default(),
                error.message().trim().replace('\n', ", ")
            ))
        })?;
        Ok(Self { path, dict })
    }
}

fn line_and_column(text: &str, offset: usize) -> String {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    format!(", line {line}, column {column}")
}

impl Provider for File {
    fn metadata(&self) -> Metadata {
        Metadata::from("TOML file", &*self.path)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.dict.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_toml_is_shown_by_place_and_never_by_its_text() {
        for text in [
            "a = 1\npassword = hunter2",
            "a = 1\npassword = \"hunter2",
            "a = 1\npassword = 'hunter2\n",
            "a = 1\npassword hunter2",
            "a = 1\npassword = \"hunter2\" hunter2",
            "a = 1\npassword = \"hunter2\\q\"",
            "a = 1\nhunter2",
            "a = 1\n[hunter2",
            "a = 1\npassword = [hunter2]",
            "a = 1\npassword = 1hunter2",
            "a = 1\npassword = truehunter2",
            "a = 1\npassword = {hunter2",
        ] {
            let error = File::parse("x.toml".into(), text).err().unwrap();
            println!("{error}");
            assert!(error.to_string().starts_with("x.toml, line 2, column "), "{error}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }
}
