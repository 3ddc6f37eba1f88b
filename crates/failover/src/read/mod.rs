//! Reading: what each service looks like, and how it is followed and asked for.

mod compare;
mod follow;
mod list;
mod newest;
mod position;
mod reader;
mod rebase;
mod service;
mod services;
mod slot;
mod union;

#[cfg(test)]
mod schedules;

pub(crate) use follow::{refused, watch};
pub(crate) use list::{list, services};
pub(crate) use reader::{Question, ask_for, channel};
pub(crate) use service::{Outlook, Picture};
pub(crate) use services::Services;
