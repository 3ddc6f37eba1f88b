//! What a watch makes of what servers say.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod fake;

use std::time::Duration;

use callsign_core::{
    Authority, Backend, Discovery, ErrorKind, EventKind, Group, Listing, Result, ServiceKey, WatchEvent,
    WatchStream,
};
use fake::{Fake, Says, World, entry};
use futures::StreamExt;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(10);

fn orders() -> ServiceKey {
    ServiceKey::new("orders").unwrap()
}

async fn next(watch: &mut WatchStream) -> Result<WatchEvent> {
    timeout(SOON, watch.next()).await.unwrap().unwrap()
}

/// The next listing; signs of progress before it are passed over.
async fn listing(watch: &mut WatchStream) -> Listing {
    loop {
        match next(watch).await.unwrap() {
            WatchEvent::Listing(listing) => return listing,
            WatchEvent::Progress { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn progress(watch: &mut WatchStream) -> Authority {
    match next(watch).await.unwrap() {
        WatchEvent::Progress { authority, .. } => authority,
        other => panic!("{other:?}"),
    }
}

fn ids(listing: &Listing) -> Vec<&str> {
    listing.instances.iter().map(|instance| instance.id().as_str()).collect()
}

#[tokio::test]
async fn an_unchanged_answer_tells_of_nothing_but_progress() {
    let fake = Fake::start(World::of(Says::entries(7, &[entry("a")]))).await;
    let mut watch = fake.client().watch(&orders());
    let first = listing(&mut watch).await;
    assert_eq!((ids(&first), first.revision, first.authority), (vec!["a"], 7, Authority::Quorum));
    assert_eq!(progress(&mut watch).await, Authority::Quorum);
    // Another service, or another group: the index grows, and nobody sees a difference.
    fake.set(|world| world.any = Says::entries(9, &[entry("a")]));
    assert_eq!(progress(&mut watch).await, Authority::Quorum);
    assert_eq!(progress(&mut watch).await, Authority::Quorum);
}

#[tokio::test]
async fn an_agent_that_falls_silent_is_noticed_while_a_query_waits() {
    let fake = Fake::start(World::of(Says::entries(7, &[entry("a")]))).await;
    let mut watch = fake.client().watch(&orders());
    assert_eq!(ids(&listing(&mut watch).await), ["a"]);
    fake.set(|world| world.held = Some("/v1/"));
    let noticed = async {
        loop {
            if let Err(error) = next(&mut watch).await {
                return error;
            }
        }
    };
    // Of 3 s until the next beat and 4 s for its answer; the query itself would wait for 19 s.
    let error = timeout(Duration::from_secs(9), noticed).await.unwrap();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    fake.set(|world| world.held = None);
    assert_eq!(ids(&listing(&mut watch).await), ["a"]);
}

#[tokio::test]
async fn who_seems_to_be_missing_is_asked_for_at_the_leader_first() {
    let both = [entry("a"), entry("b")];
    let fake = Fake::start(World::of(Says::entries(7, &both))).await;
    let mut watch = fake.client().watch(&orders());
    assert_eq!(ids(&listing(&mut watch).await), ["a", "b"]);
    // A server that has just started knows nobody.
    fake.set(|world| world.any = Says::entries(8, &[]));
    for _ in 0..3 {
        assert_eq!(progress(&mut watch).await, Authority::Quorum);
    }
    fake.set(|world| world.leader = Says::entries(9, &both[..1]));
    assert_eq!(ids(&listing(&mut watch).await), ["a"]);
    fake.set(|world| world.leader = Says::entries(10, &[]));
    assert!(listing(&mut watch).await.instances.is_empty());
    // And once: that some other service has lost its last instance wakes whoever waits for one that is not there.
    fake.set(|world| (world.any, world.leader) = (Says::entries(11, &[]), Says::entries(11, &[])));
    for _ in 0..3 {
        assert_eq!(progress(&mut watch).await, Authority::Quorum);
    }
}

#[tokio::test]
async fn an_index_that_falls_is_a_new_epoch_when_the_leader_says_so_too() {
    let fake = Fake::start(World::of(Says::entries(70, &[entry("a")]))).await;
    let client = fake.client();
    let mut events = client.events();
    let mut watch = client.watch(&orders());
    assert_eq!(listing(&mut watch).await.epoch, 0);
    // A server that is behind.
    fake.set(|world| world.any = Says::entries(60, &[entry("a")]));
    for _ in 0..2 {
        assert_eq!(progress(&mut watch).await, Authority::Quorum);
    }
    fake.set(|world| (world.any, world.leader) = (Says::entries(5, &[]), Says::entries(5, &[])));
    let wiped = listing(&mut watch).await;
    assert_eq!((wiped.epoch, wiped.revision, wiped.instances.len()), (1, 5, 0));
    assert!(fake.count(&["consistent"]) > 0);
    while timeout(SOON, events.next()).await.unwrap().unwrap().kind != EventKind::Reset {}
}

#[tokio::test]
async fn answers_of_newer_agents_are_understood_without_their_headers() {
    let mut null = entry("a");
    null["Service"]["Weights"] = serde_json::Value::Null;
    null["Checks"] = serde_json::Value::Null;
    null["Service"]["TaggedAddresses"] = serde_json::Value::Null;
    null["Service"]["Port"] = serde_json::Value::Null;
    let fake = Fake::start(World::of(Says::entries(7, &[null]))).await;
    let mut watch = fake.client().watch(&orders());
    let first = listing(&mut watch).await;
    assert_eq!((ids(&first), first.authority), (vec!["a"], Authority::Quorum));
}

#[tokio::test]
async fn a_server_without_a_leader_is_not_believed_about_removals() {
    let fake = Fake::start(World::of(Says::entries(7, &[entry("a")]))).await;
    let mut watch = fake.client().watch(&orders());
    listing(&mut watch).await;
    fake.set(|world| {
        world.any = Says::entries(7, &[entry("a")]).with("x-consul-knownleader", "false");
        world.leader = Says::error(500, "No cluster leader");
    });
    // The answer that is on its way was proven.
    while progress_or_listing(&mut watch).await != Authority::Stale {}
    fake.set(|world| {
        world.any = Says::entries(7, &[entry("a")]).with("x-consul-lastcontact", "60000");
    });
    assert_eq!(progress_or_listing(&mut watch).await, Authority::Stale);
    fake.set(|world| *world = World::of(Says::entries(8, &[entry("a")])));
    let back = timeout(SOON, async { while progress_or_listing(&mut watch).await != Authority::Quorum {} });
    back.await.unwrap();
}

async fn progress_or_listing(watch: &mut WatchStream) -> Authority {
    match next(watch).await {
        Ok(WatchEvent::Listing(listing)) => listing.authority,
        Ok(WatchEvent::Progress { authority, .. }) => authority,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_view_that_begins_without_a_leader_is_told_what_any_server_has() {
    let mut world = World::of(Says::entries(7, &[entry("a")]).with("x-consul-knownleader", "false"));
    world.leader = Says::error(500, "rpc error making call: No cluster leader");
    let fake = Fake::start(world).await;
    let mut watch = fake.client().watch(&orders());
    let first = listing(&mut watch).await;
    assert_eq!((ids(&first), first.authority), (vec!["a"], Authority::Stale));
}

#[tokio::test]
async fn the_index_of_an_error_is_not_taken_and_the_watch_mends_itself() {
    let fake = Fake::start(World::of(Says::entries(70, &[entry("a")]))).await;
    let mut watch = fake.client().watch(&orders());
    listing(&mut watch).await;
    fake.set(|world| *world = World::of(Says::error(500, "rpc error making call: EOF")));
    let error = loop {
        if let Err(error) = next(&mut watch).await {
            break error;
        }
    };
    assert!(error.counts_as_outage(), "{error}");
    fake.set(|world| *world = World::of(Says::entries(71, &[entry("a")])));
    let again = loop {
        if let Ok(WatchEvent::Listing(listing)) = next(&mut watch).await {
            break listing;
        }
    };
    assert_eq!((again.epoch, again.revision), (0, 71));
}

#[tokio::test]
async fn an_answer_that_was_cut_down_for_want_of_rights_is_an_error() {
    let cut = Says::entries(7, &[entry("a")]).with("x-consul-results-filtered-by-acls", "true");
    let fake = Fake::start(World::of(cut)).await;
    let error = next(&mut fake.client().watch(&orders())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("`node:read`"), "{error}");
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_does_not_hide_the_others() {
    let mut odd = entry("b");
    odd["Service"]["Port"] = serde_json::json!({});
    let fake = Fake::start(World::of(Says::entries(7, &[odd, entry("a")]))).await;
    let found = listing(&mut fake.client().watch(&orders())).await;
    assert_eq!((ids(&found), &*found.skipped[0].id), (vec!["a"], "b"));
}

#[tokio::test]
async fn all_watches_of_a_service_share_one_query_whatever_their_group() {
    let fake = Fake::start(World::of(Says::entries(7, &[entry("a")]))).await;
    let client = fake.client();
    let blue = orders().with_group(Group::new("blue").unwrap());
    let mut watches = [client.watch(&orders()), client.watch(&orders()), client.watch(&blue)];
    for (watch, expected) in watches.iter_mut().zip([1, 1, 0]) {
        assert_eq!(listing(watch).await.instances.len(), expected);
    }
    for watch in &mut watches {
        progress(watch).await;
    }
    // Two waits may have ended by now, and each of three watches would have had one of its own.
    let count = fake.count(&["index="]);
    assert!(count <= 2, "{count} queries");
}
