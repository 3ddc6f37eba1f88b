//! Between callsign's model and Nacos': names, and instances. Pure.

mod host;
mod names;

pub use host::METADATA_FOR_USERS;
pub(crate) use host::{decode, encode, pair_and_id};
pub use names::service_name;
pub(crate) use names::{Place, place, place_of, service_in};

/// How much of a foreign name or of a complaint is shown.
const SHOWN: usize = 120;

fn shown(text: &str) -> String {
    let escaped: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() { format!("{escaped}...") } else { escaped }
}
