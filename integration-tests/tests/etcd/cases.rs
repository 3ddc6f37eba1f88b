//! What etcd proves beside the suites: each case, and in which set-ups.

use callsign_testkit::Subject;

use crate::setup::{Setup, prove};
use crate::{
    bad_input, cluster, endpoints, history, late, limits, logins, network, outages, ownership, processes,
    scale, secrets, tls,
};

/// What holds in every set-up.
#[rustfmt::skip]
pub(crate) fn everywhere(subject: Subject, setup: &Setup) -> Subject {
    prove!(subject, setup,
        outages::killed_and_back_within_the_ttl_writes_nothing_anew,
            "A server that is killed and back within the ttl finds every record and every lease; nothing is written anew.";
        outages::killed_for_longer_than_the_ttl_is_registered_again,
            "After an outage longer than the ttl everybody is registered again, and no view misses anybody meanwhile.";
        outages::frozen_registry_is_noticed_in_time_and_delays_nobody,
            "A registry that is frozen is noticed within 9 s, no call hangs, and nobody is missed.";
        outages::wiped_registry_is_a_new_epoch_and_is_filled_again,
            "A registry whose revisions fall begins a new epoch: it is told, everybody registers again, and watches hear of it.";
        ownership::record_that_somebody_takes_or_overwrites_is_repaired,
            "A record that is deleted, overwritten, detached from its lease, or loses its lease is lost and registered again.";
        processes::process_that_stood_still_for_longer_than_its_ttl_registers_again,
            "A process that was stopped for longer than its ttl registers again when it goes on, and is not missed if it answers.";
    )
}

/// What is proved of a single member on plain TCP.
#[rustfmt::skip]
pub(crate) fn single(subject: Subject, setup: &Setup) -> Subject {
    prove!(subject, setup,
        late::write_that_comes_late_is_not_applied_after_a_newer_one,
            "A write that was given up and arrives late overwrites nothing newer, and brings nothing back.";
        late::newest_change_wins_after_a_freeze_and_nothing_comes_back_after_leaving,
            "After a freeze the newest of several changes is what is registered, and who has left stays away.";
        history::compaction_while_disconnected_is_survived,
            "A view that was cut off while the history was compacted shows what is there.";
        history::large_backlog_is_taken_without_an_endless_loop,
            "A view that was stalled while 20 MB were written shows what is there, and stays connected.";
        network::half_open_connection_is_noticed_within_9_s,
            "A connection that takes everything and answers nothing is noticed within 9 s.";
        network::stalled_connection_is_noticed_within_9_s,
            "A connection on which nothing moves is noticed within 9 s.";
        network::answers_that_are_lost_are_noticed_within_9_s,
            "A connection that loses what the server says is noticed within 9 s.";
        network::questions_that_are_lost_are_noticed_within_9_s,
            "A connection that loses what the client says is noticed within 9 s.";
        network::calls_fail_at_once_while_a_connection_that_breaks_again_and_again_rests,
            "A connection that breaks soon after it was made is not tried at once, and no call waits for it meanwhile.";
        limits::full_database_keeps_who_is_registered_and_says_what_to_do,
            "A full database keeps who is registered, tells who comes late what an operator has to do, and takes them then.";
        limits::record_over_the_limit_is_refused_before_anything_is_sent,
            "A record over the limit is refused by name before anything is sent, and takes back nothing that was there.";
        limits::servers_own_limit_is_named,
            "A request over the server's own limit is refused by that limit's name, and the session goes on.";
        endpoints::dead_endpoint_in_the_list_costs_no_call,
            "With a dead endpoint in the list none of 200 calls fails.";
        scale::hundred_thousand_records_are_listed_and_followed,
            "A service of 100 000 records is listed and followed.";
        scale::ten_thousand_registrations_of_one_process_are_made_and_kept,
            "10 000 registrations of one process are made within ten times their target, kept, and taken back.";
        secrets::password_is_in_nothing_that_is_said,
            "No password is in anything that is shown, told or traced, by us or by the crates below.";
        tls::server_is_believed_with_the_right_authority_only,
            "A server's certificate is believed if the right authority has signed it; a refusal names the key to set.";
        tls::server_is_believed_under_its_own_name_only,
            "A server is believed under a name in its certificate; a refusal names the key to set.";
        tls::server_with_an_expired_certificate_is_not_believed,
            "An expired certificate is refused by that name, and a renewed one counts at once.";
        tls::client_has_to_show_a_certificate_where_one_is_asked_for,
            "A server that asks for a client's certificate refuses who has none, with a hint at the keys to set.";
        tls::plain_server_is_not_asked_for_a_certificate,
            "A server without TLS refuses who wants it, with a hint at the scheme.";
        bad_input::what_is_no_etcd_is_told_in_time,
            "Nobody, a web server, one that says nothing and one that hangs up are told from etcd, in time and by name.";
        bad_input::logins_that_do_not_fit_are_told_and_disturb_nobody,
            "A wrong password, user or namespace is refused with what to change, and nobody else hears of it.";
        bad_input::login_that_nobody_asked_for_is_told,
            "A login at an etcd without users is refused with what to leave out.";
        endpoints::two_clusters_behind_one_list_are_never_mixed,
            "Two clusters behind one list of endpoints are never mixed: the other is a new epoch, when the first is gone.";
    )
}

/// What depends on the version.
#[rustfmt::skip]
pub(crate) fn each_version(subject: Subject, setup: &Setup) -> Subject {
    prove!(subject, setup,
        network::idle_store_is_followed_over_one_connection,
            "A watch of an idle store tells of progress for a minute, over one connection.";
        logins::login_that_has_run_out_is_renewed_whoever_notices_first,
            "A login that has run out is renewed, also where a watch is the first to notice, and nobody hears of it.";
        logins::users_that_change_disturb_nobody,
            "When users change, signed logins are renewed, and nobody hears of it.";
        logins::login_that_ends_under_a_running_lease_is_renewed,
            "A signed login that ends while a lease is renewed is replaced, and nobody is lost.";
        logins::tenant_is_refused_outside_of_its_namespaces_and_told_what_to_ask_for,
            "A tenant works in its namespaces, is refused elsewhere with what to grant on which prefix, and disturbs nobody.";
    )
}

/// What three members promise.
#[rustfmt::skip]
pub(crate) fn three(subject: Subject, setup: &Setup) -> Subject {
    prove!(subject, setup,
        cluster::killed_member_is_left_within_1_s,
            "When the member that a client talks to is killed, its views are live again within 1 s, and nobody is lost.";
        cluster::frozen_member_is_left_within_9_s,
            "When the member that a client talks to is frozen, its views are live again within 9 s, and nobody is lost.";
        cluster::killed_leader_costs_an_election,
            "When the leader is killed, views are live again and writes go on after an election, and nobody is lost.";
        cluster::member_that_nobody_talks_to_is_not_missed,
            "A frozen member that a client does not talk to, and that does not lead, delays nothing.";
        cluster::lost_quorum_takes_nobody_away_and_comes_back,
            "Without a quorum views say that they are stale and keep everybody; when it is back everybody is registered.";
        cluster::member_without_a_quorum_is_read_but_not_believed,
            "Without a quorum what is there can be read and is stale, a member is reachable, and no authority is claimed.";
        cluster::rolling_restart_loses_nothing,
            "While all members are restarted in peace, one after the other, every change is taken and nobody is missed.";
        network::member_behind_a_half_open_connection_is_left,
            "A member that takes everything and answers nothing is left within 9 s, and nobody is lost.";
        network::member_behind_a_stalled_connection_is_left,
            "A member behind a connection on which nothing moves is left within 9 s, and nobody is lost.";
        network::member_whose_answers_are_lost_is_left,
            "A member whose answers are lost is left within 9 s, and nobody is lost.";
        network::member_that_does_not_hear_is_left,
            "A member that does not hear is left within 9 s, and nobody is lost.";
        network::member_that_refuses_is_left_within_1_s,
            "A member that refuses connections is left within 1 s, and nobody is lost.";
        endpoints::member_that_refuses_costs_no_call,
            "With one of three members refusing connections none of 200 calls fails.";
    )
}
