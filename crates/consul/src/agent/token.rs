//! The token that calls carry, read again when it is refused.

use std::sync::{Mutex, PoisonError};

use callsign_core::Result;
use callsign_core::config::Secret;

use crate::config::Settings;

/// What was read last.
#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<Held>);

#[derive(Debug, Default)]
enum Held {
    #[default]
    Unread,
    Read(Option<Secret>),
}

impl Tokens {
    /// The token, read if that was not done yet.
    ///
    /// # Errors
    /// `ConfigInvalid`: a file that cannot be read.
    pub(super) fn current(&self, settings: &Settings) -> Result<Option<Secret>> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Held::Read(token) = &*held {
            return Ok(token.clone());
        }
        let token = settings.token()?;
        *held = Held::Read(token.clone());
        Ok(token)
    }

    /// A token other than `refused`, if there is one by now.
    pub(super) fn after(&self, settings: &Settings, refused: Option<&Secret>) -> Option<Secret> {
        if !settings.token_may_change() {
            return None;
        }
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A file that is being replaced may be missing or empty for a moment: the next refusal reads it again.
        let token = settings.token().ok().flatten()?;
        *held = Held::Read(Some(token.clone()));
        (Some(&token) != refused).then_some(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ConsulConfig;

    #[test]
    fn a_token_is_read_once_and_again_when_it_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "old").unwrap();
        let settings = ConsulConfig::default().with_token_file(file.path()).settings().unwrap();
        let tokens = Tokens::default();
        let old = tokens.current(&settings).unwrap();
        assert_eq!(tokens.after(&settings, old.as_ref()), None);
        std::fs::write(file.path(), "new").unwrap();
        assert_eq!(tokens.current(&settings).unwrap(), old);
        assert_eq!(tokens.after(&settings, old.as_ref()).unwrap().expose(), "new");
        assert_eq!(tokens.current(&settings).unwrap().unwrap().expose(), "new");
    }
}
