//! Following services: a subscription each, shared by all who follow, and asked about now and then.
//!
//! A server pushes whole sets, half a second after a change. A push may be lost, and one that was overtaken tells what was;
//! so each subscription is compared with what the server says when it is asked.

mod follower;
mod slot;
mod subscriptions;

pub(crate) use follower::follow;
pub(crate) use subscriptions::{Share, Subscriptions, query};
