//! r-nacos: one server or three, with or without logins.

mod faults;
mod options;
mod server;

pub use options::{RNacosOptions, program};
pub use server::RNacos;
