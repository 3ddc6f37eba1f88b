//! What of Nacos' HTTP API is needed: logging in. The rest says that it is gone, as it is in Nacos 3.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State as Given;
use axum::http::{StatusCode, Uri};
use axum::routing::post;
use percent_encoding::percent_decode_str;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::Ice;
use super::keys::Keys;
use super::options::USER;
use super::state::State;

type Shared = (Arc<Mutex<State>>, Arc<Ice>);

/// Serves until the runtime ends.
pub(super) async fn serve(
    listener: std::net::TcpListener,
    state: Arc<Mutex<State>>,
    ice: Arc<Ice>,
    keys: Option<Keys>,
) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let v3 = state.lock().unwrap_or_else(PoisonError::into_inner).options().v3;
    let path = if v3 { "/nacos/v3/auth/user/login" } else { "/nacos/v1/auth/users/login" };
    let missing = if v3 { StatusCode::GONE } else { StatusCode::NOT_FOUND };
    let router = Router::new().route(path, post(log_in)).fallback(move || async move { missing });
    let router = router.with_state((state, ice));
    match keys {
        None => drop(axum::serve(listener, router).await),
        Some(keys) => {
            if let Ok(encrypted) = keys.http(listener) {
                drop(axum::serve(encrypted, router).await);
            }
        }
    }
}

/// The user in the query, the password in the form.
async fn log_in(Given((state, ice)): Given<Shared>, uri: Uri, body: Bytes) -> (StatusCode, String) {
    ice.melt();
    let body = String::from_utf8_lossy(&body);
    let (user, password) = (field(uri.query().unwrap_or_default(), "username"), field(&body, "password"));
    if uri.query().is_some_and(|query| query.contains("password")) {
        return (StatusCode::BAD_REQUEST, "a password in a URL".to_owned());
    }
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    match state.log_in(&user, &password) {
        None => (StatusCode::FORBIDDEN, "unknown user!".to_owned()),
        Some((token, ttl)) => {
            let granted =
                json!({ "accessToken": token, "tokenTtl": ttl, "globalAdmin": false, "username": user });
            let body = if state.options().v3 {
                json!({ "code": 0, "message": "success", "data": granted })
            } else {
                granted
            };
            (StatusCode::OK, body.to_string())
        }
    }
}

impl State {
    fn log_in(&mut self, user: &str, password: &str) -> Option<(String, u64)> {
        self.count("login");
        let ttl = self.options().token_ttl.unwrap_or(Duration::from_secs(18_000));
        if self.options().token_ttl.is_some() && (user != USER || password != self.password) {
            return None;
        }
        self.next += 1;
        let token = format!("token-{}-{}", self.next, fastrand::u64(..));
        self.tokens.insert(token.clone(), Instant::now() + ttl);
        Some((token, self.options().told_ttl.unwrap_or(ttl.as_secs())))
    }
}

fn field(form: &str, name: &str) -> String {
    let found = form.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name);
    found.map_or_else(String::new, |(_, value)| percent_decode_str(value).decode_utf8_lossy().into_owned())
}
