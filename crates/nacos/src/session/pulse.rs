//! Whether a connection still has a server at its other end.

use std::time::Duration;

use callsign_core::Error;
use tokio::time::sleep_until;

use super::connection::Connection;
use super::signs::Signs;
use crate::error::Verdict;

/// A connection on which nothing has come for so long is asked about. As the Java client has it.
const IDLE: Duration = Duration::from_secs(5);
/// So many questions in a row without an answer are the end: a server that collects its garbage is not left for it, as
/// everybody's records would go with the connection.
const MISSED: u32 = 3;

/// Watches over `connection` until it is to be given up.
pub(super) async fn watch_over(connection: &Connection, signs: &Signs) -> Error {
    let mut missed = 0;
    loop {
        if missed == 0 {
            let idle_at = connection.heard_at() + IDLE;
            tokio::select! {
                () = sleep_until(idle_at) => {}
                () = connection.is_doubted() => {}
            }
            if connection.heard_at() + IDLE > idle_at {
                // Something has come meanwhile.
                continue;
            }
        }
        let heard_at = connection.heard_at();
        match connection.check().await {
            Err(failure) if failure.verdict == Verdict::Unknown => return failure.error,
            // Somebody on the way may have answered instead.
            Err(failure) if failure.verdict == Verdict::Silence || connection.heard_at() == heard_at => {
                missed += 1;
                signs.suspect(failure.error.clone());
                if missed >= MISSED {
                    return failure.error;
                }
            }
            // Whatever else it says, it is there.
            Ok(()) | Err(_) => {
                missed = 0;
                signs.ready();
            }
        }
    }
}
