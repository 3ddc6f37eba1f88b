//! Pieces of configuration that every backend shares.
//!
//! A backend's own table is a plain serde struct with `#[serde(default, deny_unknown_fields)]`; it is read by
//! [`Table::extract`], which keeps file and key for errors.

mod address;
mod broken;
pub mod duration;
mod secret;
mod table;
mod tls;
mod url;

pub use address::{HttpAddress, HttpAddresses};
pub use broken::Broken;
pub use secret::Secret;
pub use table::{Table, error_at, extract};
pub use tls::{Identity, Tls, TlsMaterial};
pub use url::{HostPort, RegistryUrl};
