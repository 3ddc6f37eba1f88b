//! What ZooKeeper proves beside the suites, and on what.

use callsign_testkit::Subject;

use crate::stage::Setup;
use crate::{bad_input, content, library, read_only, sessions, tenants};

/// Has a subject prove what functions do with a set-up. Each case is named after its function and stands with the
/// others of its module.
macro_rules! prove {
    ($subject:expr, $setup:expr, $($module:ident :: $case:ident, $promise:literal;)+) => {{
        let subject = $subject;
        $(
            let setup = $setup.clone();
            let subject = subject
                .proves(stringify!($module), stringify!($case), $promise, move || $module::$case(setup.clone()));
        )+
        subject
    }};
}

#[rustfmt::skip]
pub(crate) fn each_version(subject: Subject, setup: &Setup) -> Subject {
    prove!(subject, setup,
        sessions::reconnect_keeps_events_coming,
            "After each restart of a server a watch shows what changes from then on.";
        sessions::ghost_of_an_older_session_is_replaced_and_outlives_it,
            "A node that a former process has left is replaced, and does not go with that process's session.";
        sessions::outage_longer_than_the_library_waits_keeps_the_nodes,
            "A session that only the client library has given up is attached to again, with its nodes as they were.";
        sessions::expired_session_loses_its_records_and_they_come_back,
            "When a session has expired its records are told lost at once, and are registered again.";
        sessions::closed_backend_leaves_neither_node_nor_session,
            "Closing ends the session and removes its nodes before it returns.";
        sessions::closing_waits_for_a_server_and_then_ends_the_session,
            "Closed while no server answers, a session is ended by the first that does within the 4 s that closing may take.";
        sessions::killed_process_leaves_its_nodes_until_its_session_expires,
            "The nodes of a process that was killed stay until its session expires, and not longer.";
        sessions::failover_of_a_server_ends_no_session,
            "With one of three servers after the other missing, session and node stay, and events go on.";
        library::a_persistent_watch_is_still_lost_with_its_connection,
            "The library does not ask for persistent watches again: if it does, the work-around may go.";
        library::too_many_watched_paths_still_end_a_session,
            "The library loses a session with too many watched paths: if it does not, the work-around may go.";
        library::the_library_still_pauses_ever_longer,
            "The library reconnects late after a long outage: if it does not, the work-around may go.";
        library::more_services_than_a_session_may_watch_are_all_followed,
            "More services than a session's budget of watches allows are followed all the same, also after a reconnect.";
        content::register_that_was_given_up_leaves_no_node,
            "A registration that is given up half way leaves no node.";
        content::too_much_metadata_is_refused_before_it_is_sent,
            "2 MiB of metadata are refused with the limit, and nothing else suffers.";
        content::node_made_anew_during_an_outage_is_a_change,
            "A node that was deleted and made again while a watch was cut off, with the same version, is a change.";
        content::bad_nodes_in_a_service_hide_no_good_one,
            "Nodes that are no records are skipped, each with its reason.";
        content::ten_thousand_are_registered_and_read_in_time,
            "10 000 records are registered, read and renewed, in some multiple of what they should take.";
        content::record_that_was_overwritten_is_removed_from_the_session,
            "A node of the session that nobody renews is removed, whatever was written into it.";
        content::large_record_that_was_written_often_is_taken_over,
            "A node of another session is replaced, however large it is and however often it was written.";
        tenants::two_tenants_see_nothing_of_each_other,
            "Of two tenants with access lists none can read, write, remove or hear of anything of the other.";
        tenants::what_everybody_may_read_is_found_without_a_login,
            "What its creator lets everybody read is found and watched without a login, and not removed.";
        tenants::access_list_without_a_login_is_told,
            "An access list for an owner without a login is told, with what to set.";
        tenants::refused_login_costs_no_session,
            "While a login is refused the session lives on, and is attached to when the login is right again.";
        tenants::wrong_sasl_password_is_told_and_nothing_else_is,
            "A wrong SASL password is told with the keys to check, and is not shown.";
        bad_input::unknown_host_among_good_ones_is_in_nobodys_way,
            "A host that nobody knows beside a good one keeps nobody from anything.";
        bad_input::what_is_no_zookeeper_is_told_for_what_it_is,
            "A closed port, an unknown name and a web server are told apart.";
        bad_input::tls_that_does_not_fit_is_told_from_both_sides,
            "TLS where there is none, none where there is, no certificate and a wrong authority are told, with what to set.";
        bad_input::chroot_that_is_not_there_is_told,
            "A chroot that does not exist is told, and used as soon as it does.";
        bad_input::session_timeout_that_is_not_granted_is_told,
            "A session time-out beyond the servers' limits is told with what they grant instead.";
        read_only::server_without_a_quorum_serves_what_it_has_as_stale,
            "A server without a quorum serves what it has as stale, takes no write, and proves nothing.";
    )
}
