//! The agents, and how they are asked.

mod answer;
mod group;
mod one;
mod tls;
mod token;

pub(crate) use answer::{Answer, Marks};
pub(crate) use group::{Agents, Lane};
pub(crate) use one::{LEADER, Request, Verb, encoded};
