//! The thread that starts all servers.
//!
//! Where `setpriv` is at hand a server asks the kernel to be killed when the thread that started it ends: even a
//! test process that is killed itself leaves no server behind. A test's own thread ends with the test, and a server
//! may be used by several tests, so all of them are started by one thread that lives as long as the process.
//!
//! Such a server is in a process group of its own. In that of the tests, the kernel would continue one that is frozen when
//! the shell that has started them ends (`setpgid(2)`: `SIGHUP`, which `nohup` has them survive, and `SIGCONT`), and so
//! would a shell's `fg`.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::thread;

struct Order {
    command: Command,
    answer: SyncSender<io::Result<Child>>,
}

static KEEPER: LazyLock<Option<Sender<Order>>> = LazyLock::new(|| {
    let (orders, incoming) = channel::<Order>();
    let keep = move || {
        for mut order in incoming {
            // Who does not wait for the answer has no use for the child either: it is killed with its handle.
            if let Err(unwanted) = order.answer.send(order.command.spawn())
                && let Ok(mut child) = unwanted.0
            {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    };
    thread::Builder::new().name("keeper".to_owned()).spawn(keep).ok()?;
    Some(orders)
});

/// What `setpriv` does to a command that should not survive the keeper.
const LEASH: [&str; 4] = ["setpriv", "--pdeathsig", "KILL", "--"];
/// Who died before the leash was on has left its child to somebody else.
const UNLESS_ORPHANED: &str = "[ \"$PPID\" = \"$0\" ] && exec \"$@\"";

/// Older versions of `setpriv`, and busybox's, do not know the option.
static HAS_LEASH: LazyLock<bool> = LazyLock::new(|| {
    let mut command = Command::new(LEASH[0]);
    command.args(&LEASH[1..]).arg("true").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
});

/// A command for `program` that ends with this process, as far as the system can see to that.
pub(crate) fn leashed(program: &Path) -> Command {
    if !*HAS_LEASH {
        return Command::new(program);
    }
    let mut command = Command::new(LEASH[0]);
    command.args(&LEASH[1..]).args(["sh", "-c", UNLESS_ORPHANED]);
    // Nobody's Ctrl-C reaches it there, and it needs none: it ends with us.
    command.arg(std::process::id().to_string()).arg(program).process_group(0);
    command
}

/// Starts `command` on the keeper's thread. Waits for the kernel to do so: a few milliseconds.
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    let gone = || io::Error::other("the thread that starts servers is gone");
    let keeper = KEEPER.as_ref().ok_or_else(gone)?;
    let (answer, child) = sync_channel(1);
    keeper.send(Order { command, answer }).map_err(|_| gone())?;
    child.recv().map_err(|_| gone())?
}
