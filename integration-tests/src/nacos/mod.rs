//! Nacos: a strict fake of it, r-nacos as a real server, and any real Nacos that is named.

mod fake;
mod harness;
mod real;
mod rnacos;

pub use fake::{Encryption, Fake, FakeOptions, PASSWORD, Seen, USER};
pub use harness::{FakeHarness, RNacosHarness, capabilities, config_of_fake, config_of_rnacos};
pub use real::{RealHarness, real_addresses};
pub use rnacos::{RNacos, RNacosOptions, program};
