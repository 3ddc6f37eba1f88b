//! An agent of our own, for what no agent at hand does: newer dialects, servers that disagree, glitches.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use callsign_consul::{Consul, ConsulConfig};
use callsign_core::task::{Spawner, Task};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;

/// No query of a test waits longer.
const WAIT: Duration = Duration::from_millis(300);

/// What a server answers.
#[derive(Debug, Clone)]
pub(crate) struct Says {
    pub(crate) status: u16,
    pub(crate) index: Option<u64>,
    pub(crate) body: String,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
}

impl Says {
    pub(crate) fn entries(index: u64, entries: &[Value]) -> Self {
        let body = Value::Array(entries.to_vec()).to_string();
        Self { status: 200, index: Some(index), body, headers: Vec::new() }
    }

    pub(crate) fn error(status: u16, body: &str) -> Self {
        Self { status, index: Some(1), body: body.to_owned(), headers: Vec::new() }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// Who answers what.
#[derive(Debug, Clone)]
pub(crate) struct World {
    /// To whoever does not mind an old answer.
    pub(crate) any: Says,
    pub(crate) leader: Says,
    /// To everything that is no question about a service: the first whose path begins so.
    pub(crate) others: Vec<(&'static str, Says)>,
    /// The token that is wanted, if any.
    pub(crate) token: Option<&'static str>,
    /// What begins so has to wait for its answer.
    pub(crate) held: Option<&'static str>,
}

impl World {
    /// All servers say the same.
    pub(crate) fn of(says: Says) -> Self {
        Self { any: says.clone(), leader: says, others: Vec::new(), token: None, held: None }
    }
}

/// A running agent.
#[derive(Debug)]
pub(crate) struct Fake {
    url: String,
    world: Arc<watch::Sender<World>>,
    asked: Arc<Mutex<Vec<String>>>,
    _task: Task,
}

impl Fake {
    pub(crate) async fn start(world: World) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (world, asked) = (Arc::new(watch::Sender::new(world)), Arc::<Mutex<Vec<String>>>::default());
        let (held, log) = (world.clone(), asked.clone());
        let router = Router::new().fallback(move |request: Parts| {
            let (world, log) = (held.clone(), log.clone());
            async move { answer(&world, &log, &request).await }
        });
        let serve = async move { drop(axum::serve(listener, router).await) };
        let task = Spawner::current().unwrap().spawn(serve);
        Self { url, world, asked, _task: task }
    }

    pub(crate) fn config(&self) -> ConsulConfig {
        ConsulConfig::default().with_address(&self.url).with_confirm_timeout(Duration::from_millis(300))
    }

    pub(crate) fn client(&self) -> Consul {
        Consul::new(&self.config(), "main").unwrap()
    }

    pub(crate) fn set(&self, change: impl FnOnce(&mut World)) {
        self.world.send_modify(change);
    }

    /// How many requests had all of this in their method, path, query and token.
    pub(crate) fn count(&self, parts: &[&str]) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|line| parts.iter().all(|part| line.contains(part))).count()
    }
}

async fn answer(world: &watch::Sender<World>, log: &Mutex<Vec<String>>, request: &Parts) -> Response {
    let (path, query) = (request.uri.path(), request.uri.query().unwrap_or_default());
    let token = request.headers.get("X-Consul-Token").and_then(|token| token.to_str().ok());
    let line = format!("{} {} by {}", request.method, request.uri, token.unwrap_or("nobody"));
    log.lock().unwrap().push(line);
    if world.borrow().token.is_some_and(|wanted| token != Some(wanted)) {
        return reply(&Says::error(403, "ACL not found"));
    }
    let holds = |world: &World| world.held.is_some_and(|held| path.starts_with(held));
    // Until it is let go, or the test has ended.
    drop(world.subscribe().wait_for(|world| !holds(world)).await);
    if !path.starts_with("/v1/health/service/") {
        let world = world.borrow();
        let known = world.others.iter().find(|(prefix, _)| path.starts_with(prefix));
        let unknown = Says { index: None, ..Says::error(404, "404 page not found") };
        return reply(known.map_or(&unknown, |(_, says)| says));
    }
    let stale = query.split('&').any(|part| part == "stale");
    let says = |world: &World| if stale { world.any.clone() } else { world.leader.clone() };
    let index = query.split('&').find_map(|part| part.strip_prefix("index=")?.parse::<u64>().ok());
    let mut changes = world.subscribe();
    if let Some(index) = index {
        // As Consul does it: who has seen more than there is waits in vain, and what is so then is what is told.
        let news = changes.wait_for(|world| says(world).index.is_none_or(|now| now > index));
        drop(timeout(WAIT, news).await);
    }
    let now = says(&world.borrow());
    reply(&now)
}

fn reply(says: &Says) -> Response {
    let mut response = Response::new(says.body.clone().into());
    *response.status_mut() = StatusCode::from_u16(says.status).unwrap();
    let headers = response.headers_mut();
    if says.status == 200 {
        headers.insert("content-type", HeaderValue::from_static("application/json"));
    }
    if let Some(index) = says.index {
        headers.insert("x-consul-index", index.into());
    }
    for (name, value) in &says.headers {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

/// An entry of the service `orders`, as callsign writes it.
pub(crate) fn entry(id: &str) -> Value {
    json!({
        "Node": {"Node": "n1", "Address": "10.1.1.1"},
        "Service": {
            "ID": format!("default:default:orders:{id}"),
            "Service": "orders",
            "Tags": ["group=default"],
            "Address": "10.0.0.5",
            "Port": 80,
            "Meta": {
                "callsign-pair": "1.1", "callsign-status": "up", "callsign-registered-at": "0",
                "callsign-e0": "http://10.0.0.5:80",
            },
            "Weights": {"Passing": 100, "Warning": 100},
        },
        "Checks": [{"CheckID": "x", "Status": "passing"}],
    })
}
