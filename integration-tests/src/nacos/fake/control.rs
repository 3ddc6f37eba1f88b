//! What befalls a fake from outside: operators, other software, faults of its memory.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use serde_json::{Value, json};

use super::state::{Connection, State, key};
use super::wire::Payload;

impl State {
    pub(super) fn reset(&mut self, target: Option<SocketAddr>) {
        let mut json = json!({ "requestId": "reset" });
        if let Some(target) = target {
            json["serverIp"] = target.ip().to_string().into();
            json["serverPort"] = target.port().to_string().into();
        }
        self.say("ConnectResetRequest", &json);
    }

    pub(super) fn detect(&mut self) {
        self.say("ClientDetectionRequest", &json!({ "requestId": "detect" }));
    }

    fn say(&self, kind: &str, json: &Value) {
        for outgoing in self.connections.values().filter_map(|connection| connection.outgoing.as_ref()) {
            let _ = outgoing.try_send(Payload::new(kind, json));
        }
    }

    /// A rule of the server's own, of which a client does not know.
    pub(super) fn allows(&self, instance: &Value) -> Result<(), String> {
        let id = instance["metadata"]["callsign.id"].as_str().unwrap_or_default();
        if self.refused.contains(id) { Err("Param 'instance' is illegal.".to_owned()) } else { Ok(()) }
    }

    pub(super) fn tamper(&mut self, id: &str, garbage: Option<&[(&str, &str)]>) {
        let mut changed = Vec::new();
        for connection in self.connections.values_mut() {
            for (service, instances) in &mut connection.published {
                let before = instances.len();
                let mut found = false;
                for instance in
                    instances.iter_mut().filter(|instance| instance["metadata"]["callsign.id"] == id)
                {
                    found = true;
                    for (key, value) in garbage.unwrap_or_default() {
                        instance["metadata"][*key] = (*value).into();
                    }
                }
                if garbage.is_none() {
                    instances.retain(|instance| instance["metadata"]["callsign.id"] != id);
                }
                if found || instances.len() != before {
                    changed.push(service.clone());
                }
            }
        }
        for service in changed {
            self.changes(&service);
        }
    }

    pub(super) fn operate(&mut self, id: &str, change: &[(&str, Value)]) {
        let all = self.connections.values().flat_map(|connection| connection.published.iter());
        let found: Vec<_> = all
            .flat_map(|(service, instances)| {
                instances.iter().map(move |instance| (service.clone(), instance))
            })
            .filter(|(_, instance)| instance["metadata"]["callsign.id"] == id)
            .map(|(service, instance)| (service, key(instance)))
            .collect();
        for (service, key) in found {
            let fields = self.overrides.entry(key).or_default();
            fields.extend(change.iter().map(|(field, value)| ((*field).to_owned(), value.clone())));
            self.changes(&service);
        }
    }

    pub(super) fn publish_foreign(&mut self, name: &str, instance: Value) {
        let service = format!("public@@DEFAULT_GROUP@@{name}");
        self.next += 1;
        let connection = Connection {
            outgoing: None,
            naming: true,
            published: HashMap::from([(service.clone(), vec![instance])]),
            subscribed: HashSet::new(),
            unacknowledged: HashMap::new(),
        };
        self.connections.insert(self.next, connection);
        self.known.insert(service.clone());
        self.changes(&service);
    }
}
