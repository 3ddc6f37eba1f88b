//! Who is at the other end of a loopback connection.
//!
//! All of etcd's members dial from 127.0.0.1, and tell each other apart only in part of what they say. The kernel
//! knows whose socket it is: `/proc/net/tcp` gives its inode, and a process of ours lists its open files.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::Path;

/// Which of `processes` has connected from `peer` to `local`; `None` when it is none of them, or is gone. Reads files
/// of the kernel.
pub(crate) fn caller(peer: SocketAddr, local: SocketAddr, processes: &[Option<u32>]) -> Option<usize> {
    let (SocketAddr::V4(peer), SocketAddr::V4(local)) = (peer, local) else { return None };
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let inode = inode(&table, peer, local)?;
    let link = format!("socket:[{inode}]");
    processes.iter().position(|process| process.is_some_and(|process| has_open(process, &link)))
}

/// The inode of the socket that is bound to `peer` and connected to `local`.
fn inode(table: &str, peer: SocketAddrV4, local: SocketAddrV4) -> Option<&str> {
    let (from, to) = (hex(peer), hex(local));
    table.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let matches = fields.next()? == from && fields.next()? == to;
        // After the two addresses: state, queues, timer, retransmissions, user, time-out.
        if matches { fields.nth(6) } else { None }
    })
}

/// An address as the kernel prints it: the number in the machine's own order of bytes.
fn hex(address: SocketAddrV4) -> String {
    let number = |ip: Ipv4Addr| u32::from_ne_bytes(ip.octets());
    format!("{:08X}:{:04X}", number(*address.ip()), address.port())
}

fn has_open(process: u32, link: &str) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{process}/fd")) else { return false };
    files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|target| target == Path::new(link)))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_is_its_processes_own_and_nobody_elses() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        let client = TcpStream::connect(local).unwrap();
        let (_server, peer) = listener.accept().unwrap();
        let me = Some(std::process::id());
        assert_eq!(caller(peer, local, &[None, Some(1), me]), Some(2));
        assert_eq!(caller(peer, local, &[None]), None);
        drop(client);
        assert_eq!(caller(peer, local, &[me]), None);
    }
}
