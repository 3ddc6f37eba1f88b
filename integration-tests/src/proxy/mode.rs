//! What a proxy does with what passes through it.

use std::time::Duration;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From who has connected.
    ToServer,
    /// To who has connected.
    ToClient,
}

/// What becomes of connections, those that are open and those that come. An open connection follows a change at
/// once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Everything passes.
    #[default]
    Pass,
    /// Everything passes this much later, each way.
    Delay(Duration),
    /// Open connections are reset and new ones refused: the port is closed.
    Refuse,
    /// Connections are accepted; what is said is swallowed, and nothing is answered.
    HalfOpen,
    /// Nothing is read either way, so that senders feel it. Nothing is lost: it goes on with the next `Pass`.
    Stall,
    /// One way everything is swallowed, the other way it passes.
    Drop(Direction),
}

/// What a mode means for one direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Pass { later: Duration },
    Hold,
    Swallow,
    Reset,
}

impl Mode {
    pub(super) fn flow(self, direction: Direction) -> Flow {
        match self {
            Self::Delay(later) => Flow::Pass { later },
            Self::Refuse => Flow::Reset,
            Self::HalfOpen => Flow::Swallow,
            Self::Stall => Flow::Hold,
            Self::Drop(dropped) if dropped == direction => Flow::Swallow,
            Self::Pass | Self::Drop(_) => Flow::Pass { later: Duration::ZERO },
        }
    }
}
