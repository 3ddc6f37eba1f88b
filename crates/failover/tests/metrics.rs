//! What happens is told as numbers, under names that do not change.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use callsign_core::{Discovery, Instance, MemberState, Record, Registry, ServiceKey, Ttl};
use callsign_failover::Failover;
use callsign_memory::{Fault, Memory, Store};
use futures::StreamExt;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use tokio::time::{sleep, timeout};

/// Writes down which series there are.
#[derive(Default)]
struct Names(Arc<Mutex<BTreeSet<String>>>);

impl Names {
    fn note(&self, key: &Key) {
        let labels = key.labels().filter(|label| label.key() != "failover");
        let labels: Vec<_> = labels.map(|label| format!("{}={}", label.key(), label.value())).collect();
        self.0.lock().unwrap().insert(format!("{} {}", key.name(), labels.join(",")).trim().to_owned());
    }
}

impl Recorder for Names {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.note(key);
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.note(key);
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.note(key);
        Histogram::noop()
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_told_in_numbers() {
    let names = Names::default();
    let found = names.0.clone();
    let _guard = metrics::set_default_local_recorder(&names);
    let (main, backup) = (Store::new(), Store::new());
    let failover = Failover::builder("dr")
        .member("main", Arc::new(Memory::new(main.clone(), "main")))
        .member("backup", Arc::new(Memory::new(backup, "backup")))
        .build()
        .unwrap();
    let service = ServiceKey::new("orders").unwrap();
    let instance = Instance::builder(&service).id("one").endpoint("http://127.0.0.1:1").build().unwrap();
    failover.register(&Record::new(instance, Ttl::from_secs(600).unwrap())).await.unwrap();
    let mut watch = failover.watch(&service);
    timeout(Duration::from_secs(1), watch.next()).await.unwrap();
    let mut control = failover.control();
    let outage = main.inject(Fault::Unavailable);
    while control.members()[0].state != MemberState::Down {
        timeout(Duration::from_secs(10), control.changed()).await.unwrap();
    }
    drop(outage);
    // What is told with each look at the members.
    sleep(Duration::from_secs(2)).await;
    let found = found.lock().unwrap();
    for series in [
        "callsign_active member=backup",
        "callsign_coverage_ratio member=main",
        "callsign_detect_seconds member=main",
        "callsign_journal_pending member=main",
        "callsign_member_state member=main,state=down",
        "callsign_op_seconds member=backup,op=register,result=ok",
        "callsign_op_total member=backup,op=register,result=ok",
        "callsign_switch_seconds",
        "callsign_switch_total from=main,to=backup,reason=outage",
        "callsign_view_age_seconds",
    ] {
        assert!(found.contains(series), "no {series} in {found:#?}");
    }
}
