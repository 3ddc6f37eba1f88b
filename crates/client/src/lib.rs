#![doc = include_str!("../README.md")]

mod call;
mod client;
mod disk;
mod events;
mod incarnation;
mod prober;
mod registration;
mod round_robin;
mod view;

pub use client::{Client, ClientBuilder};
pub use events::ClientEvent;
pub use prober::{Probed, Prober, TcpProber};
pub use registration::{Departure, Patch, RegisterOptions, Registration, RegistrationState};
pub use round_robin::RoundRobin;
pub use view::{Changes, Freshness, HoldKind, Protection, ServiceView, Snapshot, Updated};
