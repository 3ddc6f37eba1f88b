//! What Consul proves beside the suites.

use callsign_integration_tests::Pool;
use callsign_integration_tests::consul::Consul;
use callsign_testkit::Subject;

use crate::{agents, bad_input, health, rights, servers, watching};

macro_rules! prove {
    ($subject:expr, $pool:expr, $($area:ident::$case:ident, $promise:literal;)+) => {{
        let subject = $subject;
        $(
            let pool = $pool.clone();
            let subject = subject.proves("consul", stringify!($case), $promise, move || $area::$case(pool.clone()));
        )+
        subject
    }};
}

/// What one agent promises.
#[rustfmt::skip]
pub(crate) fn single(subject: Subject, pool: &Pool<Consul>) -> Subject {
    prove!(subject, pool,
        // First, as it waits the longest.
        health::who_stays_away_is_removed_by_consul_and_can_come_back,
            "Who does not renew for longer than `deregister_after` is removed by Consul, and can be registered again.";
        health::expired_record_is_critical_and_gets_no_traffic,
            "Who does not renew is listed as critical, is not routable, and is passing again when it is registered again.";
        health::status_is_shown_to_others_as_maintenance,
            "Who is not up is in maintenance for others, and is not when it is up again.";
        health::operators_maintenance_outlives_updates_and_renewals,
            "Whom an operator has put into maintenance gets no traffic, whatever its owner writes, until the operator ends it.";
        health::agent_asks_instances_itself_where_it_is_told_to,
            "With a TCP, HTTP or gRPC check the agent's own verdict counts, too, and does not when it is configured away.";
        agents::record_that_was_taken_from_the_catalog_is_repaired,
            "A record that vanishes from the servers behind its agent's back is back within 5 ttls.";
        agents::agent_that_comes_back_with_nothing_is_filled_again,
            "After a restart of an agent that forgets everything its records are registered again within ttl/3 + 5 s.";
        watching::instances_of_others_are_listed_and_bad_ones_hide_nobody,
            "Instances of other software are listed; one with an impossible port is skipped.";
        watching::metadata_that_consul_does_not_take_comes_back_whole,
            "Metadata with keys, lengths and numbers that Consul does not take comes back as it was.";
        watching::last_one_who_leaves_empties_the_list_once_and_nobody_elses,
            "When the last instance leaves, the empty list is told once, and watches of other services say nothing.";
        watching::more_watches_than_connections_starve_no_renewal,
            "With 300 watched services and an agent's default limits no renewal is lost, and every watch is live.";
        watching::more_watches_than_connections_over_tls_starve_no_renewal,
            "The same over TLS.";
        rights::empty_list_for_want_of_rights_is_an_error,
            "Where a token may not see services or nodes, an error says so instead of an empty list.";
        rights::token_that_may_not_write_is_told_what_it_needs,
            "A token that may only read is refused with what to grant.";
        rights::token_that_was_deleted_is_named_and_its_successor_is_read_from_the_file,
            "A token that was deleted is an error that names it; the next one is read from `token_file`, and all goes on.";
        bad_input::wrong_settings_are_named,
            "An unknown datacenter, Enterprise's namespaces, and an unknown token are errors that name what to change.";
        bad_input::certificates_are_checked_both_ways,
            "A client without a certificate, one that trusts nobody, and one that expects another name are told what to set.";
    )
}

/// What three servers and an agent for clients promise.
#[rustfmt::skip]
pub(crate) fn cluster(subject: Subject, pool: &Pool<Consul>) -> Subject {
    prove!(subject, pool,
        servers::killed_leader_of_consul_costs_an_election,
            "When the leader is killed, views are live again and writes go on after an election, and nobody is lost.";
        servers::lost_quorum_of_consul_takes_nobody_away_and_commits_nothing,
            "Without a quorum views are stale and keep everybody, and nothing is committed; with it all is well again.";
        servers::frozen_agent_is_noticed_and_its_instances_go_on,
            "An agent that says nothing is noticed within 9 s; others list its instances as critical until it is back.";
        agents::agent_that_has_not_taken_a_record_cannot_renew_or_remove_it,
            "A record is renewed and removed at the agent that has taken it alone, and who asks another one is told.";
        agents::of_one_id_at_two_agents_the_higher_pair_is_listed_and_the_lower_hears_of_it,
            "Of one id at two agents the higher pair is listed, and the owner of the lower one hears of it within 3 ttls.";
        watching::watch_that_is_ahead_of_its_servers_is_not_blind,
            "When servers begin anew behind an agent that goes on, who registers is seen within one wait.";
    )
}
