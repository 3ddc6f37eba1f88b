//! What a Nacos keeps, and what it does with it. Without I/O.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::mpsc::Sender;
use tokio::time::Instant;

use super::instances::{check, check_place};
use super::options::{FakeOptions, PASSWORD};
use super::wire::Payload;

/// A push that is not acknowledged for so long is sent again.
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);

/// A service: `namespace@@group@@name`.
type Service = String;

#[derive(Debug)]
pub(super) struct State {
    options: FakeOptions,
    pub(super) connections: HashMap<u64, Connection>,
    /// What is answered and pushed of a service: made anew when it is pushed, not when it changes.
    shown: HashMap<Service, Vec<Value>>,
    changed: HashMap<Service, Instant>,
    /// Who is to be told of a service, because it has just subscribed.
    fresh: HashSet<(u64, Service)>,
    pub(super) overrides: HashMap<(String, u64), serde_json::Map<String, Value>>,
    pub(super) known: BTreeSet<Service>,
    pub(super) persistent: HashSet<Service>,
    /// Ids of callsign's that are refused.
    pub(super) refused: HashSet<String>,
    pub(super) tokens: HashMap<String, Instant>,
    pub(super) password: String,
    pub(super) pushes_nothing: bool,
    /// What somebody on the way answers instead.
    pub(super) instead: Option<StatusCode>,
    counts: BTreeMap<String, usize>,
    pub(super) next: u64,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) outgoing: Option<Sender<Payload>>,
    pub(super) naming: bool,
    pub(super) published: HashMap<Service, Vec<Value>>,
    pub(super) subscribed: HashSet<Service>,
    pub(super) unacknowledged: HashMap<String, (Service, Instant)>,
}

/// What a fake has seen, and what it has.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Seen {
    /// How many connections are set up.
    pub connections: usize,
    /// How many subscriptions there are.
    pub subscriptions: usize,
    /// How many instances are published, over all connections.
    pub instances: usize,
    /// How many requests of each type have come, and acknowledgements, and logins.
    pub requests: BTreeMap<String, usize>,
}

/// What a server says to a request, and of which type.
pub(super) type Answer = (String, Value);

impl State {
    pub(super) fn new(options: FakeOptions) -> Self {
        Self {
            options,
            connections: HashMap::new(),
            shown: HashMap::new(),
            changed: HashMap::new(),
            fresh: HashSet::new(),
            overrides: HashMap::new(),
            known: BTreeSet::new(),
            persistent: HashSet::new(),
            refused: HashSet::new(),
            tokens: HashMap::new(),
            password: PASSWORD.to_owned(),
            pushes_nothing: false,
            instead: None,
            counts: BTreeMap::new(),
            next: 0,
        }
    }

    pub(super) fn options(&self) -> &FakeOptions {
        &self.options
    }

    /// As a restart does: what lives by a connection is gone, and so are all who were subscribed.
    pub(super) fn forget(&mut self) {
        self.connections.clear();
        self.shown.clear();
        self.changed.clear();
        self.fresh.clear();
        self.overrides.clear();
        self.known.clear();
        self.pushes_nothing = false;
    }

    pub(super) fn seen(&self) -> Seen {
        let connections = self.connections.values().filter(|connection| connection.outgoing.is_some());
        Seen {
            connections: connections.clone().count(),
            subscriptions: connections.map(|connection| connection.subscribed.len()).sum(),
            instances: self.connections.values().flat_map(|one| one.published.values()).map(Vec::len).sum(),
            requests: self.counts.clone(),
        }
    }

    /// A TCP connection has come.
    pub(super) fn connect(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// A TCP connection has ended, and with it what was published over it.
    pub(super) fn disconnect(&mut self, id: u64) {
        if let Some(connection) = self.connections.remove(&id).filter(|connection| connection.naming) {
            for service in connection.published.into_keys() {
                self.changes(&service);
            }
        }
    }

    /// The first word on the stream.
    pub(super) fn set_up(&mut self, id: u64, setup: &Value, outgoing: Sender<Payload>) {
        self.count("ConnectionSetupRequest");
        let naming = setup["labels"]["module"] == "naming";
        if self.options.negotiates && !setup["abilityTable"].is_null() {
            let abilities =
                json!({ "abilityTable": { "supportPersistentInstanceByGrpc": true, "fuzzyWatch": true } });
            let _ = outgoing.try_send(Payload::new("SetupAckRequest", &abilities));
        }
        let connection = Connection {
            outgoing: Some(outgoing),
            naming,
            published: HashMap::new(),
            subscribed: HashSet::new(),
            unacknowledged: HashMap::new(),
        };
        self.connections.insert(id, connection);
    }

    /// Something else on the stream: acknowledgements.
    pub(super) fn heard(&mut self, id: u64, kind: &str, json: &Value) {
        self.count(kind);
        if let (Some(connection), Some(request)) = (self.connections.get_mut(&id), json["requestId"].as_str())
        {
            connection.unacknowledged.remove(request);
        }
    }

    pub(super) fn answer(&mut self, id: u64, request: &Payload) -> Answer {
        let kind = request.kind().to_owned();
        self.count(&kind);
        let response = kind.replace("Request", "Response");
        let refuse = |code: i64, message: &str| {
            (
                response.clone(),
                json!({ "resultCode": 500, "errorCode": code, "message": message, "success": false }),
            )
        };
        if kind == "ServerCheckRequest" {
            let connection = format!("{}_127.0.0.1_{}", millis(), 40_000 + id % 10_000);
            let mut check = json!({ "resultCode": 200, "errorCode": 0, "connectionId": connection });
            if self.options.negotiates {
                check["supportAbilityNegotiation"] = true.into();
            }
            return (response, check);
        }
        if !self.connections.contains_key(&id) {
            let json =
                json!({ "resultCode": 500, "errorCode": 301, "message": "Connection is unregistered." });
            return ("ErrorResponse".to_owned(), json);
        }
        if kind == "HealthCheckRequest" {
            return (response, success());
        }
        let is_good = |token: &str| self.tokens.get(token).is_some_and(|until| Instant::now() < *until);
        if self.options.token_ttl.is_some() && !request.token().is_some_and(is_good) {
            return refuse(403, "token expired!");
        }
        let json = request.json();
        let text = |key: &str| json[key].as_str().unwrap_or_default();
        let (namespace, group, name) = (text("namespace"), text("groupName"), text("serviceName"));
        if kind == "ServiceListRequest" {
            return (response, self.list(&json));
        }
        if !["InstanceRequest", "BatchInstanceRequest", "ServiceQueryRequest", "SubscribeServiceRequest"]
            .contains(&&*kind)
        {
            let message = format!("RequestHandler Not Found, {kind}");
            return (
                "ErrorResponse".to_owned(),
                json!({ "resultCode": 500, "errorCode": 302, "message": message }),
            );
        }
        if let Err(message) = check_place(namespace, group, name) {
            return refuse(400, &message);
        }
        let exists =
            |known: &Vec<String>| namespace == "public" || known.iter().any(|known| known == namespace);
        if !self.options.namespaces.as_ref().is_none_or(exists) {
            return refuse(22_001, &format!("Namespace '{namespace}' not exist. Please create it first."));
        }
        let service = format!("{namespace}@@{group}@@{name}");
        match kind.as_str() {
            "InstanceRequest" | "BatchInstanceRequest" => match self.publish(id, &service, &json) {
                Ok(()) => (response, success()),
                Err(message) => refuse(400, &message),
            },
            "SubscribeServiceRequest" => {
                self.subscribe(id, &service, json["subscribe"] == true);
                (response, self.answer_with(&service))
            }
            _ => (response, self.answer_with(&service)),
        }
    }

    /// One publication for each connection and service: what is published replaces it, and a deregistration ends it,
    /// whatever instance it names.
    fn publish(&mut self, id: u64, service: &str, json: &Value) -> Result<(), String> {
        if self.persistent.contains(service) {
            return Err(format!(
                "Current service {service} is persistent service, can't register ephemeral instance."
            ));
        }
        let instances = match json["type"].as_str().unwrap_or_default() {
            "registerInstance" => vec![json["instance"].clone()],
            "deregisterInstance" => Vec::new(),
            "batchRegisterInstance" => json["instances"].as_array().cloned().unwrap_or_default(),
            other => return Err(format!("Unsupported request type {other}")),
        };
        instances.iter().try_for_each(|instance| check(instance).and_then(|()| self.allows(instance)))?;
        if instances.iter().any(|instance| instance["ephemeral"] == false) {
            return Err(format!(
                "Current service {service} is ephemeral service, can't register persistent instance."
            ));
        }
        let connection = self.connections.get_mut(&id).ok_or("Connection is unregistered.")?;
        let had = if instances.is_empty() {
            connection.published.remove(service).is_some()
        } else {
            connection.published.insert(service.to_owned(), instances);
            true
        };
        if had {
            self.known.insert(service.to_owned());
            self.changes(service);
        }
        Ok(())
    }

    fn subscribe(&mut self, id: u64, service: &str, subscribe: bool) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if subscribe {
            connection.subscribed.insert(service.to_owned());
            self.fresh.insert((id, service.to_owned()));
        } else {
            connection.subscribed.remove(service);
        }
    }

    fn list(&self, json: &Value) -> Value {
        let prefix = format!(
            "{}@@{}@@",
            json["namespace"].as_str().unwrap_or_default(),
            json["groupName"].as_str().unwrap_or_default()
        );
        let number =
            |key: &str| json[key].as_u64().and_then(|number| usize::try_from(number).ok()).unwrap_or(1);
        let names: Vec<_> = self.known.iter().filter_map(|service| service.strip_prefix(&prefix)).collect();
        let skip = (number("pageNo") - 1) * number("pageSize");
        let page: Vec<_> = names.iter().skip(skip).take(number("pageSize")).collect();
        json!({ "resultCode": 200, "errorCode": 0, "count": names.len(), "serviceNames": page })
    }

    /// As it was pushed last.
    fn answer_with(&mut self, service: &str) -> Value {
        if !self.shown.contains_key(service) {
            let now = self.compute(service);
            self.shown.insert(service.to_owned(), now);
        }
        let mut answer = success();
        answer["serviceInfo"] = self.info(service);
        answer
    }

    fn info(&self, service: &str) -> Value {
        let mut parts = service.splitn(3, "@@").skip(1);
        let (group, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        json!({
            "name": name, "groupName": group, "clusters": "", "cacheMillis": 10_000, "lastRefTime": millis(),
            "hosts": self.shown.get(service).cloned().unwrap_or_default(), "allIPs": false,
            "reachProtectionThreshold": false, "checksum": "", "valid": true,
        })
    }

    /// All that connections have published, with operators' changes on top; who is not enabled is left out. Two that are
    /// equal in everything are one.
    fn compute(&self, service: &str) -> Vec<Value> {
        let mut all: Vec<Value> = Vec::new();
        let published = self.connections.values().filter_map(|connection| connection.published.get(service));
        for mut instance in published.flatten().cloned() {
            if let Some(change) = self.overrides.get(&key(&instance)) {
                for (field, value) in change {
                    match (field.as_str(), value.as_object()) {
                        ("metadata", Some(metadata)) => {
                            for (key, value) in metadata {
                                instance["metadata"][key] = value.clone();
                            }
                        }
                        _ => instance[field] = value.clone(),
                    }
                }
            }
            instance["instanceId"] = format!("{}#{}", instance["ip"], instance["port"]).into();
            if instance["enabled"] != false && !all.contains(&instance) {
                all.push(instance);
            }
        }
        all
    }

    pub(super) fn changes(&mut self, service: &str) {
        self.changed.entry(service.to_owned()).or_insert_with(Instant::now);
    }

    /// What is to be pushed now.
    pub(super) fn due(&mut self) -> Vec<(Sender<Payload>, Payload)> {
        let now = Instant::now();
        let delay = self.options.push_delay;
        let due: Vec<_> = self
            .changed
            .iter()
            .filter(|(_, at)| now >= **at + delay)
            .map(|(service, _)| service.clone())
            .collect();
        let mut targets: HashSet<(u64, Service)> = std::mem::take(&mut self.fresh);
        for service in due {
            self.changed.remove(&service);
            let shown = self.compute(&service);
            self.shown.insert(service.clone(), shown);
            let subscribed =
                self.connections.iter().filter(|(_, connection)| connection.subscribed.contains(&service));
            targets.extend(subscribed.map(|(id, _)| (*id, service.clone())));
        }
        for (id, connection) in &mut self.connections {
            let late = connection.unacknowledged.extract_if(|_, (_, at)| now >= *at + UNACKNOWLEDGED);
            targets.extend(late.map(|(_, (service, _))| (*id, service)));
        }
        targets.into_iter().filter_map(|(id, service)| self.notification(id, &service)).collect()
    }

    /// Nacos does not say the namespace: its own client knows only one.
    fn notification(&mut self, id: u64, service: &str) -> Option<(Sender<Payload>, Payload)> {
        self.next += 1;
        let request = self.next.to_string();
        let json = json!({ "requestId": request, "module": "naming", "serviceInfo": self.info(service) });
        let connection = self.connections.get_mut(&id)?;
        if !connection.subscribed.contains(service) {
            return None;
        }
        connection.unacknowledged.insert(request, (service.to_owned(), Instant::now()));
        if self.pushes_nothing {
            connection.unacknowledged.clear();
            return None;
        }
        Some((connection.outgoing.clone()?, Payload::new("NotifySubscriberRequest", &json)))
    }

    pub(super) fn count(&mut self, kind: &str) {
        *self.counts.entry(kind.to_owned()).or_default() += 1;
    }
}

pub(super) fn key(instance: &Value) -> (String, u64) {
    (instance["ip"].as_str().unwrap_or_default().to_owned(), instance["port"].as_u64().unwrap_or_default())
}

fn success() -> Value {
    json!({ "resultCode": 200, "errorCode": 0, "message": null, "success": true })
}

fn millis() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or_default()
}
