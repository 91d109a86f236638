"""Every fault and attack that a node must stand, and the tests that show what becomes of it.

test_rows.py checks that each of these tests exists.
"""

from __future__ import annotations

FAULTS: dict[str, tuple[str, ...]] = {
    "kill -9 during writes, in a loop": (
        "tests/test_crash.py::test_acknowledged_points_survive_kill",
        "tests/test_crash_names.py::test_acknowledged_changes_survive_kill",
    ),
    "kill -9 during build, publish, merge": (
        "tests/faults/test_kills.py::test_killed_while_segments_are_made",
        "tests/collection/test_segments.py::test_leftovers_of_a_dead_build_are_swept",
    ),
    "kill -9 during clone and truncation": (
        "tests/test_clone.py::test_a_clone_that_died_is_swept_or_done",
        "tests/test_crash_names.py::test_killed_at_any_step_a_truncation_is_done_or_never_was",
    ),
    "SIGTERM under load": (
        "tests/faults/test_drain.py::test_health_says_that_the_node_stops",
        "tests/rpc/test_lifecycle.py::test_stopped_under_load_calls_succeed_or_are_unavailable",
        "tests/rpc/test_worker_ends.py::test_stopped_under_load",
        "tests/rpc/test_watch.py::test_a_stop_does_not_wait_for_watchers",
    ),
    "segment array torn, truncated, one bit flipped, link out of range": (
        "tests/faults/test_damage.py::test_each_file_of_a_segment_damaged_before_a_start",
        "tests/faults/test_damage.py::test_files_damaged_below_a_server_that_runs",
        "tests/collection/test_segments.py::test_search_is_exact_while_a_segment_is_damaged",
        "tests/rpc/test_workers.py::test_a_damaged_segment_that_a_worker_finds_is_rebuilt",
    ),
    "bit flipped in an LMDB record": (
        "tests/cli/test_check.py::test_every_flipped_byte_is_named",
        "tests/cli/test_check.py::test_the_damaged_point_is_named_by_the_server_too",
    ),
    "one collection's store unreadable": (
        "tests/faults/test_damage.py::test_stores_that_cannot_be_read",
        "tests/ops/test_conditions.py::test_a_quarantined_collection",
        "tests/ops/test_status.py::test_a_quarantined_collection",
    ),
    "disk full": (
        "tests/test_disk_full.py::test_a_full_disk_refuses_writes_and_heals",
        "tests/faults/test_full_disk.py::test_no_byte_is_left",
    ),
    "LMDB map full": (
        "tests/faults/test_readers.py::test_the_map_grows_while_others_read",
        "tests/collection/test_readers.py::test_map_growth_is_seen_by_the_second_process",
    ),
    "killed readers": ("tests/faults/test_readers.py::test_slots_of_killed_readers_are_freed",),
    "query worker, builder or embedding worker dies or hangs": (
        "tests/rpc/test_worker_ends.py::test_a_killed_worker_is_replaced_and_nobody_notices",
        "tests/rpc/test_worker_ends.py::test_those_that_hang_are_replaced",
        "tests/rpc/test_worker_ends.py::test_one_that_always_dies_is_started_ever_less_often",
        "tests/collection/test_segments.py::test_a_killed_builder_is_started_again",
        "tests/collection/test_upkeep.py::test_a_builder_that_hangs_is_killed_and_another_goes_on",
        "tests/embed/test_worker.py::test_a_worker_that_hangs_is_replaced",
        "tests/embed/test_worker.py::test_a_killed_worker_is_unavailable_then_back_with_the_same_vectors",
        "tests/rpc/test_health.py::test_a_killed_worker_comes_back_and_searches_go_on",
    ),
    "10,000 collections, each with a few points": (
        "tests/lifecycle/test_many_collections.py::test_the_start_does_not_depend_on_them",
        "tests/lifecycle/test_many_collections.py::test_the_first_query_of_any_is_quick",
        "tests/lifecycle/test_many_collections.py::test_they_are_all_listed",
    ),
    "memory limit reached": (
        "tests/rpc/test_watermarks.py::test_low_memory_refuses_puts_and_heals",
        "tests/test_room.py::test_puts_are_refused_while_memory_is_low_and_it_is_told",
    ),
    "message above the cap, deep or malformed protobuf": (
        "tests/rpc/test_bad_input.py::test_a_message_over_the_cap_is_refused_and_the_server_lives",
        "tests/faults/test_messages.py::test_a_message_that_unpacks_to_more_than_the_cap",
        "tests/faults/test_messages.py::test_a_hundred_levels",
        "tests/rpc/test_malformed.py::test_what_does_not_parse",
        "tests/fuzz/test_fuzz.py::test_random_and_mutated_messages",
    ),
    "NaN, infinity, 1e38, wrong dimension, empty, zero under cosine": (
        "tests/rpc/test_bad_input.py::test_a_bad_item_is_named_and_the_others_are_stored",
        "tests/rpc/test_bad_queries.py::test_a_query_that_cannot_be_asked",
    ),
    "odd ids; payload not an object, too large, too deep": (
        "tests/rpc/test_odd_input.py::test_an_odd_id_comes_back_byte_for_byte",
        "tests/rpc/test_odd_input.py::test_an_odd_payload_comes_back_byte_for_byte",
        "tests/rpc/test_bad_input.py::test_a_bad_item_is_named_and_the_others_are_stored",
        "tests/rpc/test_limits.py::test_at_the_limit_and_past_it",
    ),
    "filter with 10,000 nodes, 100 levels, a regex bomb": (
        "tests/faults/test_messages.py::test_filters_past_the_limits",
        "tests/faults/test_messages.py::test_filters_at_the_limits",
        "tests/faults/test_messages.py::test_patterns_are_words_and_nothing_else",
    ),
    "1,000 streams; slow reader; cancelled; deadline passed before start": (
        "tests/faults/test_streams.py::test_a_thousand_streams",
        "tests/faults/test_streams.py::test_nothing_is_done_for_callers_that_are_gone",
        "tests/rpc/test_watch.py::test_streams_are_bounded_and_given_back",
        "tests/rpc/test_dispatch.py::test_cancelled_calls_leave_nothing_behind",
        "tests/rpc/test_export.py::test_a_slow_reader_holds_nothing",
    ),
    "kill -9 and a full disk during a backup or a restore": (
        "tests/backup/test_interrupted.py::test_kill_9_of_the_server",
        "tests/backup/test_interrupted.py::test_kill_9_of_who_keeps_it",
        "tests/backup/test_interrupted.py::test_kill_9_during_a_restore",
        "tests/backup/test_interrupted.py::test_a_full_disk_where_it_is_kept",
        "tests/backup/test_interrupted.py::test_a_full_disk_of_the_server",
    ),
    "clock jumps": (
        "tests/faults/test_clock.py::test_a_clock_that_jumps",
        "tests/collection/test_expiry.py::test_one_read_sees_one_time",
    ),
    "data of each earlier format": (
        "tests/golden/test_golden.py::test_golden_directory_is_read_as_written",
        "tests/golden/test_golden.py::test_the_present_format_has_a_golden_directory",
        "tests/golden/test_upgrade.py::test_there_is_a_step_from_every_format",
    ),
    "newer format than the program": (
        "tests/golden/test_golden.py::test_what_a_later_vecdb_wrote_is_refused_and_left_alone",
        "tests/golden/test_upgrade.py::test_a_node_does_not_start_on_what_a_later_vecdb_wrote",
    ),
}

ATTACKS: dict[str, tuple[str, ...]] = {
    "an address that others reach": (
        "tests/rpc/test_lifecycle.py::test_an_address_that_others_reach",
    ),
    "remote code, pickle, string expressions, messages made of what clients sent": (
        "tests/faults/test_sources.py::test_what_a_client_sends_is_never_code",
        "tests/faults/test_messages.py::test_patterns_are_words_and_nothing_else",
    ),
    "a protobuf that recurses without end": (
        "tests/faults/test_sources.py::test_protobuf_is_one_that_is_mended",
        "tests/faults/test_messages.py::test_a_hundred_levels",
    ),
    "calls on the port of metrics": ("tests/rpc/test_health.py::test_nothing_else_is_there",),
    "links, absolute paths and `..` in a backup; one that was altered": (
        "tests/backup/test_hostile.py::test_a_link_is_not_followed",
        "tests/backup/test_hostile.py::test_a_manifest_that_means_harm",
        "tests/backup/test_hostile.py::test_an_archive_that_means_harm",
        "tests/backup/test_hostile.py::test_a_flipped_bit_names_the_file",
        "tests/backup/test_hostile.py::test_files_that_no_segment_has_are_not_taken",
        "tests/backup/test_hostile.py::test_a_store_with_pages_of_noise",
    ),
    "no key, or one that is not known": (
        "tests/rpc/test_keys.py::test_every_call_asks_who_calls",
        "tests/rpc/test_keys.py::test_nothing_of_a_strangers_message_is_kept",
        "tests/rpc/test_keys.py::test_metrics_take_a_key_and_probes_do_not",
        "tests/cli/test_keys.py::test_nobody_who_calls_makes_the_first_key",
    ),
    "a key that asks for more than it may": (
        "tests/rpc/test_keys.py::test_a_key_may_what_it_was_made_for",
        "tests/rpc/test_keys.py::test_streams_ask_for_each_write",
        "tests/rpc/test_keys.py::test_who_names_a_collection_must_manage_it",
        "tests/rpc/test_access.py::test_what_is_not_listed_takes_every_right",
    ),
    "a key that was revoked, replaced, or has expired": (
        "tests/rpc/test_keys.py::test_a_revoked_key_is_refused_by_all_processes_at_once",
        "tests/rpc/test_keys.py::test_a_key_is_replaced_without_a_call_refused",
        "tests/rpc/test_keys.py::test_a_key_expires",
    ),
    "a token without access, without an end, expired, forged": (
        "tests/auth/test_tokens.py::test_without_access_nothing_is_allowed",
        "tests/auth/test_tokens.py::test_a_token_without_an_end_is_none",
        "tests/auth/test_tokens.py::test_a_token_ends_thirty_seconds_late",
        "tests/auth/test_tokens.py::test_a_forged_token_is_none",
        "tests/auth/test_tokens.py::test_a_public_key_is_never_a_shared_secret",
    ),
    "who did what, and secrets in what is written": (
        "tests/rpc/test_keys.py::test_what_changes_or_is_refused_is_written_down",
        "tests/rpc/test_keys.py::test_secrets_are_nowhere_but_with_their_holders",
        "tests/auth/test_audit.py::test_strangers_do_not_fill_the_disk",
    ),
    "a client without a certificate, an expired one": (
        "tests/rpc/test_tls.py::test_clients_need_certificates_where_that_is_asked",
        "tests/rpc/test_tls.py::test_an_expired_certificate_is_told",
    ),
}
